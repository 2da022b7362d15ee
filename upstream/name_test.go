package upstream

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLookup(t *testing.T) {
	s := NewStore()
	all := []string{"a", "Host1.Example.COM", "@[`{", "\xc1\xe1", strings.Repeat("Long", 40), "exactly8", "exactly-16-bytes"}
	for _, n := range all {
		set(t, s, n, "server 127.0.0.1:1;")
	}
	tab := s.Load()
	f := func(name, want string) {
		t.Helper()
		switch u := tab.Lookup([]byte(name)); {
		case u == nil && want != "", u != nil && u.Name != want:
			t.Errorf("%q finds %v, want %q", name, u, want)
		}
	}
	for _, n := range all {
		f(n, n)
		f(string(asciiUpper(n)), n)
		f(n+"x", "")
		f(n[:len(n)-1], "")
	}
	f("`[@{", "")
	f("@{`[", "") // differ from "@[`{" only in the bit of letter case, and are no letters
	f("`[`{", "")
	f("\xe1\xe1", "")
	key := []byte("host1.example.com")
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(key) }); n != 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}

func asciiUpper(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 32
		}
	}
	return b
}

// TestFold compares the eight-at-once lowering with the plain one.
func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "name")
		k := keyOf(name)
		if !k.is(name) || !k.is(k.fold) || hashName(name) != hashName(k.fold) {
			t.Fatalf("%q is not itself", name)
		}
		other := slices.Clone(name)
		if len(other) > 0 {
			at := rapid.IntRange(0, len(other)-1).Draw(t, "at")
			other[at] = rapid.Byte().Draw(t, "byte")
		}
		if k.is(other) != slices.Equal(keyOf(other).fold, k.fold) {
			t.Fatalf("%q is %q: %v", name, other, k.is(other))
		}
	})
}
