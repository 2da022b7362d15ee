package lb

import (
	"math/bits"
	"sync/atomic"
)

// owner is a name on the ring that has several peers: one that stands for several addresses, or is written several times. It has the
// points of one, and its peers share what falls on them by their weights.
type owner struct {
	name  string
	peers []uint32
	turn  turn // of those that are neither down nor drain; of no slots if all are
}

// ownerSlots is how many slots a turn has at most for each peer of a name, but in small groups, whose weights follow from it.
const ownerSlots = 64

func newOwner(peers []Peer, members []uint32, small bool) owner {
	o := owner{name: peers[members[0]].Name, peers: members}
	var up []uint32
	for _, i := range members {
		if peers[i].inUse() {
			up = append(up, i)
		}
	}
	limit := int64(ownerSlots * len(up))
	if small {
		limit = maxSlots(len(up))
	}
	o.turn, _ = turnOf(peers, up, limit)
	return o
}

// turns gives the positions in the turns of some owners. Those of names that were there before are kept, for a turn that began anew at
// every change would give the first peers of a name most of the traffic under churn, and some of names that are not there now: one of
// several addresses may have one for a while.
func (c *Cursor) turns(owners []owner) []*atomic.Uint32 {
	if len(owners) == 0 {
		return nil
	}
	was := map[string]*atomic.Uint32{}
	if p := c.names.Load(); p != nil {
		was = *p
	}
	now := make(map[string]*atomic.Uint32, len(owners))
	at := make([]*atomic.Uint32, len(owners))
	for k := range owners {
		name := owners[k].name
		if at[k] = was[name]; at[k] == nil {
			at[k] = new(atomic.Uint32)
		}
		now[name] = at[k]
	}
	for name, at := range was {
		if now[name] == nil && len(now) < 2*len(owners)+16 {
			now[name] = at
		}
	}
	c.names.Store(&now)
	return at
}

// byTurn offers the peers of owner n to take until it takes one, and gives that, or -1: by the owner's turn, and when that has met many
// that are not to be had, all of them, from one on that is drawn by weight.
func (g *group) byTurn(n uint32, take func(i int) bool) int {
	o, at := &g.owners[n], g.turns[n]
	for range min(len(o.turn.slots), maxTicks) {
		if i := o.turn.at(at.Add(1) - 1); take(i) {
			return i
		}
	}
	start := o.draw(g, mix32(at.Load()))
	for j := range o.peers {
		if i := int(o.peers[(start+j)%len(o.peers)]); take(i) {
			return i
		}
	}
	return -1
}

// draw gives a place in o.peers by the random number x: of a peer that is not set aside, by weight.
func (o *owner) draw(g *group, x uint32) int {
	weight := func(i uint32) uint64 {
		if p := &g.peers[i]; g.holds(int(i), p.rank) && !g.aside.has(int(i)) {
			return uint64(p.weight)
		}
		return 0
	}
	var total uint64
	for _, i := range o.peers {
		total += weight(i)
	}
	at, _ := bits.Mul64(uint64(x)<<32, total)
	for j, i := range o.peers {
		w := weight(i)
		if at < w {
			return j
		}
		at -= w
	}
	return 0
}

// begin gives the peers of each owner the weights that they have at the position of its turn: picks of a picker from before have brought
// it there.
func (w *weights) begin(g *group) {
	for n := range g.owners {
		slots := g.owners[n].turn.slots
		if len(slots) == 0 {
			continue
		}
		at := int64(g.turns[n].Load()) % int64(len(slots))
		var total int64
		for _, i := range g.owners[n].peers {
			if p := &g.peers[i]; g.holds(int(i), p.rank) {
				w[p.rank].current += at * p.weight
				total += p.weight
			}
		}
		for _, i := range slots[:at] {
			w[g.peers[i].rank].current -= total
		}
	}
}

// recovers reports whether a pick of peer i, which has its name alone, changes its weight: it raises what failures have lowered.
func (g *group) recovers(i uint32) bool {
	if g.heard.Load() != failures.Load() && !g.spared() {
		return true
	}
	low := g.recovering.Load()
	return low != 0 && low&g.rankBit(i) != 0
}

// rankBit is the bit of peer i's rank; 0: it is no member.
func (g *group) rankBit(i uint32) uint32 {
	if k := g.peers[i].rank; g.holds(int(i), k) {
		return 1 << k
	}
	return 0
}

// ownedBy picks among the peers of owner n, under the lock, and moves its turn on, past the slots of those that are dead: it is where a
// group begins that takes this one's place, and would else give their slots to the ones that follow.
func (w *weighing) ownedBy(g *group, q *Query, n uint32) int {
	o := &g.owners[n]
	var members uint32
	for _, i := range o.peers {
		members |= g.rankBit(i)
	}
	i := w.owned(g, q, members)
	if i < 0 {
		return i
	}
	for range mostWeighed {
		if next := o.turn.at(g.turns[n].Add(1) - 1); w.dead>>g.peers[next].rank&1 == 0 {
			break
		}
	}
	return i
}

// owned picks among the members of one name, under the lock: it moves their weights of the moment and nobody else's. Source: nginx,
// ngx_http_upstream_get_chash_peer.
func (w *weighing) owned(g *group, q *Query, members uint32) int {
	g.look(q.NowNs)
	w.hear(g)
	w.wake(g, uint32(g.cursor.Load()))
	if g.line.Load() != nil {
		g.line.Store(nil)
	}
	picked := -1
	for range mostWeighed {
		can, dead, _ := g.candidates(q, false)
		w.dead, w.quiet = dead, 0
		if can &= members; can == 0 {
			break
		}
		if k, _ := w.members.heaviest(can); g.takeRank(k, q) {
			picked = int(g.members[k])
			break
		} // else somebody was faster
	}
	if low := w.members.low(); low != g.recovering.Load() {
		g.recovering.Store(low)
	}
	return picked
}

// low has the bits of those that have less than their full weights.
func (w *weights) low() (ranks uint32) {
	for k := range w {
		if w[k].effective != w[k].weight {
			ranks |= 1 << k
		}
	}
	return ranks
}
