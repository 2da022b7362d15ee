// Package resolve looks up host names at run time with the name servers that a "resolver" directive lists.
//
// It serves proxy_pass values that are known only when a request is there: a name that is no upstream is asked for
// here, on a worker, never on an event loop. Names in upstream blocks do not come this way; they are looked up once,
// when the block is checked, by the resolver of the system.
//
// What it does, and where that comes from (nginx, ngx_resolver.c, unless another source is named):
//
//   - A and AAAA are asked for in parallel, over UDP, of the listed servers in turn, one look-up starting where the one
//     before did not. A server that stays silent for attemptTimeout is followed by the next one; an error that a server
//     answers is the answer, of both families. A truncated answer is fetched again over TCP (RFC 7766 section 5).
//   - Every address record of the answer section counts, in the order of the answer and with its duplicates: a record
//     that is listed twice gets twice the share. A records come before AAAA records.
//   - CNAME is followed inside the answer, and by new questions where neither family has more than an alias. A name of
//     more than 255 octets, which nginx follows, cannot be unpacked and counts as no answer (RFC 1035 section 2.3.4).
//   - An answer is kept for the least TTL of the records used, or for valid=. Failures are not kept.
//   - Concurrent look-ups of one name share one exchange. It is not bound to the caller that started it: a client that
//     leaves does not spoil the answer for the others.
//
// Decisions that are not obvious. The wire format is miekg/dns, the sockets are our own: its client gives up at the
// first datagram that does not match, and an attacker who can send one such datagram would make every look-up fail, so
// foreign datagrams are read past until the deadline. Every question has a fresh socket, hence a fresh random port
// (RFC 5452 section 9.2). Host names come from clients and may hold any byte; they are escaped into presentation form
// byte for byte, so that a backslash cannot name something else than what was asked.
//
// A name that is known costs 5 µs and 6 allocations (BenchmarkLookup), most of it for the key that tells resolver
// directives apart; it is spent on a worker, and beside a request to a backend it does not show.
package resolve
