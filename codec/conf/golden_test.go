package conf

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what came out into the golden files of testdata")

// runGolden runs f over the cases of the golden files that match pattern. Behind a line that says what they are, a case is a line "=== TITLE", the input,
// a line "---", and the wanted output.
func runGolden(t *testing.T, pattern string, f func(t *testing.T, in string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files %q: %v", pattern, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut("\n"+string(text), "\n=== ")
		out := strings.TrimPrefix(head, "\n")
		for _, c := range strings.Split(rest, "\n=== ") {
			title, body, _ := strings.Cut(c, "\n")
			in, want, _ := strings.Cut(body+"\n", "\n---\n")
			want = strings.Trim(want, "\n")
			got := strings.Trim(f(t, in), "\n")
			if got != want && !*rewrite {
				t.Errorf("%s: %s\ninput:\n%s\ngot:\n%s\nwant:\n%s", file, title, in, got, want)
			}
			out += fmt.Sprintf("\n=== %s\n%s\n---\n%s\n", title, in, got)
		}
		if *rewrite && out != string(text) {
			if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// dump shows a tree with every position: name and arguments with line:column in front, quoted words between
// single quotes, the end behind "@".
func dump(ds []*Directive) string {
	var b strings.Builder
	dumpTo(&b, ds, 0)
	return b.String()
}

func dumpTo(b *strings.Builder, ds []*Directive, level int) {
	for _, d := range ds {
		b.WriteString(strings.Repeat("  ", level))
		for _, w := range append([]Word{d.Name}, d.Args...) {
			text := fmt.Sprintf("%q", w.Text)
			if w.Quoted {
				text = "'" + text[1:len(text)-1] + "'"
			}
			fmt.Fprintf(b, "%v%s  ", w.Pos, text)
		}
		if d.HasBlock {
			b.WriteString("{\n")
			dumpTo(b, d.Block, level+1)
			fmt.Fprintf(b, "%s} @%v\n", strings.Repeat("  ", level), d.End)
		} else {
			fmt.Fprintf(b, "@%v\n", d.End)
		}
	}
}

func TestParseGolden(t *testing.T) {
	runGolden(t, "parse*.txt", func(t *testing.T, in string) string {
		ds, err := Parse("", []byte(in))
		if err != nil {
			return "error " + err.Error()
		}
		checkPrint(t, ds)
		return dump(ds)
	})
}

func TestPrintGolden(t *testing.T) {
	runGolden(t, "print*.txt", func(t *testing.T, in string) string {
		ds, err := Parse("", []byte(in))
		if err != nil {
			return "error " + err.Error()
		}
		checkPrint(t, ds)
		return string(Print(ds))
	})
}

// TestLoadGolden runs cases of several files, each behind a line "-- NAME --"; the first is the one to load.
func TestLoadGolden(t *testing.T) {
	runGolden(t, "load*.txt", func(t *testing.T, in string) string {
		dir := t.TempDir()
		main := ""
		for _, part := range strings.Split("\n"+in, "\n-- ")[1:] {
			name, text, _ := strings.Cut(part, " --")
			name = filepath.Join(dir, name)
			if main == "" {
				main = name
			}
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			text = strings.ReplaceAll(strings.TrimPrefix(text, "\n"), "DIR", dir)
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(main)
		if err != nil {
			return "error " + strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		checkPrint(t, c.Directives)
		var b bytes.Buffer
		b.WriteString(dump(c.Directives))
		for _, f := range c.Files {
			fmt.Fprintf(&b, "file %s\n", f.Name)
			if text, err := os.ReadFile(f.Name); err != nil || !bytes.Equal(text, f.Text) {
				t.Errorf("text of %s: %q, %v", f.Name, f.Text, err)
			}
		}
		return strings.ReplaceAll(b.String(), dir, "DIR")
	})
}

// TestTableGolden applies a small table to the input and shows what was set, then the error if there was one.
func TestTableGolden(t *testing.T) {
	table := testTable()
	runGolden(t, "table*.txt", func(t *testing.T, in string) string {
		ds, err := Parse("", []byte(in))
		if err != nil {
			return "error " + err.Error()
		}
		var log strings.Builder
		if err := table.Apply(Main, &log, ds); err != nil {
			fmt.Fprintf(&log, "error %v\n", err)
		}
		return log.String()
	})
}

// testTable logs what it is told.
func testTable() *Table[*strings.Builder] {
	var table *Table[*strings.Builder]
	type rule = Rule[*strings.Builder]
	show := func(v any, err error, b *strings.Builder, d *Directive) error {
		if err == nil {
			fmt.Fprintf(b, "%s %v\n", d.Name.Text, v)
		}
		return err
	}
	names := func(b *strings.Builder, d *Directive) error { return show(d.Args, nil, b, d) }
	block := func(ctx Context) func(*strings.Builder, *Directive) error {
		return func(b *strings.Builder, d *Directive) error {
			fmt.Fprintf(b, "%s {\n", d.Name.Text)
			err := table.Apply(ctx, b, d.Block)
			if err == nil {
				b.WriteString("}\n")
			}
			return err
		}
	}
	table = NewTable(
		rule{Name: "http", In: Main, Block: true, Set: block(HTTP)},
		rule{Name: "events", In: Main, Block: true, Set: block(Events)},
		rule{Name: "server", In: HTTP, Block: true, Many: true, Set: block(Server)},
		rule{Name: "upstream", In: HTTP, Min: 1, Max: 1, Block: true, Many: true, Set: block(Upstream)},
		rule{Name: "server", In: Upstream, Min: 1, Max: -1, Many: true, Set: func(b *strings.Builder, d *Directive) error {
			for i := 1; i < len(d.Args); i++ {
				key, v, ok := d.Param(i)
				var err error
				switch {
				case key == "weight" && ok:
					_, err = v.Int(1, 1<<31)
				case key == "fail_timeout" && ok:
					_, err = v.TimeSeconds()
				case key == "backup" && !ok:
				default:
					err = d.BadParam(i, "weight=", "fail_timeout=", "backup")
				}
				if err != nil {
					return err
				}
			}
			fmt.Fprintf(b, "server %d\n", len(d.Args))
			return nil
		}},
		rule{Name: "ip_hash", In: Upstream},
		rule{Name: "daemon", In: Main, Min: 1, Max: 1, Set: func(b *strings.Builder, d *Directive) error {
			v, err := d.OnOff()
			return show(v, err, b, d)
		}},
		rule{Name: "worker_processes", In: Main, Min: 1, Max: 1, Set: func(b *strings.Builder, d *Directive) error {
			v, err := d.Int(0, 1, 64)
			return show(v, err, b, d)
		}},
		rule{Name: "root", In: HTTP | Server | Location, Min: 1, Max: 1, Set: names},
		rule{Name: "index", In: HTTP | Server | Location, Min: 1, Max: -1, Set: names},
		rule{Name: "client_max_body_size", In: HTTP | Server, Min: 1, Max: 1, Set: func(b *strings.Builder, d *Directive) error {
			v, err := d.Size(0)
			return show(v, err, b, d)
		}},
		rule{Name: "keepalive_timeout", In: HTTP | Server, Min: 1, Max: 2, Set: func(b *strings.Builder, d *Directive) error {
			v, err := d.Time(0)
			return show(v, err, b, d)
		}},
		rule{Name: "satisfy", In: HTTP, Min: 1, Max: 3, Set: func(b *strings.Builder, d *Directive) error {
			v, err := d.Enum(0, "all", "any", "none")
			return show(v, err, b, d)
		}},
		rule{Name: "resolver", In: HTTP, Min: 1, Max: 1, Set: func(*strings.Builder, *Directive) error {
			return fmt.Errorf("has no answer")
		}},
	)
	return table.Elsewhere(map[string]Context{"proxy_pass": Location | If, "listen": Server})
}
