package conf

import (
	"fmt"
	"strings"
	"testing"
)

// TestScratch: what a Scratch gives is what Parse gives, whatever was built in it before, and texts and errors of before stay.
func TestScratch(t *testing.T) {
	texts := []string{
		"server 127.0.0.1:1 weight=2; server 127.0.0.1:2;", "", "keepalive 32", "a;",
		strings.Repeat("server 127.0.0.1:1 weight=2 max_fails=3 'quoted word' fail_timeout=10s;\n", 40),
		"b { c 1 2 3; d { e; } } f;", "server x; }", "match m { status 200; }", "x " + strings.Repeat("word ", 100) + ";", "a\x00;", "ip_hash;",
	}
	var s Scratch
	var words []Word
	var were []string
	for range 2 {
		for _, text := range texts {
			want, wantErr := Parse("t", []byte(text))
			got, err := s.Parse("t", []byte(text))
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%.40q: got error %v, want %v", text, err, wantErr)
			}
			if g, w := dump(got), dump(want); g != w {
				t.Errorf("%.40q: got\n%s\nwant\n%s", text, g, w)
			}
			for _, d := range got {
				words = append(words, d.Name)
				were = append(were, strings.Clone(d.Name.Text))
			}
		}
	}
	for i, w := range words {
		if w.Text != were[i] {
			t.Errorf("word %d was %q and is %q", i, were[i], w.Text)
		}
	}
}
