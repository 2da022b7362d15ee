package lb

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// maxWeight bounds a single weight inside the balancer, so that sums cannot overflow. It is larger than any hash
// that is taken modulo a sum of weights, so placement stays what it is without the bound.
const maxWeight = 1 << 40

// clampWeight brings a configured weight into the range that the balancer counts with.
func clampWeight(w int) int64 { return int64(min(max(w, 1), maxWeight)) }

// rotation is one turn of the smooth weighted round robin over its members, computed ahead.
type rotation struct {
	turn
	members []uint32 // peers that take part, in order
	exact   bool     // every member has slots in exact proportion to its weight
	all     int64    // sum of the weights of the members and of those that are down or drain
	first   []uint32 // places[first[k]:first[k+1]] are the slots of member k; nil when each has the slot of its rank
	places  []uint32
}

// turn is peer indices in the order nginx gives.
type turn struct {
	slots   []uint32
	inverse uint64 // of the number of slots
}

func newTurn(slots []uint32) turn {
	return turn{slots, math.MaxUint64/uint64(len(slots)) + 1} // 0 for one slot, which gives 0
}

// at gives the peer at tick modulo the number of slots, by two multiplications instead of a division (Lemire, Kaser, Kurz,
// "Faster Remainder by Direct Computation", 2019).
func (t *turn) at(tick uint32) int {
	hi, _ := bits.Mul64(t.inverse*uint64(tick), uint64(len(t.slots)))
	return int(t.slots[hi])
}

// index computes where the slots of each member are.
func (r *rotation) index(peers int) {
	if len(r.slots) == len(r.members) {
		return
	}
	rank := make([]uint32, peers)
	for k, i := range r.members {
		rank[i] = uint32(k)
	}
	r.first = make([]uint32, len(r.members)+1)
	for _, i := range r.slots {
		r.first[rank[i]+1]++
	}
	for k := range r.members {
		r.first[k+1] += r.first[k]
	}
	at := slices.Clone(r.first)
	r.places = make([]uint32, len(r.slots))
	for s, i := range r.slots {
		k := rank[i]
		r.places[at[k]] = uint32(s)
		at[k]++
	}
}

// maxSlots bounds a turn over n members: exact as long as the weights, divided by their greatest common divisor,
// add up to no more than this.
func maxSlots(n int) int64 { return int64(max(n, min(max(16*n, 4096), 65536))) }

// newRotation computes the turn over members.
func newRotation(peers []Peer, members []uint32) rotation {
	r := rotation{members: members}
	if len(members) == 0 {
		return r
	}
	r.turn, r.exact = turnOf(peers, members, maxSlots(len(members)))
	r.index(len(peers))
	return r
}

// turnOf computes a turn of about limit slots at most over members. It reports whether each has slots in exact proportion to its weight.
func turnOf(peers []Peer, members []uint32, limit int64) (t turn, exact bool) {
	if len(members) == 0 {
		return t, true
	}
	w := make([]int64, len(members))
	for k, i := range members {
		w[k] = clampWeight(peers[i].Weight)
	}
	divide(w)
	if !slices.ContainsFunc(w, func(x int64) bool { return x != 1 }) {
		return newTurn(members), true
	}
	exact = !scale(w, limit)
	return newTurn(smooth(members, w)), exact
}

// divide divides weights by their greatest common divisor; the order of the rotation does not change.
func divide(w []int64) {
	var g int64
	for _, x := range w {
		g = gcd(g, x)
	}
	if g > 1 {
		for k := range w {
			w[k] /= g
		}
	}
}

// gcd is the greatest common divisor.
func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// scale shrinks weights in proportion when they add up to more than limit. None falls below 1, so the sum stays
// within limit + len(w), and a peer whose share is below 1/limit gets 1/limit. It reports whether it had to.
func scale(w []int64, limit int64) bool {
	var sum float64
	for _, x := range w {
		sum += float64(x)
	}
	if sum <= float64(limit) {
		return false
	}
	for k, x := range w {
		w[k] = max(1, int64(float64(x)/sum*float64(limit)+0.5))
	}
	divide(w)
	return true
}

// smooth computes one turn of the smooth weighted round robin as nginx does it: in each step every member gains its
// weight, the first of those that have gained most is taken, and pays the sum of all weights.
//
// Members of equal weight gain alike, so they come in the order of their last turn, first the ones that waited
// longest: a queue for each distinct weight leaves as many candidates in a step as there are distinct weights, of
// which there are few, instead of as many as there are members.
func smooth(members []uint32, w []int64) []uint32 {
	type class struct {
		weight int64
		queue  []int // positions in members, the next one at head
		head   int
		round  int64 // how often each member before head has been taken, plus one
	}
	var total int64
	order := make([]int, len(w))
	for k, x := range w {
		order[k] = k
		total += x
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w[a], w[b]) })
	classes := make([]class, 0, 4)
	for from, k := range order {
		if n := len(classes); n > 0 && classes[n-1].weight == w[k] {
			c := &classes[n-1]
			c.queue = c.queue[:len(c.queue)+1]
			continue
		}
		classes = append(classes, class{weight: w[k], queue: order[from : from+1]})
	}
	slots := make([]uint32, 0, total)
	for t := int64(1); t <= total; t++ {
		var best *class
		var most int64
		for k := range classes {
			c := &classes[k]
			// What the head of the queue has gained in t steps less what it has paid.
			gain := t*c.weight - c.round*total
			if best == nil || gain > most || gain == most && c.queue[c.head] < best.queue[best.head] {
				best, most = c, gain
			}
		}
		slots = append(slots, members[best.queue[best.head]])
		if best.head++; best.head == len(best.queue) {
			best.head = 0
			best.round++
		}
	}
	return slots
}

// cumulative finds the member that a point on the line of all weights falls on.
type cumulative struct {
	members []uint32
	ends    []uint64 // ends[k] is the sum of the weights of members 0 to k; nil when all weights are 1
	total   uint64
}

func newCumulative(peers []Peer, members []uint32) cumulative {
	c := cumulative{members: members, ends: make([]uint64, len(members))}
	for k, i := range members {
		c.total += uint64(clampWeight(peers[i].Weight))
		c.ends[k] = c.total
	}
	if c.total == uint64(len(members)) {
		c.ends = nil
	}
	return c
}

// at gives the peer at point x, which is below total.
func (c *cumulative) at(x uint64) int {
	if c.ends == nil {
		return int(c.members[x])
	}
	lo, hi := 0, len(c.ends)-1
	for lo < hi {
		m := (lo + hi) / 2
		if x < c.ends[m] {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return int(c.members[lo])
}
