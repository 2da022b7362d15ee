package lb

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// words draws the description of up to n peers, for newBed.
func words(t *rapid.T, n int) (string, []int) {
	weights := rapid.SliceOfN(rapid.IntRange(1, 12), 2, n).Draw(t, "weights")
	return strings.Trim(fmt.Sprint(weights), "[]"), weights
}

// kill fails some of b's peers, never all, and reports which.
func kill(t *rapid.T, b *bed) []bool {
	dead := rapid.SliceOfN(rapid.Bool(), len(b.live), len(b.live)).Draw(t, "dead")
	dead[rapid.IntRange(0, len(dead)-1).Draw(t, "alive")] = false
	for i, d := range dead {
		if d {
			b.live[i].Fail(b.now, 1)
		}
	}
	return dead
}

// TestSpreadRoundRobin: in a turn everyone is picked as often as its weight says, exactly; also with dead peers, once
// they are known, and again when they are back.
func TestSpreadRoundRobin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 20)
		b := newBed(RoundRobin, w)
		turn := func(live func(i int) bool) {
			t.Helper()
			all, most := 0, 0
			for i, w := range weights {
				if live(i) {
					all += w
				}
				most += w
			}
			g := divisor(weights)
			b.run(len(weights) * most / g) // meets all that are dead, each of which changes the turn
			count := make([]int, len(weights))
			for range all {
				i := b.pick()
				count[i]++
				b.done(i, true)
			}
			for i, w := range weights {
				if !live(i) {
					w = 0
				}
				if count[i] != w {
					t.Fatalf("weights %v: counted %v", weights, count)
				}
			}
		}
		dead := kill(t, b)
		turn(func(i int) bool { return !dead[i] })
		b.now += 11e9
		for range 4 {
			b.run(300) // everyone proves itself
		}
		turn(func(int) bool { return true })
	})
}

func divisor(w []int) int {
	g := 0
	for _, x := range w {
		for x != 0 {
			g, x = x, g%x
		}
	}
	return g
}

// TestLeastConnExact: whoever is picked has the least load of all that may be, whatever came before.
func TestLeastConnExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{2, 3, 20, 300}).Draw(t, "peers")
		var ws []string
		weighted := rapid.Bool().Draw(t, "weighted")
		for i := range n {
			w := "1"
			if weighted {
				w = fmt.Sprint(i%5 + 1)
			}
			if i%7 == 3 {
				w += "c2"
			}
			ws = append(ws, w)
		}
		b := newBed(LeastConn, strings.Join(ws, " "))
		var held []int
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 6:
				want := leastOf(b, nil)
				i := b.pick()
				if i < 0 && want != math.MaxInt || i >= 0 && loadBefore(b, i) > want {
					t.Fatalf("picked %d with %d, least is %d", i, loadBefore(b, i), want)
				}
				if i >= 0 {
					held = append(held, i)
				}
				if op == 0 && i >= 0 { // one more try of the same request
					want, j := leastOf(b, &i), b.again()
					if j == i || j < 0 && want != math.MaxInt || j >= 0 && loadBefore(b, j) > want {
						t.Fatalf("then picked %d, least is %d", j, want)
					}
					if j >= 0 {
						held = append(held, j)
					}
				}
			case op < 9 && len(held) > 0:
				k := rapid.IntRange(0, len(held)-1).Draw(t, "done")
				b.done(held[k], op < 8)
				held = slices.Delete(held, k, k+1)
			default:
				b.now += rapid.Int64Range(0, 6e9).Draw(t, "time")
			}
		}
		if board := b.Picker.(*least).primary.board; board != nil {
			board.tree.check(fatal{t: t})
		}
	})
}

// fatal is a rapid.T for helpers that want a testing.TB.
type fatal struct {
	testing.TB
	t *rapid.T
}

func (f fatal) Helper()                      {}
func (f fatal) Fatalf(form string, a ...any) { f.t.Fatalf(form, a...) }

// leastOf is the least load of the peers that may be picked, in 60ths of a request.
func leastOf(b *bed, not *int) int {
	load := math.MaxInt
	for i, p := range b.peers {
		l := b.live[i]
		if not != nil && *not == i || l.Out(b.now, p.MaxFails, p.FailTimeoutNs) || p.MaxConns > 0 && int(l.InFlight()) >= p.MaxConns {
			continue
		}
		load = min(load, int(l.InFlight())*60/p.Weight)
	}
	return load
}

// loadBefore is the load of i before it was picked.
func loadBefore(b *bed, i int) int { return (int(b.live[i].InFlight()) - 1) * 60 / b.peers[i].Weight }

// TestSpreadLeast: of requests that stay, nobody has more than one beyond its share.
func TestSpreadLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 40)
		b := newBed(LeastConn, w)
		dead := kill(t, b)
		for range rapid.IntRange(1, 400).Draw(t, "requests") {
			b.pick()
		}
		for i, l := range b.live {
			for j, m := range b.live {
				if !dead[i] && !dead[j] && (l.InFlight()-1)*int64(weights[j]) > m.InFlight()*int64(weights[i]) {
					t.Fatalf("weights %v: %d on %d, %d on %d", weights, l.InFlight(), i, m.InFlight(), j)
				}
			}
		}
	})
}

// TestHashPlaces compares ip_hash, hash and hash consistent with plain models of nginx's, dead peers included.
func TestHashPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 12)
		key := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key")
		for _, m := range []Method{IPHash, Hash, ConsistentHash} {
			b := newBed(m, w)
			dead := make([]bool, len(weights))
			if m != ConsistentHash {
				dead[rapid.IntRange(0, len(dead)-1).Draw(t, "dead")] = true
			}
			for i, d := range dead {
				if d {
					b.live[i].Fail(b.now, 1)
				}
			}
			var want int
			switch m {
			case IPHash:
				want = modelIPHash(key[:3], weights, dead)
			case Hash:
				want = modelHash(key, weights, dead)
			default:
				want = modelKetama(key, b.peers)
			}
			b.q.Key = key
			if got := b.pick(); want >= 0 && got != want {
				t.Fatalf("method %d, weights %v, key %v: %d, want %d", m, weights, key, got, want)
			}
		}
	})
}

func modelIPHash(key []byte, weights []int, dead []bool) int {
	hash := 89
	for range 21 {
		for _, c := range key {
			hash = (hash*113 + int(c)) % 6271
		}
		if i := onLine(hash, weights); !dead[i] {
			return i
		}
	}
	return -1
}

func modelHash(key []byte, weights []int, dead []bool) int {
	sum := 0
	for k := range 21 {
		text := string(key)
		if k > 0 {
			text = fmt.Sprint(k) + text
		}
		sum += int(crc32.ChecksumIEEE([]byte(text)) >> 16 & 0x7fff)
		if i := onLine(sum, weights); !dead[i] {
			return i
		}
	}
	return -1
}

// onLine finds what x falls on when all weights stand in line.
func onLine(x int, weights []int) int {
	all := 0
	for _, w := range weights {
		all += w
	}
	x %= all
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return -1
}

func modelKetama(key []byte, peers []Peer) int {
	type spot struct {
		hash uint32
		peer int
	}
	var ring []spot
	for i, p := range peers {
		host, port, _ := strings.Cut(p.Name, ":")
		prev := []byte{0, 0, 0, 0}
		for range p.Weight * 160 {
			h := crc32.ChecksumIEEE(slices.Concat([]byte(host), []byte{0}, []byte(port), prev))
			ring = append(ring, spot{h, i})
			prev = []byte{byte(h), byte(h >> 8), byte(h >> 16), byte(h >> 24)}
		}
	}
	slices.SortStableFunc(ring, func(a, b spot) int { return cmp.Compare(a.hash, b.hash) })
	h := crc32.ChecksumIEEE(key)
	i := slices.IndexFunc(ring, func(s spot) bool { return s.hash >= h })
	return ring[max(i, 0)].peer
}

// TestSpreadRandom: shares go by weight, dead peers or not. The bound is six standard deviations.
func TestSpreadRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 10)
		b := newBed(Random, w)
		dead := kill(t, b)
		all := 0
		for i, w := range weights {
			if !dead[i] {
				all += w
			}
		}
		const picks = 3000
		count := make([]int, len(weights))
		for range picks {
			i := b.pick()
			count[i]++
			b.done(i, true)
		}
		for i, w := range weights {
			if dead[i] {
				w = 0
			}
			part := float64(w) / float64(all)
			if d := float64(count[i]) - part*picks; math.Abs(d) > 6*math.Sqrt(picks*part*(1-part)) {
				t.Fatalf("weights %v, dead %v: counted %v", weights, dead, count)
			}
		}
	})
}

// TestRandomTwo: of two peers the one with the lower load is taken, by requests or by time.
func TestRandomTwo(t *testing.T) {
	f := func(m Method, prepare func(b *bed), want int) {
		t.Helper()
		b := newBed(m, "1 1")
		prepare(b)
		for range 50 {
			if i := b.pick(); i != want {
				t.Fatalf("method %d: picked %d", m, i)
			} else {
				b.done(i, true)
			}
		}
	}
	f(RandomTwo, func(b *bed) { b.live[0].inFlight.Add(5 * onePlace) }, 1)
	f(RandomTwo, func(b *bed) { b.live[1].inFlight.Add(5 * onePlace) }, 0)
	f(RandomTwoTime, func(b *bed) { b.live[0].Observe(900e6, 900e6); b.live[0].checked.Store(b.now) }, 1)
	f(RandomTwoTime, func(b *bed) { b.live[1].occupy() }, 0)
}

// TestRandomTwoLone: where all but one are dead, nothing is drawn in vain.
func TestRandomTwoLone(t *testing.T) {
	for _, m := range []Method{RandomTwo, RandomTwoTime} {
		b := newBed(m, "1 1 1")
		b.live[0].Fail(b.now, 1)
		b.live[2].Fail(b.now, 1)
		b.run(100)
		if got := b.run(3); got != "1 1 1" || b.q.Tried.misses != 0 {
			t.Errorf("method %d: %s with %d draws in vain", m, got, b.q.Tried.misses)
		}
	}
}

// TestMovement: with consistent hash and maglev, a peer that dies or leaves moves its keys, and few others.
func TestMovement(t *testing.T) {
	f := func(m Method, n int, others float64) {
		t.Helper()
		words := strings.Repeat("1 ", n)
		all, dead := newBed(m, words), newBed(m, words)
		gone := &bed{now: all.now}
		gone.peers = slices.Delete(slices.Clone(all.peers), 1, 2)
		gone.live = slices.Delete(slices.Clone(all.live), 1, 2)
		gone.Picker = NewPlan(m, gone.peers).Bind(gone.live, nil)
		dead.live[1].Fail(dead.now, 1)
		const keys = 20000
		moved := 0
		for k := range keys {
			key := fmt.Append(nil, "key-", k)
			all.q.Key, dead.q.Key, gone.q.Key = key, key, key
			a, d, g := all.pick(), dead.pick(), gone.pick()
			for _, at := range []struct {
				b *bed
				i int
			}{{all, a}, {dead, d}, {gone, g}} {
				at.b.done(at.i, true)
			}
			if d == 1 || a != d && a != 1 {
				t.Fatalf("method %d, %s: from %d to %d when peer 1 died", m, key, a, d)
			}
			if a != 1 && all.peers[a].Name != gone.peers[g].Name {
				moved++
			}
		}
		if part := float64(moved) / keys; part > others {
			t.Errorf("method %d, %d peers: %.2f %% of the keys moved from one peer that stays to another", m, n, part*100)
		} else {
			t.Logf("method %d, %d peers: %.2f %% moved", m, n, part*100)
		}
	}
	f(ConsistentHash, 10, 0)
	f(ConsistentHash, 100, 0)
	f(Maglev, 10, 0.03)
	f(Maglev, 100, 0.03)
	f(Maglev, 1000, 0.03)
}

// TestMaglevTable: everyone has the entries that its weight says, to one or two.
func TestMaglevTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, weights := words(t, 30)
		table := newBed(Maglev, w).Picker.(*maglev).plan.table
		all := 0
		for _, w := range weights {
			all += w
		}
		count := make([]int, len(weights))
		for e := range table.size {
			count[table.at(e)]++
		}
		for i, w := range weights {
			want := float64(table.size) * float64(w) / float64(all)
			if d := float64(count[i]) - want; math.Abs(d) > 2 {
				t.Fatalf("weights %v: %d entries for %d, want %.1f", weights, count[i], i, want)
			}
		}
	})
}
