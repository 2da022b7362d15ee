package lb

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRampLevel(t *testing.T) {
	f := func(elapsed, slowStart int64, want float64) {
		t.Helper()
		if got := rampLevel(elapsed, slowStart); got != want {
			t.Errorf("%d of %d: %v, want %v", elapsed, slowStart, got, want)
		}
	}
	f(0, 100, 0)
	f(25, 100, 0.25)
	f(100, 100, 1)
	f(500, 100, 1)
	f(-5, 100, 0)
	f(0, 0, 1)
}

// TestRampSum: whatever the weights and levels, a peer at its full weight has at most twice its share, nobody more than
// its weight, and nobody less than its level says.
func TestRampSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "peers")
		weights := rapid.SliceOfN(rapid.Float64Range(1, 100), n, n).Draw(t, "weights")
		levels := rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "levels")
		var full, lost, sum float64
		for i, w := range weights {
			full += w
			lost += w * (1 - levels[i])
		}
		keep := rampKeep(full, lost)
		for i, w := range weights {
			share := rampShare(levels[i], keep)
			if share > 1 || share < levels[i]-1e-9 {
				t.Fatalf("level %v: share %v", levels[i], share)
			}
			sum += w * share
		}
		if sum < full*(1-maxLost)-1e-6 {
			t.Fatalf("%v of %v is left", sum, full)
		}
		if lost <= full*maxLost && math.Abs(sum-(full-lost)) > 1e-6 {
			t.Fatalf("a loss of %v within bounds became %v", lost, full-sum)
		}
	})
}

// newSlowBed is newBed with peers that start slowly.
func newSlowBed(m Method, words string, slowStart int64) *bed {
	b := newBed(RoundRobin, words)
	for i := range b.peers {
		b.peers[i].SlowStartNs = slowStart
	}
	b.Picker = NewPlan(m, b.peers).Bind(b.live, &b.cur)
	return b
}

// TestRollingRestart replaces all servers but the last one at once, the worst moment of a rolling restart, and follows
// the shares through the slow start. Nine of ten lose half of the sum at most, so each has 0.89 of its share from the
// beginning.
func TestRollingRestart(t *testing.T) {
	const n, slowStart = 10, int64(30e9)
	words := strings.Repeat("1 ", n)
	f := func(m Method, restarted int, most, early float64) {
		t.Helper()
		b := newSlowBed(m, words, slowStart)
		for i := range restarted {
			b.live[i].Start(b.now)
		}
		var held []int
		old, fresh := 0.0, []float64{}
		for range 10 {
			count := make([]int, n)
			for range 2000 {
				b.now += slowStart / 10 / 2000
				i := b.pick()
				count[i]++
				held = append(held, i)
				if len(held) > 50 { // requests last for 50 others
					b.live[held[0]].Release()
					held = held[1:]
				}
			}
			old = max(old, float64(count[n-1])/2000*n)
			fresh = append(fresh, float64(count[0])/2000*n)
		}
		if old > most {
			t.Errorf("method %d, %d of %d restarted: the last old server had %.2f of its share", m, restarted, n, old)
		}
		if first, last := fresh[0], fresh[len(fresh)-1]; first > early || last < 0.8 || last > 1.2 {
			t.Errorf("method %d, %d of %d restarted: a new one has %.2f of its share, %.2f at last", m, restarted, n, first, last)
		}
		t.Logf("method %d, %d restarted: old at most %.2f of its share, new %.2f", m, restarted, old, fresh)
	}
	f(RoundRobin, 9, 2.3, 0.95)
	f(RoundRobin, 5, 2.2, 0.3)
	f(RoundRobin, 1, 1.3, 0.15)
	f(LeastConn, 9, 2.5, 1.1)
	f(LeastConn, 1, 1.3, 0.1)
}

// TestRampAfterRecovery: a peer that comes back from failures starts slowly, and its probe is let through all the same.
func TestRampAfterRecovery(t *testing.T) {
	b := newBed(RoundRobin, "1 1 1 1")
	for i := range b.peers {
		b.peers[i].SlowStartNs = 20e9
	}
	b.Picker = NewPlan(RoundRobin, b.peers).Bind(b.live, &b.cur)
	b.live[0].Fail(b.now, 1)
	b.run(8)
	b.now += 11e9
	b.run(8)
	if b.live[0].Fails() != 0 {
		t.Fatal("no probe")
	}
	part := func() int { return strings.Count(b.run(400), "0") }
	b.now += 1e9
	early := part()
	b.now += 9e9
	middle := part()
	b.now += 20e9
	late := part()
	if got := []int{early, middle, late}; !slices.IsSorted(got) || early > 30 || middle < 30 || middle > 80 || late != 100 {
		t.Errorf("of 400 requests %v", got)
	}
}

// TestRampLowLoad: with next to no requests in flight, where all are equally idle, a starting peer has the share that it has
// under round robin, from the beginning on, and nobody at its full weight more than twice its own.
func TestRampLowLoad(t *testing.T) {
	const slowStart = int64(30e9)
	f := func(m Method, words string, restarted, held int) {
		t.Helper()
		b := newSlowBed(m, words, slowStart)
		b.now += 1e9
		var all float64
		for i, p := range b.peers {
			all += float64(p.Weight)
			b.live[i].Observe(50e6, 50e6)
			b.live[i].checked.Store(b.now)
		}
		for i := range restarted {
			b.live[i].Start(b.now)
		}
		var open []int
		for step := range 10 {
			const picks = 20000
			count := make([]float64, len(b.peers))
			for range picks {
				b.now += slowStart / 10 / picks
				i := b.pick()
				count[i]++
				if open = append(open, i); len(open) > held {
					b.live[open[0]].Release()
					open = open[1:]
				}
			}
			level := (float64(step) + 0.5) / 10
			var lost float64
			for _, p := range b.peers[:restarted] {
				lost += float64(p.Weight) * (1 - level)
			}
			keep := rampKeep(all, lost)
			for i, p := range b.peers {
				w := float64(p.Weight)
				if i < restarted {
					w *= rampShare(level, keep)
				}
				want := w / (all - lost*keep)
				if got := count[i] / picks; got > 1.1*want+0.005 || got < (0.9-0.1*float64(held))*want-0.005 {
					t.Errorf("method %d, %d of %q restarted, %d held, step %d: peer %d has %.3f of the requests, want %.3f",
						m, restarted, words, held, step, i, got, want)
				}
			}
		}
	}
	for _, m := range []Method{RoundRobin, LeastConn, LeastTime} {
		f(m, "1 1", 1, 0)
		f(m, "1 1 1 1", 1, 0)
		f(m, "1 1 1 1 1 1 1 1 1 1", 9, 0)
		f(m, "3 3 3 3", 2, 0)
	}
	f(LeastConn, "1 1 1 1 1 1 1 1 1 1", 1, 2)
}
