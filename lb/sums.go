package lb

// The sum of the places taken on the members of a bounded group is kept to the place: the word of Live that places are taken in says
// whether they count (counted), and the Bind that was the last one over the same peers has decided that. Picks of pickers from before
// go by what it says, too.

// sumUp has the places of the group's members counted.
func (g *group) sumUp(cur *Cursor) {
	var below int64
	for _, i := range g.members {
		p := &g.peers[i]
		p.below = below
		below += p.weight
		p.live.count(cur)
	}
}

// seat gives the seat that leads to the total and to no board.
func (c *Cursor) seat() *peer {
	if c.apart.Load() == nil {
		c.apart.CompareAndSwap(nil, &peer{group: &group{total: &c.total}})
	}
	return c.apart.Load()
}

// count has the places of l counted in the total of a cursor.
func (l *Live) count(cur *Cursor) {
	if p := l.seat.Load(); p != nil && p.group.total != &cur.total {
		l.uncount()
	}
	l.seat.Store(cur.seat())
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

// sum adds n places to the total that l, which is or was counted, counts in. That is the same one at all seats that it has had since,
// which are never nil, so it does not matter if it changes its seat meanwhile.
func (l *Live) sum(n int64) { l.seat.Load().group.total.Add(n) }
