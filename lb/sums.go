package lb

import "sync/atomic"

// sums is what the bounds of the members of a group follow from, besides the places taken (group.total). That sum is kept to the
// place, whatever pickers are in use over the same peers, as long as they share a cursor: the word that a place is taken in says
// whether it counts.
type sums struct {
	weight atomic.Int64 // of the members that are not set aside
	seat   *peer        // of all members
}

// seat gives the seat that leads to the total and to no board.
func (c *Cursor) seat() *peer {
	if c.apart.Load() == nil {
		c.apart.CompareAndSwap(nil, &peer{group: &group{total: &c.total}})
	}
	return c.apart.Load()
}

// sumUp makes the sums of a group and has the places of its members counted.
func (g *group) sumUp(cur *Cursor) {
	s := &sums{seat: cur.seat()}
	g.sums = s
	for _, i := range g.members {
		p := &g.peers[i]
		p.below = s.weight.Add(p.weight) - p.weight
		p.live.count(s.seat)
	}
}

// use counts the weight of member p in or out.
func (s *sums) use(p *peer, use bool) {
	w := p.weight
	if !use {
		w = -w
	}
	s.weight.Add(w)
}

// count has the places of l counted in the total of the group that has the seat.
func (l *Live) count(seat *peer) {
	if s := l.seat.Load(); s != nil && s.group.total != seat.group.total {
		l.uncount()
	}
	l.seat.Store(seat)
	for v := l.inFlight.Load(); v&counted == 0; v = l.inFlight.Load() {
		if l.inFlight.CompareAndSwap(v, v|counted) {
			l.sum(int64(v >> 1))
		}
	}
}

// uncount has the places of l no longer counted.
func (l *Live) uncount() {
	for v := l.inFlight.Load(); v&counted != 0; v = l.inFlight.Load() {
		if l.inFlight.CompareAndSwap(v, v&^counted) {
			l.sum(-int64(v >> 1))
		}
	}
}

// sum adds n places to the total that l counts in. That is the same one at all seats which l has one after the other, so it does
// not matter if it changes its seat meanwhile.
func (l *Live) sum(n int64) {
	if p := l.seat.Load(); p != nil {
		p.group.total.Add(n)
	}
}
