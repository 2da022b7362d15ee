package lb

import (
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestAverage: the first time counts whole, each one after that a twentieth, rounded to milliseconds as nginx does.
func TestAverage(t *testing.T) {
	f := func(want uint32, ms ...int64) {
		t.Helper()
		var avg atomic.Uint32
		for _, v := range ms {
			average(&avg, v*1e6)
		}
		if avg.Load() != want {
			t.Errorf("%v: %d, want %d", ms, avg.Load(), want)
		}
	}
	f(100, 100)
	f(105, 100, 200)
	f(95, 100, 0)
	f(110, 100, 200, 200) // 105 -> 0.5 + 10 + 99.75
	f(7, 0, 7)            // 0 is no average yet
	f(100, 100, -1)
	var l Live
	l.Observe(30e6, -1)
	if h, b := l.Times(); h != 30 || b != 0 {
		t.Errorf("times %d and %d", h, b)
	}
}

// TestEta follows the steps of nginx's estimate, in milliseconds.
func TestEta(t *testing.T) {
	const now = int64(1e18)
	f := func(averageMs uint32, idle, conns, weight int64, want float64) {
		t.Helper()
		l := &Live{}
		l.checked.Store(now - idle)
		l.inFlight.Store(int32(conns) * onePlace)
		p := peer{live: l, failTimeout: 10e9, weight: weight}
		if got := p.eta(averageMs, false, now); got != want {
			t.Errorf("average %d, idle %d, %d in flight, weight %d: %v, want %v", averageMs, idle, conns, weight, got, want)
		}
	}
	f(0, 0, 0, 1, 20)
	f(19, 0, 0, 1, 20)
	f(20, 0, 0, 1, 40)
	f(95, 0, 0, 1, 100)
	f(95, 0, 3, 1, 400)
	f(95, 0, 3, 4, 100)
	f(5000, 0, 0, 1, 5020)
	f(9000, 0, 0, 1, 5000)
	f(400, 10e9, 0, 1, 420) // just within fail_timeout
	f(400, 11e9, 0, 1, 220) // halved once
	f(400, 22e9, 0, 1, 120) // twice
	f(400, 1e18, 0, 1, 20)

	l := &Live{}
	p := peer{live: l, failTimeout: 10e9, weight: 1}
	l.checked.Store(now)
	p.visit(now-300e6, true)
	p.visit(now-100e6, true)
	if got := p.eta(50, true, now); got != 220 { // mean age 200 ms
		t.Errorf("two wait: %v", got)
	}
	l.Answered(now - 300e6)
	if got := p.eta(50, true, now); got != 120 {
		t.Errorf("one waits: %v", got)
	}
	l.Answered(now - 100e6)
	if got := p.eta(50, true, now); got != 60 {
		t.Errorf("none waits: %v", got)
	}
}

// TestLeastTime: the fast peer is preferred until enough requests wait for it.
func TestLeastTime(t *testing.T) {
	f := func(o Options, headerMs, lastMs int64, want string) {
		t.Helper()
		b := bedOf(LeastTime, o, "1 1")
		for i, l := range b.live {
			l.checked.Store(b.now)
			if i == 0 {
				l.Observe(headerMs*1e6, lastMs*1e6)
			} else {
				l.Observe(50e6, 50e6)
			}
		}
		var got []string
		for range strings.Fields(want) {
			got = append(got, string(rune('0'+b.pick())))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%+v: %s, want %s", o, g, want)
		}
	}
	f(Options{}, 50, 50, "0 1 0 1")
	f(Options{}, 10, 500, "0 0 1 0 0 0 1 0") // 20 40 60=60 60 80 100 120=120 120
	f(Options{LastByte: true}, 10, 170, "1 1 0 1 1 1 0 1")
	f(Options{LastByte: true}, 170, 10, "0 0 1 0 0 0 1 0")
}

// TestLeastTimeInflight: a peer that does not answer is avoided, though its average is good.
func TestLeastTimeInflight(t *testing.T) {
	b := bedOf(LeastTime, Options{Inflight: true}, "1 1")
	for _, l := range b.live {
		l.checked.Store(b.now)
		l.Observe(30e6, 30e6)
	}
	i, start := b.pick(), b.now
	b.now += 400e6
	b.live[1-i].moveClock(b.now)
	for range 3 {
		j, at := b.pick(), b.now
		if j == i {
			t.Fatalf("picked %d again, which has not answered", j)
		}
		b.live[j].Answered(at)
		b.done(j, true)
	}
	b.live[i].Answered(start)
	b.live[i].Release()
	if m := b.live[i].details(); m.waiting.Load() != 0 || m.began.Load() != 0 {
		t.Error("something still waits")
	}
}

// moveClock lets the board of l see the time at once, which a pick tells it otherwise.
func (l *Live) moveClock(now int64) {
	g := l.seat.Load().group
	g.board.clock.Store(now)
	for _, i := range g.members {
		g.moved(&g.peers[i])
	}
}

// TestLeastTimeModel: whoever is picked has the least estimate of all.
func TestLeastTimeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{2, 5, 100}).Draw(t, "peers")
		b := bedOf(LeastTime, Options{LastByte: true}, strings.Repeat("1 2 ", n))
		for _, l := range b.live {
			l.checked.Store(b.now)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			lowest := 1e18
			before := make([]float64, len(b.live))
			peers := b.Picker.(*least).peers
			for i := range peers {
				before[i] = peers[i].eta(b.live[i].details().lastByte.Load(), false, b.now)
				lowest = min(lowest, before[i])
			}
			i := b.pick()
			if float32(before[i]) != float32(lowest) {
				t.Fatalf("picked %d with %v, least is %v", i, before[i], lowest)
			}
			if rapid.Bool().Draw(t, "ends") {
				b.live[i].Observe(0, rapid.Int64Range(0, 8e9).Draw(t, "time"))
				b.done(i, true)
			}
		}
	})
}

// TestTimeGoesOn: loads that go by time are known at the first pick of a later millisecond, as long as the members are few; of
// many, 64 more with each.
func TestTimeGoesOn(t *testing.T) {
	f := func(n int, picks, stale int) {
		t.Helper()
		b := newBed(LeastTime, strings.Repeat("1 ", n))
		for _, l := range b.live {
			l.Observe(800e6, 800e6)
			l.checked.Store(b.now)
		}
		b.done(b.pick(), true)
		b.now += 11e9 // fail_timeout is over: the averages count half
		for range picks {
			b.now += 1e6
			b.live[b.pick()].Release()
		}
		g, old := &b.Picker.(*least).primary, 0
		for k, i := range g.members {
			if g.board.tree.levels[0][k].Load() != g.key(&g.peers[i]) {
				old++
			}
		}
		if old > stale {
			t.Errorf("%d members, %d picks: %d loads are out of date, want %d at most", n, picks, old, stale)
		}
	}
	f(3, 1, 0)
	f(64, 1, 0)
	f(200, 1, 200-64)
	f(200, 4, 0)
}
