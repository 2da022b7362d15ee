package lb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bed is a picker over peers that a test plays with.
type bed struct {
	Picker
	peers []Peer
	live  []*Live
	cur   Cursor
	q     Query
	now   int64
}

// newBed makes peers from one word each: a weight, then any of d (down), b (backup), cN (max_conns), fN (max_fails;
// 1 without), all with fail_timeout=10s.
func newBed(m Method, words string) *bed {
	b := &bed{now: 1e18}
	for i, w := range strings.Fields(words) {
		p := Peer{Name: fmt.Sprintf("10.0.0.%d:80", i), MaxFails: 1, FailTimeoutNs: 10e9}
		at := &p.Weight
		for _, c := range w {
			switch {
			case c == 'd':
				p.Down = true
			case c == 'b':
				p.Backup = true
			case c == 'c':
				at = &p.MaxConns
			case c == 'f':
				at, p.MaxFails = &p.MaxFails, 0
			default:
				*at = *at*10 + int(c-'0')
			}
		}
		b.peers = append(b.peers, p)
		b.live = append(b.live, new(Live))
	}
	b.Picker = NewPlan(m, b.peers).Bind(b.live, &b.cur)
	return b
}

// pick makes the first pick of a request and keeps the place.
func (b *bed) pick() int {
	b.q.Tried.Reset()
	return b.again()
}

// again makes one more pick of the same request.
func (b *bed) again() int {
	b.q.NowNs = b.now
	return b.Pick(&b.q)
}

// run makes n requests that succeed, and shows where each went.
func (b *bed) run(n int) string {
	var out []string
	for range n {
		i := b.pick()
		out = append(out, fmt.Sprint(i))
		if i >= 0 {
			b.done(i, true)
		}
	}
	return strings.Join(out, " ")
}

func (b *bed) done(i int, ok bool) bool {
	l := b.live[i]
	l.Release()
	if ok {
		l.Succeed()
		return false
	}
	return l.Fail(b.now, b.peers[i].MaxFails)
}

func TestOrder(t *testing.T) {
	f := func(m Method, peers string, want string) {
		t.Helper()
		if got := newBed(m, peers).run(len(strings.Fields(want))); got != want {
			t.Errorf("%s:\n got %s\nwant %s", peers, got, want)
		}
	}
	f(RoundRobin, "1 1 1", "0 1 2 0 1 2")
	f(RoundRobin, "5 1 1", "0 0 1 0 2 0 0 0 0 1 0 2 0 0")
	f(RoundRobin, "50 10 10", "0 0 1 0 2 0 0 0")
	f(RoundRobin, "4 3 2", "0 1 2 0 1 0 2 1 0 0")
	f(RoundRobin, "1 1d 1", "0 2 0 2")
	f(RoundRobin, "1d 1d", "-1")
	f(RoundRobin, "1d 1b 1b 2b", "3 1 2 3 3 1 2 3")
	f(RoundRobin, "1", "0 0 0")
	f(RoundRobin, "0 1", "0 1")
	f(LeastConn, "3 1", "0 0 1 0 0 0 1 0")
	f(LeastConn, "1d 1b 1b", "1 2 1")
	f(Hash, "1 1", "0 1 0") // no key
	f(ConsistentHash, "1 1", "0 1 0")
}

// TestSmooth compares the computed turn with the plain algorithm: everyone gains, the first of those with most is
// taken and pays.
func TestSmooth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 12).Draw(t, "weights")
		peers := make([]Peer, len(weights))
		members := make([]uint32, len(weights))
		for i, w := range weights {
			peers[i].Weight, members[i] = w, uint32(i)
		}
		slots := newRotation(peers, members).slots
		gain := make([]int, len(weights))
		total := 0
		for _, w := range weights {
			total += w
		}
		for k := range total {
			for i, w := range weights {
				gain[i] += w
			}
			best := slices.Index(gain, slices.Max(gain))
			gain[best] -= total
			if got := int(slots[k%len(slots)]); got != best {
				t.Fatalf("weights %v, pick %d: %d, want %d", weights, k, got, best)
			}
		}
	})
}

// TestRingBounded checks that huge weights keep their shares as well as a bounded turn allows.
func TestRingBounded(t *testing.T) {
	f := func(weights ...int) {
		t.Helper()
		peers := make([]Peer, len(weights))
		members := make([]uint32, len(weights))
		var sum float64
		for i, w := range weights {
			peers[i].Weight, members[i] = w, uint32(i)
			sum += float64(clampWeight(w))
		}
		slots := newRotation(peers, members).slots
		limit := maxSlots(len(weights)) + int64(len(weights))
		if int64(len(slots)) > limit {
			t.Errorf("%v: a turn of %d slots", weights, len(slots))
		}
		count := make([]float64, len(weights))
		for _, i := range slots {
			count[i]++
		}
		for i, w := range weights {
			want := float64(clampWeight(w)) / sum * float64(len(slots))
			if d := count[i] - want; count[i] < 1 || d > 2 || d < -2 {
				t.Errorf("%v: peer %d has %v slots of %d, want %v", weights, i, count[i], len(slots), want)
			}
		}
	}
	f(1<<63-1, 1)
	f(1<<63-1, 1<<63-1, 1<<62)
	f(65536, 65537)
	f(100003, 50021, 7)
}

// TestEveryPeerTried: whatever the method, one request gets to every usable peer once, and then to none.
func TestEveryPeerTried(t *testing.T) {
	for _, p := range policies {
		for _, n := range []int{1, 2, 5, 90, 700} {
			words := strings.Repeat("1 3 ", n/2) + "1"
			b := bedOf(p.m, p.o, words+" 1d 1b 1b")
			b.q.Key = []byte{10, 1, 2, 3}
			all := len(b.peers) - 1
			for round := range 3 {
				var got []int
				for i := b.pick(); i >= 0; i = b.again() {
					got = append(got, i)
				}
				slices.Sort(got)
				if got = slices.Compact(got); len(got) != all || slices.Contains(got, all-2) {
					t.Fatalf("%s, %d peers, round %d: tried %v", p.name, all, round, got)
				}
				if b.q.Tried.Len() != all {
					t.Fatalf("%s: %d of %d tried", p.name, b.q.Tried.Len(), all)
				}
			}
		}
	}
}

func TestTried(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Tried
		model := map[int]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			i := rapid.IntRange(0, 200).Draw(t, "peer")
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				s.Reset()
				clear(model)
			case 1, 2:
				s.Remove(i)
				delete(model, i)
			default:
				s.Add(i)
				model[i] = true
			}
			for k := range 201 {
				if s.Has(k) != model[k] {
					t.Fatalf("has %d: %v", k, s.Has(k))
				}
			}
			if s.Len() != len(model) {
				t.Fatalf("%d peers, want %d", s.Len(), len(model))
			}
		}
	})
}

func TestRandomSpread(t *testing.T) {
	for _, m := range []Method{Random, RandomTwo} {
		b := newBed(m, "1 2 1 1d")
		var count [4]int
		for range 4000 {
			i := b.pick()
			count[i]++
			b.done(i, true)
		}
		if count[3] != 0 || count[0] < 600 || count[2] < 600 || count[1] < 1200 {
			t.Errorf("method %d: %v", m, count)
		}
	}
}

// TestCursorCarried: a picker that replaces another goes on in the rotation.
func TestCursorCarried(t *testing.T) {
	b := newBed(RoundRobin, "1 1 1")
	got := ""
	for range 6 {
		got += b.run(1)
		b.Picker = NewPlan(RoundRobin, b.peers).Bind(b.live, &b.cur)
	}
	if got != "012012" {
		t.Error(got)
	}
}

func TestAllocs(t *testing.T) {
	for _, p := range policies {
		b := bedOf(p.m, p.o, strings.Repeat("1 2c900 1 ", 50)+"1b")
		waits := waitsFor(p.m, p.o)
		b.q.Key = []byte{10, 0, 0, 1}
		f := func() {
			for i, k := b.pick(), 0; i >= 0 && k < 8; i, k = b.again(), k+1 {
				if waits {
					b.live[i].Answered(b.now)
				}
				b.done(i, true)
			}
		}
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", p.name, n)
		}
		if n := testing.AllocsPerRun(100, func() { // peers die and come back
			b.live[b.now%7*3].Fail(b.now, 1)
			f()
			b.now += 4e9
		}); n != 0 {
			t.Errorf("%s: %v allocations with failures", p.name, n)
		}
	}
}
