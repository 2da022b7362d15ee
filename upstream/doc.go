// Package upstream holds the table of upstreams that requests read and commands replace.
//
// # Contract
//
// ParseBlock makes a Spec of the inside of an upstream block, from a file or a command. Store.Apply and Store.Replace
// publish tables made of Specs, one atomic pointer, all or nothing; Store.Load gives the current one. A request loads
// once and keeps its table to the end. From a Table come Upstreams, from an Upstream picks of Servers. All of these are
// frozen when they are published; what lives is in State, one for each (upstream, address, occurrence), which is shared
// by all tables that name the server and so survives every update that keeps it. An upstream's position in its rotation
// is carried over as well: starting anew at each update would give the first servers most of the traffic under churn.
// The package starts no goroutines, and never resolves a name or waits for a lock on the way of a request.
//
// The order of listings is the order of creation: an update keeps its place, and what was deleted and comes again goes
// to the end.
//
// # Decisions
//
//   - A table is three levels of 16 nodes over buckets, copied on the way to what changes. A map copied as a whole took
//     38 µs at 1,000 upstreams and grows with them. Apply of one change of two servers allocates 1.5 KB at 10 upstreams, 1.9 KB at
//     100,000. What changes take for the first time is made resident ahead of them (type ahead). Order costs nothing at
//     publishing: upstreams are numbered at creation, and a table sorts when it is first listed.
//   - The balancing plan (rotation, ring of points) is computed in ParseBlock, not under the writers' lock.
//   - Table.Diff walks only what two generations do not share, so that a watcher's work goes with the change.
//   - The build tag invariants checks each table and takes a digest of it at publishing, and panics at the next one if
//     anything reachable was written in between.
//
// # Names
//
// A line "server NAME resolve" is a Name, whose addresses are no part of the definition: it may have none, and
// Spec.Resolved makes of a Spec and new addresses the next Spec, with the same text. Who does that (upstream/resolve) sees
// the table as a watcher and applies its changes with Change.If. An upstream that has no address at all is valid, and picks
// nothing.
//
// # Listings
//
// "GET /upstream/NAME" (AppendServers) and "GET /detail" (AppendDetail) show a server line by its first address, as the
// original does. An upstream of plain servers alone shows as "server ADDR" lines without semicolons, the text that the
// original began with; such a text is not accepted as a body here, where a missing semicolon is an error. With any
// parameter or other directive every statement ends with one, and the text can be posted back. A name with several
// addresses is thereby narrowed to its first one; AppendBody keeps names as written.
//
// # Differences from nginx
//
//   - An update keeps failures, requests in flight and idle connections of servers that stay.
//   - "keepalive 0" is accepted, as nginx does since upstream connections are kept by default (1.29.7).
//   - The parameter "local" of keepalive is listed and means nothing. In nginx it keeps a location's connections from others, which
//     may want them otherwise; here they differ by proxy_bind, and are told apart by it anyway, and by proxy_socket_keepalive.
//   - The cookie of "sticky cookie" is half of an HMAC-SHA256 of the server's route or address, keyed with secret= or the
//     machine's id: it survives a restart and tells no address. What nginx gives for "route=", the route itself, is taken as
//     well, and answered with ours. It is set with each answer, as in nginx, also with one of our own after a server was picked,
//     such as 502. Variables in path= count as in domain=, where nginx has none, and a domain or path that comes to hold a ";" is
//     left out.
//   - Without "header" a session of "sticky learn" is learned just before the last byte of its answer goes out, and that of a
//     connection that is upgraded with the head. Each upstream has a table of its own, which outlives updates whatever its
//     zone is called; 160 bytes of the zone's size are a session, and when there is
//     room for no more the one that was not used for the longest time is forgotten, in each of sixteen parts.
//   - Of several servers with one route, or one address, the first that may be used has all sessions; in nginx the first
//     or any other server. In the queue a session goes before others to a server that drains, which is none that they wait for.
//   - The try of a session at a server that drains comes on top of those that the other servers are good for; nginx counts it among
//     them, so that it may have no other. proxy_next_upstream_tries bounds all of them.
//   - slow_start begins also when a server comes to an upstream that is there already, and its sum is bounded (package lb).
//   - Requests that have failed at a server do not wait in the queue; those that do keep their turn when the upstream is
//     replaced. The first in it looks for a server when a place is given back, when the upstream changes, and ten times a second.
//   - zone is checked and listed, and means nothing: there is one process and one table.
//   - A fail_timeout over 292 years is refused.
//   - A dotted address needs digits in each of its parts (nginx takes "1..2.3").
//
// # Measured
//
// Xeon, two shared virtual cores, Go 1.26, other work beside: look-up of a 17 byte name 30 to 33 ns at 10 upstreams,
// 35 to 38 at 1,000, 100 to 150 at 100,000, where it waits for memory. Apply of one change of two servers without
// collection 1.2 to 3 µs at 10 and at 1,000, 3.6 to 6 at 100,000; with it 3.3, 4.7 and 8 to 13 µs, the collector having
// the larger heap to mark.
package upstream
