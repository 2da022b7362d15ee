package lb

import (
	"math/bits"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestRoll compares the k-th slot in use with a plain count.
func TestRoll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 7, 64, 65, 256, 257, 700, 3000}).Draw(t, "slots")
		var r roll
		r.init(n)
		use := make([]bool, n)
		for s := range use {
			use[s] = true
		}
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			from := rapid.IntRange(0, n-1).Draw(t, "from")
			to := rapid.IntRange(from, n-1).Draw(t, "to")
			step := rapid.IntRange(1, 5).Draw(t, "step")
			on := rapid.Bool().Draw(t, "on")
			for s := from; s <= to; s += step {
				use[s] = on
				r.set(uint32(s), on)
			}
		}
		r.count()
		k := 0
		for s, on := range use {
			if !on {
				continue
			}
			if got := r.at(uint32(k)); got != s {
				t.Fatalf("slot %d in use: %d, want %d", k, got, s)
			}
			k++
		}
		if int(r.live.Load()) != k || r.at(uint32(k)) != -1 {
			t.Fatalf("%d slots in use, want %d; one more: %d", r.live.Load(), k, r.at(uint32(k)))
		}
	})
}

func TestSelectBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		k := uint32(0)
		for y := x; y != 0; y &= y - 1 {
			if got := selectBit(x, k); got != bits.TrailingZeros64(y) {
				t.Fatalf("bit %d of %x: %d", k, x, got)
			}
			k++
		}
	})
}

// TestTurn compares the product of the inverse with a division.
func TestTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := make([]uint32, rapid.IntRange(1, 70000).Draw(t, "slots"))
		for s := range slots {
			slots[s] = uint32(s)
		}
		r := newTurn(slots)
		tick := rapid.Uint32().Draw(t, "tick")
		if got := r.at(tick); got != int(tick%uint32(len(slots))) {
			t.Fatalf("%d in turns of %d: %d", tick, len(slots), got)
		}
	})
}

// TestTree compares the tree with a plain search.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 16, 17, 256, 257, 300, 4097}).Draw(t, "members")
		tree := newTree(n)
		keys := make([]uint32, n)
		for k := range keys {
			keys[k] = noKey
		}
		member := rapid.IntRange(0, n-1)
		for range rapid.IntRange(0, 60).Draw(t, "sets") {
			k := member.Draw(t, "k")
			keys[k] = rapid.Uint32Range(0, 5).Draw(t, "key")
			if keys[k] == 5 {
				keys[k] = noKey
			}
			tree.set(uint32(k), keys[k])
		}
		not := []uint32{uint32(member.Draw(t, "not")), uint32(member.Draw(t, "nor"))}
		least, without := uint32(noKey), uint32(noKey)
		for k, key := range keys {
			least = min(least, key)
			if uint32(k) != not[0] && uint32(k) != not[1] {
				without = min(without, key)
			}
		}
		if tree.min() != least || tree.minWithout(not) != without || tree.minWithout(nil) != least {
			t.Fatalf("least %d, %d without %v; want %d, %d", tree.min(), tree.minWithout(not), not, least, without)
		}
		from, key := member.Draw(t, "from"), rapid.Uint32Range(0, 4).Draw(t, "bound")
		want := -1
		for k := n - 1; k >= from; k-- {
			if keys[k] <= key {
				want = k
			}
		}
		if got := tree.next(from, key); got != want {
			t.Fatalf("next from %d up to %d: %d, want %d", from, key, got, want)
		}
	})
}

// check fails unless every node is the least of those below it.
func (t *tree) check(tb testing.TB) {
	tb.Helper()
	for v := 1; v < len(t.levels); v++ {
		for j := range (len(t.levels[v-1]) + fan - 1) / fan {
			if got, want := t.levels[v][j].Load(), t.least(v-1, uint32(j)); got != want {
				tb.Fatalf("node %d of level %d: %d, want %d", j, v, got, want)
			}
		}
	}
}

// TestTreeConcurrent: when all have set what they wanted, all nodes are right.
func TestTreeConcurrent(t *testing.T) {
	tree := newTree(600)
	for round := range 50 {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				x := uint32(round*4 + g)
				for range 200 {
					x = mix32(x + 1)
					tree.set(x%600/4*4+uint32(g), x>>20%9) // a member is set by one goroutine
				}
			}()
		}
		wg.Wait()
		tree.check(t)
	}
}

// TestLine: once a set of dead peers has stood for a turn, the line of the others is made, in the order of the roll; a peer
// that comes back ends it.
func TestLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, _ := words(t, 90)
		w += strings.Repeat(" 1", mostWeighed) // no small group
		b := newBed(RoundRobin, w)
		g := &b.Picker.(*roundRobin).primary
		dead := kill(t, b)
		rounds := func() {
			for range (len(b.live) + 2) * len(g.slots) { // a turn may find one dead peer only, as the others move in it
				b.done(b.pick(), true)
			}
		}
		rounds()
		line := g.line.Load()
		if line == nil || len(line.slots) != int(g.roll.live.Load()) {
			t.Fatalf("weights %s, dead %v: no line", w, dead)
		}
		for k, i := range line.slots {
			if want := g.slots[g.roll.at(uint32(k))]; i != want || dead[i] {
				t.Fatalf("weights %s, dead %v: slot %d is peer %d, want %d", w, dead, k, i, want)
			}
		}
		b.now += 11e9
		rounds()
		if g.line.Load() != &g.turn {
			t.Fatalf("weights %s: all are back, but not in the line", w)
		}
	})
}
