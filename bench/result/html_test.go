package result

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"html"
	"io"
	"os"
	"strings"
	"testing"
)

// keep writes the page of the made-up report to a file, to be looked at.
var keep = flag.String("page", "", "write the page of the made-up report to `FILE`")

func pageOf(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// parsePage reads a page as XML, which every element of it has to be closed for, and gives its texts.
func parsePage(t *testing.T, text string) (elements map[string]int, texts []string) {
	t.Helper()
	elements = make(map[string]int)
	d := xml.NewDecoder(strings.NewReader(text))
	d.Entity = xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, texts
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			elements[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") || a.Name.Local == "src" {
					t.Errorf("the page refers to %q", a.Value)
				}
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" {
					t.Errorf("attribute %s=%q", a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			texts = append(texts, string(e))
		}
	}
}

func TestPage(t *testing.T) {
	r := made()
	text := pageOf(t, r)
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	elements, texts := parsePage(t, text)
	if got, want := elements["svg"], 5*len(r.Runs); got != want {
		t.Errorf("got %d charts, want %d", got, want)
	}
	if got, want := elements["details"], 1+len(r.Programs)+len(r.Runs); got != want {
		t.Errorf("got %d foldable parts, want %d", got, want)
	}
	if elements["script"]+elements["link"]+elements["img"]+elements["iframe"] > 0 {
		t.Error("the page has scripts or refers to other files")
	}
	for _, word := range []string{"http://", "https://", "url(", "@import", "NaN", "Inf"} {
		if strings.Contains(text, word) {
			t.Errorf("in the page: %q", word)
		}
	}
	all := strings.Join(texts, "\n")
	f := func(want string) {
		t.Helper()
		if !strings.Contains(all, want) {
			t.Errorf("not in the page: %q", want)
		}
	}
	for i := range r.Runs {
		f(r.Runs[i].Scenario)
		f(r.Runs[i].Title)
		for _, name := range r.Runs[i].Contenders {
			f(name)
		}
		for _, n := range r.Runs[i].Notes {
			f(n)
		}
	}
	for _, p := range r.Programs {
		f(p.Version)
		f(p.Settings)
	}
	for _, g := range r.Goals {
		f(g.Title)
		f(g.Target)
	}
	f(" · 10,000 upstreams")
	f("2 of 3 met")
	f("✗ missed")
	f("Skipped dyups-old: there is no second binary")
	f(r.Machine.Kernel)
	f(r.Commit)
	f("net.core.somaxconn = 4096")
}

// TestPageHostile makes sure that no text gets out of its place, and that figures that are none do no harm.
func TestPageHostile(t *testing.T) {
	for _, finish := range []bool{false, true} {
		r := nasty()
		if finish {
			r.Finish()
		}
		text := pageOf(t, r)
		elements, _ := parsePage(t, text)
		if elements["script"] > 0 || strings.Contains(text, "<script") {
			t.Error("a name became an element")
		}
		if n := strings.Count(html.UnescapeString(text), hostile); n < 10 {
			t.Errorf("the name is in the page %d times", n)
		}
		for _, word := range []string{"NaN", "Inf", "ZgotmplZ"} {
			if strings.Contains(text, word) {
				t.Errorf("in the page: %q", word)
			}
		}
	}
}

// TestPageEmpty: what has nothing in it is a page as well.
func TestPageEmpty(t *testing.T) {
	for _, r := range []*Report{{}, {Runs: []Run{{Scenario: "nobody", Skipped: []Skip{{"nginx", "not here"}}}}}} {
		r.Finish()
		elements, _ := parsePage(t, pageOf(t, r))
		if elements["svg"] > 0 {
			t.Error("there are charts of nothing")
		}
	}
}

// TestCut: of very long settings the page shows both ends.
func TestCut(t *testing.T) {
	f := func(lines int, want string) {
		t.Helper()
		got := cut("first\n" + strings.Repeat("server\n", lines-2) + "last")
		if !strings.HasPrefix(got, "first\n") || !strings.HasSuffix(got, "\nlast") || !strings.Contains(got, want) ||
			strings.Count(got, "\n") > longSettings+4 {
			t.Errorf("%d lines: got %q", lines, got)
		}
	}
	f(longSettings, "server")
	f(longSettings+1, "… 1 lines are left out")
	f(100_000, "… 99,600 lines are left out")
}
