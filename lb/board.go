package lb

import "sync/atomic"

// board keeps what a method has to know of all members of a group at once, and is told of every place that is taken
// and given back: a tree of loads (least_conn, least_time), or the sum of the places taken (balance_factor).
//
// A Live tells the board that its peer has a seat at, which is the one of the picker that was bound last. A picker that another
// has taken a seat from, because both are in use while tables change, takes it back in the course of its picks: every
// eighth, with balance_factor every 32nd, on the average, looks at one member at random besides (refresh), so that a change
// it was not told of is seen after as many times as many picks as there are members, on the average.
type board struct {
	load     func(p *peer, nowNs int64) float64 // nil: no tree
	timed    bool                               // by response times
	inflight bool                               // and the age of requests that wait
	tree     *tree
	clock    atomic.Int64  // NowNs of a pick at most a millisecond ago, for those who release and have no time
	swept    atomic.Uint32 // members looked at because of the time
	tally    tally
	seats    []seat // of peers; of those that are no members without a group
}

// seat is a member's place at a board, apart from the rest that is known of it: releases need no more. Four share a cache line.
type seat struct {
	group *group
	at    uint32       // of the peer
	count atomic.Int32 // balance_factor: places taken when last looked at
}

// tally is the sum of places taken, kept by the differences to what each member had when it was last looked at: what
// is missed once is put right by the next look.
type tally struct {
	total  atomic.Int64
	weight atomic.Int64 // of the members that are not set aside
}

// join makes the board of a group for plan p and seats its members. Without a load it keeps the sum of places.
func (g *group) join(load func(*peer, int64) float64, p *Plan) {
	if len(g.members) == 0 || g.small {
		return
	}
	b := &board{
		load:  load,
		seats: make([]seat, len(g.peers)),
		timed: p.method == LeastTime, inflight: p.method == LeastTime && p.options.Inflight,
	}
	if load != nil {
		b.tree = newTree(len(g.members))
	}
	g.board = b
	for _, i := range g.members {
		p, s := &g.peers[i], &b.seats[i]
		s.group, s.at = g, i
		if load == nil {
			p.below = b.tally.weight.Add(p.weight) - p.weight
		}
		p.live.seat.Store(s)
		g.moved(s, p.live)
	}
}

// leave ends the report of p to whatever board it had a seat at.
func (p *peer) leave() {
	if p.live.seat.Load() != nil {
		p.live.seat.Store(nil)
	}
}

// placed notes that a place on member i was taken at now.
func (g *group) placed(i int, now int64) {
	p := &g.peers[i]
	if g.board.timed {
		p.visit(now, g.board.inflight)
	}
	g.moved(&g.board.seats[i], p.live)
}

// moved brings the board up to date with a member. Of several at once the last to write has seen what all have done.
func (g *group) moved(s *seat, l *Live) {
	b := g.board
	if b.tree == nil {
		for {
			n := l.inFlight.Load()
			if d := n - s.count.Swap(n); d != 0 {
				b.tally.total.Add(int64(d))
			}
			if l.inFlight.Load() == n {
				return
			}
		}
	}
	p := &g.peers[s.at]
	for {
		key := g.key(p)
		b.tree.set(p.rank, key)
		if g.key(p) == key {
			return
		}
	}
}

// key is the key of member p in the tree.
func (g *group) key(p *peer) uint32 {
	if g.aside.has(int(g.members[p.rank])) || p.full() {
		return noKey
	}
	now := g.board.clock.Load()
	load := g.board.load(p, now)
	if g.ramp.on {
		if f := g.ramp.share(p, now); f < 1 {
			load = rampLoad(load, f, p.weight)
		}
	}
	return loadKey(load)
}

// use counts the weight of member p in or out.
func (b *board) use(p *peer, use bool) {
	if b.tree != nil {
		return
	}
	w := p.weight
	if !use {
		w = -w
	}
	b.tally.weight.Add(w)
}

// refreshOne is how many picks there are to a look at another member; powers of two. For the sum of places it is refreshTally:
// the next request that begins or ends on a member puts its number right, too.
const (
	refreshOne   = 8
	refreshTally = 32
)

// refresh looks at one member by the random number x, which another picker may have taken away or whose load goes by
// time.
func (g *group) refresh(q *Query, x uint32) {
	b := g.board
	was := b.clock.Load()
	// Loops take the time for themselves, so it goes back a little from one pick to the next.
	if d := q.NowNs - was; (d >= 1e6 || d <= -1e9) && b.clock.CompareAndSwap(was, q.NowNs) && b.timed {
		g.sweep()
	}
	every := uint32(refreshTally)
	if b.tree != nil {
		every = refreshOne
	}
	if x%every == 0 {
		g.lookAt(g.members[uint64(x)*uint64(len(g.members))>>32])
	}
}

// sweepMost bounds the members whose load is looked at again because time has gone on, at most once in a millisecond: about a
// microsecond for all of them.
const sweepMost = 64

// sweep looks at the next members in turn, all of them if they are few: loads that go by time change without anybody telling.
func (g *group) sweep() {
	n := uint32(min(len(g.members), sweepMost))
	at := g.board.swept.Add(n) - n
	for j := range n {
		g.lookAt(g.members[(at+j)%uint32(len(g.members))])
	}
}

// lookAt takes the seat of member i back if another picker has it, and brings the tree up to date.
func (g *group) lookAt(i uint32) {
	p, s := &g.peers[i], &g.board.seats[i]
	if p.live.seat.Load() != s {
		p.live.seat.Store(s)
		g.moved(s, p.live)
	} else if t := g.board.tree; t != nil && t.levels[0][p.rank].Load() != g.key(p) {
		g.moved(s, p.live)
	}
}
