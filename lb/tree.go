package lb

import (
	"math"
	"sync/atomic"
)

// tree finds the least of many keys in O(log n): each node holds the least key of sixteen nodes below it, which are one
// cache line. Keys are the bits of a float32 that is not negative, so they compare as numbers; noKey is a member that
// may not be picked.
//
// Any goroutine may set and read at any time. Each set repairs the nodes above its leaf and looks again after every
// write, so that the last one to write a node has seen all that is below; as soon as nobody is in the middle of a
// set, all nodes are right. A reader in between may get a key that is gone: it has to look at the member anyway.
type tree struct {
	levels [][]atomic.Uint32 // levels[0]: a key for each member; levels[v+1][j]: the least of levels[v][16j:16j+16]
}

const (
	fan     = 16
	fanBits = 4
	noKey   = math.MaxUint32
)

// newTree makes a tree of n members, none of which may be picked.
func newTree(n int) *tree {
	t := &tree{}
	for {
		level := make([]atomic.Uint32, (n+fan-1)/fan*fan)
		for j := range level {
			level[j].Store(noKey)
		}
		t.levels = append(t.levels, level)
		if n <= fan {
			return t
		}
		n = (n + fan - 1) / fan
	}
}

// loadKey makes the key of a load, which is not negative.
func loadKey(load float64) uint32 { return math.Float32bits(float32(load)) }

// set gives member k a key.
func (t *tree) set(k uint32, key uint32) {
	old := t.levels[0][k].Swap(key)
	for v := 1; v < len(t.levels) && old != key; v++ {
		node := &t.levels[v][k>>fanBits]
		p := node.Load()
		if key > old && old > p || key < old && key >= p {
			return // the least of these sixteen is another member
		}
		k >>= fanBits
		old = p
		for {
			if key = t.least(v-1, k); key == p {
				break
			}
			node.Store(key)
			p = key
		}
		if key == old {
			return
		}
	}
}

// least gives the least key of the sixteen nodes at level v under node j.
func (t *tree) least(v int, j uint32) uint32 {
	nodes := (*[fan]atomic.Uint32)(t.levels[v][j*fan:])
	key := uint32(noKey)
	for c := range nodes {
		key = min(key, nodes[c].Load())
	}
	return key
}

// min gives the least key of all.
func (t *tree) min() uint32 { return t.least(len(t.levels)-1, 0) }

// minWithout gives the least key of all members but the given ones, which are few.
func (t *tree) minWithout(not []uint32) uint32 { return t.without(len(t.levels), 0, not) }

// without is minWithout for the members under node j of level v.
func (t *tree) without(v int, j uint32, not []uint32) uint32 {
	shift := v * fanBits
	any := false
	for _, k := range not {
		any = any || k>>shift == j
	}
	switch {
	case any && v == 0:
		return noKey
	case !any && v < len(t.levels):
		return t.levels[v][j].Load()
	}
	key := uint32(noKey)
	for c := range uint32(fan) {
		key = min(key, t.without(v-1, j*fan+c, not))
	}
	return key
}

// next gives the first member at or after from whose key is no more than key, or -1.
func (t *tree) next(from int, key uint32) int {
	v, j := 0, from
	for {
		level := t.levels[v]
		for end := min(j|(fan-1)+1, len(level)); j < end; j++ {
			if level[j].Load() <= key {
				return t.down(v, j, key)
			}
		}
		// Past the end of a node: on with the node after it, one level up, unless that is the end there too.
		for {
			if v++; v == len(t.levels) {
				return -1
			}
			if j >>= fanBits; j%fan != 0 {
				break
			}
		}
	}
}

// down gives the first member under node j of level v whose key is no more than key, or -1 when it has gone meanwhile.
func (t *tree) down(v, j int, key uint32) int {
	for ; v > 0; v-- {
		level := t.levels[v-1]
		end := (j + 1) * fan
		for j *= fan; j < end && level[j].Load() > key; j++ {
		}
		if j == end {
			return -1
		}
	}
	return j
}
