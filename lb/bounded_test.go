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

// sumOf is what the total has to be.
func sumOf(b *bed, members func(i int) bool) (n int64) {
	for i, l := range b.live {
		if members(i) {
			n += l.InFlight()
		}
	}
	return n
}

// TestSumsBound: whatever pickers are bound over the peers one after the other, and whichever of them is used, the total is the
// requests in flight on the members, to the place.
func TestSumsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 2 3 1 1 4c2")
		bounded := b.Picker
		all := func(i int) bool { return true }
		var held []int
		pick := func(p Picker) {
			b.q.Tried.Reset()
			b.q.Key = fmt.Append(nil, rapid.IntRange(0, 99).Draw(t, "key"))
			if i := p.Pick(&b.q); i >= 0 {
				held = append(held, i)
			}
		}
		old := b.Picker
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				pick(b.Picker)
			case 2:
				pick(old)
			case 3, 4:
				if len(held) > 0 {
					k := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					b.live[held[k]].Release()
					held = append(held[:k], held[k+1:]...)
				}
			case 5:
				p := rapid.SampledFrom(policies).Draw(t, "method")
				old, b.Picker = b.Picker, p.o.NewPlan(p.m, b.peers).Bind(b.live, &b.cur)
			case 6:
				old, b.Picker = b.Picker, Options{BalanceFactor: 150}.NewPlan(ConsistentHash, b.peers).Bind(b.live, &b.cur)
				if got, want := b.cur.total.Load(), sumOf(b, all); got != want {
					t.Fatalf("%d counted, %d in flight", got, want)
				}
			}
		}
		for k := range 400 { // by the first picker, which may have lost all or some of them: who is met is counted again
			b.q.Tried.Reset()
			b.q.Key = fmt.Append(nil, k)
			if i := bounded.Pick(&b.q); i >= 0 {
				b.live[i].Release()
			}
		}
		if got, want := b.cur.total.Load(), sumOf(b, all); got != want {
			t.Fatalf("%d counted, %d in flight", got, want)
		}
		for _, i := range held {
			b.live[i].Release()
		}
		if n := b.cur.total.Load(); n != 0 {
			t.Fatalf("%d counted, none in flight", n)
		}
	})
}

// TestSumsMembers: only what is in use counts, from the moment on that it is, and until it is not.
func TestSumsMembers(t *testing.T) {
	b := bedOf(ConsistentHash, Options{BalanceFactor: 125}, "1 1 1 1")
	for k := range 40 {
		b.q.Key = fmt.Append(nil, "key", k)
		b.pick()
	}
	rebind := func(change func(p *Peer)) {
		peers := append([]Peer(nil), b.peers...)
		change(&peers[1])
		b.Picker = Options{BalanceFactor: 125}.NewPlan(ConsistentHash, peers).Bind(b.live, &b.cur)
	}
	want := func(what string, members func(i int) bool) {
		t.Helper()
		if got, want := b.cur.total.Load(), sumOf(b, members); got != want {
			t.Errorf("%s: %d counted, %d in flight", what, got, want)
		}
	}
	all, others := func(int) bool { return true }, func(i int) bool { return i != 1 }
	want("at first", all)
	rebind(func(p *Peer) { p.Drain = true })
	want("draining", others)
	rebind(func(p *Peer) {})
	want("back", all)
	rebind(func(p *Peer) { p.Backup = true })
	want("a backup", others)
	rebind(func(p *Peer) { p.Down = true })
	want("down", others)
	b.live[1].Release()
	want("down, and one ends", others)
	rebind(func(p *Peer) {})
	want("up", all)
	b.live[1].Leave()
	want("gone", others)
	b.live[1].Release()
	want("gone, and one ends", others)
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
			p = policies[5] // bounded
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
