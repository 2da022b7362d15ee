package lb

import "hash/crc32"

// bounded is consistent with bounded loads: a peer that has its part of all requests in flight, times the balance
// factor, is passed over for the next one on the ring. The parts are whole places, dealt out by weight over the
// members in use as HAProxy does for hash-balance-factor. Safe for concurrent use: as many picks as are made at the
// same moment may go beyond a bound.
//
// A walk that meets nothing but full and unusable peers goes on with the members in order, from the owner of the
// point on; when all are full, which the factor rules out unless peers are busy for other reasons, it does without
// the bound. Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018; HAProxy,
// lb_chash.c.
type bounded balancer

// maxWalk is how many points are looked at before the members are.
const maxWalk = 64

// Pick implements Picker.
func (b *bounded) Pick(q *Query) int {
	k, t := b.plan.points, &q.Tried
	if len(q.Key) == 0 || len(b.primary.members) == 0 {
		return (*roundRobin)(b).Pick(q)
	}
	b.primary.look(q.NowNs)
	if t.step == 0 {
		t.hash, t.step = k.find(crc32.ChecksumIEEE(q.Key)), 1
	}
	var last uint32 = 1<<32 - 1
	at := t.hash
	for n := 0; n < maxWalk && t.misses <= maxMisses; n++ {
		if at >= k.n {
			at = 0
		}
		if a := &b.primary.aside; a.any() {
			dead, alive := k.dead(at, a)
			at += dead
			if t.misses += uint8(dead); !alive {
				continue
			}
		}
		owner := k.owner(at)
		at++
		if owner == last {
			continue
		}
		last = owner
		if i, passed := b.pickOwned(owner, q); i >= 0 {
			return i
		} else if !passed {
			(*balancer)(b).miss(q)
		}
	}
	return b.rest(q)
}

// pickOwned picks the owner of a point, or in turn one of the peers of its name, that is within its bound. It reports
// whether one was passed over for its bound alone.
func (b *bounded) pickOwned(owner uint32, q *Query) (i int, passed bool) {
	k := b.plan.points
	if owner < k.peers {
		return b.within(int(owner), q)
	}
	i = b.primary.byTurn(owner-k.peers, func(i int) bool {
		i, p := b.within(i, q)
		passed = passed || p
		return i >= 0
	})
	return i, passed
}

// within takes a place on peer i if its bound allows one more.
func (b *bounded) within(i int, q *Query) (int, bool) {
	if b.primary.aside.has(i) || q.Tried.Has(i) || b.limited && b.peers[i].maxConns < 0 {
		return -1, false
	}
	v := b.live[i].inFlight.Load()
	// One that is not counted is no member for the picker that was bound last, or that one has no bounds.
	if n := int64(v >> 1); v&counted != 0 && n > 0 && n >= b.bound(&b.peers[i]) { // an idle peer is always within
		return -1, true
	}
	if (*balancer)(b).try(i, q) {
		return i, false
	}
	return -1, false
}

// bound is how many requests p may have in flight, counting the one to come.
func (b *bounded) bound(p *peer) int64 {
	g := &b.primary
	places := ((g.total.Load()+1)*int64(b.plan.options.BalanceFactor) + 99) / 100
	all := max(1, g.weight.Load())
	each, rest := places/all, places%all
	n := p.weight*each + int64(float64(p.below+p.weight)*float64(rest)/float64(all)) - int64(float64(p.below)*float64(rest)/float64(all))
	return max(1, n)
}

// rest picks the first member within its bound, from the owner of the point on, then any.
func (b *bounded) rest(q *Query) int {
	m := b.primary.members
	for j := range m {
		i := int(m[(int(q.Tried.hash)+j)%len(m)])
		if i, _ := b.within(i, q); i >= 0 {
			return i
		}
	}
	return (*roundRobin)(b).Pick(q)
}
