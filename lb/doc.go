// Package lb picks the next peer of an upstream, in nginx's order and by nginx's hashes. Standard library only: no
// I/O, no clock, no HTTP, no goroutines.
//
// # Contract
//
// A Plan is what follows from the frozen description of the peers: rotations, lines of weights, the ring of points. It
// is made once for a definition. Bind joins it with the living parts of the peers, one Live each, and a Cursor, and
// gives a Picker. Lives and cursor outlive pickers: a table that replaces another binds its plan to the same ones, so
// failures, places taken and the position in the rotation are kept.
//
// A caller fills a Query, calls Pick, and later gives the place back with Live.Release, after Succeed, Fail or neither.
// Pick runs on any goroutine, without a lock. It allocates only when failures make it rebuild a rotation, and when a
// Tried grows for the first time past four peers.
//
//	method           follows (nginx, src/http)                       cost of a pick
//	RoundRobin       ngx_http_upstream_round_robin.c                 O(1), dead peers or not
//	IPHash           modules/ngx_http_upstream_ip_hash_module.c      O(log n), O(1) with equal weights
//	LeastConn        modules/ngx_http_upstream_least_conn_module.c   O(1) while idle peers are at hand, else O(n)
//	Hash             modules/ngx_http_upstream_hash_module.c         O(log n), O(1) with equal weights
//	ConsistentHash   modules/ngx_http_upstream_hash_module.c         O(1)
//	Random, -Two     modules/ngx_http_upstream_random_module.c       O(log n), O(1) with equal weights
//
// When every member of a group is busy (max_conns) or tried, finding that out is O(n) for all of them.
//
// # Where it differs from nginx, and why
//
//   - Round robin is a turn computed ahead and one atomic counter, instead of weights that each pick writes under a
//     lock. With all peers up the order is nginx's to the pick. When a peer is left out (dead, busy, tried), its slots
//     are passed over by ticking again, so the others keep their proportions and may come in another order than the one
//     nginx would give; nor does a failure lower a peer's weight for a while (effective_weight). Both leave a peer out
//     after max_fails failures.
//   - A turn has at most max(n, 4096) to 65536 slots (maxSlots), plus one for each of n peers. Weights whose sum, after
//     division by their greatest common divisor, fits are exact; others are rounded in proportion, and a peer whose
//     share is less than one slot gets one.
//   - Ring points are bounded likewise: with a sum of weights over 6553 (and over the number of peers), weights shrink
//     in proportion, so that the ring takes about 1 million points instead of 160 for each unit.
//   - Time is in nanoseconds; nginx compares whole seconds, so its fail_timeout lasts up to a second longer, and
//     fail_timeout=0 leaves a peer out until the second is over, here not at all.
//   - Among several dead peers in a turn of more than 16 slots, one that may be let through again is noticed up to a
//     microsecond for each slot later, and one that has proved itself up to a second later.
//   - Backups are chosen in turn, by least load for LeastConn, also where nginx would apply a hash to them.
//   - Every pick starts with the primaries; nginx stays with the backups for the rest of a request once it has turned
//     to them. Primaries that were tried are passed over, so the difference is a primary that was busy a moment ago.
//
// # Measured
//
// Xeon, two shared virtual cores, Go 1.26, BenchmarkPick with resetting the Query and giving the place back (10.6 ns of
// each figure; an uncontended atomic add takes 9.8 ns there, and a pick needs two): round robin 40 ns at 10, 41 at
// 1,000 and 44 to 50 at 10,000 peers; with every other peer dead 60, 42 and 43 (ten peers are below the 16 slots that
// are never filtered). Consistent hash 51 to 70 ns at 10, 90 to 100 at 1,000 peers, 290 and more at 10,000, where it
// waits for memory; a binary search took 130 and 200. LeastConn 35 to 53 ns while peers are idle; with all peers busy
// 0.2 µs at 10, 10 µs at 1,000. A ring of 10 names takes 0.15 ms to build, of 1,000 names 20 ms: in NewPlan, so that
// publishing a table does not wait for it.
package lb
