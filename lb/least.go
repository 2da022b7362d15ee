package lb

// least picks the peer with the least load; peers that are equal in that take turns. Backups are chosen among in the
// same way. Safe for concurrent use.
//
// The load of least_conn is the number of requests in flight for its weight; of least_time see least_time.go. A tree
// gives the least of all in O(log n); the peers that have it come in the order of the rotation, where the next few of
// its slots hold one, else in the order of their indices.
// Source: nginx, ngx_http_upstream_least_conn_module.c, ngx_http_upstream_least_time_module.c.
type least balancer

// tieSlots is how many slots of a weighted turn are looked at for a peer that has the least load.
const tieSlots = 16

// Pick implements Picker.
func (b *least) Pick(q *Query) int {
	if i := b.primary.least(q); i >= 0 {
		return i
	}
	if i := (*balancer)(b).home(q); i >= 0 {
		return i
	}
	return b.backup.least(q)
}

// conns is the load of least_conn.
func conns(p *peer, _ int64) float64 {
	n := max(0, p.live.InFlight())
	if p.weight == 1 {
		return float64(n)
	}
	return float64(n) / float64(p.weight)
}

// load gives the load that the plan's method compares.
func (p *Plan) load() func(*peer, int64) float64 {
	switch {
	case p.method == LeastConn || p.method == RandomTwo:
		return conns
	case p.options.LastByte && p.options.Inflight:
		return func(p *peer, now int64) float64 { return p.eta(p.live.details().lastByte.Load(), true, now) }
	case p.options.LastByte:
		return func(p *peer, now int64) float64 { return p.eta(p.live.details().lastByte.Load(), false, now) }
	case p.options.Inflight:
		return func(p *peer, now int64) float64 { return p.eta(p.live.details().header.Load(), true, now) }
	}
	return func(p *peer, now int64) float64 { return p.eta(p.live.details().header.Load(), false, now) }
}

// least picks the least loaded usable peer of the group that q has not tried, or gives -1.
func (g *group) least(q *Query) int {
	switch {
	case len(g.members) == 0:
		return -1
	case g.small:
		return g.leastSmall(q)
	}
	g.look(q.NowNs)
	g.refresh(q, mix32(uint32(g.cursor.Load())))
	if g.ramp.active.Load() {
		if i := g.rampTurn(q); i >= 0 {
			return i
		}
	}
	for range maxTicks {
		key := g.leastKey(q)
		if key == noKey {
			return -1
		}
		k := g.tied(q, key)
		if k < 0 {
			continue // somebody else was faster
		}
		if i := int(g.members[k]); g.place(i, q) {
			return i
		}
	}
	return g.search(q)
}

// place takes a place on member i, or notes why there is none.
func (g *group) place(i int, q *Query) bool {
	p := &g.peers[i]
	switch p.take(q.NowNs) {
	case taken:
		g.placed(i, q.NowNs)
		q.Tried.add(i)
		return true
	case busy:
		g.moved(p)
	case out:
		g.setAside(i, q.NowNs)
	}
	return false
}

// leastKey gives the least key among the members that q has not tried.
func (g *group) leastKey(q *Query) uint32 {
	t := &q.Tried
	if t.n == 0 {
		return g.board.tree.min()
	}
	if t.spilled() { // rare, so the members are looked at one by one
		key := uint32(noKey)
		for k, i := range g.members {
			if !t.Has(int(i)) {
				key = min(key, g.board.tree.levels[0][k].Load())
			}
		}
		return key
	}
	var ranks [len(t.first)]uint32
	not := ranks[:0]
	for _, i := range t.first[:t.n] {
		if k := g.peers[i].rank; int(k) < len(g.members) && g.members[k] == i {
			not = append(not, k)
		}
	}
	return g.board.tree.minWithout(not)
}

// tied gives the rank of the next member in turn whose key is no more than key, or -1. The cursor moves only when one
// is found: looking is no turn.
func (g *group) tied(q *Query, key uint32) int {
	at := uint32(g.cursor.Load())
	tree := g.board.tree
	weighted := g.first != nil
	if weighted {
		for j := range uint32(min(len(g.slots), tieSlots)) {
			i := g.turn.at(at + j)
			k := g.peers[i].rank
			if tree.levels[0][k].Load() <= key && !q.Tried.Has(i) {
				g.cursor.Add(uint64(j + 1))
				return int(k)
			}
		}
	}
	from := int(g.peers[g.turn.at(at)].rank)
	k := g.untried(q, from, key)
	if k < 0 && from > 0 {
		k = g.untried(q, 0, key)
	}
	switch {
	case k < 0:
	case weighted:
		g.cursor.Add(1)
	case k < from:
		g.cursor.Add(uint64(k + len(g.members) - from + 1))
	default:
		g.cursor.Add(uint64(k - from + 1))
	}
	return k
}

// untried gives the first member from rank from on whose key is no more than key and that q has not tried, or -1.
func (g *group) untried(q *Query, from int, key uint32) int {
	for from < len(g.members) {
		k := g.board.tree.next(from, key)
		if k < 0 || !q.Tried.Has(int(g.members[k])) {
			return k
		}
		from = k + 1
	}
	return -1
}
