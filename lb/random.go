package lb

import "math/rand/v2"

// random picks by chance, in proportion to the weights; after 20 draws of peers that may not be used, by round
// robin. Safe for concurrent use. Source: nginx, ngx_http_upstream_random_module.c.
type random balancer

// Pick implements Picker.
func (b *random) Pick(q *Query) int {
	for q.Tried.misses <= maxMisses {
		i := b.plan.weights.at(rand.Uint64N(b.plan.weights.total))
		if (*balancer)(b).try(i, q) {
			return i
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}

// randomTwo draws two different peers and takes the one with fewer requests in flight for its weight, the second
// when they are equal; otherwise as random. Safe for concurrent use.
// Source: nginx, ngx_http_upstream_random_module.c.
type randomTwo balancer

// Pick implements Picker.
func (b *randomTwo) Pick(q *Query) int {
	first := -1
	for q.Tried.misses <= maxMisses {
		i := b.plan.weights.at(rand.Uint64N(b.plan.weights.total))
		if i != first && !q.Tried.Has(i) && b.peers[i].usable(q.NowNs) {
			if first < 0 {
				first = i
				continue
			}
			if less(&b.peers[first], &b.peers[i]) {
				i = first
			}
			if (*balancer)(b).try(i, q) {
				return i
			}
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}

// less reports whether a has fewer requests in flight than b, each for its weight.
func less(a, b *peer) bool {
	return a.live.inFlight.Load()*b.weight < b.live.inFlight.Load()*a.weight
}
