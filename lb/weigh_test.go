package lb

import (
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// plain is nginx's round robin and least_conn as it stands there: every pick adds to all weights. Times are those of Live.
type plain struct {
	peers  []Peer
	by     Method
	groups [2][]int // primaries, backups
	of     []plainPeer
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
	}
	return n
}

func (n *plain) pick(now int64, tried map[int]bool) int {
	for _, group := range n.groups {
		var can []int
		for _, i := range group {
			p, s := &n.peers[i], &n.of[i]
			if tried[i] || p.MaxFails > 0 && s.fails >= p.MaxFails && now-s.checked <= p.FailTimeoutNs || p.MaxConns > 0 && s.conns >= p.MaxConns {
				continue
			}
			can = append(can, i)
		}
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
			s := &n.of[i]
			if n.by == LeastConn && len(can) == 1 {
				best = i
				break
			}
			s.current += s.effective
			total += s.effective
			s.effective = min(s.effective+1, n.peers[i].Weight)
			if best < 0 || s.current > n.of[best].current {
				best = i
			}
		}
		if best >= 0 {
			s := &n.of[best]
			s.current -= total
			if now-s.checked > n.peers[best].FailTimeoutNs {
				s.checked = now
			}
			s.conns++
			tried[best] = true
			return best
		}
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

// TestOrderIsNginx: a small upstream gives the peers in nginx's order, whatever fails, is full, is tried again or comes back.
func TestOrderIsNginx(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom([]Method{RoundRobin, LeastConn}).Draw(t, "method")
		b := &bed{now: 1e18}
		weight := rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 8, 100})
		for i := range rapid.IntRange(2, mostWeighed).Draw(t, "peers") {
			b.peers = append(b.peers, Peer{
				Weight:        weight.Draw(t, "weight"),
				MaxConns:      rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "max_conns"),
				MaxFails:      rapid.SampledFrom([]int{1, 1, 1, 0, 2, 3, 7}).Draw(t, "max_fails"),
				FailTimeoutNs: rapid.SampledFrom([]int64{10e9, 10e9, 2e9}).Draw(t, "fail_timeout"),
				Backup:        i > 0 && rapid.IntRange(0, 5).Draw(t, "backup") == 0,
				Down:          rapid.IntRange(0, 9).Draw(t, "down") == 0,
			})
			b.live = append(b.live, new(Live))
		}
		b.Picker = NewPlan(m, b.peers).Bind(b.live, &b.cur)
		want := newPlain(m, b.peers)
		var held []int
		tried := map[int]bool{}
		n := 0
		ask := func() int {
			n++
			i := b.again()
			if w := want.pick(b.now, tried); i != w {
				t.Fatalf("%+v: pick %d is %d, want %d; nginx has %+v", b.peers, n, i, w, want.of)
			}
			if i >= 0 {
				held = append(held, i)
			}
			return i
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
					b.q.Tried.Reset()
					clear(tried)
					if ask() >= 0 {
						end(len(held)-1, true)
					}
				}
			case op < 6: // one that stays
				b.q.Tried.Reset()
				clear(tried)
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
	b.run(30)
	if l := g.line.Load(); l == nil || len(l.slots) != 5 {
		t.Fatalf("there is no turn of the others: %v", l)
	}
	b.now += 11e9
	b.run(60)
	if l := g.line.Load(); l == nil || len(l.slots) != 10 {
		t.Errorf("there is no turn of all: %v", l)
	}
	if n := testing.AllocsPerRun(100, func() { b.done(b.pick(), true) }); n != 0 {
		t.Errorf("a pick allocates %v times", n)
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
