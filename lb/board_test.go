package lb

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestBoardConcurrent: after many goroutines have picked and given back, everything is counted.
func TestBoardConcurrent(t *testing.T) {
	for _, p := range policies {
		if p.m != LeastConn && p.m != LeastTime && p.o.BalanceFactor == 0 {
			continue
		}
		b := bedOf(p.m, p.o, strings.Repeat("1 2c3 ", 40))
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				q := &Query{NowNs: b.now + int64(g), Key: make([]byte, 4)}
				var held []int
				for k := range 1500 {
					q.Tried.Reset()
					q.Key[0], q.Key[1] = byte(k*7), byte(g)
					if i := b.Pick(q); i >= 0 {
						held = append(held, i)
					}
					switch {
					case k%50 == 9:
						b.live[k%40].Fail(q.NowNs, 1)
						q.NowNs += 11e9
					case len(held) > 5:
						b.live[held[0]].Succeed()
						b.live[held[0]].Release()
						held = held[1:]
					}
				}
				for _, i := range held {
					b.live[i].Release()
				}
			}()
		}
		wg.Wait()
		for i, l := range b.live {
			if l.InFlight() != 0 {
				t.Fatalf("%s: %d in flight on %d", p.name, l.InFlight(), i)
			}
		}
		if pick, ok := b.Picker.(*least); ok {
			g := &pick.primary
			g.board.tree.check(t)
			for k, i := range g.members {
				if got, want := g.board.tree.levels[0][k].Load(), g.key(&g.peers[i]); p.m == LeastConn && got != want {
					t.Fatalf("%s: key of %d is %d, want %d", p.name, k, got, want)
				}
			}
		} else if n := b.Picker.(*bounded).primary.board.tally.total.Load(); n != 0 {
			t.Fatalf("%s: %d counted in flight", p.name, n)
		}
	}
}

// TestSeatTaken: a picker that another has been bound over sees what that one's requests do after a while, also when
// the other is never used.
func TestSeatTaken(t *testing.T) {
	b := newBed(LeastConn, "1 1 1")
	for range 9 {
		b.pick()
	}
	NewPlan(RoundRobin, b.peers).Bind(b.live, nil) // never published
	for range 3 {
		b.live[2].Release()
	}
	got := -1
	for range 2000 { // each looks at one of three members, one time in eight
		if got = b.pick(); got == 2 {
			break
		}
		b.live[got].Release()
	}
	if got != 2 {
		t.Error("the idle peer is not seen")
	}
}

// TestBoundedSeatTaken is the same for balance_factor, with next to no requests in flight and but one key.
func TestBoundedSeatTaken(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 1 1 1")
	var held []int
	for k := range 40 {
		b.q.Key = fmt.Append(nil, "key", k)
		held = append(held, b.pick())
	}
	NewPlan(RoundRobin, b.peers).Bind(b.live, nil) // never published
	for _, i := range held {
		b.live[i].Release()
	}
	total := &b.Picker.(*bounded).primary.board.tally.total
	for range 2000 {
		b.live[b.pick()].Release()
		b.now++
	}
	if n := total.Load(); n != 0 {
		t.Errorf("%d counted in flight", n)
	}
}

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
		if n := b.Picker.(*bounded).primary.board.tally.total.Load(); int(n) != total {
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
