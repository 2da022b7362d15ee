package result

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "accept what the tests got as what they want, in testdata")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: -rewrite accepts it; got\n%s", file, got)
	}
}

func TestText(t *testing.T) {
	r := made()
	f := func(name string, runs []Run) {
		t.Helper()
		part := *r
		part.Runs = runs
		var b bytes.Buffer
		if err := part.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
	f("full.txt", r.Runs[:3])
	f("compact.txt", r.Runs)
	f("empty.txt", nil)
}

// TestTextHostile: figures that are none do not show up as such.
func TestTextHostile(t *testing.T) {
	r := nasty()
	r.Finish()
	for _, n := range []int{1, compactFrom} {
		for len(r.Runs) < n {
			r.Runs = append(r.Runs, r.Runs[0])
		}
		var b strings.Builder
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("got\n%s", &b)
		}
	}
}
