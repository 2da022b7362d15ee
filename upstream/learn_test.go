package upstream

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

const learnBody = "sticky learn create=$a lookup=$b zone=z:32k timeout=1m;"

// len is the number of sessions, those included whose time is over and which nothing has swept yet. It checks the order.
func (s *sessionTable) len(t *testing.T) int {
	t.Helper()
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		seen := 0
		for e := sh.oldest; e != nil; e = e.newer {
			if seen++; sh.by[e.key] != e || e.newer == nil && sh.newest != e || e.newer != nil && (e.newer.older != e || e.newer.usedNs < e.usedNs) {
				t.Errorf("shard %d is not in order", i)
			}
		}
		if seen != len(sh.by) {
			t.Errorf("shard %d has %d sessions in order, %d in all", i, seen, len(sh.by))
		}
		n += seen
		sh.mu.Unlock()
	}
	return n
}

// TestLearn: a session is where it was answered last, for as long as it is used, through every update that keeps its server.
func TestLearn(t *testing.T) {
	s := storeOf(t, learnBody+"server 127.0.0.1:1; server 127.0.0.1:2;")
	now := int64(1e18)
	up := func() *Upstream { return s.Load().Lookup([]byte("dy")) }
	f := func(name string, want ...int) {
		t.Helper()
		if got := up().Session([]byte(name), now); !slices.Equal(got, want) {
			t.Errorf("session %q is on servers %v, want %v", name, got, want)
		}
	}
	learn := func(name string, create bool, i int) { up().Learned([]byte(name), create, i, now) }
	f("")
	f("a")
	learn("a", false, 1)
	f("a")
	learn("a", true, 1)
	learn("b", true, 0)
	f("a", 1)
	f("b", 0)
	learn("a", false, 0)
	f("a", 0)
	learn("a", true, 1)
	set(t, s, "dy", "server 127.0.0.1:3; server 127.0.0.1:2 drain; server 127.0.0.1:1 weight=5;"+learnBody)
	f("a", 1)
	f("b", 2)
	set(t, s, "dy", learnBody+"server 127.0.0.1:1;")
	f("a")
	set(t, s, "dy", learnBody+"server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:2;")
	f("a", 1, 2)
	now += int64(40 * time.Second)
	learn("a", false, 1)
	now += int64(40 * time.Second)
	f("a", 1, 2)
	f("b") // its time is over
	now += int64(40 * time.Second)
	f("a")
	learn("a", false, 1) // too late
	f("a")
	set(t, s, "dy", "")
	set(t, s, "dy", learnBody+"server 127.0.0.1:1;")
	learn("c", true, 0)
	if n := up().sessions.len(t); n != 1 {
		t.Errorf("%d sessions of an upstream that is new", n)
	}
}

// TestLearnRoute: a session goes with the route of its server to another address, and stays with the address while it has the route or
// nobody has.
func TestLearnRoute(t *testing.T) {
	s := storeOf(t, learnBody+"server 127.0.0.1:1 route=a; server 127.0.0.1:2 route=b; server 127.0.0.1:3;")
	up := func() *Upstream { return s.Load().Lookup([]byte("dy")) }
	for i, name := range []string{"a", "b", "c"} {
		up().Learned([]byte(name), true, i, 1)
	}
	f := func(body string, a, b, c []int) {
		t.Helper()
		set(t, s, "dy", learnBody+body)
		for name, want := range map[string][]int{"a": a, "b": b, "c": c} {
			if got := up().Session([]byte(name), 1); !slices.Equal(got, want) {
				t.Errorf("%s: session %q is on servers %v, want %v", body, name, got, want)
			}
		}
	}
	f("server 127.0.0.1:3; server 127.0.0.1:4 route=b; server 127.0.0.1:1 route=a;", []int{2}, []int{1}, []int{0})
	f("server 127.0.0.1:2 route=a; server 127.0.0.1:1 route=b; server 127.0.0.1:3 route=c;", []int{0}, []int{1}, []int{2})
	f("server 127.0.0.1:4 route=a; server 127.0.0.1:1 route=a; server 127.0.0.1:5 route=b;", []int{1}, []int{2}, nil)
	f("server 127.0.0.1:1; server 127.0.0.1:2 route=c;", []int{0}, []int{1}, nil)
	f("server 127.0.0.1:5 route=c;", nil, nil, nil)
}

// TestLearnBound: the zone bounds the sessions, and those used last stay; a smaller zone takes effect.
func TestLearnBound(t *testing.T) {
	s := storeOf(t, "sticky learn create=$a lookup=$b zone=z:64k; server 127.0.0.1:1;")
	u := s.Load().Lookup([]byte("dy"))
	name := func(i int) []byte { return fmt.Appendf(nil, "session %d", i) }
	for i := range 5000 {
		u.Learned(name(i), true, 0, int64(i))
		u.Learned(name(0), true, 0, int64(i))
	}
	if n := u.sessions.len(t); n > 409 || n < 390 {
		t.Errorf("%d sessions in a zone of 409", n)
	}
	found := 0
	for i := 4700; i < 5000; i++ {
		if u.Session(name(i), 5000) != nil {
			found++
		}
	}
	if u.Session(name(0), 5000) == nil || u.Session(name(1), 5000) != nil || found < 250 {
		t.Errorf("not the oldest are forgotten: of the last 300 sessions %d are there", found)
	}
	set(t, s, "dy", learnBody+"server 127.0.0.1:1;")
	u = s.Load().Lookup([]byte("dy"))
	for i := range 500 {
		u.Learned(name(10000+i), true, 0, 6000)
	}
	if n := u.sessions.len(t); n > 204 {
		t.Errorf("%d sessions in a zone of 204", n)
	}
}

// TestLearnRaces: sessions are learned and looked up on all loops while the upstream changes.
func TestLearnRaces(t *testing.T) {
	s := storeOf(t, learnBody+"server 127.0.0.1:1; server 127.0.0.1:2;")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				u := s.Load().Lookup([]byte("dy"))
				name := fmt.Appendf(nil, "%d", (i*7+g)%400)
				for _, at := range u.Session(name, int64(i)) {
					if at >= len(u.Servers) {
						t.Errorf("session %s is on server %d of %d", name, at, len(u.Servers))
					}
				}
				u.Learned(name, i%3 != 0, i%len(u.Servers), int64(i))
			}
		})
	}
	for i := range 50 {
		set(t, s, "dy", fmt.Sprintf("%sserver 127.0.0.1:%d; server 127.0.0.1:2;", learnBody, 1+i%3*2))
	}
	wg.Wait()
}

// TestSessionBytes: a session takes no more memory than the zone's size allows for, and looking one up allocates nothing.
func TestSessionBytes(t *testing.T) {
	const n = 100_000
	u := storeOf(t, fmt.Sprintf("sticky learn create=$a lookup=$b zone=z:%d; server 127.0.0.1:1;", n*sessionBytes)).Load().Lookup([]byte("dy"))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 2 * n { // what is forgotten leaves nothing behind
		u.Learned(fmt.Appendf(nil, "%d", i), true, 0, 1)
	}
	if each := (float64(heap()) - float64(before)) / n; each > sessionBytes {
		t.Errorf("a session takes %.0f bytes, more than %d", each, sessionBytes)
	} else {
		t.Logf("a session takes %.0f bytes", each)
	}
	name := fmt.Appendf(nil, "%d", 2*n-1)
	if a := testing.AllocsPerRun(100, func() {
		if u.Session(name, 2) == nil {
			t.Error("the last session is not found")
		}
		u.Learned(name, false, 0, 2)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
