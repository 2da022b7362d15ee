package conf

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"server", "listen", "root", "set", "if", "proxy_pass", "proxy_hide_header"}
	f := func(in, want string) {
		t.Helper()
		if got := nearest(in, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
	f("srver", "server")
	f("SERVER", "server")
	f("lsiten", "listen")
	f("proxy-pass", "proxy_pass")
	f("sett", "set")
	f("roots", "root")
	f("boot", "root")
	f("zoom", "")
	f("x", "")
	f("of", "")
	f("", "")
	f("proxy_pas_header", "")
	f(strings.Repeat("x", 4095), "")
}

func TestNewTableBugs(t *testing.T) {
	type rule = Rule[int]
	f := func(want string, rules ...rule) {
		t.Helper()
		defer func() {
			if got := recover(); got != want {
				t.Errorf("panic %v, want %s", got, want)
			}
		}()
		NewTable(rules...)
	}
	f(`BUG: two rules for "a" in http`, rule{Name: "a", In: Main | HTTP}, rule{Name: "a", In: HTTP | Server})
	f(`BUG: rule for "a" takes 2 to 1 arguments`, rule{Name: "a", In: Main, Min: 2, Max: 1})
}

func TestTableNames(t *testing.T) {
	table := NewTable(Rule[int]{Name: "a", In: Main}, Rule[int]{Name: "a", In: HTTP}).Elsewhere(map[string]Context{"b": Server})
	names := table.Names()
	if len(names) != 1 || names["a"] != Main|HTTP {
		t.Errorf("names %v", names)
	}
}

// TestTableInstead: a directive that something else stands for is refused with that, whatever its shape, and offered nowhere.
func TestTableInstead(t *testing.T) {
	type rule = Rule[int]
	table := NewTable(rule{Name: "old", In: HTTP, Instead: `write "new"`}, rule{Name: "new", In: HTTP, Max: 1})
	f := func(ctx Context, text, want string) {
		t.Helper()
		ds, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err = table.Apply(ctx, 0, ds); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	f(HTTP, "old;", `f:1:1: "old" directive is not supported: write "new"`)
	f(HTTP, "old a b { c; }", `f:1:1: "old" directive is not supported: write "new"`)
	f(HTTP, "other;", `f:1:1: unknown directive "other"; allowed here: new`)
	f(Server, "old;", `f:1:1: unknown directive "old"`)
	if names := table.Names(); len(names) != 1 {
		t.Errorf("names %v", names)
	}
}

func TestContextString(t *testing.T) {
	f := func(c Context, want string) {
		t.Helper()
		if got := c.String(); got != want {
			t.Errorf("context %b = %q, want %q", c, got, want)
		}
	}
	f(0, "")
	f(Main, "main")
	f(HTTP|Server|Location, "http, server, location")
	f(Events|If|LimitExcept|Upstream|Types|Map, "events, if, limit_except, upstream, types, map")
}

// TestFrom: a place in the same text goes without its file.
func TestFrom(t *testing.T) {
	here := Pos{"a.conf", 3, 4}
	if got := (Pos{"a.conf", 1, 2}).From(here); got != "1:2" {
		t.Errorf("in the same file: %q", got)
	}
	if got := (Pos{"b.conf", 1, 2}).From(here); got != "b.conf:1:2" {
		t.Errorf("in another file: %q", got)
	}
}
