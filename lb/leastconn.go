package lb

// leastConn picks the peer with the fewest requests in flight for its weight; peers that are equal in that take
// turns. Backups are chosen among in the same way. Safe for concurrent use.
//
// While idle peers are easy to find, the rotation finds one in a few ticks: nothing is below zero. Otherwise all
// peers are looked at, as nginx does. Source: nginx, ngx_http_upstream_least_conn_module.c.
type leastConn balancer

// idleTicks is how many slots are looked at for an idle peer, and for one that is as good as the best.
const idleTicks = 16

// Pick implements Picker.
func (b *leastConn) Pick(q *Query) int {
	if len(b.peers) == 1 {
		return (*roundRobin)(b).Pick(q)
	}
	if i := b.primary.least(q); i >= 0 {
		return i
	}
	return b.backup.least(q)
}

// least picks the least loaded usable peer of the group that q has not tried, or gives -1.
func (g *group) least(q *Query) int {
	if len(g.slots) == 0 {
		return -1
	}
	if i := g.inTurn(q, nil); i >= 0 {
		return i
	}
	best, many := -1, false
	for _, m := range g.members {
		i := int(m)
		p := &g.peers[i]
		if q.Tried.Has(i) || !p.usable(q.NowNs) {
			continue
		}
		switch {
		case best < 0 || less(p, &g.peers[best]):
			best, many = i, false
		case !less(&g.peers[best], p):
			many = true
		}
	}
	if best < 0 {
		return -1
	}
	if many {
		if i := g.inTurn(q, &g.peers[best]); i >= 0 {
			return i
		}
	}
	if g.peers[best].take(q.NowNs) == taken {
		q.Tried.add(best)
		return best
	}
	return g.search(q) // somebody else was faster
}

// inTurn gives the next peer of the rotation that is idle (best == nil) or no more loaded than best; -1 when the next
// few slots hold none. The cursor moves only when one is found: looking is no turn.
func (g *group) inTurn(q *Query, best *peer) int {
	n := uint64(len(g.slots))
	at := g.cursor.Load()
	for k := range min(n, idleTicks) {
		i := int(g.slots[turn(at+k, n)])
		p := &g.peers[i]
		if best == nil && p.live.inFlight.Load() > 0 || best != nil && less(best, p) || q.Tried.Has(i) {
			continue
		}
		if p.take(q.NowNs) == taken {
			g.cursor.Add(k + 1)
			q.Tried.add(i)
			return i
		}
	}
	return -1
}
