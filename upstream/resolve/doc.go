// Package resolve looks up host names at run time with the name servers that a "resolver" directive lists, or the
// system's.
//
// It serves proxy_pass values that are known only when a request is there (Resolver): a name that is no upstream is asked
// for here, on a worker, never on an event loop. And it keeps the servers of "server NAME resolve" lines up to date
// (Names), as a watcher and a source of changes of an upstream.Store. Names in upstream blocks without "resolve" do not
// come this way; they are looked up once, when the block is checked.
//
// # Look-ups
//
// What a look-up does, and where that comes from (nginx, ngx_resolver.c, unless another source is named):
//
//   - A and AAAA are asked for in parallel, over UDP, of the listed servers in turn, one look-up starting where the one
//     before did not. When a server stays silent for attemptTimeout the next one is asked as well, and whichever answers
//     first counts, up to the end of the look-up; an error that a server answers is the answer, of both families, but that there is
//     no such name is none where the other family has addresses (RFC 4074 section 4.2; in nginx it is the answer). A format
//     error, or a code that RFC 1035 does not have, is none until all servers have given one: the next one is asked. A
//     truncated answer is fetched again over TCP (RFC 7766 section 5).
//   - Every address record of the answer section counts, in the order of the answer and with its duplicates: a record
//     that is listed twice gets twice the share. A records come before AAAA records.
//   - CNAME is followed inside the answer, and by new questions where neither family has more than an alias. An alias may be
//     longer than the 255 octets of RFC 1035 section 2.3.4, up to twice as long: such an answer is read here, because
//     miekg/dns refuses it, and only for the records that a look-up uses.
//   - An answer is kept for the least TTL of the records used, or for valid=. Failures are not kept.
//   - Concurrent look-ups of one name share one exchange. It is not bound to the caller that started it: a client that
//     leaves does not spoil the answer for the others. It ends when its time is up or, where there is no limit
//     (resolver_timeout 0), when nobody waits any more.
//
// Decisions that are not obvious. The wire format is miekg/dns, the sockets are our own: its client gives up at the
// first datagram that does not match, and an attacker who can send one such datagram would make every look-up fail, so
// foreign datagrams are read past until the deadline. Every question has a fresh socket, hence a fresh random port
// (RFC 5452 section 9.2). Host names come from clients and may hold any byte; they are escaped into presentation form
// byte for byte, so that a backslash cannot name something else than what was asked.
//
// # Names of upstreams
//
// Each name in the table has one refresher, a goroutine, for each way of looking it up, however many upstreams share it.
// It waits for as long as the records say or valid=, one second at least and, without valid=, one hour at most, and up to a
// tenth longer, by chance. An answer of the same addresses in another order changes nothing. One that differs becomes
// a change of each upstream with the name, given to whoever writes to the table and applied only if the upstream is still
// what the change was made from (Change.If): a command is never undone by an answer that was under way. Servers that
// stay keep their state and their idle connections.
//
//   - When a look-up fails the last good answer stays, which is told once. That there is no such name, or no address of it, is
//     an answer and no failure: the servers are taken out, as in nginx, since whoever has the addresses now may be somebody else.
//     In both cases the name is asked for again after 1 s, 2 s and so on up to 10 s, or up to valid= where there is no such name
//     and up to resolver_timeout in others if that is less; half of it by chance. Addresses of a family that "ipv4=off" or
//     "ipv6=off" rules out go at once, whoever gave them.
//   - "service=" asks for SRV records (RFC 2782). As in nginx (ngx_http_upstream_zone_resolve_handler) records of the best
//     priority are servers and all others backups, whatever their priorities are, and a weight in the line goes before that
//     of the record. A target whose look-up fails keeps its addresses, and one that does not exist has none; both are told.
//   - The system's resolver: the hosts file and localhost, then the servers of resolv.conf in their order with its search
//     list and ndots. nsswitch.conf is not read.
//   - The first addresses are looked up before a table is published, at start, at a reload and for a command, for
//     lookLimit in all; what is known already is not asked for. What does not come of it is left to the refresher, so DNS
//     never keeps a command or a start from succeeding.
//   - Unlike nginx, "resolve" needs neither a zone nor a "resolver" directive.
//
// # Cost
//
// A change of an upstream without names costs 0.1 µs more, and no allocation, for being watched (BenchmarkChanged).
//
// A name that is known costs 5 µs and 6 allocations (BenchmarkLookup), most of it for the key that tells resolver
// directives apart; it is spent on a worker, and beside a request to a backend it does not show.
package resolve
