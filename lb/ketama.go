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
// the ring takes 8 MB.
const maxPointWeight = 6553

// point is one place on the ring: the hash in the upper half, the owner in the lower, which is the index of a peer, or
// shared plus an index into ketama.owners.
type point uint64

// shared marks the owner of a point that has several peers.
const shared = 1 << 31

func (p point) hash() uint32  { return uint32(p >> 32) }
func (p point) owner() uint32 { return uint32(p) }

// ketama is the ring. An owner is a server name as written; a name that stands for several addresses, or that is
// written several times, owns its points once and has several peers.
//
// The hashes are spread evenly, so the first bits of one tell nearly where its point is: a look-up reads one entry of
// starts and compares a few points that stand together, however large the ring.
type ketama struct {
	points []point    // by hash, each hash once
	starts []uint32   // starts[x]: the first point whose hash, shifted, is x or more; about one for four points
	shift  uint       // from a hash to an index into starts
	owners [][]uint32 // peers of each name that has several
}

// newKetama computes the ring over members.
func newKetama(peers []Peer, members []uint32) *ketama {
	k := &ketama{}
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
	for j, i := range members {
		owner := i
		if same := names[peers[i].Name]; len(same) > 1 {
			if same[0] == i {
				k.owners = append(k.owners, same)
				ids[peers[i].Name] = shared + uint32(len(k.owners)-1)
			}
			owner = ids[peers[i].Name]
		}
		k.points = appendPoints(k.points, peers[i].Name, owner, int(weights[j])*pointsPerWeight)
	}
	k.shift = 32 - uint(max(1, bits.Len(uint(len(k.points)))-3))
	k.points = sortPoints(k.points, k.shift)
	// Peers of one name repeat the same hashes; of two names with the same hash the first written keeps it.
	k.points = slices.CompactFunc(k.points, func(a, b point) bool { return a.hash() == b.hash() })
	k.starts = make([]uint32, 1<<(32-k.shift))
	at := 0
	for x := range k.starts {
		for at < len(k.points) && k.points[at].hash()>>k.shift < uint32(x) {
			at++
		}
		k.starts[x] = uint32(at)
	}
	return k
}

// sortPoints sorts by spreading the points over as many buckets as there are points, near enough, and sorting the
// few in each.
func sortPoints(ps []point, shift uint) []point {
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
	i := k.starts[h>>k.shift]
	for int(i) < len(k.points) && k.points[i].hash() < h {
		i++
	}
	return i
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
		owner := k.points[t.hash].owner()
		if a := &b.primary.aside; owner >= shared || !a.any() || !a.has(int(owner)) {
			if i := b.pickOwned(owner, q); i >= 0 {
				return i
			}
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
	if owner < shared {
		if (*balancer)(b).try(int(owner), q) {
			return int(owner)
		}
		return -1
	}
	peers := b.plan.points.owners[owner-shared]
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
