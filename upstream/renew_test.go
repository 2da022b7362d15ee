package upstream

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestRenew: a definition that is read once more says the same and has the same servers, whatever DNS says now.
func TestRenew(t *testing.T) {
	opt := *testOptions
	opt.Resolve = func(string) ([]netip.Addr, error) { return nil, errors.New("DNS is down") }
	opt.Look = func([]Name) [][]Address { panic("a name is looked up") }
	opt.Brief = true
	f := func(s *Spec) {
		t.Helper()
		n, err := s.Renew("dy", &opt)
		if err != nil {
			t.Fatalf("%q: %v", s.AppendBody(nil), err)
		}
		if got, want := string(n.AppendBody(nil)), string(s.AppendBody(nil)); got != want {
			t.Errorf("%q became %q", want, got)
		}
		if got, want := labels(n), labels(s); got != want {
			t.Errorf("%q: servers %q, were %q", s.AppendBody(nil), got, want)
		}
		st := NewStore()
		st.Apply([]Change{{Name: "dy", Spec: n}})
		if err := st.Load().check(); err != nil {
			t.Errorf("%q: %v", s.AppendBody(nil), err)
		}
	}
	f(parse(t, "server 127.0.0.1:1 weight=5; server unix:/tmp/x backup; ip_hash;"))
	f(parse(t, "server multi.test:81 weight=2; server one.test; server multi.test:82; hash $a consistent;"))
	f(resolved(parse(t, "server multi.test; server a.test:9 resolve weight=3; server 127.0.0.1:2; random two;"), "127.0.0.7", "127.0.0.8"))
	f(parse(t, "server a.test resolve; queue 3; sticky cookie c;"))

	refused := parse(t, "server 127.0.0.1; hash $a;")
	opt.Compile = func(string) (any, error) { return nil, errors.New("no such variable") }
	if _, err := refused.Renew("dy", &opt); err == nil || !strings.Contains(err.Error(), "no such variable") {
		t.Errorf("a variable that is gone: %v", err)
	}
}
