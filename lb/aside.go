package lb

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// look does what is due at now: peers set aside that have recovered come back, and slow starts go on.
func (g *group) look(now int64) {
	if g.aside.stir(now) {
		g.bringBack(now)
	}
	if g.ramp.on && now >= g.ramp.due.Load() {
		g.survey(now)
	}
}

// aside is the set of members that were found dead and are left out until they may be let through again.
//
// A pick that meets a dead peer sets it aside. The one that finds the time of the first of them come, or news of a
// success, brings back what has recovered. Both are done under a lock that is tried and never waited for: whoever does
// not get it goes on without, and the next pick that finds the same does it.
type aside struct {
	lock    atomic.Bool
	count   atomic.Int32
	set     []atomic.Uint64 // bit i%64 of word i/64: peer i is set aside; written under lock
	due     atomic.Int64    // NowNs from which one may be let through
	changes atomic.Uint32   // how often the set has changed
	seen    atomic.Uint64   // recoveries when members were last brought back
	next    atomic.Int64    // NowNs before which nothing is brought back
	word    [1]atomic.Uint64
}

// smallGroup is the number of members up to which a change of state is seen by the next pick. In larger groups peers
// are brought back no oftener than once in a microsecond for each member, of which it takes some nanoseconds.
const smallGroup = 64

func (a *aside) init(peers int) {
	a.set = a.word[:]
	if peers > 64 {
		a.set = make([]atomic.Uint64, (peers+63)/64)
	}
	a.due.Store(math.MaxInt64)
}

func (a *aside) tryLock() bool { return !a.lock.Load() && a.lock.CompareAndSwap(false, true) }
func (a *aside) unlock()       { a.lock.Store(false) }
func (a *aside) any() bool     { return a.count.Load() != 0 }

// stir reports whether a peer that was set aside may be let through again, by the time or because some peer has recovered.
func (a *aside) stir(now int64) bool {
	return a.any() && (now >= a.due.Load() || a.seen.Load() != recoveries.Load())
}

func (a *aside) has(i int) bool {
	return a.set[i>>6].Load()&(1<<(i&63)) != 0
}

// manyDead is how many dead peers a pick sets aside one by one. When it meets more, a good part of the group has died
// lately, and all members are looked at, once for them all.
const manyDead = 8

// setAside leaves peer i out of the turn.
func (g *group) setAside(i int, now int64) {
	if g.aside.tryLock() {
		if g.leaveOut(i, now) {
			g.changed()
		}
		g.aside.unlock()
	}
}

// setAsideAll leaves all dead members out of the turn.
func (g *group) setAsideAll(now int64) {
	if g.aside.tryLock() {
		more := false
		for _, i := range g.members {
			more = g.peers[i].dead(now) && g.leaveOut(int(i), now) || more
		}
		if more {
			g.changed()
		}
		g.aside.unlock()
	}
}

// changed follows changes of the set, under the lock.
func (g *group) changed() {
	g.roll.count()
	g.read.Store(0)
	g.aside.changes.Add(1)
	if !g.small && int(g.roll.live.Load()) == len(g.slots) {
		g.line.Store(&g.turn)
	} else {
		g.line.Store(nil)
	}
}

// compact makes the line anew.
func (g *group) compact() {
	if !g.aside.tryLock() {
		return
	}
	defer g.aside.unlock()
	if g.line.Load() != nil {
		return // somebody else was faster
	}
	slots := make([]uint32, 0, g.roll.live.Load())
	for _, i := range g.slots {
		if !g.aside.has(int(i)) {
			slots = append(slots, i)
		}
	}
	if len(slots) > 0 {
		l := newTurn(slots)
		g.line.Store(&l)
	}
}

// leaveOut is setAside under the lock, without counting. It reports whether the set has changed.
func (g *group) leaveOut(i int, now int64) bool {
	a, p := &g.aside, &g.peers[i]
	// A hash may fall on a peer that is no member, being marked down or draining.
	if !g.holds(i, p.rank) || a.has(i) {
		return false
	}
	a.set[i>>6].Or(1 << (i & 63))
	a.count.Add(1)
	g.use(p, false)
	due := p.idleUntil()
	if !p.dead(now) {
		due = now // it has recovered meanwhile
	}
	if due < a.due.Load() {
		a.due.Store(due)
	}
	return true
}

// use puts the slots of member p in use or takes them out.
func (g *group) use(p *peer, use bool) {
	k := p.rank
	if g.first == nil {
		g.roll.set(k, use)
	} else {
		for _, s := range g.places[g.first[k]:g.first[k+1]] {
			g.roll.set(s, use)
		}
	}
	if g.board != nil {
		g.moved(p)
	}
	if use {
		g.weight.Add(p.weight)
	} else {
		g.weight.Add(-p.weight)
	}
}

// bringBack puts those members in use again that were set aside and may be let through at now.
func (g *group) bringBack(now int64) {
	a := &g.aside
	if now < a.next.Load() || !a.tryLock() {
		return
	}
	defer a.unlock()
	if len(g.members) > smallGroup {
		a.next.Store(now + int64(len(g.members))*1000)
	}
	a.seen.Store(recoveries.Load())
	due := int64(math.MaxInt64)
	back := int32(0)
	for w := range a.set {
		for x := a.set[w].Load(); x != 0; x &= x - 1 {
			p := &g.peers[w*64+bits.TrailingZeros64(x)]
			if p.dead(now) {
				due = min(due, p.idleUntil())
				continue
			}
			a.set[w].And(^(x & -x))
			back++
			g.use(p, true)
		}
	}
	a.due.Store(due)
	if back > 0 {
		a.count.Add(-back)
		g.changed()
	}
}
