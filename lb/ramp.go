package lb

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// ramp is the slow start of a group's members.
//
// A member's level rises from 0 to 1 in proportion to the time since its start, over its slow_start, and its weight
// with it. The rule for the sum: all that slow starts take away together is no more than half of the weight of the
// members that are in use; what is taken away beyond that is given back, to each in proportion to what it lost. So a
// member at its full weight never gets more than twice the share that it has when all are at theirs, which is what
// saves the last old server of a rolling restart.
type ramp struct {
	on     bool         // some member has a slow start configured
	due    atomic.Int64 // NowNs of the next survey
	keep   atomic.Uint64
	active atomic.Bool // some member is starting
}

// maxLost is the part of the weight that slow starts may take away.
const maxLost = 0.5

// rampLevel is how far a slow start has come, from 0 to 1.
func rampLevel(elapsedNs, slowStartNs int64) float64 {
	if slowStartNs <= 0 || elapsedNs >= slowStartNs {
		return 1
	}
	return max(0, float64(elapsedNs)/float64(slowStartNs))
}

// rampKeep is the part of its loss that every starting member keeps, given the sum of all weights in use and the sum
// of what would be lost without the rule for the sum.
func rampKeep(full, lost float64) float64 {
	if lost <= full*maxLost {
		return 1
	}
	return full * maxLost / lost
}

// rampShare is the part of its weight that a member at level has.
func rampShare(level, keep float64) float64 { return 1 - (1-level)*keep }

// rampLoad is the load of a starting member for least_conn and least_time where it is compared with all others: as if the
// request to come were as many as it takes to fill a peer of its full weight alike. By that alone a starting member would
// get nothing as long as there is an idle one at its full weight; see rampTurn.
func rampLoad(load, share float64, weight int64) float64 {
	one := 1 / float64(weight)
	return (load+one)/max(share, 1e-6) - one
}

// level is how far the slow start of p has come at now.
func (p *peer) level(now int64) float64 {
	at := p.live.details().started.Load()
	if p.slowStart <= 0 || at == 0 {
		return 1
	}
	return rampLevel(now-at, p.slowStart)
}

// share is the part of its weight that p has at now.
func (r *ramp) share(p *peer, now int64) float64 {
	if !r.active.Load() {
		return 1
	}
	return rampShare(p.level(now), math.Float64frombits(r.keep.Load()))
}

// accept reports whether p takes the slot that tick t gives it: as often as its share says, spread by chance over the
// ticks.
func (r *ramp) accept(p *peer, t uint32, now int64) bool {
	if !r.active.Load() {
		return true
	}
	f := r.share(p, now)
	return f >= 1 || float64(mix32(t)) < f*(1<<32)
}

// rampDraws bounds the draws of rampTurn, of which at least every other one is accepted.
const rampDraws = 16

// rampTurn picks a starting member by its turn: a draw by the weights of the moment says whether this pick is one of its
// share, and it is taken if nobody has less load than it has, with its requests in flight counted as many times as its
// weight is less. So with little load, where all are equally idle, a starting member has its share, as under round robin.
// It gives -1 when the pick is for all.
func (g *group) rampTurn(q *Query) int {
	for range rampDraws {
		x := rand.Uint64()
		i := g.slot(uint32(x))
		if i < 0 || q.Tried.Has(i) {
			continue
		}
		p := &g.peers[i]
		f := g.ramp.share(p, q.NowNs)
		if f >= 1 {
			return -1
		}
		if float64(x>>32) >= f*(1<<32) {
			continue
		}
		if loadKey(g.rampedLoad(p, f)) <= g.leastKey(q) && g.place(i, q) {
			return i
		}
	}
	return -1
}

// rampedLoad is the load of p with its requests in flight, not the one to come, divided by its share.
func (g *group) rampedLoad(p *peer, share float64) float64 {
	load := g.board.load(p, g.board.clock.Load())
	idle := 0.0
	if g.board.timed {
		idle = load / float64(1+max(0, p.live.InFlight()))
	}
	return idle + (load-idle)/max(share, 1e-6)
}

// surveyEvery is the time between two looks at all members: a tenth of a second, with slow starts under way a
// millisecond, and no less than 4 microseconds for each member, of which a look takes some ten nanoseconds.
func (g *group) surveyEvery() int64 {
	every := int64(1e8)
	if g.ramp.active.Load() {
		every = 1e6
	}
	return max(every, int64(len(g.members))*4000)
}

// survey sums up the slow starts. Whoever moves the time does it.
func (g *group) survey(now int64) {
	r := &g.ramp
	due := r.due.Load()
	if !r.due.CompareAndSwap(due, now+g.surveyEvery()) {
		return
	}
	var full, lost float64
	for _, i := range g.members {
		if p := &g.peers[i]; !g.aside.has(int(i)) {
			full += float64(p.weight)
			lost += float64(p.weight) * (1 - p.level(now))
		}
	}
	r.keep.Store(math.Float64bits(rampKeep(full, lost)))
	was := r.active.Swap(lost > 0)
	if g.board != nil && (was || lost > 0) {
		g.board.clock.Store(now)
		for _, i := range g.members {
			g.moved(&g.peers[i])
		}
	}
	if !was && lost > 0 {
		r.due.Store(now + g.surveyEvery())
	}
}

// mix32 spreads the bits of x evenly (the finaliser of MurmurHash3).
func mix32(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	return x ^ x>>16
}
