package lb

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"slices"
	"strings"
)

// consistent picks by a ring of points, as nginx's "hash KEY consistent" does (ketama, compatible with
// Cache::Memcached::Fast): the first point at or after the CRC-32 of the key, and from there on point by point
// while the peers met may not be used, 20 times; then, and for an empty key, round robin. Safe for concurrent use.
// Source: nginx, ngx_http_upstream_hash_module.c.
type consistent balancer

// pointsPerWeight is how many points of the ring one unit of weight gets.
const pointsPerWeight = 160

// maxPointWeight bounds the sum of weights that get points; beyond it weights shrink in proportion. At the bound
// the ring takes 4 MB.
const maxPointWeight = 6553

// ketama is the ring. An owner is a server name as written; a name that stands for several addresses, or that is
// written several times, owns its points once and has several peers.
//
// The first bits of a hash are its part of the ring. A point keeps the bits that follow, and under them its owner, which is the
// index of a peer, or the number of peers plus an index into owners: three bytes together, because a look-up waits for one
// line of them, and the 4.8 MB of 10,000 peers stay in a cache where 6.4 do not. The last bits, eight at most, are kept apart. They
// are looked at only where the others are equal: once in 40 look-ups among 10,000 peers.
//
// The hashes are spread evenly, so a hash tells nearly where its point is: a look-up reads where the part starts and
// ends and compares a few points that stand together, however large the ring.
type ketama struct {
	n      uint32   // number of points
	points []byte   // by hash, each hash once, three bytes each, least first; see at. Half a window before and behind is not used
	last   []uint8  // of each point the last bits of its hash
	starts []uint32 // starts[x]: the first point of part x; and the number of points
	bits   uint     // of a hash that are its part
	own    uint     // bits of a point that are its owner: no more than bits, so that eight at most are left for last
	lower  uint32   // the bits of at that are a point's owner, and those under them
	peers  uint32   // owners below are peers
	owners []owner  // names that have several peers
}

// A part of the ring has 8 to 16 points, of rings of a million 16 to 32, and the place of a hash among them is known to 2 or 3. So
// many are compared at once as seldom leave it out, for a processor that has guessed wrongly how a comparison ends with
// memory it waits for has to begin anew.
const (
	partPoints = 4 // logarithms
	mostPoints = 5
	partBits   = 16
	window     = 8
)

// newKetama computes the ring over members.
func newKetama(peers []Peer, members []uint32) *ketama {
	k := &ketama{peers: uint32(len(peers))}
	weights := make([]int64, len(members))
	var sum int64
	for j, i := range members {
		weights[j] = clampWeight(peers[i].Weight)
		sum += weights[j]
	}
	if limit := int64(max(maxPointWeight, len(members))); sum > limit {
		scale(weights, limit)
	}
	ids := map[string]uint32{}
	names := make(map[string][]uint32, len(members))
	for _, i := range members {
		names[peers[i].Name] = append(names[peers[i].Name], i)
	}
	var ps []point
	for j, i := range members {
		owner := i
		if same := names[peers[i].Name]; len(same) > 1 {
			if same[0] == i {
				k.owners = append(k.owners, newOwner(peers, same, len(members) <= mostWeighed))
				ids[peers[i].Name] = k.peers + uint32(len(k.owners)-1)
			}
			owner = ids[peers[i].Name]
		}
		ps = appendPoints(ps, peers[i].Name, owner, int(weights[j])*pointsPerWeight)
	}
	ps = sortPoints(ps)
	// Peers of one name repeat the same hashes; of two names with the same hash the first written keeps it.
	ps = slices.CompactFunc(ps, func(a, b point) bool { return a.hash() == b.hash() })
	size, owners := bits.Len(uint(len(ps))), bits.Len(uint(len(peers)+len(k.owners)))
	k.n, k.own = uint32(len(ps)), uint(owners)
	k.bits = uint(max(1, min(size-partPoints, partBits), size-mostPoints, owners))
	k.lower = 256<<k.own - 1
	k.points = make([]byte, 3*(len(ps)+window)+1)
	k.last = make([]uint8, len(ps))
	k.starts = make([]uint32, 1<<k.bits+1)
	for i, p := range ps {
		v, last := k.rest(p.hash())
		v |= p.owner() << 8
		binary.LittleEndian.PutUint32(k.points[3*(i+window/2):], v|uint32(k.points[3*(i+window/2)]))
		k.last[i] = last
		k.starts[k.part(p.hash())+1]++
	}
	for x := range k.starts[1:] {
		k.starts[x+1] += k.starts[x]
	}
	return k
}

// part is the part of the ring that h is in.
func (k *ketama) part(h uint32) uint32 { return h >> ((32 - k.bits) & 31) }

// rest is what a point at h has above its owner, and its last bits.
func (k *ketama) rest(h uint32) (upper uint32, last uint8) {
	h <<= k.bits & 31
	return h &^ k.lower, uint8(h << ((24 - k.own) & 31) >> 24)
}

// at is point i in the upper 24 bits of 32; the others are nothing. So it is less than what rest gives if and only if its hash is,
// as far as it has it.
func (k *ketama) at(i uint32) uint32 { return binary.LittleEndian.Uint32(k.points[3*(i+window/2):]) }

// owner is the owner of point i.
func (k *ketama) owner(i uint32) uint32 { return k.at(i) & k.lower >> 8 }

// point is one place while the ring is made: the hash in the upper half, the owner in the lower.
type point uint64

func (p point) hash() uint32  { return uint32(p >> 32) }
func (p point) owner() uint32 { return uint32(p) }

// sortPoints sorts by spreading the points over as many buckets as there are points, near enough, and sorting the
// few in each.
func sortPoints(ps []point) []point {
	shift := 32 - uint(max(1, bits.Len(uint(len(ps)))-3))
	ends := make([]uint32, 1<<(32-shift))
	for _, p := range ps {
		ends[p.hash()>>shift]++
	}
	var sum uint32
	for x, n := range ends {
		ends[x] = sum
		sum += n
	}
	out := make([]point, len(ps))
	for _, p := range ps {
		x := p.hash() >> shift
		out[ends[x]] = p
		ends[x]++
	}
	var start uint32
	for _, end := range ends {
		if end-start > 1 {
			slices.Sort(out[start:end])
		}
		start = end
	}
	return out
}

// appendPoints appends n points of a name: a chain of checksums over host, a zero byte, port and the previous one.
func appendPoints(ps []point, name string, owner uint32, n int) []point {
	host, port := splitName(name)
	base := crc32.ChecksumIEEE([]byte(host + "\x00" + port))
	var prev [4]byte
	for range n {
		h := crc32.Update(base, crc32.IEEETable, prev[:])
		ps = append(ps, point(h)<<32|point(owner))
		binary.LittleEndian.PutUint32(prev[:], h)
	}
	return ps
}

// splitName splits a server name the way the ring wants it: the path of a unix socket has no port, and a port is
// the digits after the last colon.
func splitName(name string) (host, port string) {
	if len(name) >= 5 && strings.EqualFold(name[:5], "unix:") {
		return name[5:], ""
	}
	for j := len(name) - 1; j >= 0; j-- {
		if name[j] == ':' {
			return name[:j], name[j+1:]
		}
		if name[j] < '0' || name[j] > '9' {
			break
		}
	}
	return name, ""
}

// find gives the first point at or after h; past the last one it gives the number of points.
func (k *ketama) find(h uint32) uint32 {
	x := k.part(h)
	start, end := k.starts[x], k.starts[x+1]
	upper, last := k.rest(h)
	guess := uint32(uint64(h<<(k.bits&31)) * uint64(end-start) >> 32)
	p := (*[3*window + 1]byte)(k.points[3*(start+guess):])
	a := below(p[0:], upper) | below(p[3:], upper)<<1
	b := below(p[6:], upper) | below(p[9:], upper)<<1
	c := below(p[12:], upper) | below(p[15:], upper)<<1
	d := below(p[18:], upper) | below(p[21:], upper)<<1
	less := uint32(a | b<<2 | (c|d<<2)<<4)
	// What lies before the part is less, what lies behind it is not.
	less = (less | before>>guess) &^ (^before << (end - start - guess))
	n := uint32(bits.TrailingZeros32(^less))
	i := start + guess + n - window/2
	if n == 0 || n == window {
		for i < end && k.at(i) < upper {
			i++
		}
		for i > start && k.at(i-1) >= upper {
			i--
		}
	}
	for i < end && k.at(i)&^k.lower == upper && k.last[i] < last {
		i++
	}
	return i
}

// before has the bits of the first half of a window.
const before = uint32(1<<(window/2) - 1)

// below is 1 if the point at p is less than v, else 0.
func below(p []byte, v uint32) uint64 {
	return (uint64(binary.LittleEndian.Uint32(p)) - uint64(v)) >> 63
}

// atOnce is how many points are looked at together for one whose owner is not dead. With half of the peers dead no guess of
// a processor is right more often than a coin, and a wrong one costs as much as six points.
const atOnce = 6

// dead is how many points in a row from i on have owners that are set aside, and whether one follows that has not, among
// the next few.
func (k *ketama) dead(i uint32, a *aside) (n uint32, alive bool) {
	if i+atOnce > k.n { // the end of the ring
		n = k.isDead(k.owner(i), a)
		return n, n == 0
	}
	p, mask := (*[3*atOnce + 1]byte)(k.points[3*(i+window/2):]), k.lower
	x := k.isDead(ownerAt(p[0:], mask), a) | k.isDead(ownerAt(p[3:], mask), a)<<1 |
		k.isDead(ownerAt(p[6:], mask), a)<<2 | k.isDead(ownerAt(p[9:], mask), a)<<3 |
		k.isDead(ownerAt(p[12:], mask), a)<<4 | k.isDead(ownerAt(p[15:], mask), a)<<5
	n = uint32(bits.TrailingZeros32(^x))
	return n, n < atOnce
}

// ownerAt is the owner of the point at p.
func ownerAt(p []byte, lower uint32) uint32 { return binary.LittleEndian.Uint32(p) & lower >> 8 }

// isDead is 1 if an owner is a peer that is set aside, else 0.
func (k *ketama) isDead(owner uint32, a *aside) uint32 {
	if owner >= k.peers {
		return 0
	}
	return uint32(a.set[owner>>6].Load() >> (owner & 63) & 1)
}

// Pick implements Picker.
func (b *consistent) Pick(q *Query) int {
	k := b.plan.points
	if len(q.Key) == 0 {
		return (*roundRobin)(b).Pick(q)
	}
	b.primary.look(q.NowNs)
	t := &q.Tried
	if t.step == 0 {
		t.hash, t.step = k.find(crc32.ChecksumIEEE(q.Key)), 1
	}
	for t.misses <= maxMisses {
		if t.hash >= k.n {
			t.hash = 0
		}
		if a := &b.primary.aside; a.any() {
			n, alive := k.dead(t.hash, a)
			t.hash += n
			if t.misses += uint8(n); !alive || t.misses > maxMisses {
				continue
			}
		}
		if i := b.pickOwned(k.owner(t.hash), q); i >= 0 {
			return i
		}
		t.hash++
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}

// pickOwned picks the owner of a point, or among the peers of its name: by nginx's weights in small groups, else in turn.
func (b *consistent) pickOwned(owner uint32, q *Query) int {
	k, g := b.plan.points, &b.primary
	if owner < k.peers {
		i := int(owner)
		if g.small && g.recovers(owner) {
			if w := g.tryWeigh(); w != nil {
				i = w.owned(g, q, g.rankBit(owner))
				w.lock.Store(false)
				return i
			}
		}
		if (*balancer)(b).try(i, q) {
			return i
		}
		return -1
	}
	n := owner - k.peers
	if g.small {
		if w := g.tryWeigh(); w != nil {
			i := w.ownedBy(g, q, n)
			w.lock.Store(false)
			return i
		}
	}
	return g.byTurn(n, func(i int) bool { return (*balancer)(b).try(i, q) })
}
