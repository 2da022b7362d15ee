package conf

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzConf checks that no text makes Parse panic, that an error lies inside the text (or one past its end), that a
// word lies where its position says, and that print and parse are inverse. go test runs it on the seeds.
func FuzzConf(f *testing.F) {
	for _, seed := range []string{
		"", ";", "a;", "a b c;", "a { b; } c;", "a{b{c;}}", "}", "{", "a {", "a", "a 'b", `a "b\`, "a \\",
		"a \"b\"c;", "a 'b')c;", "a ${b} $c{} ${{;", "# c\na #d\n;", "a \\\n;", "a \"x\ny\" z;", "a\x00;",
		"\xef\xbb\xbfa;", `a \t \\t \\\t "\"'" '\'"';`, `a \\${x} \$ \\\${;`, "a b\\ c\\;\\{d;", "include x;", "a\r\n\tb;",
		strings.Repeat("a{", 70), "a " + strings.Repeat("x", 5000),
	} {
		f.Add([]byte(seed))
	}
	for _, name := range []string{"testdata/parse.txt", "testdata/print.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range strings.Split(string(text), "\n=== ") {
			_, c, _ = strings.Cut(c, "\n")
			c, _, _ = strings.Cut(c, "\n---\n")
			f.Add([]byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.SplitAfter(string(text), "\n")
		at := func(p Pos) string {
			if p.File != "f" || p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > len(lines[p.Line-1])+1 {
				t.Fatalf("position %v is outside of %q", p, text)
			}
			return lines[p.Line-1][p.Col-1:]
		}
		ds, err := Parse("f", text)
		if err != nil {
			var ce *Error
			if !errors.As(err, &ce) || ce.Msg == "" || strings.ContainsAny(ce.Msg, "\x00\n\r") {
				t.Fatalf("error %#v", err)
			}
			at(ce.Pos)
			return
		}
		checkPositions(t, ds, at)
		checkPrint(t, ds)
	})
}

// checkPositions checks the position of each word and each end against the text there, which at gives.
func checkPositions(t *testing.T, ds []*Directive, at func(Pos) string) {
	for _, d := range ds {
		for _, w := range append([]Word{d.Name}, d.Args...) {
			text := at(w.Pos)
			if w.Quoted && text[0] != '"' && text[0] != '\'' {
				t.Fatalf("no quote at %v: %q", w.Pos, text)
			}
			if w.Quoted {
				text = text[1:]
			}
			if !strings.ContainsAny(w.Text, "\\\"'\t\r\n") && !strings.Contains(text, `\`) && !strings.HasPrefix(text, w.Text) {
				t.Fatalf("not %q at %v: %q", w.Text, w.Pos, text)
			}
		}
		want := byte(';')
		if d.HasBlock {
			want = '}'
		}
		if text := at(d.End); text == "" || text[0] != want {
			t.Fatalf("no %c at %v", want, d.End)
		}
		checkPositions(t, d.Block, at)
	}
}

// FuzzTime checks that what is read can be written as whole milliseconds and read back.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{"", "1", "1h 30m", "1m30s", "500ms", "1y1M1w1d1h1m1s1ms", "9223372036s", "30s1m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Time(s)
		sec, secErr := TimeSeconds(s)
		if secErr == nil && (err != nil || sec != d) {
			t.Fatalf("%q: Time %v, %v; TimeSeconds %v", s, d, err, sec)
		}
		if err == nil && (d < 0 || d%1e6 != 0) {
			t.Fatalf("%q: %v", s, d)
		}
	})
}
