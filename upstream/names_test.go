package upstream

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
)

// at makes the address of a text "IP", "IP:PORT" or, of a lower priority, "IP:PORT!".
func at(text string) (a Address) {
	text, a.Backup = strings.CutSuffix(text, "!")
	if ap, err := netip.ParseAddrPort(text); err == nil {
		a.Addr, a.Port = ap.Addr(), ap.Port()
		return a
	}
	a.Addr = netip.MustParseAddr(text)
	return a
}

// resolved gives s with every name at the addresses; with none the names have no address.
func resolved(s *Spec, addrs ...string) *Spec {
	list := []Address{}
	for _, a := range addrs {
		list = append(list, at(a))
	}
	return s.Resolved(func(int) ([]Address, bool) { return Canonical(list), true })
}

// labels lists the servers of a spec with what tells them apart.
func labels(s *Spec) string {
	var out []string
	for _, sv := range s.servers {
		text := sv.Label
		if sv.Weight != 1 {
			text += "*" + string(rune('0'+sv.Weight))
		}
		if sv.Backup {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestResolved(t *testing.T) {
	f := func(body, want string, addrs ...string) {
		t.Helper()
		s := parse(t, body)
		before := labels(s)
		r := resolved(s, addrs...)
		if got := labels(r); got != want {
			t.Errorf("%q at %v: %q, want %q", body, addrs, got, want)
		}
		if labels(s) != before {
			t.Errorf("%q: Resolved has written to the spec it started from: %q, was %q", body, labels(s), before)
		}
		if a, b := string(s.AppendBody(nil)), string(r.AppendBody(nil)); a != b {
			t.Errorf("%q prints as %q, and resolved as %q", body, a, b)
		}
		if again := resolved(r, addrs...); again != r {
			t.Errorf("%q: the same answer gave another spec", body)
		}
		st := NewStore()
		if err := errors.Join(st.Apply([]Change{{Name: "dy", Spec: r}})...); err != nil {
			t.Fatal(err)
		}
		if err := st.Load().check(); err != nil {
			t.Errorf("%q at %v: %v", body, addrs, err)
		}
	}
	f("server a.test resolve;", "")
	f("server a.test:81 resolve;", "127.0.0.1:81", "127.0.0.1")
	f("server a.test resolve;", "127.0.0.1:80 127.0.0.2:80 127.0.0.2:80 [::1]:80", "::1", "127.0.0.2", "127.0.0.1", "127.0.0.2")
	f("server 127.0.0.9; server a.test:81 resolve weight=2 backup; server unix:/s;",
		"127.0.0.9:80 127.0.0.1:81*2! 127.0.0.2:81*2! unix:/s", "127.0.0.1", "127.0.0.2")
	f("server a.test resolve; server b.test resolve backup;", "127.0.0.1:80 127.0.0.1:80!", "127.0.0.1")
	f("server a.test resolve service=http;", "127.0.0.2:82 127.0.0.1:81!", "127.0.0.1:81!", "127.0.0.2:82")
	f("server a.test resolve service=http;", "127.0.0.1:81 127.0.0.1:81", "127.0.0.1:81", "127.0.0.1:81")
	f("server a.test resolve service=http;", "127.0.0.1:0 127.0.0.2:81", "127.0.0.1:0", "127.0.0.2:81")
	f("server 127.0.0.1 resolve;", "127.0.0.1:80", "127.0.0.2")
}

// TestWithout: names lose the servers at the addresses that are dropped, and nothing else changes.
func TestWithout(t *testing.T) {
	six := func(_ int, addr netip.Addr) bool { return addr.Is6() }
	f := func(body, want string, addrs ...string) {
		t.Helper()
		s := resolved(parse(t, body), addrs...)
		before := labels(s)
		r := s.Without(six)
		if got := labels(r); got != want {
			t.Errorf("%q at %v: %q, want %q", body, addrs, got, want)
		}
		if labels(s) != before {
			t.Errorf("%q: Without has written to the spec it started from: %q, was %q", body, labels(s), before)
		}
		if r == s && before != want || r.Without(six) != r {
			t.Errorf("%q at %v: another spec is given if and only if nothing changes", body, addrs)
		}
		if a, b := string(s.AppendBody(nil)), string(r.AppendBody(nil)); a != b {
			t.Errorf("%q prints as %q, and without addresses as %q", body, a, b)
		}
	}
	f("server a.test resolve;", "")
	f("server a.test resolve; server [::2];", "[::2]:80", "::1")
	f("server a.test:81 resolve weight=2; server unix:/s;", "127.0.0.1:81*2 127.0.0.2:81*2 unix:/s", "127.0.0.1", "::1", "127.0.0.2")
	f("server a.test resolve; server 127.0.0.9; server b.test resolve backup;", "127.0.0.1:80 127.0.0.9:80 127.0.0.1:80!", "127.0.0.1", "::1")
	f("server a.test resolve service=http;", "127.0.0.1:81!", "127.0.0.1:81!", "[::1]:82")
	f("server a.test resolve;", "127.0.0.1:80", "127.0.0.1")
	s := resolved(parse(t, "server a.test resolve; server b.test:81 resolve;"), "127.0.0.1")
	if got := labels(s.Without(func(i int, _ netip.Addr) bool { return i == 0 })); got != "127.0.0.1:81" {
		t.Errorf("without those of the first name: %q", got)
	}
}

// TestNamesText: what is accepted prints as it was written and is read back the same; listings show the name.
func TestNamesText(t *testing.T) {
	f := func(body, detail string) {
		t.Helper()
		s := parse(t, body)
		text := string(s.AppendBody(nil))
		if again := parse(t, text); !equal(s, again) {
			t.Errorf("%q prints as %q, which is read as %+v", body, text, again)
		}
		st := NewStore()
		st.Apply([]Change{{Name: "dy", Spec: resolved(s, "127.0.0.7", "127.0.0.8")}})
		if got := string(st.Load().Lookup([]byte("dy")).AppendDetail(nil, false)); got != detail {
			t.Errorf("%q shows as %q, want %q", body, got, detail)
		}
	}
	f("server a.test:81 resolve;", "server a.test:81 resolve;\n")
	f("server A.test service=http resolve weight=3;", "server A.test weight=3 resolve service=http;\n")
	f("server a.test service=_x._udp resolve; resolver 127.0.0.1:5353 valid=3s ipv6=off; resolver_timeout 1500ms;",
		"server a.test resolve service=_x._udp;\nresolver 127.0.0.1:5353 valid=3s ipv6=off;\nresolver_timeout 1500ms;\n")
	f("server 127.0.0.1 resolve; server b.test backup resolve;", "server 127.0.0.1:80 resolve;\nserver b.test backup resolve;\n")
	f("server [::1] resolve; resolver_timeout 0;", "server [::1]:80 resolve;\nresolver_timeout 0s;\n")
	f("server [::1] resolve; resolver_timeout 5s;", "server [::1]:80 resolve;\nresolver_timeout 5s;\n")
	u := storeOf(t, "server a.test:81 resolve; server one.test;").Load().Lookup([]byte("dy"))
	if got := string(u.AppendServers(nil)); got != "server a.test:81\nserver 127.0.0.1:80\n" {
		t.Errorf("the listing is %q", got)
	}
	if got := string(u.AppendDetail(nil, true)); !strings.HasPrefix(got,
		"server a.test:81 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0 resolve\nserver 127.0.0.1:80 weight=1") {
		t.Errorf("the full listing is %q", got)
	}
}

func TestNames(t *testing.T) {
	s := parse(t, "server 127.0.0.1; server a.test:1 resolve; server b.test resolve service=x; resolver 127.0.0.1; resolver_timeout 2s;")
	want := []Name{{"a.test", "", s.resolver, 2 * time.Second}, {"b.test", "x", s.resolver, 2 * time.Second}}
	if got := s.Names(); !reflect.DeepEqual(got, want) || s.resolver == nil {
		t.Errorf("names %+v, want %+v", got, want)
	}
	if got := s.Lines(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("lines %v", got)
	}
	if !s.HasNames() || (*Spec)(nil).HasNames() || parse(t, "server one.test;").HasNames() {
		t.Error("HasNames is wrong")
	}
	opt := *testOptions
	opt.Look = func(names []Name) [][]Address { return [][]Address{{at("127.0.0.5")}, nil} }
	ds, _ := conf.Parse("body", []byte("server a.test:1 resolve; server b.test resolve;"))
	known, err := ParseBlock("dy", ds, &opt)
	if err != nil || labels(known) != "127.0.0.5:1" {
		t.Errorf("with a first look-up: %v, %v", known, err)
	}
	opt.Brief = true
	if _, err := ParseBlock("dy", ds, &opt); err != ErrLengthy {
		t.Errorf("with names and no time: %v", err)
	}
}

// TestNoAddress: an upstream whose names have no address refuses every pick, by any method, and takes one up when it comes.
func TestNoAddress(t *testing.T) {
	for _, method := range []string{"", "ip_hash;", "least_conn;", "hash a;", "hash a consistent;", "random;", "random two;"} {
		s := parse(t, method+"server a.test resolve;")
		st := NewStore()
		pick := func() int {
			st.Apply([]Change{{Name: "dy", Spec: s}})
			u := st.Load().Lookup([]byte("dy"))
			return u.Pick(&lb.Query{Key: []byte("abcd"), NowNs: 1})
		}
		if i := pick(); i != -1 {
			t.Errorf("%q without an address: picked %d", method, i)
		}
		if s = resolved(s, "127.0.0.1"); pick() != 0 {
			t.Errorf("%q with an address: not picked", method)
		}
		if s = resolved(s); pick() != -1 {
			t.Errorf("%q with its address gone: picked", method)
		}
	}
}

func TestNamesRefused(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		if _, err := parseBlock(body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", body, err, want)
		}
	}
	f("server a.test service=http;", `body:1:8: service upstream "a.test" requires "resolve" parameter`)
	f("server a.test:80 service=http resolve;", `body:1:8: service upstream "a.test:80" may not have port`)
	f("server 127.0.0.1 service=http resolve;", `body:1:8: service upstream "127.0.0.1" requires domain name`)
	f("server unix:/s service=http resolve;", `requires domain name`)
	f("server a.test resolve service=;", `body:1:31: invalid value "" of parameter "service"`)
	f("server a.test resolve=on;", `invalid parameter "resolve=on"`)
	f("server a.test resolve backup;", `found backup servers only`)
	f("server *:80 resolve;", `host not found in upstream "*:80"`)
	f("server a.test resolve; resolver bad.test;", `no name server`)
	f("server a.test resolve; resolver_timeout x;", `invalid value "x"`)
	f("server a.test resolve; resolver 127.0.0.1; resolver 127.0.0.2;", `is duplicate`)
}

// TestIf: a change that was made from an older definition is refused.
func TestIf(t *testing.T) {
	st := storeOf(t, "server a.test resolve;")
	seen := st.Load().Lookup([]byte("dy")).Spec()
	apply := func(c Change) error { return st.Apply([]Change{c})[0] }
	if err := apply(Change{Name: "DY", Spec: resolved(seen, "127.0.0.1"), If: seen}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{
		{Name: "dy", Spec: resolved(seen, "127.0.0.2"), If: seen},
		{Name: "dy", If: seen},
		{Name: "other", Spec: seen, If: seen},
	} {
		table := st.Load()
		if err := apply(c); err != ErrChanged || st.Load() != table {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got := labels(st.Load().Lookup([]byte("dy")).Spec()); got != "127.0.0.1:80" {
		t.Errorf("servers %s", got)
	}
}

// TestResolvedKeepsState: addresses that stay keep their state, those that go are retired.
func TestResolvedKeepsState(t *testing.T) {
	s := parse(t, "server a.test resolve;")
	st := NewStore()
	states := map[string]*State{}
	step := func(addrs ...string) {
		s = resolved(s, addrs...)
		st.Apply([]Change{{Name: "dy", Spec: s}})
		now := map[string]*State{}
		for _, sv := range st.Load().Lookup([]byte("dy")).Servers {
			now[sv.Label] = sv.State
		}
		for label, was := range states {
			if now[label] != nil && now[label] != was {
				t.Errorf("%s lost its state", label)
			}
			if gone := now[label] == nil; was.Retired() != gone {
				t.Errorf("%s: retired %v, gone %v", label, was.Retired(), gone)
			}
		}
		states = now
	}
	step("127.0.0.1", "127.0.0.2")
	step("127.0.0.2", "127.0.0.3")
	step()
	step("127.0.0.3")
}
