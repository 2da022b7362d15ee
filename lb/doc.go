// Package lb picks the next peer of an upstream, in nginx's order and by nginx's hashes. Standard library only: no
// I/O, no clock, no HTTP, no goroutines.
//
// # Contract
//
// A Plan is what follows from the frozen description of the peers: rotations, lines of weights, the ring of points. It
// is made once for a definition. Bind joins it with the living parts of the peers, one Live each, and a Cursor, and
// gives a Picker. Lives and cursor outlive pickers: a table that replaces another binds its plan to the same ones, so
// failures, places taken and the position in the rotation are kept. Peers keep their cursor as long as they live.
//
// A caller fills a Query, calls Pick, and later gives the place back with Live.Release, after Fail, or Succeed for all that is no
// failure. For least_time it calls Live.Observe after a success, and Live.Answered when Plan.CountsWaiting says so; for
// slow_start Live.Start when a server is new or well again. Live.Bar keeps a peer out of all picks while an active check says so.
// Sessions that stick to a server take their place with a Taker (BindTaker), which also serves peers that drain; where that is a
// backup, by Query.Homes, so that the primaries go before it. Pick runs on any goroutine, waits for no lock, and allocates only
// when a Tried grows for the first time past four peers, 4 bytes for each slot of a turn once its set of dead peers has stood
// for a while, and half a kilobyte when something happens for the first time in a small group (weighing).
//
//	method                         follows                                               cost of a pick
//	RoundRobin                     nginx: ngx_http_upstream_round_robin.c                O(1); O(log n) after a death, see below
//	IPHash                         nginx: ngx_http_upstream_ip_hash_module.c             a try; O(log n) with weights
//	Hash                           nginx: ngx_http_upstream_hash_module.c                a try; O(log n) with weights
//	ConsistentHash                 nginx: ngx_http_upstream_hash_module.c (ketama, 160)  a try
//	ConsistentHash, BalanceFactor  Mirrokni et al., SODA 2018; HAProxy: lb_chash.c       up to 64 points, see below
//	Maglev                         Eisenbud et al., NSDI 2016, section 3.4               a try
//	LeastConn                      nginx: ngx_http_upstream_least_conn_module.c          O(log n)
//	LeastTime                      nginx: ngx_http_upstream_least_time_module.c (1.31)   O(log n)
//	Random, RandomTwo, -TwoTime    nginx: ngx_http_upstream_random_module.c              as RoundRobin; RandomTwo twice
//
// n is the number of peers, dead ones included. A try is O(1); nginx's rule for a peer that may not be used is to try
// another one, 20 times, and then to go by round robin, so that with half of the peers dead there are two on the
// average. A peer that is known to be dead costs its bit in a set. Of a pick that is retried in the same request, the
// fifth and later ones are O(n) for LeastConn and LeastTime. When every member of a group is busy (max_conns) or tried,
// finding that out is O(n) for all but these two. A group of up to 16 members looks at each of them in the picks of round robin that
// follow an event, until there has been none for a turn and 32 picks, and in each pick of least_conn: some 2 ns a member. As long as one
// of four is at its max_conns, round robin takes 66 ns instead of 37.
//
// What is O(n) and shared by many picks: a set of dead peers that has stood for as many picks as a turn has slots is taken
// out of the turn for good, until it changes (about 1 ns a slot); when eight dead peers are met in one pick, all are looked at, once for them
// all; peers that were set aside are looked at when the first may be let through and when one has succeeded, in groups
// of more than 64 at most once in a microsecond for each member; with slow_start all members are looked at ten times a
// second, while one is starting every 4 microseconds for each member or every millisecond, whichever is longer.
//
// # What is exact
//
//   - Round robin with all peers up is nginx's smooth order to the pick, as long as the weights fit a turn (below) and
//     until the count of picks begins anew after 4 billion.
//   - Groups of 2 to 16 members give nginx's order whatever happens, under round robin, where a hash falls back to it, and under
//     least_conn: failures lower a weight for a while (effective_weight), and peers that are tried, full, dead or back leave their mark on
//     what follows, to the pick. So it is for picks one after the other; those of the same moment are as fair, each by
//     itself. A picker that takes another one's place begins anew where the turn of all stands. What a Taker takes on a member counts
//     as a pick of round robin there, to the limit that nginx has for it. Not with slow_start, which nginx has
//     not, weights above a billion and, but for least_conn, weights that do not fit a turn.
//   - In larger groups with peers set aside it is that order without them: each of the others has its weight in every turn. In
//     the pick in which the set changes the position jumps.
//   - Placement of ip_hash, hash and hash consistent is nginx's for every key, weight and set of dead peers. Peers of one name have
//     the points of one, and share what falls on them by weight: in groups of 2 to 16 in nginx's order to the pick, by the same weights of
//     the moment as round robin; in larger ones, and with a balance factor, in a turn of their own, which stands where it stood when a
//     picker is replaced.
//   - least_conn and least_time pick a peer whose load is the least of all that may be used, whenever no other pick or
//     release is going on; otherwise the least of a moment ago. Loads are compared as float32: requests for a unit of
//     weight that differ by less than 1 in 8 million count as equal, except in small groups. Equals come in the order of the
//     rotation where its next 16 slots hold one, else by index, but in small groups of least_conn as nginx has them. Averages of least_time are
//     nginx's to the millisecond.
//   - max_conns is never exceeded, and one probe is one probe.
//
// # What is bounded
//
//   - A turn has at most max(n, 4096) to 65536 slots (maxSlots), plus one for each of n peers. Weights whose sum, after
//     division by their greatest common divisor, fits are exact; others are rounded in proportion, and a peer whose
//     share is less than one slot gets one.
//   - Ring points are bounded likewise: with a sum of weights over 6553 (and over the number of peers), weights shrink
//     in proportion, so that the ring takes about 1 million points instead of 160 for each unit.
//   - A maglev table gives everyone its share to two entries of 65537 or more. When one of n peers leaves, less than 1 %
//     of the keys of the others move (measured with 10, 100 and 1,000 peers: 0.2 %, 0.6 % and 0.2 %). At 656, 10,487 and
//     167,773 peers the table changes its size, and nearly all keys move.
//   - With a balance factor a peer has at most its part of the requests in flight, times the factor, in whole places and
//     one at least, plus as many as are picked at the same moment. When 64 points in a row are full, which is as
//     good as impossible from a factor of 125 on, the members are looked at in order.
//     The requests in flight on all primaries are known to the place, those on peers that drain, are down, or have left (Live.Leave)
//     not among them, as the Bind has it that was the last one over the same peers and cursor, whatever pickers from before are
//     still in use. As in HAProxy, those on dead peers are among them, so that requests that hang there widen the others' bounds.
//   - What a least_conn or least_time picker was not told, because another one over the same peers was (two
//     tables in use, or one that was never published), it finds out by looking at a member at random in every eighth
//     pick. That the time of least_time has gone on, with it a slow peer's second chance and the age of requests in
//     flight, it sees by looking at 64 members in turn in each millisecond in which there is a pick.
//   - Slow starts take away at most half of the weight of the members in use (ramp). A member at its full weight has at
//     most twice the share it has when all are at theirs: when nine of ten have just been started, they get 8/9 of it
//     at once, and the one that was there before gets twice as much, not ten times. Under least_conn and least_time
//     a starting member's requests in flight count as many times as its weight is less. Where that makes it no worse than
//     the best of all it is picked by its turn: in as many of the picks as under round robin, less those in which it is
//     busy while others are idle. So it has its share from the first pick on also where nearly all are idle. When all
//     are busy it is compared with the others as if it had as many requests more as its lost weight stands for. The rule
//     for the sum is kept less strictly there, because requests are whole: in simulations with 10 members and 0 to 50
//     requests in flight a member at its full weight gets up to 2.5 times its share, where round robin gives it 2.0.
//
// # Where it differs from nginx, and why
//
//   - In groups of more than 16 members a failure does not lower a peer's weight for a while: that takes a look at all of them in
//     every pick. Both leave a peer out after max_fails failures.
//   - What sessions take does not move the turn of larger groups, nor where the peer drains, which in nginx moves it once.
//   - Time is in nanoseconds; nginx compares whole seconds, so its fail_timeout lasts up to a second longer, and
//     fail_timeout=0 leaves a peer out until the second is over, here not at all.
//   - least_time inflight takes the mean age of the requests in flight as it is; nginx smooths it over the picks.
//   - least_time takes no time of a request whose client left; nginx does once the response header has come.
//   - Backups are chosen in turn, by least load for LeastConn and LeastTime, also where nginx would apply a hash to them.
//   - Every pick starts with the primaries; nginx stays with the backups for the rest of a request once it has turned
//     to them. Primaries that were tried are passed over, so the difference is a primary that was busy a moment ago.
//   - slow_start and random two least_time are in nginx's commercial version only; they follow its documentation.
//
// # Measured
//
// AMD EPYC, two shared virtual cores with neighbours at work, Go 1.26, in nanoseconds, with resetting the Query and giving
// the place back; 0 allocations throughout. "Busy" has three requests in flight on every peer. Best of 10 runs, of 6 for
// 10,000 peers:
//
//	go test -c -o lb.test ./lb
//	taskset -c 1 ./lb.test -test.run xxx -test.bench 'BenchmarkPick/.*/n=(10|1000)$/' -test.benchtime 100000x
//	taskset -c 1 ./lb.test -test.run xxx -test.bench 'BenchmarkPick/.*/n=10000$/' -test.benchtime 1000000x
//
//	                        10 peers        1,000 peers     10,000 peers
//	                        all up  half    all up  half    all up  half dead
//	RoundRobin              22      22      22      22      24      24
//	IPHash                  19      34      19      34      21      37
//	Hash                    25      37      25      37      30      41
//	ConsistentHash          37      48      43      54      67      92
//	with BalanceFactor      43      54      49      60      82      100
//	Maglev                  36      51      49      71      60      83
//	Random                  24      25      25      25      30      27
//	RandomTwo               39      42      39      39      54      54
//	RandomTwoTime           50      53      51      51      65      66
//	LeastConn               76      77      67      68      71      72
//	LeastConn, busy         68              135             167
//	LeastTime               70      71      77      78      80      81
//	LeastTime, busy         80              148             178
//	LeastTime, Inflight     122     125     133     134     140     139
//
// Where half are dead a processor's guesses depend on where the linker has put the code: IPHash takes 34 to 70 in builds that differ
// elsewhere.
//
// Dead peers cost round robin and the draws nothing. A hash that falls on one has to be taken again, as nginx does, or the
// ring be walked: the half dead pay for one more on the average, and for the processor's wrong guesses about it.
//
// The larger rings and tables wait for memory: a pick from a ring of 10,000 names reads one cache line of its 4.8 MB, which takes
// 20 ns while they stay in the cache and 110 to 180 ns when neighbours have taken that, as they had half of the time here
// (BenchmarkMemory reads one such line after the other). Medians of 12 runs over ten minutes, beside points of four bytes, 6.4 MB,
// that are compared one by one, in turn:
//
//	                        three bytes, at once    four bytes, one by one
//	                        all up  half dead       all up  half dead
//	ConsistentHash          90      115             114     136
//
// In the loudest minutes both take 230 to 300 ns. With a balance factor it was 159 and 179 while each place taken was counted at its
// seat as well, and is 97 and 129 where the plain ring takes 92 and 132. A balance factor writes four words of shared memory for
// each pick, where the plain ring writes two. Huge pages for the ring make no difference.
//
// On a Xeon a look at all peers, in place of the tree, took 29 microseconds with 10,000 busy ones. Two processors that
// pick from one upstream wait for each other's writes: round robin takes 0.1 microseconds then, LeastConn 0.3. A ring of
// 10 names takes 0.05 ms to build, of 1,000 names 7 ms; a maglev table 2 ms for 10 members and 70 ms for 10,000, 0.4 s
// when their weights differ: in NewPlan, so that publishing a table does not wait for it.
package lb
