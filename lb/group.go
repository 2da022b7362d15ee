package lb

import "sync/atomic"

// Cursor is the position of an upstream's rotation. It is shared by all pickers of one upstream over time: a table
// that replaces another goes on where that one stood, for starting anew at every change would give the first
// servers most of the traffic under churn. The zero Cursor stands at the first peer. Safe for concurrent use.
type Cursor struct {
	primary atomic.Uint64
	backup  atomic.Uint64
	_       [48]byte // its own cache line: every pick writes it
}

const (
	maxTicks  = 64 // slots looked at in one pick before the members are searched in order
	smallTurn = 16 // a turn of so few slots is never filtered: nginx's order to the slot
)

// maxStaleNs bounds how long a filtered rotation is used: a peer whose check has passed meanwhile comes back then.
const maxStaleNs = int64(1e9)

// group is a rotation over living peers: the primaries of an upstream or its backups.
//
// A pick reads the slot at the cursor and moves it on. A peer that may not be used costs one more tick: taking the
// neighbour without ticking would give that neighbour its own share and the dead peer's. So that ticks do not grow
// with the number of dead peers, a pick that meets one filters the rotation for everybody, as often as filterEvery
// allows.
type group struct {
	*rotation
	peers    []peer
	cursor   *atomic.Uint64
	filtered atomic.Pointer[filtered] // nil: the whole rotation is in use
	filterAt atomic.Int64             // NowNs from which the rotation may be filtered again
}

// filterEvery is the time between two filterings: a microsecond a slot, of which filtering takes a few nanoseconds.
func (g *group) filterEvery() int64 { return int64(len(g.slots)) * 1000 }

// filtered is a rotation without the peers that were dead when it was made.
type filtered struct {
	slots []uint32
	until int64 // NowNs from which it has to be made anew
}

// next picks the next usable peer that q has not tried, or gives -1.
func (g *group) next(q *Query) int {
	slots := g.slots
	if f := g.filtered.Load(); f != nil {
		slots = g.current(f, q.NowNs)
	}
	n := uint64(len(slots))
	if n == 0 {
		return -1
	}
	for range min(n, maxTicks) {
		i := int(slots[turn(g.cursor.Add(1)-1, n)])
		if q.Tried.Has(i) {
			continue
		}
		p := &g.peers[i]
		if p.healthy() { // nearly always: saves the call
			p.live.inFlight.Add(1)
			q.Tried.add(i)
			return i
		}
		switch p.take(q.NowNs) {
		case taken:
			q.Tried.add(i)
			return i
		case out:
			if len(g.slots) > smallTurn && q.NowNs >= g.filterAt.Load() {
				slots = g.filter(q.NowNs)
				if n = uint64(len(slots)); n == 0 {
					return -1
				}
			}
		}
	}
	return g.search(q)
}

// turn is tick modulo n. A division of 32 bits takes half the time of one of 64, and 64 are needed only after four
// billion picks.
func turn(tick, n uint64) uint64 {
	if (tick|n)>>32 == 0 {
		return uint64(uint32(tick) % uint32(n))
	}
	return tick % n
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
			return i
		}
	}
	return -1
}

// current gives the slots of a filtered rotation, made anew when its time is over.
func (g *group) current(f *filtered, now int64) []uint32 {
	if now < f.until {
		return f.slots
	}
	return g.filter(now)
}

// filter makes the rotation without the peers that are dead at now, publishes it, and gives its slots. Whoever moves
// filterAt does it; the others go on with what there is. The next filtering is due when the first dead peer may be let
// through again.
func (g *group) filter(now int64) []uint32 {
	if at := g.filterAt.Load(); now < at || !g.filterAt.CompareAndSwap(at, now+g.filterEvery()) {
		if f := g.filtered.Load(); f != nil {
			return f.slots
		}
		return g.slots
	}
	f := &filtered{slots: make([]uint32, 0, len(g.slots)), until: now + maxStaleNs}
	dead := make([]bool, len(g.peers))
	any := false
	for _, i := range g.members {
		p := &g.peers[i]
		if p.dead(now) {
			dead[i], any = true, true
			f.until = min(f.until, p.live.checked.Load()+p.failTimeout+1)
		}
	}
	if !any {
		g.filtered.Store(nil)
		return g.slots
	}
	for _, i := range g.slots {
		if !dead[i] {
			f.slots = append(f.slots, i)
		}
	}
	g.filtered.Store(f)
	return f.slots
}
