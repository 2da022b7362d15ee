package lb

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestBounded: nobody ever gets more than its part of the requests in flight times the factor, however the keys are.
func TestBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 20)
		o := Options{BalanceFactor: rapid.SampledFrom([]int{101, 125, 150, 300}).Draw(t, "factor")}
		b := bedOf(ConsistentHash, o, w)
		keys := rapid.IntRange(1, 5).Draw(t, "keys")
		dead := kill(t, b)
		alive, total := 0, 0
		for i, w := range weights {
			if !dead[i] {
				alive += w
			}
		}
		for k := range weights { // meet the dead ones
			b.q.Key = fmt.Append(nil, "other", k)
			for i := b.pick(); i >= 0; i = b.again() {
				b.live[i].Release()
			}
		}
		for k := range rapid.IntRange(1, 300).Draw(t, "requests") {
			b.q.Key = fmt.Append(nil, "key", k%keys)
			i := b.pick()
			total++
			// The places are dealt out whole, so a peer may have one more than its part, and one at least.
			part := float64(total) * float64(o.BalanceFactor) / 100 * float64(weights[i]) / float64(alive)
			if n := float64(b.live[i].InFlight()); dead[i] || n > max(1, part+2) {
				t.Fatalf("weights %v, %d of %d on peer %d, part %.2f", weights, int(n), total, i, part)
			}
		}
		if n := b.Picker.(*bounded).primary.total.Load(); int(n) != total {
			t.Fatalf("%d counted, %d in flight", n, total)
		}
	})
}

// TestBoundedIdle: without load a key goes where it goes without a bound.
func TestBoundedIdle(t *testing.T) {
	with, without := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 2 3 1"), newBed(ConsistentHash, "1 2 3 1")
	for k := range 500 {
		key := fmt.Append(nil, "key", k)
		with.q.Key, without.q.Key = key, key
		if a, b := with.run(1), without.run(1); a != b {
			t.Fatalf("%s: %s, without bound %s", key, a, b)
		}
	}
}

// TestSums: whatever pickers are bound over the peers one after the other, and whichever of them are used, the total is the
// requests in flight on the members of the last one, to the place, if that is bounded, and else none. Seats are of the last one's board.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bd := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 2 3f9 1 1b 4c2 2b 1")
		type bound struct {
			Picker
			Taker
			plan *Plan
		}
		bind := func(o Options, m Method, peers []Peer) bound {
			plan := o.NewPlan(m, peers)
			p, k := plan.BindTaker(bd.live, &bd.cur)
			return bound{p, k, plan}
		}
		all := []bound{bind(Options{BalanceFactor: 125}, ConsistentHash, bd.peers)}
		var held []int
		got := func(i int) {
			if i >= 0 {
				held = append(held, i)
			}
		}
		check := func() {
			last := all[len(all)-1]
			var want int64
			for i, l := range bd.live {
				d := &last.plan.peers[i]
				member := last.plan.bounded() && !d.Backup && !d.Down && !d.Drain
				if member {
					want += l.InFlight()
				}
				if is := l.inFlight.Load()&counted != 0; is != member {
					t.Fatalf("peer %d is counted: %v, a member of a bounded group: %v", i, is, member)
				}
				if p := l.seat.Load(); member && p.group.board != nil {
					t.Fatalf("peer %d has a seat at a board", i)
				}
			}
			if got := bd.cur.total.Load(); got != want {
				t.Fatalf("%d counted, %d in flight on members", got, want)
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			p := all[max(0, len(all)-1-rapid.IntRange(0, 2).Draw(t, "before"))]
			bd.q.Tried.Reset()
			bd.q.NowNs = bd.now
			bd.q.Key = fmt.Append(nil, rapid.IntRange(0, 99).Draw(t, "key"))
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0, 1:
				got(p.Pick(&bd.q))
				got(p.Pick(&bd.q))
			case 2:
				if i := rapid.IntRange(0, len(bd.live)-1).Draw(t, "peer"); p.Take(i, &bd.q) {
					got(i)
				}
			case 3, 4:
				if len(held) > 0 {
					k := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					bd.live[held[k]].Succeed()
					bd.live[held[k]].Release()
					held = append(held[:k], held[k+1:]...)
				}
			case 5:
				bd.live[rapid.IntRange(0, len(bd.live)-1).Draw(t, "peer")].Fail(bd.now, 1)
				bd.now += 4e9
			default:
				peers := append([]Peer(nil), bd.peers...)
				for k := range peers {
					d := &peers[k]
					switch rapid.IntRange(0, 9).Draw(t, "change") {
					case 0:
						d.Drain = true
					case 1:
						d.Down = true
					case 2:
						d.Backup = !d.Backup
					}
				}
				m := policies[rapid.IntRange(0, len(policies)-1).Draw(t, "method")]
				if rapid.Bool().Draw(t, "bounded") {
					m.m, m.o = ConsistentHash, Options{BalanceFactor: 150}
				}
				all = append(all, bind(m.o, m.m, peers))
			}
			check()
		}
		for _, i := range held {
			bd.live[i].Release()
		}
		if n := bd.cur.total.Load(); n != 0 {
			t.Fatalf("%d counted, none in flight", n)
		}
	})
}

// TestSumsLeave: what has left counts no more, also when a picker from before still picks it.
func TestSumsLeave(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 1 1 1")
	for k := range 40 {
		b.q.Key = fmt.Append(nil, "key", k)
		b.pick()
	}
	Options{BalanceFactor: 125}.NewPlan(ConsistentHash, b.peers[1:]).Bind(b.live[1:], &b.cur)
	b.live[0].Leave()
	picked := 0
	for k := range 100 {
		b.q.Key = fmt.Append(nil, k)
		if i := b.pick(); i == 0 {
			picked++
		}
	}
	b.live[0].Release()
	others := b.live[1].InFlight() + b.live[2].InFlight() + b.live[3].InFlight()
	if got := b.cur.total.Load(); got != others || picked == 0 {
		t.Errorf("%d counted, %d in flight on those that stay; %d picks of the one that left", got, others, picked)
	}
}

// TestBoundedWeight: peers that are dead are left out of the weight that is shared, until they are back.
func TestBoundedWeight(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 150}, "1 2 1 1 1 1 1 1")
	run := func(want int64) {
		t.Helper()
		for k := range 200 {
			b.q.Key = fmt.Append(nil, k)
			i := b.pick()
			b.live[i].Succeed()
			b.live[i].Release()
		}
		if w := b.Picker.(*bounded).primary.weight.Load(); w != want {
			t.Errorf("the weight is %d, want %d", w, want)
		}
	}
	run(9)
	for i := range 6 {
		b.live[i].Fail(b.now, 1)
	}
	run(2)
	b.now += 11e9
	run(9)
}

// TestSumsConcurrent: no place is lost, or counted twice, while pickers replace each other.
func TestSumsConcurrent(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, strings.Repeat("1 2c3 ", 6))
	var now atomic.Pointer[Picker]
	now.Store(&b.Picker)
	var wg sync.WaitGroup
	var stop atomic.Bool
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			q := &Query{NowNs: b.now, Key: make([]byte, 2)}
			var held []int
			for k := 0; !stop.Load(); k++ {
				q.Tried.Reset()
				q.Key[0], q.Key[1] = byte(k*7), byte(g)
				if i := (*now.Load()).Pick(q); i >= 0 {
					held = append(held, i)
				}
				if len(held) > 5 {
					b.live[held[0]].Release()
					held = held[1:]
				}
			}
			for _, i := range held {
				b.live[i].Release()
			}
		}()
	}
	for k := range 300 {
		p := policies[k%len(policies)]
		if k%2 == 0 {
			p.m, p.o = ConsistentHash, Options{BalanceFactor: 125}
		}
		picker := p.o.NewPlan(p.m, b.peers).Bind(b.live, &b.cur)
		now.Store(&picker)
	}
	stop.Store(true)
	wg.Wait()
	if n := b.cur.total.Load(); n != 0 {
		t.Errorf("%d counted, none in flight", n)
	}
	for i, l := range b.live {
		if l.InFlight() != 0 {
			t.Errorf("%d in flight on %d", l.InFlight(), i)
		}
	}
}

// TestBound: the bounds of all are as many places as the requests in flight and the one to come, times the factor, rounded up.
func TestBound(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 5 2 2 3").Picker.(*bounded)
	for total := range int64(200) {
		b.primary.total.Store(total)
		var sum int64
		for i := range b.peers {
			n := b.bound(&b.peers[i])
			part := float64(total+1) * 1.25 * float64(b.peers[i].weight) / 13
			if d := float64(n) - part; n > 1 && (d > 2 || d < -1) {
				t.Errorf("%d in flight: peer %d may have %d, its part is %.2f", total, i, n, part)
			}
			sum += n
		}
		if want := ((total+1)*125 + 99) / 100; total > 20 && sum != want {
			t.Errorf("%d in flight: %d places, want %d", total, sum, want)
		}
	}
}

// TestBoundedReplaced: a picker that another method has taken the place of has no bounds, as it knows no sum.
func TestBoundedReplaced(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 1 1 1")
	b.q.Key = []byte("one")
	home := b.pick()
	NewPlan(RoundRobin, b.peers).Bind(b.live, &b.cur)
	for range 20 {
		if i := b.pick(); i != home {
			t.Fatalf("picked %d, want %d", i, home)
		}
	}
}
