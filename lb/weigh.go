package lb

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
)

// weighing is what nginx's smooth weighted round robin keeps of the members of a group: their weights of the moment. A pick of
// a turn needs none of it, since the turn is the order that they give as long as nothing happens. When something does, a failure,
// a second try, a member that is full, dead or back again, the weights of that moment are worked out and picks are made with them,
// one by one as nginx makes them; when nothing has happened for a turn, the turn is made that follows from them.
//
// Picks with weights are O(n), so only small groups do it. They are made under a lock that is tried and never waited for: whoever
// does not get it picks by the roll or by the loads alone, which is as fair and not nginx's order; but what order is there among
// picks of the same moment. Source: nginx, ngx_http_upstream_round_robin.c, ngx_http_upstream_least_conn_module.c.
type weighing struct {
	lock    atomic.Bool
	line    *turn  // that gives the order since tick at, or gave it: current is of that time; nil: current is of the moment
	at      uint32 // position in line
	dead    uint32 // bit k: member k was left out by the last pick
	quiet   int    // picks with weights since the last event
	members weights
}

// weights are by rank.
type weights [mostWeighed]weighed

// weighed is one member's part.
type weighed struct {
	current, effective int64
	weight             int64
	failed             uint32 // failures of the peer that have lowered effective
}

const (
	mostWeighed  = 16      // members of a group that does it
	mostWeighing = 1 << 30 // their weights, so that no product with a number of requests overflows
	leastQuiet   = 32      // picks without an event before a turn is made
)

// failures counts all failures of all peers: groups that go by a turn look at it.
var failures struct {
	_ [64]byte
	atomic.Uint64
	_ [56]byte
}

// weighs prepares a group for it, if it is one that can: one whose turn is its weights, or that picks by load and needs no turn.
func (g *group) weighs(byLoad bool) {
	heavy := func(i uint32) bool { return g.peers[i].weight > mostWeighing }
	n := len(g.members)
	if n > 1 && n <= mostWeighed && !g.ramp.on && (g.exact || byLoad) && !slices.ContainsFunc(g.members, heavy) {
		g.small = true
	}
}

// nextSmall is next for a group that goes by nginx's weights, at tick t.
func (g *group) nextSmall(q *Query, t uint32) int {
	if l := g.line.Load(); l != nil && q.Tried.n == 0 && !g.aside.stir(q.NowNs) && (g.heard.Load() == failures.Load() || g.spared()) {
		if i := l.at(t); g.peers[i].live.fails.Load() == 0 && g.takeSmall(i, q) {
			return i
		}
	}
	if w := g.tryWeigh(); w != nil {
		i := w.turn(g, q, t)
		w.lock.Store(false)
		return i
	}
	return g.walk(q, g.slot(t))
}

// leastSmall is least for such a group, by least_conn.
func (g *group) leastSmall(q *Query) int {
	t := tick(g.cursor)
	if w := g.tryWeigh(); w != nil {
		g.look(q.NowNs)
		w.wake(g, t)
		w.hear(g)
		i := w.pick(g, q, t, true)
		w.lock.Store(false)
		return i
	}
	return g.leastBeside(q, t)
}

// tryWeigh gives the weights, locked, or nil.
func (g *group) tryWeigh() *weighing {
	w := g.weighing.Load()
	if w == nil {
		g.weighing.CompareAndSwap(nil, g.newWeighing())
		w = g.weighing.Load()
	}
	if w.lock.Load() || !w.lock.CompareAndSwap(false, true) {
		return nil
	}
	return w
}

// newWeighing gives the weights that there are before anything has happened.
func (g *group) newWeighing() *weighing {
	w := &weighing{line: &g.turn}
	for k, i := range g.members {
		p := &g.peers[i]
		w.members[k] = weighed{effective: p.weight, weight: p.weight, failed: p.failed}
	}
	w.members.begin(g)
	return w
}

// spared reports whether the failures that there were since last heard of are none of the group's, which has had none yet.
func (g *group) spared() bool {
	n := failures.Load()
	if g.weighing.Load() != nil {
		return false
	}
	for _, i := range g.members {
		if p := &g.peers[i]; p.live.details().failed.Load() != p.failed {
			return false
		}
	}
	g.heard.Store(n)
	return true
}

// spent reports whether the place just taken was the last one for a while: p is full, or it was let through after failures.
func (p *peer) spent(now int64) bool {
	return p.full() || p.live.fails.Load() != 0 && p.dead(now)
}

// takeSmall takes a place on peer i by the turn.
func (g *group) takeSmall(i int, q *Query) bool {
	p := &g.peers[i]
	if p.take(q.NowNs) != taken {
		return false
	}
	g.took(p, q.NowNs)
	q.Tried.add(i)
	return true
}

// took ends the turn if the place just taken on p was the last one for a while, which makes the order another one.
func (g *group) took(p *peer, now int64) {
	if g.small && p.spent(now) {
		g.line.Store(nil)
	}
}

// turn is a pick of round robin at tick t, under the lock.
func (w *weighing) turn(g *group, q *Query, t uint32) int {
	g.look(q.NowNs)
	if news := w.hear(g); w.line != nil {
		if l := g.line.Load(); l != nil && !news && q.Tried.n == 0 {
			if i := l.at(t); g.takeSmall(i, q) {
				return i
			}
		}
		g.line.Store(nil)
		w.wake(g, t)
	}
	changes := g.aside.changes.Load()
	i := w.pick(g, q, t, false)
	if w.quiet > max(len(g.slots), leastQuiet) {
		w.quiet = 0
		w.settle(g, changes)
	}
	return i
}

// hear lowers the effective weights of members that have failed, and reports whether there are any.
func (w *weighing) hear(g *group) (news bool) {
	n := failures.Load()
	if g.heard.Load() == n {
		return false
	}
	for k, i := range g.members {
		p, m := &g.peers[i], &w.members[k]
		failed := p.live.details().failed.Load()
		if n := failed - m.failed; n != 0 && p.maxFails > 0 {
			news = true
			g.recovering.Or(1 << k)
			m.effective = max(0, m.effective-int64(n)*(p.weight/int64(p.maxFails)))
		}
		m.failed = failed
	}
	g.heard.Store(n)
	return news
}

// stick counts a place that a session has taken on p as a pick by its turn, unless p is that much behind already: many requests of
// sessions shall not keep others from it for long. Whoever does not get the lock lets it be. Source: nginx, ngx_http_upstream_get_peer.
func (g *group) stick(p *peer, q *Query) {
	w := g.tryWeigh()
	if w == nil {
		return
	}
	defer w.lock.Store(false)
	g.look(q.NowNs)
	w.hear(g)
	if m := &w.members[p.rank]; w.line != nil || m.current > m.weight-g.all {
		w.wake(g, uint32(g.cursor.Load()))
		g.line.Store(nil)
		if m.current > m.weight-g.all {
			can, dead, _ := g.candidates(q, false)
			w.dead, w.quiet = dead, 0
			w.members.pay(can|1<<p.rank, p.rank)
		}
	}
}

// wake ends the line: it works out the weights before the pick of tick t.
func (w *weighing) wake(g *group, t uint32) {
	line := w.line
	if line == nil {
		return
	}
	w.line, w.quiet = nil, 0
	if !g.exact {
		return
	}
	n := uint32(len(line.slots))
	steps := (t%n + n - w.at) % n
	var total int64
	for k := range g.members {
		if m := &w.members[k]; w.dead>>k&1 == 0 {
			m.current += int64(steps) * m.weight
			total += m.weight
		}
	}
	for s := range steps {
		i := line.slots[(w.at+s)%n]
		w.members[g.peers[i].rank].current -= total
	}
}

// pick picks as nginx does: by weight, with byLoad among those only that have the least requests in flight for their weight.
func (w *weighing) pick(g *group, q *Query, t uint32, byLoad bool) int {
	for range mostWeighed {
		can, dead, all := g.candidates(q, byLoad)
		if dead != w.dead || !all {
			w.dead, w.quiet = dead, 0
		}
		if can == 0 {
			return -1
		}
		g.skip(dead, t)
		w.quiet++
		k := bits.TrailingZeros32(can)
		if !byLoad || can&(can-1) != 0 {
			full := false
			if k, full = w.members.heaviest(can); !full {
				w.quiet = 0
			}
		}
		i := int(g.members[k])
		took := g.takeRank(k, q)
		if !took || g.peers[i].spent(q.NowNs) {
			w.quiet = 0
		}
		if took {
			return i
		} // else somebody was faster
	}
	return g.search(q)
}

// heaviest gives that one of some members which has gained most, as nginx does, and whether all of them gain their full weights.
func (w *weights) heaviest(among uint32) (best int, full bool) {
	best, total, full := w.gain(among)
	w[best].current -= total
	return best, full
}

// pay has some members gain their weights and one of them pay for all.
func (w *weights) pay(among, who uint32) {
	_, total, _ := w.gain(among)
	w[who%mostWeighed].current -= total
}

// gain has some members gain their weights, which is total. It tells which of them then has most, and whether all gain their full weights.
func (w *weights) gain(among uint32) (best int, total int64, full bool) {
	full = true
	most := int64(math.MinInt64)
	for x := among; x != 0; x &= x - 1 {
		k := bits.TrailingZeros32(x) % mostWeighed // which it is: for the compiler
		m := &w[k]
		m.current += m.effective
		total += m.effective
		if m.effective < m.weight {
			m.effective++
			full = false
		}
		if m.current > most {
			best, most = k, m.current
		}
	}
	return best, total, full
}

// settle makes the turn that follows from the weights if it is one: picks that bring the weights back to what they are.
func (w *weighing) settle(g *group, changes uint32) {
	div, total := int64(0), int64(0)
	for k, i := range g.members {
		if w.dead>>k&1 != 0 != g.aside.has(int(i)) {
			return
		}
		if w.dead>>k&1 == 0 {
			total += w.members[k].weight
			div = gcd(div, w.members[k].weight)
		}
	}
	if total == 0 {
		return
	}
	n := uint32(total / div)
	slots := make([]uint32, n)
	at := uint32(g.cursor.Load()) % n
	then := w.members
	alive := (uint32(1)<<len(g.members) - 1) &^ w.dead
	for s := range n {
		k, _ := then.heaviest(alive)
		slots[(at+s)%n] = g.members[k]
	}
	if then != w.members {
		return
	}
	l := newTurn(slots)
	w.line, w.at = &l, at
	g.line.Store(&l)
	if g.aside.changes.Load() != changes {
		g.line.Store(nil)
	}
}

// candidates gives the members that may be used, with byLoad those of them that have the least requests in flight for their weight;
// those that are dead; and whether there are no others.
func (g *group) candidates(q *Query, byLoad bool) (can, dead uint32, all bool) {
	var conns, weight int64 // of those
	all = true
	for k, i := range g.members {
		p := &g.peers[i]
		if p.live.fails.Load()|p.maxConns != 0 || q.Tried.n != 0 {
			switch {
			case p.live.fails.Load() != 0 && p.dead(q.NowNs):
				dead |= 1 << k
				if !g.aside.has(int(i)) {
					g.setAside(int(i), q.NowNs)
				}
				continue
			case q.Tried.Has(int(i)) || p.full():
				all = false
				continue
			}
		}
		if byLoad {
			n := p.live.InFlight()
			switch a, b := n*weight, conns*p.weight; {
			case can == 0 || a < b:
				conns, weight, can = n, p.weight, 0
			case a > b:
				continue
			}
		}
		can |= 1 << k
	}
	return can, dead, all
}

// takeRank takes a place on member k.
func (g *group) takeRank(k int, q *Query) bool {
	i := int(g.members[k])
	switch g.peers[i].take(q.NowNs) {
	case taken:
		q.Tried.add(i)
		return true
	case out:
		g.setAside(i, q.NowNs)
	}
	return false
}

// leastBeside is leastSmall beside another one: those that are equal come in the order of the turn.
func (g *group) leastBeside(q *Query, t uint32) int {
	for range mostWeighed {
		can, _, _ := g.candidates(q, true)
		if can == 0 {
			return -1
		}
		k := bits.TrailingZeros32(can)
		for j := range uint32(min(len(g.slots), 4*mostWeighed)) {
			if next := g.peers[g.turn.at(t+j)].rank; can>>next&1 != 0 {
				k = int(next)
				g.cursor.Add(uint64(j))
				break
			}
		}
		if g.takeRank(k, q) {
			return int(g.members[k])
		}
	}
	return g.search(q)
}

// skip moves the cursor on where the turn of all gives the slots from t on to members that are dead: groups that take this one's
// place begin there, and would else give all slots of those to the ones that follow.
func (g *group) skip(dead, t uint32) {
	if dead == 0 {
		return
	}
	for range mostWeighed {
		if dead>>g.peers[g.turn.at(t)].rank&1 == 0 {
			return
		}
		t = tick(g.cursor)
	}
}
