package lb

import "sync/atomic"

// board keeps what a method has to know of all members of a group at once, and is told of every place that is taken
// and given back: a tree of loads (least_conn, least_time).
//
// A Live tells the peer that has its seat, which is the one of the picker that was bound last. A picker that another
// has taken a seat from, because both are in use while tables change, takes it back in the course of its picks: every
// eighth, on the average, looks at one member at random besides (refresh), so that a change it was not told of is seen after
// eight times as many picks as there are members, on the average.
type board struct {
	load     func(p *peer, nowNs int64) float64
	timed    bool // by response times
	inflight bool // and the age of requests that wait
	tree     *tree
	clock    atomic.Int64  // NowNs of a pick at most a millisecond ago, for those who release and have no time
	swept    atomic.Uint32 // members looked at because of the time
}

// join makes the board of a group for plan p and seats its members.
func (g *group) join(load func(*peer, int64) float64, p *Plan) {
	if len(g.members) == 0 || g.small {
		return
	}
	g.board = &board{
		load: load, tree: newTree(len(g.members)),
		timed: p.method == LeastTime, inflight: p.method == LeastTime && p.options.Inflight,
	}
	for _, i := range g.members {
		p := &g.peers[i]
		p.group = g
		p.live.seat.Store(p)
		g.moved(p)
	}
}

// leave ends the report of p to whatever board it had a seat at.
func (p *peer) leave(cur *Cursor) {
	if s := p.live.seat.Load(); s != nil && s.group.board != nil {
		p.live.seat.Store(cur.seat())
	}
}

// placed notes that a place on member i was taken at now.
func (g *group) placed(i int, now int64) {
	p := &g.peers[i]
	if g.board.timed {
		p.visit(now, g.board.inflight)
	}
	g.moved(p)
}

// moved brings the board up to date with a member. Of several at once the last to write has seen what all have done.
func (g *group) moved(p *peer) {
	for {
		key := g.key(p)
		g.board.tree.set(p.rank, key)
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

// refreshOne is how many picks there are to a look at another member; a power of two.
const refreshOne = 8

// refresh looks at one member by the random number x, which another picker may have taken away or whose load goes by
// time.
func (g *group) refresh(q *Query, x uint32) {
	b := g.board
	was := b.clock.Load()
	// Loops take the time for themselves, so it goes back a little from one pick to the next.
	if d := q.NowNs - was; (d >= 1e6 || d <= -1e9) && b.clock.CompareAndSwap(was, q.NowNs) && b.timed {
		g.sweep()
	}
	if x%refreshOne == 0 {
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
	p := &g.peers[i]
	if p.live.seat.Load() != p && p.live.inFlight.Load()&counted == 0 {
		p.live.seat.Store(p)
		g.moved(p)
	} else if g.board.tree.levels[0][p.rank].Load() != g.key(p) {
		g.moved(p)
	}
}
