package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkPrint checks that printing ds and reading it back gives ds but for positions, and the same text again.
func checkPrint(t *testing.T, ds []*Directive) {
	t.Helper()
	text := Print(ds)
	again, err := Parse("printed", text)
	if err != nil {
		t.Fatalf("cannot read back what was printed: %v\n%s", err, text)
	}
	if err := same(ds, again); err != nil {
		t.Fatalf("read back: %v\n%s", err, text)
	}
	if text2 := Print(again); string(text2) != string(text) {
		t.Fatalf("printed twice:\n%s\nand\n%s", text, text2)
	}
}

// same compares two trees but for positions.
func same(a, b []*Directive) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d directives and %d", len(a), len(b))
	}
	for i, x := range a {
		y := b[i]
		xs, ys := append([]Word{x.Name}, x.Args...), append([]Word{y.Name}, y.Args...)
		if len(xs) != len(ys) || x.HasBlock != y.HasBlock {
			return fmt.Errorf("%+v and %+v", x, y)
		}
		for j := range xs {
			if xs[j].Text != ys[j].Text || xs[j].Quoted != ys[j].Quoted {
				return fmt.Errorf("%+v and %+v", xs[j], ys[j])
			}
		}
		if err := same(x.Block, y.Block); err != nil {
			return err
		}
	}
	return nil
}

// TestParseBytes has what a golden file cannot show: control bytes, and texts at a bound.
func TestParseBytes(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		ds, err := Parse("", []byte(in))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			checkPrint(t, ds)
		}
		if got != want {
			t.Errorf("%.40q: error %q, want %q", in, got, want)
		}
	}
	nul := "unexpected NUL byte, it may only stand in a comment"
	f("a;\x00", "1:3: "+nul)
	f("a b\x00c;", "1:4: "+nul)
	f("a 'b\n\x00';", "2:1: "+nul)
	f("a b\\\x00;", "1:5: "+nul)
	f("a \"b\\\x00\";", "1:6: "+nul)
	f("a \"b\"\x00;", "1:6: "+nul)
	f("a; # \x00\xff\n", "")
	f("a;\r\nb\tc\r;", "")
	f("a \xff\xfe;", "")
	f("\xef\xbb\xbfa;", "1:1: unexpected UTF-8 byte order mark, the text must begin with a directive or a comment")
	f("\x1b[1m", `1:5: unexpected end of file, expecting ";" or "}": directive "\x1b[1m" at 1:1 is not terminated by ";"`)

	word := strings.Repeat("x", maxWord)
	f("a "+word+";", "")
	f("a "+strings.Repeat(`\"`, maxWord)+";", "")
	f("a "+word+"y;", `1:3: too long parameter "xxxxxxxxxx..." started, it may have up to 4095 bytes`)
	f("a '"+word+"';", "")
	f("a\n '"+word+"y';b", "2:2: too long parameter, it may have up to 4095 bytes, probably missing terminating ''' character")
	f("a; # "+word+word+"\nb;", "")

	f(strings.Repeat("a{", maxDepth)+strings.Repeat("}", maxDepth), "")
	f(strings.Repeat("a{", maxDepth+1), `1:130: unexpected "{", blocks may nest 64 deep`)
}

func TestPrintHandmade(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		ds := []*Directive{{Name: Word{Text: "a"}, Args: []Word{{Text: text}}}}
		got := string(Print(ds))
		if want = "a " + want + ";\n"; got != want {
			t.Errorf("print of %q: %s want %s", text, got, want)
		}
		back, err := Parse("", []byte(got))
		if err != nil || len(back) != 1 || len(back[0].Args) != 1 || back[0].Args[0].Text != text {
			t.Errorf("print of %q: read back %v, %v", text, dump(back), err)
		}
	}
	f("x", `x`)
	f("", `""`)
	f("a b", `"a b"`)
	f(`a "b" c`, `'a "b" c'`)
	f(`it's "b"`, `"it's \"b\""`)
	f("a;", `"a;"`)
	f("#a", `"#a"`)
	f("}", `"}"`)
	f("{", `"{"`)
	f("a{", `"a{"`)
	f("${a}", `${a}`)
	f(`\${a}`, `\\${a}`)
	f("a\nb", `a\nb`)
	f(`a\nb`, `a\\nb`)
	f(`\.php$`, `\.php$`)
	f(`a\`, `a\\`)
	f(`a \`, `"a \\"`)
	f(`"a`, `\"a`)
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "none.conf"))
	want := fmt.Sprintf("cannot read configuration file %q: no such file or directory", filepath.Join(dir, "none.conf"))
	if err == nil || err.Error() != want {
		t.Errorf("missing file: %v, want %s", err, want)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v is not os.ErrNotExist", err)
	}

	// No file of this chain includes itself; it is only too long.
	main := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(main, []byte("include a0.conf;"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range maxIncludes + 1 {
		text := fmt.Sprintf("include a%d.conf;", i+1)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("a%d.conf", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Load(main)
	if err == nil || !strings.HasSuffix(err.Error(), "files may include each other 32 deep") {
		t.Errorf("deep include: %v", err)
	}
}

// TestLoadFolderWithWildcards checks that only the written name is a pattern, not the folder it is joined to.
func TestLoadFolderWithWildcards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[x]*")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"nginx.conf": "include *.inc; include b.inc;", "a.inc": "a;", "b.inc": "b;"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Print(c.Directives)); got != "a;\nb;\nb;\n" {
		t.Errorf("got %s", got)
	}
}
