package lb

import (
	"cmp"
	"hash/crc32"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// plain is nginx's round robin, least_conn and consistent hash as it stands there: every pick adds to all weights. Times are those of
// Live.
type plain struct {
	peers  []Peer
	by     Method
	groups [2][]int // primaries, backups
	of     []plainPeer
	ring   []point // the owner of each is the first peer of its name
	at     int     // of a request: its point
	misses int
}

type plainPeer struct {
	current, effective, conns, fails int
	accessed, checked                int64
}

func newPlain(m Method, peers []Peer) *plain {
	n := &plain{peers: peers, by: m, of: make([]plainPeer, len(peers))}
	for i, p := range peers {
		n.of[i].effective = p.Weight
		k := 0
		if p.Backup {
			k = 1
		}
		if !p.Down {
			n.groups[k] = append(n.groups[k], i)
		}
		if !p.Backup {
			n.ring = appendPoints(n.ring, p.Name, uint32(i), p.Weight*pointsPerWeight)
		}
	}
	slices.SortStableFunc(n.ring, func(a, b point) int { return cmp.Compare(a.hash(), b.hash()) })
	n.ring = slices.CompactFunc(n.ring, func(a, b point) bool { return a.hash() == b.hash() })
	return n
}

// begin begins a request.
func (n *plain) begin(key string) {
	n.misses = 0
	h := crc32.ChecksumIEEE([]byte(key))
	n.at, _ = slices.BinarySearchFunc(n.ring, h, func(p point, h uint32) int { return cmp.Compare(p.hash(), h) })
}

func (n *plain) pick(now int64, tried map[int]bool, key string) int {
	return n.pickIn(n.groups[:], now, tried, key)
}

// pickIn picks in some of the groups, one after the other.
func (n *plain) pickIn(groups [][]int, now int64, tried map[int]bool, key string) int {
	for ; n.by == ConsistentHash && key != "" && len(n.ring) > 0 && n.misses <= 20; n.misses++ {
		name := n.peers[n.ring[n.at%len(n.ring)].owner()].Name
		if i := n.pickOf(n.groups[0], now, tried, func(i int) bool { return n.peers[i].Name == name }); i >= 0 {
			return i
		}
		n.at++
	}
	for _, group := range groups {
		if i := n.pickOf(group, now, tried, func(int) bool { return true }); i >= 0 {
			return i
		}
	}
	return -1
}

// session picks for a session that is on home.
func (n *plain) session(now int64, tried map[int]bool, key string, home int) int {
	group := n.groups[0]
	if n.peers[home].Backup {
		if i := n.pickIn(n.groups[:1], now, tried, key); i >= 0 {
			return i
		}
		group = n.groups[1]
	}
	if !slices.Contains(n.usable(group, now, tried), home) {
		return n.pick(now, tried, key)
	}
	low := n.peers[home].Weight
	for _, p := range n.peers {
		if p.Backup == n.peers[home].Backup {
			low -= p.Weight
		}
	}
	if s := &n.of[home]; s.current > low && (n.by == RoundRobin || n.by == ConsistentHash && (key == "" || n.peers[home].Backup)) {
		for _, i := range n.usable(group, now, tried) {
			s.current -= n.gain(i)
		}
	}
	return n.take(home, now, tried)
}

// usable are those of a group that may be used.
func (n *plain) usable(group []int, now int64, tried map[int]bool) (can []int) {
	for _, i := range group {
		p, s := &n.peers[i], &n.of[i]
		if !tried[i] && (p.MaxFails == 0 || s.fails < p.MaxFails || now-s.checked > p.FailTimeoutNs) && (p.MaxConns == 0 || s.conns < p.MaxConns) {
			can = append(can, i)
		}
	}
	return can
}

// gain has a peer gain its weight, and gives that.
func (n *plain) gain(i int) int {
	s := &n.of[i]
	by := s.effective
	s.current += by
	s.effective = min(s.effective+1, n.peers[i].Weight)
	return by
}

// take takes a place.
func (n *plain) take(i int, now int64, tried map[int]bool) int {
	s := &n.of[i]
	if now-s.checked > n.peers[i].FailTimeoutNs {
		s.checked = now
	}
	s.conns++
	tried[i] = true
	return i
}

// pickOf picks among those of a group that are meant.
func (n *plain) pickOf(group []int, now int64, tried map[int]bool, meant func(i int) bool) int {
	can := slices.DeleteFunc(n.usable(group, now, tried), func(i int) bool { return !meant(i) })
	if n.by == LeastConn && len(can) > 0 {
		least := can[:1:1]
		for _, i := range can[1:] {
			a, b := n.of[i].conns*n.peers[least[0]].Weight, n.of[least[0]].conns*n.peers[i].Weight
			if a < b {
				least = []int{i}
			} else if a == b {
				least = append(least, i)
			}
		}
		can = least
	}
	best, total := -1, 0
	for _, i := range can {
		if n.by == LeastConn && len(can) == 1 {
			best = i
			break
		}
		total += n.gain(i)
		if best < 0 || n.of[i].current > n.of[best].current {
			best = i
		}
	}
	if best >= 0 {
		n.of[best].current -= total
		return n.take(best, now, tried)
	}
	return -1
}

func (n *plain) done(i int, now int64, ok bool) {
	s, p := &n.of[i], &n.peers[i]
	s.conns--
	if ok {
		if s.accessed < s.checked {
			s.fails = 0
		}
		return
	}
	s.fails++
	s.accessed, s.checked = now, now
	if p.MaxFails > 0 {
		s.effective = max(0, s.effective-p.Weight/p.MaxFails)
	}
}

// TestOrderIsNginx: a small upstream gives the peers in nginx's order, whatever fails, is full, is tried again, comes back or is taken
// by sessions.
func TestOrderIsNginx(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom([]Method{RoundRobin, LeastConn, ConsistentHash}).Draw(t, "method")
		b := &bed{now: 1e18}
		weight := rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 8, 100})
		for i := range rapid.IntRange(2, mostWeighed).Draw(t, "peers") {
			b.peers = append(b.peers, Peer{
				Name:          rapid.SampledFrom([]string{"a:1", "b:1", "c:1", "d:1"}).Draw(t, "name"),
				Weight:        weight.Draw(t, "weight"),
				MaxConns:      rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "max_conns"),
				MaxFails:      rapid.SampledFrom([]int{1, 1, 1, 0, 2, 3, 7}).Draw(t, "max_fails"),
				FailTimeoutNs: rapid.SampledFrom([]int64{10e9, 10e9, 2e9}).Draw(t, "fail_timeout"),
				Backup:        i > 0 && rapid.IntRange(0, 5).Draw(t, "backup") == 0,
				Down:          rapid.IntRange(0, 9).Draw(t, "down") == 0,
			})
			b.live = append(b.live, new(Live))
		}
		var taker Taker
		b.Picker, taker = NewPlan(m, b.peers).BindTaker(b.live, &b.cur)
		want := newPlain(m, b.peers)
		var held []int
		tried := map[int]bool{}
		n, home := 0, -1 // of the session
		ask := func() int {
			n++
			i, w := -1, -1
			if home < 0 {
				i, w = b.again(), want.pick(b.now, tried, string(b.q.Key))
			} else {
				w = want.session(b.now, tried, string(b.q.Key), home)
				b.q.NowNs = b.now
				switch {
				case b.peers[home].Backup:
					b.q.Homes = []int{home}
					i = b.again()
					b.q.Homes = nil
				case taker.Take(home, &b.q):
					i = home
				default:
					i = b.again()
				}
			}
			if i != w {
				t.Fatalf("%+v: pick %d is %d, want %d; home %d, nginx has %+v", b.peers, n, i, w, home, want.of)
			}
			if i >= 0 {
				held = append(held, i)
			}
			return i
		}
		begin := func() {
			b.q.Tried.Reset()
			clear(tried)
			b.q.Key = []byte(rapid.SampledFrom([]string{"", "0", "1", "2", "3", "4"}).Draw(t, "key"))
			want.begin(string(b.q.Key))
			home = -1
			if rapid.IntRange(0, 3).Draw(t, "session") == 0 {
				home = rapid.IntRange(0, len(b.peers)-1).Draw(t, "home")
			}
		}
		end := func(k int, ok bool) {
			i := held[k]
			held = append(held[:k], held[k+1:]...)
			b.done(i, ok)
			want.done(i, b.now, ok)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 4: // requests that are well, one after the other
				for range rapid.SampledFrom([]int{1, 2, 10, 300}).Draw(t, "requests") {
					begin()
					if ask() >= 0 {
						end(len(held)-1, true)
					}
				}
			case op < 6: // one that stays
				begin()
				ask()
			case op == 6: // one more try of the last one
				ask()
			case op < 9:
				if len(held) > 0 {
					end(rapid.IntRange(0, len(held)-1).Draw(t, "end"), op == 7)
				}
			default:
				b.now += rapid.SampledFrom([]int64{1e6, 3e9, 11e9}).Draw(t, "time")
			}
		}
	})
}

// TestWeighedTurn: after a turn in which nothing happened picks go by a turn again, and the dead are not in it.
func TestWeighedTurn(t *testing.T) {
	b := newBed(RoundRobin, "5 1 1 3")
	g := &b.Picker.(*roundRobin).primary
	b.live[0].Fail(b.now, 1)
	b.run(2)
	if g.line.Load() != nil {
		t.Error("there is a turn while a failure is new")
	}
	b.run(60)
	if l := g.line.Load(); l == nil || len(l.slots) != 5 {
		t.Fatalf("there is no turn of the others: %v", l)
	}
	b.now += 11e9
	b.run(90)
	if l := g.line.Load(); l == nil || len(l.slots) != 10 {
		t.Errorf("there is no turn of all: %v", l)
	}
	if n := testing.AllocsPerRun(100, func() { b.done(b.pick(), true) }); n != 0 {
		t.Errorf("a pick allocates %v times", n)
	}
}

// held takes n picks while somebody who has lost its processor holds the weights of the primaries, and gives how often each peer came.
func held(b *bed, n int) []int {
	var g *group
	switch p := b.Picker.(type) {
	case *roundRobin:
		g = &p.primary
	case *least:
		g = &p.primary
	}
	w := g.tryWeigh()
	defer w.lock.Store(false)
	served := make([]int, len(b.peers))
	for range n {
		i := b.pick()
		served[i]++
		b.done(i, true)
	}
	return served
}

// TestWeighedHeld: picks beside another one are fair by themselves.
func TestWeighedHeld(t *testing.T) {
	f := func(m Method, words string, fail func(b *bed), want ...int) {
		t.Helper()
		b := newBed(m, words)
		fail(b)
		b.run(3)
		for i, n := range held(b, 1200) {
			if n < want[i]*9/10 || n > want[i]*11/10 {
				t.Errorf("method %d, %s: %d requests on peer %d, want %d", m, words, n, i, want[i])
			}
		}
	}
	first := func(b *bed) { b.live[0].Bar() }
	once := func(b *bed) { b.live[0].Fail(b.now, 3) }
	none := func(*bed) {}
	f(RoundRobin, "1 1 1 1 1", first, 0, 300, 300, 300, 300)
	f(RoundRobin, "1f3 1", once, 600, 600)
	f(RoundRobin, "1 3", none, 300, 900)
	f(LeastConn, "1 1 1 1", first, 0, 400, 400, 400)
	f(LeastConn, "1 9", none, 120, 1080)
	f(LeastConn, "1 1 1 3", first, 0, 240, 240, 720)
}

// TestWeighedAnew: a picker that takes another one's place in the midst of it, again and again, is fair.
func TestWeighedAnew(t *testing.T) {
	for _, m := range []Method{RoundRobin, LeastConn} {
		for _, every := range []int{1, 2, 3, 5, 10, 50} {
			b := newBed(m, "1 1 1")
			b.live[0].Bar()
			plan := NewPlan(m, b.peers)
			var served [3]int
			for k := range 30000 {
				if k%every == 0 {
					b.Picker = plan.Bind(b.live, &b.cur)
				}
				i := b.pick()
				served[i]++
				b.done(i, true)
			}
			if served[1] < 13000 || served[1] > 17000 {
				t.Errorf("method %d, anew after every %d: %v", m, every, served)
			}
		}
	}
}

// TestWeighedHuge: weights that are too large for it are balanced as in large groups.
func TestWeighedHuge(t *testing.T) {
	for _, w := range []string{"4294967296 4294967296", "5000000000 5000000000", "1099511627776 1", "1 5 1500 1500 1500"} {
		for _, m := range []Method{RoundRobin, LeastConn} {
			b := newBed(m, w)
			b.live[0].Fail(b.now, 9)
			for range 2000 {
				if i := b.pick(); i < 0 {
					t.Fatalf("method %d, %s: no peer", m, w)
				}
				if b.live[1].InFlight() > 0 {
					b.done(1, true)
				}
			}
		}
	}
	b := newBed(LeastConn, "1099511627776 1099511627776 1099511627776")
	for _, i := range []int{0, 2} {
		b.live[i].inFlight.Store((1<<24 + 1) * onePlace)
		b.live[i].Release()
	}
	if got := b.run(3); got != "1 1 1" {
		t.Errorf("with many requests on the others: %s", got)
	}
	b = newBed(LeastConn, "1 5 1500 1500 1500") // no turn is so long
	b.cur.primary.Store(1000)
	b.Picker = NewPlan(LeastConn, b.peers).Bind(b.live, &b.cur)
	want := newPlain(LeastConn, b.peers)
	for n := range 1000 {
		w := want.pick(b.now, map[int]bool{}, "")
		want.done(w, b.now, true)
		if got := b.pick(); got != w {
			t.Fatalf("pick %d is %d, want %d", n, got, w)
		}
		b.done(w, true)
	}
}

// TestWeighedOthers: failures elsewhere change nothing, nor do those from before the picker was made.
func TestWeighedOthers(t *testing.T) {
	order := func(elsewhere bool) string {
		b := newBed(RoundRobin, "10f2 10f2")
		b.live[0].Fail(b.now, 2)
		b.Picker = NewPlan(RoundRobin, b.peers).Bind(b.live, &b.cur)
		out := b.run(10)
		if elsewhere {
			new(Live).Fail(b.now, 1)
		}
		return out + b.run(20)
	}
	if a, b := order(false), order(true); a != b {
		t.Errorf("%s without a failure elsewhere, %s with", a, b)
	}
}

// TestWeighedForgotten: a failure that was forgotten before the first turn is in the order all the same.
func TestWeighedForgotten(t *testing.T) {
	for key := range byte(20) {
		b := newBed(Hash, "40f2 40f2 40f2")
		b.q.Key = []byte{key, 1, key, 2}
		i := b.pick()
		b.done(i, false)
		b.now += 11e9
		b.done(b.pick(), true)
		if b.live[i].Fails() != 0 {
			t.Fatal("the failure is not forgotten")
		}
		want := newPlain(RoundRobin, b.peers)
		want.of[i].conns++
		want.done(i, b.now, false)
		want.of[i].fails = 0
		b.q.Key = nil
		for n := range 10 {
			w := want.pick(b.now, map[int]bool{}, "")
			want.done(w, b.now, true)
			if got := b.pick(); got != w {
				t.Fatalf("peer %d failed: pick %d is %d, want %d", i, n, got, w)
			}
			b.done(w, true)
		}
	}
}

// TestWeighedLong: the longest turns come back, too.
func TestWeighedLong(t *testing.T) {
	b := newBed(RoundRobin, "2048 1537")
	b.live[0].Fail(b.now, 1)
	b.run(10)
	b.now += 11e9
	b.run(20000)
	if l := b.Picker.(*roundRobin).primary.line.Load(); l == nil || len(l.slots) != 3585 {
		t.Errorf("there is no turn: %v", l != nil)
	}
}

// TestWeighedBeside: picks of the same moment are as fair.
func TestWeighedBeside(t *testing.T) {
	for _, m := range []Method{RoundRobin, LeastConn} {
		b := newBed(m, "1 2 1 4")
		b.live[2].Fail(b.now, 1)
		var served [4]int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				var n [4]int
				q := &Query{NowNs: b.now}
				for k := range 70000 {
					q.Tried.Reset()
					if k%10 == 0 {
						q.Tried.Add(2) // no turn
					}
					i := b.Pick(q)
					n[i]++
					b.live[i].Release()
				}
				mu.Lock()
				defer mu.Unlock()
				for i := range n {
					served[i] += n[i]
				}
			})
		}
		wg.Wait()
		for i, w := range []int{1, 2, 0, 4} {
			if want := w * 40000; m == RoundRobin && (served[i] < want*9/10 || served[i] > want*11/10) || w == 0 && served[i] > 0 {
				t.Errorf("method %d: %d requests on peer %d, want about %d", m, served[i], i, want)
			}
		}
	}
}
