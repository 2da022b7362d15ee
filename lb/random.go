package lb

import "math/rand/v2"

// random picks by chance, in proportion to the weights; after 20 draws of peers that may not be used, by round
// robin. Safe for concurrent use. Source: nginx, ngx_http_upstream_random_module.c.
type random balancer

// Pick implements Picker.
func (b *random) Pick(q *Query) int {
	b.primary.look(q.NowNs)
	for q.Tried.misses <= maxMisses {
		i := (*balancer)(b).draw()
		if i >= 0 && (*balancer)(b).try(i, q) {
			return i
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}

// randomTwo draws two different peers and takes the one with the lower load, the second when they are equal; otherwise
// as random. The load is that of least_conn or least_time. Safe for concurrent use.
// Source: nginx, ngx_http_upstream_random_module.c; least_time there is a parameter of the commercial version.
type randomTwo balancer

// Pick implements Picker.
func (b *randomTwo) Pick(q *Query) int {
	g := &b.primary
	g.look(q.NowNs)
	if len(g.members)-int(g.aside.count.Load()) < 2 { // no two to draw
		return (*roundRobin)(b).Pick(q)
	}
	first := -1
	for q.Tried.misses <= maxMisses {
		i := (*balancer)(b).draw()
		if i != first && i >= 0 && !q.Tried.Has(i) && b.usable(i, q.NowNs) {
			if first < 0 {
				first = i
				continue
			}
			if b.less(first, i, q.NowNs) {
				i = first
			}
			if (*balancer)(b).try(i, q) {
				if b.plan.method == RandomTwoTime {
					b.peers[i].visit(q.NowNs, false)
				}
				return i
			}
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}

// usable reports whether peer i may be used, and sets it aside when it is dead.
func (b *randomTwo) usable(i int, now int64) bool {
	p := &b.peers[i]
	if p.live.fails.Load() != 0 && p.dead(now) {
		b.primary.setAside(i, now)
		return false
	}
	return !p.full()
}

// less reports whether peer i has a lower load than peer j.
func (b *randomTwo) less(i, j int, now int64) bool {
	p, r := &b.peers[i], &b.peers[j]
	if b.plan.method == RandomTwo {
		return p.live.InFlight()*r.weight < r.live.InFlight()*p.weight
	}
	return b.load(p, now) < b.load(r, now)
}

// draw gives a primary by chance, or -1. A turn of the rotation has each as often as its weight says, and knows who is
// set aside, so that drawing again is needed for busy and tried peers only; a turn with rounded weights does not do, and
// the line of all weights takes its place.
func (b *balancer) draw() int {
	g := &b.primary
	if g.exact {
		return g.slot(rand.Uint32())
	}
	return b.plan.weights.at(rand.Uint64N(b.plan.weights.total))
}
