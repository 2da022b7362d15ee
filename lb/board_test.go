package lb

import (
	"strings"
	"sync"
	"testing"
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
		} else if n := b.Picker.(*bounded).primary.total.Load(); n != 0 {
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
