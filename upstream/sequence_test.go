package upstream

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"dyups/codec/conf"
	"dyups/lb"
)

// parse makes a Spec of a body.
func parse(t testing.TB, body string) *Spec {
	t.Helper()
	s, err := parseBlock(body)
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return s
}

// parseBlock is parse without a test to fail.
func parseBlock(text string) (*Spec, error) {
	ds, err := conf.Parse("body", []byte(text))
	if err != nil {
		return nil, err
	}
	return ParseBlock("dy", ds, testOptions)
}

// storeOf makes a store with one upstream "dy".
func storeOf(t testing.TB, body string) *Store {
	t.Helper()
	s := NewStore()
	set(t, s, "dy", body)
	return s
}

// set applies one change; an empty body deletes.
func set(t testing.TB, s *Store, name, body string) {
	t.Helper()
	c := Change{Name: name}
	if body != "" {
		c.Spec = parse(t, body)
	}
	if err := s.Apply([]Change{c})[0]; err != nil {
		t.Fatal(err)
	}
	if err := s.Load().check(); err != nil {
		t.Fatal(err)
	}
}

// request plays one request at time now: servers on port 1 fail, all others answer. It gives the port that answered,
// or "-".
func request(u *Upstream, q *lb.Query, now int64) string {
	q.NowNs = now
	q.Tried.Reset()
	for range u.Tries() {
		i := u.Pick(q)
		if i < 0 {
			break
		}
		_, port, _ := strings.Cut(u.Servers[i].Label, ":")
		if port == "1" {
			u.Done(i, Failed, now)
			continue
		}
		u.Done(i, OK, now)
		return port
	}
	return "-"
}

// TestRecordedSequences replays what the original answered.
func TestRecordedSequences(t *testing.T) {
	text, err := os.ReadFile("testdata/sequences.txt")
	if err != nil {
		t.Fatal(err)
	}
	var id string
	var u *Upstream
	cases := 0
	for l := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch word {
		case "", "#":
			continue
		case "case":
			id = rest
			continue
		case "body":
			u = storeOf(t, rest).Load().Lookup([]byte("dy"))
			continue
		}
		in, want, _ := strings.Cut(rest, " = ")
		inputs := strings.Fields(in)
		if n, err := strconv.Atoi(in); err == nil && word == "get" {
			inputs = make([]string, n)
		}
		var got []string
		q := &lb.Query{}
		for _, x := range inputs {
			switch {
			case word == "client":
				q.Key = netip.MustParseAddr(x).AsSlice()
			case word == "key":
				q.Key = []byte(x)
			case u.Method == "ip_hash":
				q.Key = []byte{127, 0, 0, 1}
			case u.Method == "hash":
				q.Key = []byte(u.HashKey.(string))
				if q.Key[0] == '$' {
					q.Key = nil // the request has no such argument
				}
			}
			got = append(got, request(u, q, 1e18))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: %s %s\n got %s\nwant %s", id, word, in, g, want)
		}
		cases++
	}
	if cases < 20 {
		t.Fatalf("only %d sequences replayed", cases)
	}
}
