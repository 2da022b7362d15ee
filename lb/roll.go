package lb

import (
	"math/bits"
	"sort"
	"sync/atomic"
)

// roll is the set of slots of a turn that are in use, with the k-th of them found at once, so that a turn without its
// dead peers keeps its order and is not built anew. It is a bitmap with running counts for each block of 256 slots.
//
// One goroutine at a time writes (the holder of the group's lock), any number read meanwhile. A reader that comes in
// the middle of a change may be given a slot that is not in use, or none: it has to look at the peer anyway.
type roll struct {
	words  []atomic.Uint64 // bit s%64 of word s/64: slot s is in use
	before []atomic.Uint32 // slots in use before each block
	live   atomic.Uint32   // slots in use
	scale  atomic.Uint64   // blocks for each slot in use, 32 bits of fraction
	word   [1]atomic.Uint64
	block0 [1]atomic.Uint32 // word and block0 are what most need, in place
}

const (
	blockWords = 4
	blockSlots = 64 * blockWords
)

// init fills r with n slots, all in use.
func (r *roll) init(n int) {
	r.words, r.before = r.word[:], r.block0[:]
	if n > 64 {
		r.words = make([]atomic.Uint64, (n+63)/64)
		r.before = make([]atomic.Uint32, (n+blockSlots-1)/blockSlots)
	}
	for w := range n / 64 {
		r.words[w].Store(1<<64 - 1)
	}
	if n%64 != 0 {
		r.words[n/64].Store(1<<(n%64) - 1)
	}
	r.count()
}

// set puts slot s in use or takes it out; count has to follow.
func (r *roll) set(s uint32, use bool) {
	if use {
		r.words[s/64].Or(1 << (s % 64))
	} else {
		r.words[s/64].And(^uint64(1 << (s % 64)))
	}
}

// count makes the running counts anew.
func (r *roll) count() {
	var n uint32
	for b := range r.before {
		if r.before[b].Load() != n {
			r.before[b].Store(n)
		}
		for w := b * blockWords; w < min((b+1)*blockWords, len(r.words)); w++ {
			n += uint32(bits.OnesCount64(r.words[w].Load()))
		}
	}
	r.live.Store(n)
	if n > 0 {
		r.scale.Store(uint64(len(r.before)) << 32 / uint64(n))
	}
}

// at gives the k-th slot in use, or -1 when there is none any more. Where slots are missing evenly, the block that k
// points to in proportion is the right one or next to it; otherwise the block is searched for in O(log n).
func (r *roll) at(k uint32) int {
	b := 0
	if len(r.before) > 1 {
		b = r.block(k)
		k -= r.before[b].Load()
	}
	for w := b * blockWords; w < min((b+1)*blockWords, len(r.words)); w++ {
		x := r.words[w].Load()
		c := uint32(bits.OnesCount64(x))
		if k < c {
			return w*64 + selectBit(x, k)
		}
		k -= c
	}
	return -1
}

// block gives the block that holds the k-th slot in use.
func (r *roll) block(k uint32) int {
	last := len(r.before) - 1
	b := min(int(uint64(k)*r.scale.Load()>>32), last)
	switch at := r.before[b].Load(); {
	case k < at:
		if b--; r.before[b].Load() <= k {
			return b
		}
	case b == last || k < r.before[b+1].Load():
		return b
	default:
		if b++; b == last || k < r.before[b+1].Load() {
			return b
		}
	}
	return max(0, sort.Search(len(r.before), func(b int) bool { return r.before[b].Load() > k })-1)
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// bitOfByte[x][k] is the position of the k-th bit that is set in byte x.
var bitOfByte = func() (t [256][8]uint8) {
	for x := range t {
		k := 0
		for bit := range 8 {
			if x>>bit&1 != 0 {
				t[x][k] = uint8(bit)
				k++
			}
		}
	}
	return t
}()

// selectBit gives the position of the k-th bit that is set in x, which has more than k. The bits of all bytes are
// counted and added up at once, the byte is the number of sums that are no more than k (Vigna, "Broadword
// Implementation of Rank/Select Queries", WEA 2008).
func selectBit(x uint64, k uint32) int {
	s := x - x>>1&0x5555555555555555
	s = s&0x3333333333333333 + s>>2&0x3333333333333333
	s = (s + s>>4) & 0x0f0f0f0f0f0f0f0f * eachByte
	at := bits.OnesCount64(((uint64(k)*eachByte|highBits)-s)&highBits) * 8
	k -= uint32(s << 8 >> at & 0xff)
	return at + int(bitOfByte[x>>at&0xff][k&7])
}
