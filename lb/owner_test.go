package lb

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// named makes a bed whose peers have these names: the n-th letter is the name of peer n.
func named(o Options, words, names string) *bed {
	b := newBed(ConsistentHash, words)
	for i := range b.peers {
		b.peers[i].Name = names[i:i+1] + ":80"
	}
	b.Picker = o.NewPlan(ConsistentHash, b.peers).Bind(b.live, &b.cur)
	return b
}

// many and others are the weights and the names of so many peers more that a group is no small one.
var many, others = strings.Repeat(" 1", mostWeighed+4), strings.Repeat("z", mostWeighed+4)

// shares counts how often each peer comes in n requests, of which the k-th has a key of its own.
func (b *bed) shares(n int, key func(k int) []byte) []int {
	count := make([]int, len(b.peers))
	for k := range n {
		b.q.Key = key(k)
		i := b.pick()
		count[i]++
		b.done(i, true)
	}
	return count
}

// keyOf finds a key that falls on the name of a letter.
func (b *bed) keyOf(t *testing.T, name byte) []byte {
	t.Helper()
	for k := range 10000 {
		b.q.Key = fmt.Append(nil, k)
		i := b.pick()
		b.done(i, true)
		if b.peers[i].Name[0] == name {
			return b.q.Key
		}
	}
	t.Fatalf("no key falls on %c", name)
	return nil
}

// TestOwnerShares: the peers of a name share its keys by their weights, whatever other names get in between, in small groups and in
// large ones, and as long as loads are within their bounds.
func TestOwnerShares(t *testing.T) {
	for what, b := range map[string]*bed{
		"small":   named(Options{}, "8 1 1 5 5 2", "aaabbc"),
		"large":   named(Options{}, "8 1 1 5 5 2"+many, "aaabbc"+others),
		"bounded": named(Options{BalanceFactor: 300}, "8 1 1 5 5 2"+many, "aaabbc"+others),
	} {
		keys := [][]byte{b.keyOf(t, 'a'), b.keyOf(t, 'b')}
		count := b.shares(400, func(k int) []byte {
			if k == 200 {
				b.Picker = b.plan(t).Bind(b.live, &b.cur) // a change of the table in the middle of a turn
			}
			return keys[k%2]
		})
		for i, want := range []int{160, 20, 20, 100, 100, 0} {
			if got := count[i]; got < want-2 || got > want+2 {
				t.Errorf("%s: %v, peer %d was to have %d", what, count[:6], i, want)
			}
		}
		count = b.shares(2000, func(k int) []byte { // a change between any two requests
			b.Picker = b.plan(t).Bind(b.live, &b.cur)
			return keys[k%2]
		})
		for i, want := range []int{800, 100, 100, 500, 500} {
			if got := count[i]; got < want/2 || got > want*3/2 {
				t.Errorf("%s: %v with changes, peer %d was to have about %d", what, count[:6], i, want)
			}
		}
	}
}

// plan is the plan of the bed's picker.
func (b *bed) plan(t *testing.T) *Plan {
	t.Helper()
	switch p := b.Picker.(type) {
	case *consistent:
		return p.plan
	case *bounded:
		return p.plan
	}
	t.Fatalf("%T has no ring", b.Picker)
	return nil
}

// TestOwnerDead: the peers of a name that are left share its keys by their weights.
func TestOwnerDead(t *testing.T) {
	for _, o := range []Options{{}, {BalanceFactor: 300}} {
		b := named(o, "4 2 1 1"+many, "aaaa"+others)
		key := b.keyOf(t, 'a')
		b.live[0].Fail(b.now, 1)
		count := b.shares(400, func(int) []byte { return key })
		if count[0] != 0 || count[1] != 200 || count[2] != 100 || count[3] != 100 {
			t.Errorf("%+v: %v, want 0, 200, 100, 100", o, count[:4])
		}
	}
}

// TestOwnerConcurrent: picks of the same moment share a name's keys as well.
func TestOwnerConcurrent(t *testing.T) {
	b := named(Options{}, "8 1 1 5", "aaab")
	key := b.keyOf(t, 'a')
	var count [4]int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var own [4]int
			q := Query{NowNs: b.now}
			for range 2500 {
				q.Tried.Reset()
				q.Key = key
				i := b.Pick(&q)
				own[i]++
				b.live[i].Succeed()
				b.live[i].Release()
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range own {
				count[i] += n
			}
		}()
	}
	wg.Wait()
	if count[0] < 7700 || count[0] > 8300 || count[3] != 0 {
		t.Errorf("%v", count)
	}
}

// TestOwnerChurnDead: the share of a dead peer goes to all others of its name by their weights, also when every pick is a new picker's.
func TestOwnerChurnDead(t *testing.T) {
	for words, want := range map[string][]int{"1 1 1 1 1": {0, 400, 400, 400}, "2 1 1 1": {0, 600, 600}, "8 1 1 1": {0, 600, 600}} {
		b := named(Options{}, words, "aaaaaaaa"[:len(want)]+"b")
		key := b.keyOf(t, 'a')
		b.live[0].Fail(b.now, 1)
		count := b.shares(1200, func(int) []byte {
			b.Picker = b.plan(t).Bind(b.live, &b.cur)
			return key
		})
		for i, n := range want {
			if got := count[i]; got < n*9/10 || got > n*11/10 {
				t.Errorf("%s: %v, want about %v", words, count, want)
				break
			}
		}
	}
}

// TestOwnerHeavyDead: so it does where a turn has more slots of the dead peer in a row than a pick looks at.
func TestOwnerHeavyDead(t *testing.T) {
	for _, o := range []Options{{}, {BalanceFactor: 300}} {
		for _, heavy := range []string{"100", "1000", "4000"} {
			b := named(o, heavy+" 2 1"+many, "aaa"+others)
			key := b.keyOf(t, 'a')
			b.live[0].Fail(b.now, 1)
			count := b.shares(3000, func(int) []byte { return key })
			if n := count[1]; count[0] != 0 || n < 1500 || n > 2200 {
				t.Errorf("%+v: beside %s: %v, want about 0, 2000, 1000", o, heavy, count[:3])
			}
		}
	}
}

// TestOwnerFlaps: a name that has one address in every other table has its position in the others.
func TestOwnerFlaps(t *testing.T) {
	b := named(Options{}, "1 1 1 1", "aabb")
	key := b.keyOf(t, 'a')
	one := Options{}.NewPlan(ConsistentHash, append([]Peer(nil), b.peers[1:]...))
	two := b.plan(t)
	count := b.shares(1000, func(int) []byte {
		one.Bind(b.live[1:], &b.cur)
		b.Picker = two.Bind(b.live, &b.cur)
		return key
	})
	if count[0] < 450 || count[0] > 550 {
		t.Errorf("%v, want 500 and 500", count[:2])
	}
}

// TestOwnerSlots: what a plan keeps for its names is bounded by its peers, not by their weights; a small group needs all of it.
func TestOwnerSlots(t *testing.T) {
	slots := func(n int) (sum int) {
		peers := make([]Peer, n)
		for i := range peers {
			peers[i] = Peer{Name: fmt.Sprint(i / 2), Weight: 2047 + i%2*2}
		}
		for _, o := range NewPlan(ConsistentHash, peers).points.owners {
			sum += len(o.turn.slots)
		}
		return sum
	}
	if got := slots(100); got > 101*ownerSlots {
		t.Errorf("%d slots for 100 peers", got)
	}
	if got := slots(4); got != 2*4096 {
		t.Errorf("%d slots for 4 peers, of which each name needs 4096", got)
	}
}

// TestOwnerAllocs: a pick allocates nothing, the first one of a picker neither.
func TestOwnerAllocs(t *testing.T) {
	b := named(Options{}, "2 1 1 1", "aabb")
	pickers := make([]Picker, 102)
	for k := range pickers {
		pickers[k] = b.plan(t).Bind(b.live, &b.cur)
	}
	b.q.Key = b.keyOf(t, 'a')
	if n := testing.AllocsPerRun(100, func() {
		b.Picker, pickers = pickers[0], pickers[1:]
		b.done(b.pick(), true)
	}); n != 0 {
		t.Errorf("the first pick allocates %v times", n)
	}
}

// TestOwnerAlone: picks of a name with one peer are without a lock unless it is that peer which has to recover its weight.
func TestOwnerAlone(t *testing.T) {
	b := named(Options{}, "1 1 1 1", "abcd")
	g := &b.Picker.(*consistent).primary
	key := b.keyOf(t, 'a')
	b.live[1].Fail(b.now, 1)
	for range 3 {
		b.q.Key = key
		b.done(b.pick(), true)
	}
	if g.recovers(0) || !g.recovers(1) {
		t.Errorf("recovering are the ranks %b", g.recovering.Load())
	}
}
