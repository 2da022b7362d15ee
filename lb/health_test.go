package lb

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestPassiveHealth(t *testing.T) {
	b := newBed(RoundRobin, "1f2 1f1")
	f := func(want string) {
		t.Helper()
		n := len(strings.Fields(want))
		if got := b.run(n); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	fail := func(i int, out bool) {
		t.Helper()
		for {
			j := b.pick()
			if got := b.done(j, j != i); j == i {
				if got != out {
					t.Fatalf("failure of %d takes it out: %v", i, got)
				}
				return
			}
		}
	}
	f("0 1 0 1")
	fail(0, false)
	f("1 0 1 0") // one failure of two
	fail(0, true)
	f("1 1 1")
	b.now += 10e9
	f("1 1 1") // not before fail_timeout has passed
	b.now++
	i, j, k := b.pick(), b.pick(), b.pick() // one probe only
	if i+j+k != 2 {
		t.Fatalf("picked %d %d %d: want one probe of peer 0", i, j, k)
	}
	for _, p := range []int{i, j, k} {
		b.done(p, true)
	}
	if b.live[0].Fails() != 0 {
		t.Fatal("a passed check is not a recovery")
	}
	fail(0, false)
	fail(1, true)
	fail(0, true)
	f("-1 -1") // all out
	b.now += 10e9 + 1
	if i := b.pick(); i < 0 || !b.done(i, false) {
		t.Fatal("a failed probe does not take the peer out again")
	}
}

// TestLateSuccess: a request that was under way when the peer failed is no passed check.
func TestLateSuccess(t *testing.T) {
	b := newBed(RoundRobin, "1 1")
	b.pick()
	b.pick()
	b.pick()
	b.done(0, false)
	b.done(0, true)
	if got := b.run(2); got != "1 1" {
		t.Error(got)
	}
}

// TestFailuresInTurn is the balance of nginx's upstream.t: every third request to one of two peers fails.
func TestFailuresInTurn(t *testing.T) {
	b := newBed(RoundRobin, "1f3 1f3")
	served := [2]int{}
	count := 0
	for range 30 {
		i := b.pick()
		if i == 0 {
			if count++; count%3 == 0 {
				b.done(0, false)
				i = b.again()
			}
		}
		served[i]++
		b.done(i, true)
	}
	if served != [2]int{6, 24} {
		t.Error(served)
	}
}

func TestLonePeer(t *testing.T) {
	b := newBed(RoundRobin, "1")
	for range 3 {
		b.done(b.pick(), false)
	}
	if got := b.run(2); got != "0 0" {
		t.Error(got)
	}
	b = newBed(RoundRobin, "1 1b") // a backup makes it one of two
	b.done(b.pick(), false)
	if got := b.run(2); got != "1 1" {
		t.Error(got)
	}
}

func TestMaxConns(t *testing.T) {
	f := func(m Method, peers, want string) {
		t.Helper()
		b := newBed(m, peers)
		b.q.Key = []byte{127, 0, 0, 1}
		var got []int
		for range strings.Fields(want) {
			got = append(got, b.pick())
		}
		if m != RoundRobin && m != LeastConn {
			slices.Sort(got)
		}
		if g := strings.Trim(fmt.Sprint(got), "[]"); g != want {
			t.Errorf("%s: got %s, want %s", peers, g, want)
		}
	}
	f(RoundRobin, "1c3", "0 0 0 -1")
	f(RoundRobin, "1c2 1b", "0 0 1 1 1 1")
	f(RoundRobin, "1c2 1bc3", "0 0 1 1 1 -1")
	f(RoundRobin, "1c1 1c1", "0 1 -1 -1")
	f(RoundRobin, "2c1 1", "0 1 1 1")
	f(RoundRobin, "1c1 1c1 1", "0 1 2 2 2 2")
	f(LeastConn, "1c1 1", "0 1 1 1")
	f(LeastConn, "1c2 1b", "0 0 1 1 1 1")
	f(LeastConn, "1c2 1bc3", "0 0 1 1 1 -1")
	f(LeastConn, "1 1 1", "0 1 2 2 1 0")
	f(LeastConn, "3 1", "0 1 0 0 0 1 0 0")
	f(IPHash, "1c1 1c2", "-1 0 1 1")
	f(Hash, "1c1 1c2", "-1 0 1 1")
	f(ConsistentHash, "1c1 1c2", "-1 0 1 1")
	f(Random, "1c1 1c2", "-1 0 1 1")
	f(RandomTwo, "1c1 1c2", "-1 0 1 1")
}

// TestManyDead: with most peers out, a pick does not search for long, and those that return are used again.
func TestManyDead(t *testing.T) {
	const n = 10000
	b := newBed(RoundRobin, strings.Repeat("1 ", n))
	for i := range n - 2 {
		b.live[i].Fail(b.now, 1)
	}
	b.run(20)
	if live := b.Picker.(*roundRobin).primary.roll.live.Load(); live != 2 {
		t.Fatalf("%d slots are in use", live)
	}
	if got := b.run(2); got != "9998 9999" && got != "9999 9998" {
		t.Error(got)
	}
	b.now += 10e9 + 1
	served := map[int]bool{}
	for range n + 100 {
		i := b.pick()
		served[i] = true
		b.done(i, true)
	}
	if len(served) != n {
		t.Errorf("%d peers are used after the timeout", len(served))
	}
	for i := range n {
		b.live[i].Fail(b.now, 1)
	}
	if got := b.run(3); got != "-1 -1 -1" {
		t.Error(got)
	}
	b.now += 10e9 + 1
	if b.pick() < 0 {
		t.Error("no probe after all peers were out")
	}
}

// TestConcurrent checks from many goroutines that max_conns holds, that one probe is one probe, and the spread.
func TestConcurrent(t *testing.T) {
	for _, p := range policies {
		b := bedOf(p.m, p.o, "1c1 3c2 1 2 1b")
		b.live[2].Fail(b.now-11e9, 1) // let through once
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				q := &Query{NowNs: b.now, Key: []byte{10, 0, byte(g), 1}}
				for range 2000 {
					q.Tried.Reset()
					i := b.Pick(q)
					if n := b.live[i].InFlight(); b.peers[i].MaxConns > 0 && n > int64(b.peers[i].MaxConns) {
						t.Errorf("%s: %d in flight on peer %d", p.name, n, i)
					}
					if i != 2 {
						b.live[i].Release() // a probe is kept under way
					}
				}
			}()
		}
		wg.Wait()
		if n := b.live[2].InFlight(); n > 1 {
			t.Errorf("%s: %d probes at once", p.name, n)
		}
	}
}

// TestDownWithFailures: a peer that has failed and is then marked down is nobody to set aside.
func TestDownWithFailures(t *testing.T) {
	same := false
	f := func(words, want string) {
		t.Helper()
		for _, p := range policies {
			b := bedOf(p.m, p.o, words)
			b.live[0].Fail(b.now, 1)
			b.live[1].Fail(b.now, 1)
			if same {
				b.peers[1].Name = b.peers[0].Name
				b.Picker = p.o.NewPlan(p.m, b.peers).Bind(b.live, &b.cur)
			}
			for k := range 40 {
				b.q.Key = []byte{byte(k), 0, byte(k), 1}
				if got := b.run(1); got != want {
					t.Fatalf("%s, %s: %s, want %s", p.name, words, got, want)
				}
			}
		}
	}
	for _, same = range []bool{false, true} { // with names of their own, and with one
		f("1d 1d", "-1")
		f("1d 1d 1b", "2")
		f("1d 1 1", "2")
		f("1 2d 1 1b", "2")
		f("1 1d 1b", "2")
	}
}

// TestOrderWithoutDead: in groups that are too large for weights of the moment, the turn without its dead peers is in nginx's order
// of the others.
func TestOrderWithoutDead(t *testing.T) {
	f := func(words, want string, dead ...int) {
		t.Helper()
		large := func() *bed {
			b := newBed(RoundRobin, words)
			b.Picker.(*roundRobin).primary.small = false
			return b
		}
		b := large()
		for _, i := range dead {
			b.live[i].Fail(b.now, 1)
		}
		b.run(200)
		b.cur.primary.Store(0)
		if got := b.run(len(strings.Fields(want))); got != want {
			t.Errorf("%s without %v: %s, want %s", words, dead, got, want)
		}
		b.now += 10e9 + 1
		b.run(200)
		b.cur.primary.Store(0)
		if got, want := b.run(40), large().run(40); got != want {
			t.Errorf("%s with %v back: %s, want %s", words, dead, got, want)
		}
	}
	f("1 1 1 1", "0 2 3 0 2 3", 1)
	f("1 1 1 1 1 1", "1 4 1 4 1", 0, 2, 3, 5)
	f("5 1 1", "0 0 0 2 0 0 0 0 0 2 0 0", 1)
	f("5 1 1", "1 2 1 2", 0)
	f("1 1", "1 1", 0)
	f("1 1", "-1 -1", 0, 1)
}
