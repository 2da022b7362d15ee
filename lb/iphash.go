package lb

// ipHash picks by client address the way nginx's ip_hash does: IPv4 by its first three octets, IPv6 by all sixteen,
// a unix socket client as 0.0.0. A peer that is down keeps its place on the line of weights, so that its clients and
// nobody else's move. After 20 peers that may not be used the request goes by round robin. Safe for concurrent use.
// Source: nginx, ngx_http_upstream_ip_hash_module.c.
type ipHash balancer

// noAddress stands for the address of a client without one.
var noAddress = []byte{0, 0, 0}

// Pick implements Picker.
func (b *ipHash) Pick(q *Query) int {
	addr := q.Key
	switch len(addr) {
	case 16:
	case 4:
		addr = addr[:3]
	default:
		addr = noAddress
	}
	b.primary.look(q.NowNs)
	t := &q.Tried
	if t.step == 0 {
		t.hash, t.step = 89, 1
	}
	for t.misses <= maxMisses {
		for _, c := range addr {
			t.hash = (t.hash*113 + uint32(c)) % 6271
		}
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
