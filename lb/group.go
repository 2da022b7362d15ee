package lb

import "sync/atomic"

// Cursor is the position of an upstream's rotation. It is shared by all pickers of one upstream over time: a table
// that replaces another goes on where that one stood, for starting anew at every change would give the first
// servers most of the traffic under churn. The zero Cursor stands at the first peer. Safe for concurrent use.
type Cursor struct {
	primary atomic.Uint64
	backup  atomic.Uint64
	total   atomic.Int64                              // balance_factor: places taken on the primaries, those that are down or drain not counted
	apart   atomic.Pointer[peer]                      // see seat
	names   atomic.Pointer[map[string]*atomic.Uint32] // see turns
	_       [24]byte                                  // its own cache line: every pick writes it
}

// tick moves the cursor on and gives where it stood. After 4 billion picks the count begins anew.
func tick(c *atomic.Uint64) uint32 { return uint32(c.Add(1) - 1) }

// maxTicks is how many slots are looked at in one pick before the members are searched in order.
const maxTicks = 64

// group is a rotation over living peers: the primaries of an upstream or its backups.
//
// A pick reads the slot at the cursor and moves it on. A peer that may not be used costs one more tick: taking the
// neighbour without ticking would give that neighbour its own share and the dead peer's. So that ticks do not grow
// with the number of dead peers, a pick that meets one sets it aside (aside.go), and the turn goes on without it.
type group struct {
	*rotation
	peers  []peer
	cursor *atomic.Uint64
	line   atomic.Pointer[turn] // the turn without those set aside, or nil for a while when they have changed; see slot
	read   atomic.Uint32        // slots read since then
	roll   roll
	aside  aside
	ramp   ramp
	board  *board // nil unless the method has to know the load of all at each pick

	weight atomic.Int64  // of the members that are not set aside
	total  *atomic.Int64 // see Cursor

	small    bool                     // it goes by nginx's weights; see weighing
	weighing atomic.Pointer[weighing] // nil: nothing has happened yet
	heard    atomic.Uint64            // failures that it knows of

	recovering atomic.Uint32 // bit k: member k has less than its full weight; see recovers
	owners     []owner       // of a ring
	turns      []*atomic.Uint32
}

// noGroup is a group without members, which stays as it is.
var noGroup = &group{rotation: new(rotation)}

// init joins a rotation with the living parts of its members.
func (g *group) init(r *rotation, peers []peer, cursor *atomic.Uint64, total *atomic.Int64) {
	g.rotation, g.peers, g.cursor, g.total = r, peers, cursor, total
	if len(r.members) == 0 {
		return
	}
	g.heard.Store(failures.Load())
	g.roll.init(len(r.slots))
	g.line.Store(&r.turn)
	g.aside.init(len(peers))
	var weight int64
	for k, i := range r.members {
		peers[i].rank = uint32(k)
		weight += peers[i].weight
		if peers[i].slowStart > 0 {
			g.ramp.on = true
		}
	}
	g.weight.Store(weight)
}

// next picks the next usable peer that q has not tried, or gives -1.
func (g *group) next(q *Query) int {
	i, t := -1, uint32(0)
	if l := g.line.Load(); l != nil && !g.ramp.on && !g.aside.stir(q.NowNs) && g.heard.Load() == failures.Load() {
		t = tick(g.cursor)
		i = l.at(t)
		if p := &g.peers[i]; q.Tried.n == 0 && p.healthy() { // nearly always
			p.live.occupy()
			q.Tried.first[0], q.Tried.n = uint32(i), 1
			return i
		}
	}
	if g.small {
		if i < 0 {
			t = tick(g.cursor)
		}
		return g.nextSmall(q, t)
	}
	if n := failures.Load(); g.heard.Load() != n {
		g.heard.Store(n)
	}
	return g.walk(q, i)
}

// walk is next with peers set aside, in slow start, tried or busy. It begins with peer i, unless that is below 0.
func (g *group) walk(q *Query, i int) int {
	if len(g.slots) == 0 {
		return -1
	}
	g.look(q.NowNs)
	most := min(len(g.slots), maxTicks)
	if g.ramp.on {
		most = maxTicks
	}
	for met := 0; most > 0; most-- {
		if i < 0 {
			if g.roll.live.Load() == 0 {
				return -1
			}
			t := tick(g.cursor)
			if i = g.slot(t); i < 0 || g.ramp.on && !g.ramp.accept(&g.peers[i], t, q.NowNs) {
				i = -1
				continue
			}
		}
		if !q.Tried.Has(i) {
			p := &g.peers[i]
			switch p.take(q.NowNs) {
			case taken:
				q.Tried.add(i)
				return i
			case out:
				if met++; met < manyDead {
					g.setAside(i, q.NowNs)
				} else {
					g.setAsideAll(q.NowNs)
				}
			}
		}
		i = -1
	}
	return g.search(q)
}

// slot gives the peer whose turn it is at tick t, or -1 when no slot is in use or they are changing at the moment.
//
// The line is made when as many slots have been read since the last change as the turn has, so that making it, which
// takes time in proportion and memory, does not count however often the set changes. Until then the roll is read.
func (g *group) slot(t uint32) int {
	if l := g.line.Load(); l != nil {
		return l.at(t)
	}
	live := g.roll.live.Load()
	if live == 0 {
		return -1
	}
	if !g.small && int(g.read.Add(1)) > len(g.slots) {
		g.compact()
	}
	if s := g.roll.at(t % live); s >= 0 {
		return int(g.slots[s])
	}
	return -1
}

// search looks at every member once, from where the cursor stands, and takes the first usable one. It ends a pick
// whose ticks all met busy or tried peers, or other pickers' ticks.
func (g *group) search(q *Query) int {
	n := uint64(len(g.members))
	start := g.cursor.Load()
	for k := range n {
		i := int(g.members[(start+k)%n])
		if !q.Tried.Has(i) && g.peers[i].take(q.NowNs) == taken {
			q.Tried.add(i)
			if g.board != nil {
				g.placed(i, q.NowNs)
			}
			return i
		}
	}
	return -1
}
