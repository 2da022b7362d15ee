package lb

import (
	"fmt"
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
	many, others := "", ""
	for range 20 {
		many, others = many+" 1", others+"z"
	}
	for what, b := range map[string]*bed{
		"small":   named(Options{}, "8 1 1 5 5 2", "aaabbc"),
		"large":   named(Options{}, "8 1 1 5 5 2"+many, "aaabbc"+others),
		"bounded": named(Options{BalanceFactor: 300}, "8 1 1 5 5 2"+many, "aaabbc"+others),
	} {
		keys := [][]byte{b.keyOf(t, 'a'), b.keyOf(t, 'b')}
		count := make([]int, len(b.peers))
		for n := range 400 {
			if n == 200 {
				b.Picker = b.plan(t).Bind(b.live, &b.cur) // a change of the table in the middle of a turn
			}
			b.q.Key = keys[n%2]
			i := b.pick()
			count[i]++
			b.done(i, true)
		}
		for i, want := range []int{160, 20, 20, 100, 100, 0} {
			if got := count[i]; got < want-2 || got > want+2 {
				t.Errorf("%s: %v, peer %d was to have %d", what, count[:6], i, want)
			}
		}
		clear(count)
		for n := range 2000 { // a change between any two requests
			b.Picker = b.plan(t).Bind(b.live, &b.cur)
			b.q.Key = keys[n%2]
			i := b.pick()
			count[i]++
			b.done(i, true)
		}
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
	many, others := "", ""
	for range 20 {
		many, others = many+" 1", others+"z"
	}
	for _, o := range []Options{{}, {BalanceFactor: 300}} {
		b := named(o, "4 2 1 1"+many, "aaaa"+others)
		key := b.keyOf(t, 'a')
		b.live[0].Fail(b.now, 1)
		count := make([]int, len(b.peers))
		for range 400 {
			b.q.Key = key
			i := b.pick()
			count[i]++
			b.done(i, true)
		}
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
