package lb

// Taker takes a place on a peer that the caller has chosen, for sessions that stick to their server. Safe for concurrent use; no
// lock, no allocation.
type Taker interface {
	// Take takes a place on peer i, as a pick does, if the request has not tried it and it may be used now: it is not marked
	// down, not left alone because of failures or a check, and below its max_conns. One that drains may be used. It does not ask
	// whether peer i is a backup: those of a session belong into Query.Homes, and are taken by the picks that turn to the backups.
	Take(i int, q *Query) bool
}

// Take implements Taker. It goes by the peer itself and not by what picks have set aside: a peer whose time has come may be let
// through by either.
func (b *balancer) Take(i int, q *Query) bool {
	d := &b.plan.peers[i]
	if d.Down || q.Tried.Has(i) {
		return false
	}
	p := &b.peers[i]
	v := busy
	if d.Drain {
		own := peer{live: p.live, maxConns: limit(d.MaxConns), maxFails: p.maxFails, failTimeout: p.failTimeout}
		v = own.take(q.NowNs)
	} else {
		v = p.take(q.NowNs)
	}
	if v != taken {
		return false
	}
	q.Tried.add(i)
	// The times of a peer are kept whether it is in a group or drains: Answered follows every place, see CountsWaiting.
	if m := b.plan.method; m == LeastTime || m == RandomTwoTime {
		p.visit(q.NowNs, b.plan.CountsWaiting())
	}
	for _, g := range [...]*group{&b.primary, b.backup} {
		if !g.holds(i, p.rank) {
			continue
		}
		if b.inTurn(g, q) {
			g.stick(p, q)
		}
		g.took(p, q.NowNs)
		if g.board != nil {
			g.moved(p)
		}
	}
	return true
}

// inTurn reports whether picks like this one among the members of g go by their weights of the moment: those of round robin, and of
// methods that fall back to it.
func (b *balancer) inTurn(g *group, q *Query) bool {
	if !g.small {
		return false
	}
	switch b.plan.method {
	case RoundRobin:
		return true
	case IPHash, Hash, ConsistentHash:
		return g == b.backup || b.plan.method != IPHash && len(q.Key) == 0
	}
	return false
}

// home takes a place on the first of q.Homes that may be used, or gives -1. Source: nginx, ngx_http_upstream_get_rr_peer_by_sid,
// which looks among the backups once no primary may be used.
func (b *balancer) home(q *Query) int {
	for _, i := range q.Homes {
		if b.Take(i, q) {
			return i
		}
	}
	return -1
}

// holds reports whether peer i, of that rank, is a member: one that is marked down or drains is in no group.
func (g *group) holds(i int, rank uint32) bool {
	return int(rank) < len(g.members) && int(g.members[rank]) == i
}
