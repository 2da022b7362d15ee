package lb

import "sync/atomic"

// board keeps what a method has to know of all members of a group at once, and is told of every place that is taken
// and given back: a tree of loads (least_conn, least_time), or the sum of the places taken (balance_factor).
//
// A Live tells the board it has a seat at, which is the one of the picker that was bound last. A picker that another
// has taken a seat from, because both are in use while tables change, takes it back in the course of its picks: every
// eighth, on the average, looks at one member at random besides (refresh), so that a change it was not told of is seen
// after eight times as many picks as there are members, on the average.
type board struct {
	load     func(p *peer, nowNs int64) float64 // nil: no tree
	timed    bool                               // by response times
	inflight bool                               // and the age of requests that wait
	tree     *tree
	seats    []seat
	clock    atomic.Int64 // NowNs of a pick at most a millisecond ago, for those who release and have no time
	tally    tally
}

// seat is where a Live reports: the place of one member.
type seat struct {
	group *group
	rank  uint32
	count atomic.Int64 // places taken when last looked at
	below int64        // sum of the weights of the members before
}

// tally is the sum of places taken, kept by the differences to what each member had when it was last looked at: what
// is missed once is put right by the next look.
type tally struct {
	total  atomic.Int64
	weight atomic.Int64 // of the members that are not set aside
}

// join makes the board of a group for plan p and seats its members. Without a load it keeps the sum of places.
func (g *group) join(load func(*peer, int64) float64, p *Plan) {
	if len(g.members) == 0 {
		return
	}
	b := &board{
		load: load, seats: make([]seat, len(g.members)),
		timed: p.method == LeastTime, inflight: p.method == LeastTime && p.options.Inflight,
	}
	if load != nil {
		b.tree = newTree(len(g.members))
	}
	g.board = b
	for k, i := range g.members {
		b.seats[k].group, b.seats[k].rank = g, uint32(k)
		if load == nil {
			b.seats[k].below = b.tally.weight.Add(g.peers[i].weight) - g.peers[i].weight
		}
		g.peers[i].live.ensure().seat.Store(&b.seats[k])
		g.moved(uint32(k))
	}
}

// leave ends the report of p to whatever board it had a seat at.
func (p *peer) leave() {
	if m := p.live.more.Load(); m != nil && m.seat.Load() != nil {
		m.seat.Store(nil)
	}
}

// placed notes that a place on p was taken at now.
func (g *group) placed(p *peer, now int64) {
	if g.board.timed {
		p.visit(now, g.board.inflight)
	}
	g.moved(p.rank)
}

// moved brings the board up to date with member k. Of several at once the last to write has seen what all have done.
func (g *group) moved(k uint32) {
	b := g.board
	p := &g.peers[g.members[k]]
	if b.tree == nil {
		for {
			n := p.live.InFlight()
			if d := n - b.seats[k].count.Swap(n); d != 0 {
				b.tally.total.Add(d)
			}
			if p.live.InFlight() == n {
				return
			}
		}
	}
	for {
		key := g.key(k, p)
		b.tree.set(k, key)
		if g.key(k, p) == key {
			return
		}
	}
}

// key is the key of member k in the tree.
func (g *group) key(k uint32, p *peer) uint32 {
	if g.aside.has(int(g.members[k])) || p.full() {
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

// use counts the weight of member k in or out.
func (b *board) use(k uint32, use bool) {
	if b.tree != nil {
		return
	}
	w := b.seats[k].group.peers[b.seats[k].group.members[k]].weight
	if !use {
		w = -w
	}
	b.tally.weight.Add(w)
}

// refreshOne is how many picks there are to a look at another member; a power of two.
const refreshOne = 8

// refresh looks at one member by the random number x, which another picker may have taken away or whose load goes by
// time.
func (g *group) refresh(q *Query, x uint32) {
	b := g.board
	// Loops take the time for themselves, so it goes back a little from one pick to the next.
	if d := q.NowNs - b.clock.Load(); d >= 1e6 || d <= -1e9 {
		b.clock.Store(q.NowNs)
	}
	if x%refreshOne != 0 {
		return
	}
	k := uint32(uint64(x) * uint64(len(g.members)) >> 32)
	p := &g.peers[g.members[k]]
	if m := p.live.ensure(); m.seat.Load() != &b.seats[k] {
		m.seat.Store(&b.seats[k])
		g.moved(k)
	} else if b.tree != nil && b.tree.levels[0][k].Load() != g.key(k, p) {
		g.moved(k)
	}
}
