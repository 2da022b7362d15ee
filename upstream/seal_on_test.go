//go:build invariants

package upstream

import "testing"

// TestSeal: a write to a published table is noticed when the table is replaced.
func TestSeal(t *testing.T) {
	f := func(write func(u *Upstream)) {
		t.Helper()
		s := storeOf(t, "server 127.0.0.1:1; server 127.0.0.1:2;")
		write(s.Load().Lookup([]byte("dy")))
		defer func() {
			if recover() == nil {
				t.Error("a written table is replaced without a panic")
			}
		}()
		s.Apply([]Change{{Name: "x", Spec: parse(t, "server 127.0.0.1:1;")}})
	}
	f(func(u *Upstream) { u.Servers[1].Weight = 2 })
	f(func(u *Upstream) { u.Servers[0], u.Servers[1] = u.Servers[1], u.Servers[0] })
	f(func(u *Upstream) { u.Keepalive++ })
}
