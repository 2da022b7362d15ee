package lb

import "math/bits"

// Tried is the set of peers that a request has tried, and how far the hash of its key has been walked. The zero
// value is empty; Reset keeps its memory. Nearly every request tries one or two peers, so the first few stand in
// the struct itself and larger sets spill into a bitmap. One goroutine owns it.
type Tried struct {
	n      int       // peers in first
	first  [4]uint32 // the peers tried first
	more   []uint64  // bitmap of the peers tried after those
	hash   uint32    // ip_hash, hash: the running hash; consistent: the point
	step   uint8     // how many times the key was hashed
	misses uint8     // unusable peers met by a hash or a random draw
}

// Reset empties the set for the next request.
func (t *Tried) Reset() {
	clear(t.more)
	*t = Tried{more: t.more[:0]}
}

// Has reports whether peer i was tried.
func (t *Tried) Has(i int) bool { return t.n != 0 && t.has(i) }

// has is Has for a set that is not empty.
func (t *Tried) has(i int) bool {
	for _, f := range t.first[:t.n] {
		if f == uint32(i) {
			return true
		}
	}
	w := i >> 6
	return w < len(t.more) && t.more[w]&(1<<(i&63)) != 0
}

// spilled reports whether there are more peers than stand in the struct itself.
func (t *Tried) spilled() bool {
	for _, w := range t.more {
		if w != 0 {
			return true
		}
	}
	return false
}

// Len is the number of peers tried.
func (t *Tried) Len() int {
	n := t.n
	for _, w := range t.more {
		n += bits.OnesCount64(w)
	}
	return n
}

// refill moves one peer from the bitmap into the array.
func (t *Tried) refill() {
	for w, x := range t.more {
		if x != 0 {
			t.more[w] &= x - 1
			t.first[0], t.n = uint32(w<<6+bits.TrailingZeros64(x)), 1
			return
		}
	}
}

// Add puts peer i into the set; Pick does that for what it returns.
func (t *Tried) Add(i int) {
	if !t.Has(i) {
		t.add(i)
	}
}

// Remove takes peer i out of the set, so that it may be picked once more in the same request.
func (t *Tried) Remove(i int) {
	if w := i >> 6; w < len(t.more) && t.more[w]&(1<<(i&63)) != 0 {
		t.more[w] &^= 1 << (i & 63)
		return
	}
	for k, f := range t.first[:t.n] {
		if f == uint32(i) {
			t.n--
			t.first[k] = t.first[t.n]
			break
		}
	}
	if t.n == 0 { // Has looks at n first, so the bitmap is used beside a full array only, or one that is not empty
		t.refill()
	}
}

// add puts peer i, which is not in the set, into it.
func (t *Tried) add(i int) {
	if t.n < len(t.first) {
		t.first[t.n] = uint32(i)
		t.n++
		return
	}
	t.spill(i)
}

// spill adds peer i to the bitmap.
func (t *Tried) spill(i int) {
	w := i >> 6
	for len(t.more) <= w {
		t.more = append(t.more, 0)
	}
	t.more[w] |= 1 << (i & 63)
}
