package upstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"dyups/lb"
)

func names(t *Table) string {
	var all []string
	t.All(func(u *Upstream) bool {
		all = append(all, u.Name)
		return true
	})
	return strings.Join(all, " ")
}

func TestOrder(t *testing.T) {
	s := NewStore()
	f := func(name, body, want string) {
		t.Helper()
		set(t, s, name, body)
		if got := names(s.Load()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	const body = "server 127.0.0.1:1;"
	f("b", body, "b")
	f("a", body, "b a")
	f("c", body, "b a c")
	f("A", body, "b A c")
	f("b", "", "A c")
	f("b", body, "A c b")
	f("", body, "A c b ")
	f("\xff {\n", body, "A c b  \xff {\n")
	if g := s.Load().Generation(); g != 8 {
		t.Errorf("generation %d", g)
	}
	if err := s.Apply([]Change{{Name: "nosuch"}})[0]; !errors.Is(err, ErrNotFound) || s.Load().Generation() != 8 {
		t.Errorf("deleting nothing: %v, generation %d", err, s.Load().Generation())
	}
}

func TestBatch(t *testing.T) {
	s := NewStore()
	a := parse(t, "server 127.0.0.1:1;")
	b := parse(t, "server 127.0.0.1:2;")
	calls := 0
	s.Watch(func(old, now *Table) {
		calls++
		if now.Generation() != old.Generation()+1 || s.Load() != now {
			t.Errorf("watcher sees %d, %d", old.Generation(), now.Generation())
		}
	})
	errs := s.Apply([]Change{{Name: "x"}, {Name: "x", Spec: a}, {Name: "y", Spec: a}, {Name: "X", Spec: b}, {Name: "y"}, {Name: "y"}})
	if got := fmt.Sprint(errs); got != "[no such upstream <nil> <nil> <nil> <nil> no such upstream]" {
		t.Error(got)
	}
	if got := names(s.Load()); got != "X" || calls != 1 || s.Load().Len() != 1 {
		t.Errorf("%q after %d calls", got, calls)
	}
	if err := s.Load().check(); err != nil {
		t.Error(err)
	}
	if s.Apply([]Change{{Name: "y"}}); calls != 1 {
		t.Error("a failed change calls the watchers")
	}
}

func TestStateCarried(t *testing.T) {
	s := storeOf(t, "server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:1;")
	first := s.Load().Lookup([]byte("dy")).Servers
	f := func(body string, want ...int) { // index of the server of first whose state each has, -1: a new one
		t.Helper()
		set(t, s, "dy", body)
		for i, sv := range s.Load().Lookup([]byte("dy")).Servers {
			at := slices.IndexFunc(first, func(o *Server) bool { return o.State == sv.State })
			if at != want[i] {
				t.Errorf("%q: server %d has the state of %d, want %d", body, i, at, want[i])
			}
		}
		for i, o := range first {
			if o.State.Retired() == slices.Contains(want, i) {
				t.Errorf("%q: server %d retired: %v", body, i, o.State.Retired())
			}
		}
	}
	f("server 127.0.0.1:1 weight=5; server 127.0.0.1:2 down; server 127.0.0.1:1 max_fails=7;", 0, 1, 2)
	f("server 127.0.0.1:2; server 127.0.0.1:1; server 127.0.0.1:1; server 127.0.0.1:1;", 1, 0, 2, -1)
	f("server 127.0.0.1:3; server 127.0.0.1:1; server 127.0.0.1:2 backup;", -1, 0, 1)
	f("server 127.0.0.1:2;", 1)
	f("server 127.0.0.1:1; server 127.0.0.1:2;", -1, 1)
	set(t, s, "dy", "")
	f("server 127.0.0.1:2;", -1)
}

// TestNothingForgotten changes an upstream in the middle of things.
func TestNothingForgotten(t *testing.T) {
	const body = "server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:3;"
	s := storeOf(t, body)
	q := &lb.Query{NowNs: 1e18}
	pick := func(want string) (*Upstream, int) {
		t.Helper()
		u := s.Load().Lookup([]byte("dy"))
		q.Tried.Reset()
		i := u.Pick(q)
		if i < 0 || u.Servers[i].Label != "127.0.0.1:"+want {
			t.Fatalf("picked %d, want port %s", i, want)
		}
		return u, i
	}
	u, i := pick("1")
	set(t, s, "dy", body)
	v, j := pick("2")
	if n := s.Load().Lookup([]byte("dy")).Servers[0].State.InFlight(); n != 1 {
		t.Errorf("%d in flight over an update", n)
	}
	if !u.Done(i, Failed, 1e18) || v.Done(j, OK, 1e18) {
		t.Error("one failure of one takes a server out")
	}
	set(t, s, "DY", "server 127.0.0.1:1 weight=2; server 127.0.0.1:3;")
	for range 4 {
		u, i = pick("3") // 1 is still out
		u.Done(i, OK, 1e18)
	}
}

func TestReplace(t *testing.T) {
	s := NewStore()
	a, b := parse(t, "server 127.0.0.1:1;"), parse(t, "server 127.0.0.1:2; server 127.0.0.1:1;")
	if err := s.Replace([]Change{{Name: "x", Spec: a}, {Name: "y", Spec: a}, {Name: "z", Spec: a}}); err != nil {
		t.Fatal(err)
	}
	old := s.Load()
	x, z := old.Lookup([]byte("x")).Servers[0].State, old.Lookup([]byte("z")).Servers[0].State
	for _, bad := range [][]Change{{{Name: "n"}}, {{Name: "n", Spec: a}, {Name: "N", Spec: b}}} {
		if err := s.Replace(bad); err == nil || s.Load() != old || x.Retired() {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := s.Replace([]Change{{Name: "y", Spec: a}, {Name: "n", Spec: a}, {Name: "x", Spec: b}}); err != nil {
		t.Fatal(err)
	}
	now := s.Load()
	if err := now.check(); err != nil {
		t.Fatal(err)
	}
	if got := names(now); got != "y n x" || now.Generation() != 2 || names(old) != "x y z" {
		t.Errorf("%q at %d", got, now.Generation())
	}
	if now.Lookup([]byte("x")).Servers[1].State != x || x.Retired() || !z.Retired() {
		t.Error("states are not carried by Replace")
	}
}

func TestSingle(t *testing.T) {
	u := Single("127.0.0.1:1", ServerSpec{Label: "127.0.0.1:1"})
	q := &lb.Query{}
	for range 3 { // a lone server stays whatever happens
		q.Tried.Reset()
		if i := u.Pick(q); i != 0 || u.Done(i, Failed, 1) {
			t.Fatal(i)
		}
		if i := u.Pick(q); i != -1 {
			t.Fatal("picked twice in one request")
		}
		u.Untry(q, 0)
		if i := u.Pick(q); i != 0 || u.Done(i, OK, 1) {
			t.Fatal(i)
		}
	}
	if u.Tries() != 1 || u.Servers[0].State.InFlight() != 0 || u.Servers[0].State.Fails() != 0 {
		t.Errorf("tries %d", u.Tries())
	}
}

func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(State{}); n != 64 {
		t.Errorf("a State takes %d bytes", n)
	}
}

// TestSlowStartBegins: a server that comes to an upstream, or was marked down in it, begins slowly; one that was there does not.
func TestSlowStartBegins(t *testing.T) {
	s := storeOf(t, "server 127.0.0.1:1; server 127.0.0.1:2 slow_start=1h; server 127.0.0.1:3 down;")
	f := func(body string, slow ...bool) {
		t.Helper()
		set(t, s, "dy", body)
		u := s.Load().Lookup([]byte("dy"))
		got := make([]int, len(u.Servers))
		for range 900 {
			q := lb.Query{NowNs: NowNs()}
			i := u.Pick(&q)
			got[i]++
			u.Done(i, OK, q.NowNs)
		}
		for i, n := range got {
			if (n < 200) != slow[i] {
				t.Errorf("%q: server %d gets %d of 900 requests, slow: want %v", body, i, n, slow[i])
			}
		}
	}
	const params = " slow_start=1h; "
	f("server 127.0.0.1:1"+params+"server 127.0.0.1:2"+params, false, false)
	f("server 127.0.0.1:1"+params+"server 127.0.0.1:2"+params+"server 127.0.0.1:3"+params, false, false, true)
	set(t, s, "dy", "server 127.0.0.1:1"+params+"server 127.0.0.1:2 slow_start=1h down;")
	f("server 127.0.0.1:1"+params+"server 127.0.0.1:2"+params, false, true)
}

// TestWhy: each server says why it gets no requests.
func TestWhy(t *testing.T) {
	s := storeOf(t, "server 127.0.0.1:1 max_conns=1; server 127.0.0.1:2 down; server 127.0.0.1:3 drain; server 127.0.0.1:4 backup; server 127.0.0.1:5 backup down;")
	u := s.Load().Lookup([]byte("dy"))
	f := func(want ...string) {
		t.Helper()
		got := make([]string, len(u.Servers))
		for i := range got {
			got[i] = u.Why(i, NowNs())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", "down", "draining", "backup", "down")
	q := lb.Query{NowNs: NowNs()}
	i := u.Pick(&q)
	f("full", "down", "draining", "", "down")
	u.Done(i, Failed, NowNs())
	f("failed", "down", "draining", "", "down")
	u.Servers[0].State.Bar()
	u.Servers[3].State.Bar()
	f("unhealthy", "down", "draining", "unhealthy", "down")
	set(t, s, "dy", "server 127.0.0.1:1;")
	u = s.Load().Lookup([]byte("dy"))
	u.Servers[0].State.Unbar(NowNs())
	f("") // alone, it is never failed
}

// TestBoundedRemoved: what is still in flight on a server that was taken out gives the others no room beyond their bounds.
func TestBoundedRemoved(t *testing.T) {
	const hash = "hash $uri consistent balance_factor=1.25;"
	s := storeOf(t, hash+"server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:3;")
	u := s.Load().Lookup([]byte("dy"))
	for range 20 {
		if !u.Take(0, new(lb.Query)) {
			t.Fatal("no place")
		}
	}
	set(t, s, "dy", hash+"server 127.0.0.1:2; server 127.0.0.1:3;")
	now := s.Load().Lookup([]byte("dy"))
	var count [2]int
	for range 8 {
		q := lb.Query{Key: []byte("one")}
		count[now.Pick(&q)]++
	}
	if max(count[0], count[1]) > 5 { // of 8, of which half is 4, times 1.25
		t.Errorf("%v requests on the two that are left", count)
	}
	for range 20 {
		u.Done(0, OK, 0)
	}
}

// TestBoundedWindow: a request that goes by the table in force, while the next one is made, changes nothing in what that counts.
func TestBoundedWindow(t *testing.T) {
	const hash = "hash $uri consistent balance_factor=1.25;"
	s := storeOf(t, hash+"server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:3;")
	for range 20 {
		if !s.Load().Lookup([]byte("dy")).Take(0, new(lb.Query)) {
			t.Fatal("no place")
		}
	}
	s.OnNew(func(n *Upstream, _ *Server) { // of the second change; the first one is built
		for k := range 8 {
			q := lb.Query{Key: []byte{byte(k)}}
			was := s.Load().Lookup([]byte("dy"))
			was.Done(was.Pick(&q), OK, 0)
		}
	})
	errs := s.Apply([]Change{
		{Name: "dy", Spec: parse(t, hash+"server 127.0.0.1:1 drain; server 127.0.0.1:2; server 127.0.0.1:3;")},
		{Name: "other", Spec: parse(t, "server 127.0.0.1:9;")},
	})
	var count [3]int
	for range 8 {
		q := lb.Query{Key: []byte("one")}
		count[s.Load().Lookup([]byte("dy")).Pick(&q)]++
	}
	if count[0] > 0 || max(count[1], count[2]) > 5 { // of 8, of which half is 4, times 1.25
		t.Errorf("%v, %v requests on the three, of which the first drains", errs, count)
	}
}
