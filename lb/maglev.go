package lb

import (
	"container/heap"
	"hash/crc32"
	"math/bits"
	"slices"
)

// maglev picks by a table that the members fill in the order of their own permutations, each as often as its weight
// says: keys are spread evenly, and when members come or go few keys move that need not. A key whose peer may not be
// used is hashed again, 20 times; then, and for an empty key, round robin. Safe for concurrent use. Source: Eisenbud
// et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4; there is none in nginx.
type maglev balancer

// maglevTable is the look-up table: a prime number of peer indices, half as wide when they are small, for a look-up
// waits for memory and hardly anything else.
type maglevTable struct {
	size   uint64
	narrow []uint16
	wide   []uint32
}

func (m *maglevTable) at(entry uint64) int {
	if m.narrow != nil {
		return int(m.narrow[entry])
	}
	return int(m.wide[entry])
}

// minEntries is the size of the table for up to 655 members: at least 100 entries for each, with which the paper finds
// the largest share within 1 % of the smallest. For more it grows in wide steps, because another size moves nearly all
// keys: the steps are at 656, 10,487 and 167,773 members.
const (
	minEntries     = 65537
	entriesPerPeer = 100
	entriesStep    = 16
)

// entries gives the size of the table for n members.
func entries(n int) uint64 {
	size := minEntries
	for size < n*entriesPerPeer {
		size = prime(size * entriesStep)
	}
	return uint64(size)
}

// newMaglev fills the table for members. The permutation of a member follows from its name; of members of the same
// name, from the name and how many came before.
func newMaglev(peers []Peer, members []uint32) *maglevTable {
	if len(members) == 0 {
		return nil
	}
	size := entries(len(members))
	w := make([]int64, len(members))
	same := map[string]uint64{}
	order := make(fillers, len(members))
	for k, i := range members {
		w[k] = clampWeight(peers[i].Weight)
		h := nameHash(peers[i].Name, same[peers[i].Name])
		same[peers[i].Name]++
		order[k] = filler{peer: i, at: h % size, skip: mix64(h)%(size-1) + 1}
	}
	scale(w, int64(size))
	for k := range order {
		order[k].step = 1 / float64(w[k])
		order[k].due = order[k].step / 2
	}
	table := make([]uint32, size)
	const free = 1<<32 - 1
	for e := range table {
		table[e] = free
	}
	heap.Init(&order)
	equal := slices.Min(w) == slices.Max(w)
	for e := range table {
		f := &order[0]
		if equal { // the heap would give the same order
			f = &order[e%len(order)]
		}
		for table[f.at] != free {
			f.advance(size)
		}
		table[f.at] = f.peer
		if !equal {
			f.due += f.step
			heap.Fix(&order, 0)
		}
	}
	if len(peers) > 1<<16 {
		return &maglevTable{size: size, wide: table}
	}
	narrow := make([]uint16, size)
	for e, i := range table {
		narrow[e] = uint16(i)
	}
	return &maglevTable{size: size, narrow: narrow}
}

// filler is a member that fills the table: it is its turn at due, and after that in steps of 1/weight.
type filler struct {
	due, step float64
	at, skip  uint64
	peer      uint32
}

// advance moves to the next entry of the permutation.
func (f *filler) advance(size uint64) {
	if f.at += f.skip; f.at >= size {
		f.at -= size
	}
}

// fillers is a heap by whose turn it is; at the same time the one written first.
type fillers []filler

func (f fillers) Len() int { return len(f) }
func (f fillers) Less(i, j int) bool {
	return f[i].due < f[j].due || f[i].due == f[j].due && f[i].peer < f[j].peer
}
func (f fillers) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *fillers) Push(any)     { panic("BUG: the members that fill a table are fixed") }
func (f *fillers) Pop() any     { panic("BUG: the members that fill a table are fixed") }

// prime gives the least prime number that is n or more.
func prime(n int) int {
	for n |= 1; ; n += 2 {
		d := 3
		for d*d <= n && n%d != 0 {
			d += 2
		}
		if d*d > n {
			return n
		}
	}
}

// nameHash is FNV-1a of a name and a number, mixed.
func nameHash(name string, number uint64) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return mix64(h + number*0x9e3779b97f4a7c15)
}

// mix64 spreads the bits of x evenly (the finaliser of SplitMix64).
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// castagnoli is the checksum that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Pick implements Picker.
func (b *maglev) Pick(q *Query) int {
	if len(q.Key) == 0 {
		return (*roundRobin)(b).Pick(q)
	}
	table := b.plan.table
	b.primary.look(q.NowNs)
	t := &q.Tried
	if t.step == 0 {
		t.hash, t.step = crc32.Checksum(q.Key, castagnoli), 1
	}
	for t.misses <= maxMisses {
		entry, _ := bits.Mul64(mix64(uint64(t.hash)+uint64(t.misses)<<32), table.size)
		i := table.at(entry)
		if (*balancer)(b).try(i, q) {
			return i
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}
