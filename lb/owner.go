package lb

import (
	"sync/atomic"
)

// owner is a name on the ring that has several peers: one that stands for several addresses, or is written several times. It has the
// points of one, and its peers share what falls on them by their weights.
type owner struct {
	name  string
	peers []uint32
	turn  turn // of those that are neither down nor drain; of no slots if all are
}

func newOwner(peers []Peer, members []uint32) owner {
	var up []uint32
	for _, i := range members {
		if !peers[i].Down && !peers[i].Drain {
			up = append(up, i)
		}
	}
	return owner{peers[members[0]].Name, members, newRotation(peers, up).turn}
}

// turns gives the positions in the turns of some owners. Those of names that were there before are kept: a turn that began anew at
// every change would give the first peers of a name most of the traffic under churn.
func (c *Cursor) turns(owners []owner) []*atomic.Uint32 {
	if len(owners) == 0 {
		c.names.Store(nil)
		return nil
	}
	was := c.names.Load()
	now := make(map[string]*atomic.Uint32, len(owners))
	at := make([]*atomic.Uint32, len(owners))
	for k := range owners {
		name := owners[k].name
		if was != nil {
			at[k] = (*was)[name]
		}
		if at[k] == nil {
			at[k] = new(atomic.Uint32)
		}
		now[name] = at[k]
	}
	c.names.Store(&now)
	return at
}

// begin gives the peers of each owner the weights that they have at the position of its turn: picks of a picker from before have brought
// it there.
func (w *weights) begin(g *group, owners []owner, turns []*atomic.Uint32) {
	for n := range owners {
		slots := owners[n].turn.slots
		if len(slots) == 0 {
			continue
		}
		at := int64(turns[n].Load()) % int64(len(slots))
		var total int64
		for _, i := range owners[n].peers {
			if g.holds(int(i), g.peers[i].rank) {
				w[g.peers[i].rank].current += at * g.peers[i].weight
				total += g.peers[i].weight
			}
		}
		for _, i := range slots[:at] {
			w[g.peers[i].rank].current -= total
		}
	}
}

// recovers reports whether picks of one name alone change weights: they raise what failures have lowered.
func (g *group) recovers() bool {
	return g.recovering.Load() || g.heard.Load() != failures.Load() && !g.spared()
}

// rankBit is the bit of peer i's rank; 0: it is no member.
func (g *group) rankBit(i uint32) uint32 {
	if k := g.peers[i].rank; g.holds(int(i), k) {
		return 1 << k
	}
	return 0
}

// owned picks among the members of one name, under the lock: it moves their weights of the moment and nobody else's. Source: nginx,
// ngx_http_upstream_get_chash_peer.
func (w *weighing) owned(g *group, q *Query, members uint32) int {
	g.look(q.NowNs)
	w.hear(g)
	w.wake(g, uint32(g.cursor.Load()))
	g.line.Store(nil)
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
	if recovering := !w.members.full(); recovering != g.recovering.Load() {
		g.recovering.Store(recovering)
	}
	return picked
}

// full reports whether all have their full weights.
func (w *weights) full() bool {
	for k := range w {
		if w[k].effective != w[k].weight {
			return false
		}
	}
	return true
}
