package upstream

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// fanout is the width of each of the three levels above the buckets.
const fanout = 16

// way is where a hash is: by its first bits, in the root, the branch and the twig.
func way(h uint64) (inRoot, inBranch, inTwig uint64) {
	return h >> 60, h >> 56 % fanout, h >> 52 % fanout
}

// Table is all upstreams at one generation; immutable. The zero Table is empty. Nothing reachable from it is written
// again, except through a *State or a picker's cursor. Safe for concurrent use.
//
// Names are spread by hash over 16 × 16 × 16 buckets. A new generation copies the root, and of each level the node on the
// way to what changes, about 600 bytes up to 10,000 upstreams; all else is shared with the generation before. Two levels of 64
// copied 1.3 KB, and memory is what a change is about: a page that is touched for the first time costs more than all the rest.
type Table struct {
	gen   uint64
	n     int
	seq   uint64 // of the upstream created last
	root  [fanout]*branch
	order atomic.Pointer[[]*Upstream] // by creation, made when first asked for
}

// branch, twig and bucket carry the generation that made them: the one that is being built may write its own.
type branch struct {
	gen   uint64
	twigs [fanout]*twig
}

type twig struct {
	gen     uint64
	buckets [fanout]*bucket
}

type bucket struct {
	gen     uint64
	entries []entry
}

// What Diff compares with where there is nothing; never written.
var (
	noBranch branch
	noTwig   twig
	noBucket bucket
)

// entry has the hash of the upstream's name beside it, so that a look-up touches no upstream but the right one.
type entry struct {
	hash uint64
	u    *Upstream
}

// Generation grows by one with every published table.
func (t *Table) Generation() uint64 { return t.gen }

// Len is the number of upstreams.
func (t *Table) Len() int { return t.n }

// Lookup finds an upstream by name, ASCII case ignored; nil if there is none. No allocation.
func (t *Table) Lookup(name []byte) *Upstream {
	h := hashName(name)
	i, j, k := way(h)
	br := t.root[i]
	if br == nil {
		return nil
	}
	tw := br.twigs[j]
	if tw == nil {
		return nil
	}
	b := tw.buckets[k]
	if b == nil {
		return nil
	}
	for i := range b.entries {
		if e := &b.entries[i]; e.hash == h && e.u.key.is(name) {
			return e.u
		}
	}
	return nil
}

// All calls f for every upstream in order of creation until f returns false. The first call on a table sorts, later
// ones do not.
func (t *Table) All(f func(*Upstream) bool) {
	order := t.order.Load()
	if order == nil {
		all := make([]*Upstream, 0, t.n)
		for b := range t.buckets {
			for _, e := range b.entries {
				all = append(all, e.u)
			}
		}
		slices.SortFunc(all, func(a, b *Upstream) int { return cmp.Compare(a.seq, b.seq) })
		order = &all
		t.order.Store(order)
	}
	for _, u := range *order {
		if !f(u) {
			return
		}
	}
}

// buckets gives every bucket, by hash.
func (t *Table) buckets(yield func(*bucket) bool) {
	for _, br := range t.root {
		if br == nil {
			continue
		}
		for _, tw := range br.twigs {
			if tw == nil {
				continue
			}
			for _, b := range tw.buckets {
				if b != nil && !yield(b) {
					return
				}
			}
		}
	}
}

// Diff calls f for every upstream in which two tables differ, in no particular order: with before nil where t has it
// and old does not, with after nil where it is the other way round. Tables share what did not change, so the work is
// in proportion to the difference. It is meant for watchers.
func (t *Table) Diff(old *Table, f func(before, after *Upstream)) {
	for i, br := range t.root {
		was := old.root[i]
		if br == was {
			continue
		}
		if br == nil {
			br = &noBranch
		}
		if was == nil {
			was = &noBranch
		}
		for j, tw := range br.twigs {
			if tw != was.twigs[j] {
				diffTwig(was.twigs[j], tw, f)
			}
		}
	}
}

func diffTwig(was, tw *twig, f func(before, after *Upstream)) {
	if was == nil {
		was = &noTwig
	}
	if tw == nil {
		tw = &noTwig
	}
	for k, b := range tw.buckets {
		if b != was.buckets[k] {
			diffBucket(was.buckets[k], b, f)
		}
	}
}

func diffBucket(was, b *bucket, f func(before, after *Upstream)) {
	if was == nil {
		was = &noBucket
	}
	if b == nil {
		b = &noBucket
	}
	for _, e := range b.entries {
		if o := was.at(&e.u.key); o < 0 {
			f(nil, e.u)
		} else if was.entries[o].u != e.u {
			f(was.entries[o].u, e.u)
		}
	}
	for _, o := range was.entries {
		if b.at(&o.u.key) < 0 {
			f(o.u, nil)
		}
	}
}

// at gives the index of the entry of a name, -1 if there is none.
func (b *bucket) at(k *nameKey) int {
	return slices.IndexFunc(b.entries, func(e entry) bool { return e.hash == k.hash && e.u.key.is(k.fold) })
}

// edit gives the next generation, as yet equal to t. Until it is published it may be written with put and remove.
func (t *Table) edit() *Table {
	return &Table{gen: t.gen + 1, n: t.n, seq: t.seq, root: t.root}
}

// own gives the bucket of hash h for writing.
func (t *Table) own(h uint64) *bucket {
	i, j, k := way(h)
	br := t.root[i]
	if br == nil {
		br = &branch{gen: t.gen}
	} else if br.gen != t.gen {
		br = &branch{t.gen, br.twigs}
	}
	t.root[i] = br
	tw := br.twigs[j]
	if tw == nil {
		tw = &twig{gen: t.gen}
	} else if tw.gen != t.gen {
		tw = &twig{t.gen, tw.buckets}
	}
	br.twigs[j] = tw
	at := &tw.buckets[k]
	switch b := *at; {
	case b == nil:
		*at = &bucket{gen: t.gen}
	case b.gen != t.gen:
		c := &bucket{gen: t.gen, entries: make([]entry, len(b.entries), len(b.entries)+1)}
		copy(c.entries, b.entries)
		*at = c
	}
	return *at
}

// put adds u, in place of the upstream of the same name if there is one. An upstream without a number gets the next.
func (t *Table) put(u *Upstream) {
	if u.seq == 0 {
		t.seq++
		u.seq = t.seq
	}
	b := t.own(u.key.hash)
	if i := b.at(&u.key); i >= 0 {
		b.entries[i].u = u
		return
	}
	t.n++
	b.entries = append(b.entries, entry{u.key.hash, u})
}

// remove takes u, which is in t, out.
func (t *Table) remove(u *Upstream) {
	b := t.own(u.key.hash)
	i := b.at(&u.key)
	b.entries = slices.Delete(b.entries, i, i+1)
	t.n--
	if len(b.entries) == 0 {
		i, j, k := way(u.key.hash)
		t.root[i].twigs[j].buckets[k] = nil
	}
}
