package lb

import (
	"hash/crc32"
	"strconv"
)

// hashed picks by the CRC-32 of the key, as nginx's hash does (compatible with Cache::Memcached): bits 16 to 30 of
// the checksum, added up over repetitions in which the number of the repetition stands before the key, modulo the
// sum of weights. An empty key, and a request that met 20 peers that may not be used, go by round robin. Safe for
// concurrent use. Source: nginx, ngx_http_upstream_hash_module.c.
type hashed balancer

// prefixSum holds the checksum of the text that stands before the key in each repetition, so that a pick needs no
// buffer to write that number into.
var prefixSum = func() (t [255]uint32) {
	for k := 1; k < len(t); k++ {
		t[k] = crc32.ChecksumIEEE([]byte(strconv.Itoa(k)))
	}
	return t
}()

// Pick implements Picker.
func (b *hashed) Pick(q *Query) int {
	if len(q.Key) == 0 {
		return (*roundRobin)(b).Pick(q)
	}
	b.primary.look(q.NowNs)
	t := &q.Tried
	for t.misses <= maxMisses && int(t.step) < len(prefixSum) {
		sum := crc32.Update(prefixSum[t.step], crc32.IEEETable, q.Key)
		t.hash += sum >> 16 & 0x7fff
		t.step++
		i := b.plan.weights.at(uint64(t.hash) % b.plan.weights.total)
		if (*balancer)(b).try(i, q) {
			return i
		}
		if (*balancer)(b).miss(q) {
			break
		}
	}
	return (*roundRobin)(b).Pick(q)
}
