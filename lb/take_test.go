package lb

import (
	"encoding/binary"
	"testing"
)

// TestTake: whatever the method, a peer that drains is never picked and may be taken; one that is down, out, barred, full or
// tried may not.
func TestTake(t *testing.T) {
	for m := RoundRobin; m <= Maglev; m++ {
		peers := make([]Peer, 6)
		live := make([]*Live, 6)
		for i := range peers {
			peers[i] = Peer{Name: string(rune('a' + i)), Weight: 1, MaxFails: 1, FailTimeoutNs: 10e9}
			live[i] = new(Live)
		}
		peers[1].Drain, peers[1].MaxConns = true, 2
		peers[2].Down = true
		peers[3].MaxConns = 1
		p, taker := Options{BalanceFactor: 125 * int(m&1)}.NewPlan(m, peers).BindTaker(live, nil)
		q := Query{NowNs: 1e18}
		for n := range 300 {
			q.Tried.Reset()
			q.Key = binary.BigEndian.AppendUint32(q.Key[:0], uint32(n)*2654435761)
			i := p.Pick(&q)
			if i < 0 || i == 1 || i == 2 {
				t.Fatalf("method %d picks %d", m, i)
			}
			live[i].Release()
		}
		f := func(i int, want bool) {
			t.Helper()
			q.Tried.Reset()
			if got := taker.Take(i, &q); got != want || got != q.Tried.Has(i) {
				t.Errorf("method %d: peer %d is taken: %v, in the set of those tried: %v", m, i, got, q.Tried.Has(i))
			}
		}
		f(0, true)
		f(0, true)
		q.Tried.Add(0)
		if taker.Take(0, &q) {
			t.Errorf("method %d: a peer that was tried is taken", m)
		}
		f(1, true)
		f(1, true)
		f(1, false) // max_conns holds for one that drains, too
		f(2, false)
		f(3, true)
		f(3, false)
		live[3].Release()
		f(3, true)
		live[4].Bar()
		f(4, false)
		live[4].Unbar(q.NowNs)
		live[5].Fail(q.NowNs, 1)
		f(5, false)
		q.NowNs += 11e9
		f(5, true) // let through once
		f(5, false)
		f(4, true)
		for i, n := range []int64{2, 2, 0, 1, 1, 1} {
			if got := live[i].InFlight(); got != n {
				t.Errorf("method %d: %d in flight on peer %d, want %d", m, got, i, n)
			}
		}
		if m == LeastConn { // the tree has seen what was taken: 4 and 5 have one each, 0 has two
			q.Tried.Reset()
			if i := p.Pick(&q); i != 4 {
				t.Errorf("least_conn picks %d, want 4", i)
			}
		}
	}
}

// TestTakeCounts: what is taken counts as load for bounded loads, as waiting for least_time inflight until it is answered, whether
// the peer drains or not, and the peers that drain are no tries.
func TestTakeCounts(t *testing.T) {
	peers := []Peer{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1, Drain: true}, {Name: "d", Weight: 1, Down: true}}
	live := []*Live{new(Live), new(Live), new(Live), new(Live)}
	plan := Options{Inflight: true}.NewPlan(LeastTime, peers)
	_, taker := plan.BindTaker(live, nil)
	q := Query{NowNs: 1e18}
	for i, want := range []bool{true, true, true, false} {
		waiting := func(n int64) {
			t.Helper()
			if got := live[i].details().waiting.Load(); got != n {
				t.Errorf("%d requests of peer %d wait, want %d", got, i, n)
			}
		}
		if taker.Take(i, &q) != want {
			t.Fatalf("peer %d is taken: %v", i, !want)
		}
		if want {
			waiting(1)
			live[i].Answered(q.NowNs)
		}
		waiting(0)
	}
	if n := plan.Tries(); n != 2 {
		t.Errorf("%d tries", n)
	}
	live = []*Live{new(Live), new(Live)}
	picker, taker := Options{BalanceFactor: 125}.NewPlan(ConsistentHash, peers[:2]).BindTaker(live, nil)
	q = Query{NowNs: 1e18, Key: []byte("k")}
	home := picker.Pick(&q)
	for range 9 {
		q.Tried.Reset()
		taker.Take(home, &q)
	}
	q.Tried.Reset()
	if i := picker.Pick(&q); i != 1-home {
		t.Errorf("picked %d, which is beyond its bound", i)
	}
}

// TestHomes: whatever the method, a backup that a session is on is picked once no primary may be used and not before, of several
// the first that may be used.
func TestHomes(t *testing.T) {
	for m := RoundRobin; m <= Maglev; m++ {
		peers := make([]Peer, 6)
		live := make([]*Live, 6)
		for i := range peers {
			peers[i] = Peer{Name: string(rune('a' + i)), Weight: 1, MaxFails: 1, FailTimeoutNs: 10e9, Backup: i >= 2}
			live[i] = new(Live)
		}
		peers[5].Drain = true
		p := Options{BalanceFactor: 125 * int(m&1)}.NewPlan(m, peers).Bind(live, nil)
		q := Query{NowNs: 1e18, Key: []byte("key1")}
		f := func(what string, from, to int, homes ...int) {
			t.Helper()
			for range 20 {
				q.Tried.Reset()
				q.Homes = homes
				i := p.Pick(&q)
				if i < from || i > to || !q.Tried.Has(i) {
					t.Fatalf("method %d, %s: picks %d", m, what, i)
				}
				live[i].Release()
			}
		}
		f("all up", 0, 1, 3)
		live[0].Bar()
		f("one primary out", 1, 1, 3)
		live[1].Fail(q.NowNs, 1)
		f("no primary", 3, 3, 3)
		f("no primary", 4, 4, 4, 3)
		f("no primary, the home drains", 5, 5, 5)
		f("no primary and no home", 2, 4)
		live[3].Bar()
		f("the home is out", 4, 4, 3, 4)
		f("all homes are out", 2, 4, 3)
		live[3].Unbar(q.NowNs)
		q.Tried.Reset()
		q.Homes = []int{3}
		if i, j := p.Pick(&q), p.Pick(&q); i != 3 || j == 3 || j < 2 {
			t.Errorf("method %d: picks %d and then %d", m, i, j)
		}
		live[0].Unbar(q.NowNs)
		f("a primary is back", 0, 0, 3)
	}
}
