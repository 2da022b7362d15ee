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
// The first bits of a hash are its part of the ring, and a point keeps the others: the rest of its hash in the upper
// bits, the owner in as many as the parts have, which is the index of a peer, or the number of peers plus an index into
// owners. Four bytes a point instead of eight are 6.4 MB for 10,000 peers, which stay in a cache where 12.8 do not.
//
// The hashes are spread evenly, so a hash tells nearly where its point is: a look-up reads where the part starts and
// ends and compares a few points that stand together, however large the ring.
type ketama struct {
	points []uint32   // by hash, each hash once
	starts []uint32   // starts[x]: the first point of part x; and the number of points
	bits   uint       // of a hash that are its part, and of a point that are its owner
	peers  uint32     // owners below are peers
	owners [][]uint32 // peers of each name that has several
}

// The ring has about as many parts as points up to 65536, whose starts take 256 KB; then about one for 32 points, among
// which the place of a hash is known to 2 or 3.
const (
	partBits   = 16
	partPoints = 5 // logarithm
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
				k.owners = append(k.owners, same)
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
	k.bits = uint(max(1, min(size-1, partBits), size-partPoints, owners))
	k.points = make([]uint32, len(ps))
	k.starts = make([]uint32, 1<<k.bits+1)
	for i, p := range ps {
		k.points[i] = k.rest(p.hash()) | p.owner()
		k.starts[k.part(p.hash())+1]++
	}
	for x := range k.starts[1:] {
		k.starts[x+1] += k.starts[x]
	}
	return k
}

// part is the part of the ring that h is in, and rest what a point at h has in its upper bits.
func (k *ketama) part(h uint32) uint32 { return h >> (32 - k.bits) }
func (k *ketama) rest(h uint32) uint32 { return h << k.bits }

// owner is the owner of point i.
func (k *ketama) owner(i uint32) uint32 { return k.points[i] & (1<<k.bits - 1) }

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
	x, rest := k.part(h), k.rest(h)
	start, end := k.starts[x], k.starts[x+1]
	i := start + uint32(uint64(rest)*uint64(end-start)>>32)
	for i < end && k.points[i] < rest {
		i++
	}
	for i > start && k.points[i-1] >= rest {
		i--
	}
	return i
}

// atOnce is how many points are looked at together for one whose owner is not dead. With half of the peers dead no guess of
// a processor is right more often than a coin, and a wrong one costs as much as four points.
const atOnce = 4

// dead is how many points in a row from i on have owners that are set aside, and whether one follows that has not. It
// looks at the rest of the four points that i is among, which are in one cache line.
func (k *ketama) dead(i uint32, a *aside) (n uint32, alive bool) {
	first := i &^ (atOnce - 1)
	if uint64(first)+atOnce > uint64(len(k.points)) { // the end of the ring
		n = k.isDead(k.owner(i), a)
		return n, n == 0
	}
	p := (*[atOnce]uint32)(k.points[first:])
	mask := uint32(1<<k.bits - 1)
	x := k.isDead(p[0]&mask, a) | k.isDead(p[1]&mask, a)<<1 | k.isDead(p[2]&mask, a)<<2 | k.isDead(p[3]&mask, a)<<3
	n = uint32(bits.TrailingZeros32(^x >> (i - first)))
	return n, i-first+n < atOnce
}

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
		if t.hash >= uint32(len(k.points)) {
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

// pickOwned picks the owner of a point, or among the peers of its name, in turn.
func (b *consistent) pickOwned(owner uint32, q *Query) int {
	k := b.plan.points
	if owner < k.peers {
		if (*balancer)(b).try(int(owner), q) {
			return int(owner)
		}
		return -1
	}
	peers := k.owners[owner-k.peers]
	n := uint64(len(peers))
	start := b.primary.cursor.Add(1) - 1
	for j := range n {
		i := int(peers[(start+j)%n])
		if (*balancer)(b).try(i, q) {
			return i
		}
	}
	return -1
}
