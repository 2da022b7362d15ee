package lb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestIPHash(t *testing.T) {
	b := newBed(IPHash, "1 1 1")
	f := func(want string, key ...byte) {
		t.Helper()
		b.q.Key = key
		if got := b.run(2); got != want {
			t.Errorf("%v: %s", key, got)
		}
	}
	same := func(x, y []byte) {
		t.Helper()
		b.q.Key = x
		i := b.run(1)
		if b.q.Key = y; b.run(1) != i {
			t.Errorf("%v and %v go to different peers", x, y)
		}
	}
	same([]byte{10, 1, 2, 3}, []byte{10, 1, 2, 250})
	same(nil, []byte{0, 0, 0, 9})
	// By hand: 89*113+10 mod 6271 is 3796, *113 is 2520, *113 is 2565; 2565 mod 3 is 0.
	f("0 0", 10, 0, 0, 7)
	v6 := slices.Repeat([]byte{0x20, 1}, 8)
	spread := map[string]bool{}
	for c := range 16 {
		v6[15] = byte(c)
		b.q.Key = v6
		spread[b.run(1)] = true
	}
	if len(spread) != 3 {
		t.Errorf("the last byte of an IPv6 address does not count: %v", spread)
	}
}

// TestConsistent: taking a peer away moves its keys and no others, and the ring goes by weight.
func TestConsistent(t *testing.T) {
	all, less := newBed(ConsistentHash, "1 1 10 1"), newBed(ConsistentHash, "1 1d 10 1")
	count := map[int]int{}
	for k := range 3000 {
		key := fmt.Append(nil, "key-", k)
		all.q.Key, less.q.Key = key, key
		a, l := all.pick(), less.pick()
		all.done(a, true)
		less.done(l, true)
		if a != l && a != 1 || l == 1 {
			t.Fatalf("%s: moved from %d to %d", key, a, l)
		}
		count[a]++
	}
	if count[2] < 1900 || count[2] > 2700 || count[0] < 100 || count[3] < 100 {
		t.Errorf("spread %v", count)
	}
}

func TestSplitName(t *testing.T) {
	f := func(name, host, port string) {
		t.Helper()
		if h, p := splitName(name); h != host || p != port {
			t.Errorf("%q: %q, %q", name, h, p)
		}
	}
	f("a.test:80", "a.test", "80")
	f("a.test", "a.test", "")
	f("127.0.0.1", "127.0.0.1", "")
	f("[::1]", "[::1]", "")
	f("[::1]:8080", "[::1]", "8080")
	f("unix:/a:80", "/a:80", "")
	f("UNIX:x", "x", "")
	f("80", "80", "")
}

// TestFind compares the look-up of a point with a plain search, and its owner.
func TestFind(t *testing.T) {
	for _, n := range []int{1, 2, 3, 100, 7000} { // the last has many points in a part
		b := newBed(ConsistentHash, strings.Repeat("1 ", n+1)+"3"+strings.Repeat(" 1b", 7*n))
		k := b.Picker.(*consistent).plan.points
		var ps []point
		for i, p := range b.peers {
			if !p.Backup {
				ps = appendPoints(ps, p.Name, uint32(i), p.Weight*pointsPerWeight)
			}
		}
		slices.Sort(ps)
		ps = slices.CompactFunc(ps, func(a, b point) bool { return a.hash() == b.hash() })
		if len(ps) != int(k.n) {
			t.Fatalf("%d points, want %d", k.n, len(ps))
		}
		f := func(h uint32) {
			t.Helper()
			want, _ := slices.BinarySearchFunc(ps, h, func(p point, h uint32) int { return cmp.Compare(p.hash(), h) })
			got := k.find(h)
			if int(got) != want {
				t.Fatalf("find %x of %d points: %d, want %d", h, len(ps), got, want)
			}
			if want < len(ps) && k.owner(got) != ps[want].owner() {
				t.Fatalf("owner of point %d of %d: %d, want %d", got, len(ps), k.owner(got), ps[want].owner())
			}
		}
		for i := 0; i < len(ps); i += 1 + n/10 {
			h := ps[i].hash()
			f(h - 1)
			f(h)
			f(h + 1)
		}
		f(0)
		f(1<<32 - 1)
	}
}

// TestDeadPoints compares the points passed over together with a walk one by one.
func TestDeadPoints(t *testing.T) {
	b := newBed(ConsistentHash, "1 1 1 1 1 1 1")
	b.peers[5].Name = b.peers[4].Name // whose points are nobody's alone
	b.Picker = NewPlan(ConsistentHash, b.peers).Bind(b.live, &b.cur)
	k, a := b.Picker.(*consistent).plan.points, &b.Picker.(*consistent).primary.aside
	for _, dead := range []uint64{0, 1, 0b10, 0b1010101, 0b1001111, 0b1111111} {
		a.set[0].Store(dead)
		for i := range k.n {
			n, alive := uint32(0), false
			for at := i; at < min(k.n, i+atOnce) && !alive; at++ {
				owner := k.owner(at)
				if alive = owner >= k.peers || !a.has(int(owner)); !alive {
					n++
				}
				if i+atOnce > k.n {
					break
				}
			}
			if got, ok := k.dead(i, a); got != n || ok != alive {
				t.Fatalf("dead %b, point %d: %d, %v; want %d, %v", dead, i, got, ok, n, alive)
			}
		}
	}
}
