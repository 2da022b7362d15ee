// Package admin is the control interface: the REST calls of the nginx dyups module over an upstream.Store, and the one
// writer through which every change of the store goes.
//
// # The contract
//
// Reading:
//
//	GET /list              one name a line
//	GET /detail            each upstream: its name, its lines, an empty line
//	GET /upstream/NAME     one line "server ADDRESS" for each server
//	GET /status            JSON: what the process holds
//
// Changing:
//
//	POST   /upstream/NAME  the body is the inside of an upstream block; it becomes the whole definition
//	DELETE /upstream/NAME
//
// The path is the decoded, normalised one, cut at "/"; an empty segment counts for nothing, so a trailing slash adds
// none. The first segment is compared without regard to ASCII case. /list and /detail ignore further segments. A name
// may hold any byte but "/" and NUL and is compared without regard to ASCII case; the spelling of the last POST is
// listed. There are no reserved names. Listings are in order of creation; an update keeps its place.
//
//	200  "success", or a listing
//	204  a text listing of nothing; POST without any body (neither Content-Length nor chunked), on any path
//	400  the body was refused: "add server failed: LINE:COL: what was found and what is allowed there"
//	404  unknown upstream (GET: empty; DELETE: "not found uptream"); wrong path (GET: empty; POST: "not support this
//	     interface" unless it has two segments, else "not support this api")
//	405  wrong path of a DELETE, with the texts of POST; any other method, HEAD too, with an empty body
//	409  "wait and try again\n": the queue is full
//	500  dyups itself failed, or is shutting down
//
// Whatever is not 200 has changed nothing. These answers carry no Content-Type, no validators and no Allow; Range,
// If-None-Match, Content-Type and Content-Encoding of a request are not looked at. "Content-Length: 0" is not the
// absence of a body but an empty body, which is refused: an upstream needs a server. The misspelt texts are the
// module's, and clients compare them.
//
// Four things were added to the module's GET:
//
//   - The form of /detail. A mount with DetailFull prints all parameters of a server on its line, else only those that
//     are not the default, and the other directives of the upstream. "?format=full" and "?format=short" choose for one
//     request. What the short form shows under a name can be posted back as it stands, even where the lines of plain
//     servers end without ";": a body that is no valid text of the configuration language, and consists of "server ..."
//     lines that have no ";" but all end with a line feed, is read as such a listing. The module refuses it, so no
//     client can depend on another reading.
//   - "?format=body", of /detail and /upstream/NAME: the whole definition as it was written, names as names, in text that makes the
//     same upstream when it is posted.
//   - JSON. "?format=json", or "Accept: application/json" without a format argument, on all three listings: Content-Type
//     application/json, 200 with an empty array where the text form has 204, the generation of the table, every server
//     with all its parameters (times in seconds), and under "body" the definition as text that can be posted.
//     A wildcard in Accept means text. Bytes that are not UTF-8 come out as U+FFFD; the text form gives them as they are. A "server
//     NAME resolve" line without an address is a server with an empty address, "out":"unresolved" and the reason in "resolve_error"; the
//     latter also stands at servers that have their addresses from an earlier look-up. In the full form of /detail such a line has
//     unresolved="REASON" at its end.
//   - "/status", which is JSON always and has no further segments: pid, time, generation of the table and number of upstreams,
//     goroutines, threads, resident memory, descriptors and their bound (statusView). The module's answer there is 404, as to any
//     path that it does not know.
//
// An interface mounted below a prefix has the prefix stripped, so every route works there. GET of the whole path "/"
// is answered with the server's stock 404 page (see StockPageKey), GET of the root of a prefix with an empty 404.
//
// # One at a time
//
// Commands are carried out one at a time, by whoever has the turn. A request that changes something comes by way of Run. When
// nobody has the turn and the body is small, it is parsed, checked, published and answered right there, on the loop: an update
// then costs about as much as a proxied request and a half, and no switch of threads. What would hold the loop up is left to
// others: a larger body, or one that comes while somebody has the turn, is queued for the writer, a goroutine of this package;
// host names, and balancing plans that take long to compute, are looked up and computed on a worker, and only the finished
// Spec is queued, as it is for callers of Update and Delete. The writer takes the turn and all that is queued, and
// publishes what lies between two requests with one Store.Apply. An answer always follows the swap, and
// "success" means that every request whose routing starts later sees the change. Commands that are queued apply in that
// order; one that has not been queued may overtake those that nobody has been told about yet. A reload (Alone) is one more
// command, so changes and reloads have one order.
//
// The writer keeps a thread of its own with a nice value 5 above the process's. Being nice is deliberate: on a full
// core a burst of commands waits for proxied requests, and a batch only grows while it waits. A raised priority would
// need a privilege, and would do the reverse.
//
// The queue is bounded by the bytes of the names and bodies in it (dyups_shm_zone_size), counted until they are
// published. Beyond it a POST or DELETE is answered 409 at once and nothing has changed. A body that alone is larger
// than the bound can therefore never be accepted. Refused bodies, and listings, do not need the queue.
//
// Measured over HTTP, 10,000 upstreams of two servers, weights changed, the binary on one core and its clients on another,
// linux/amd64 on a busy shared machine, medians of five alternating rounds. CPU time for an update, all of HTTP and the
// collector included, in µs; in brackets when every change went to the writer's thread, and when workers parsed and the writer
// published: 12 with 16 clients, flat out (19, 26), up to 77,000 updates a second; 16 at 5,000 a second beside a full load of
// requests (25, 41); 38 with one client, each of whose updates wakes the process (62, 66). Of the 12 the system call that sends
// the answer takes 3, parsing 3.5 and publishing 2. From the call of Update on a goroutine of the caller: BenchmarkUpdate,
// BenchmarkUpdateParallel.
//
// # Where it differs from the module
//
// testdata/dyups-golden.jsonl holds answers of the module (revision b29a7c5) recorded from running binaries; the golden
// test replays them. By decision, answered otherwise than recorded:
//
//   - A refused body is 400 and says where and why; the module says 500 and "add server failed", and tells the error
//     log alone. The text still begins with those words. (All cases recorded as 500 "add server failed".)
//   - Listing order is the order of creation. The module lists by internal slot: an update moves an upstream, and one
//     that is new fills the hole of one deleted. A client cannot rely on slots, as they also depend on which requests
//     are in flight. (upd-static, upd-static-again, upd-identical-static, upd-order-delete-readd and
//     upd-order-many-updates, of kind contract; upd-order-update-first, upd-order-mix and upd-order-after-proxied,
//     incidental.)
//   - There is nothing to be told to other processes, so there is no 500 "alert: update success but not sync to other
//     process" and no "alert: delte success ...", both of which meant that the change was made. A zone of 12k holds an
//     ordinary command, which succeeds (shm-post, shm-delete); a body larger than the zone is 409 and not applied
//     (shm-body-larger-than-zone). All three are of kind contract.
//   - 204 has nothing behind its header; the module writes "no content\n" there, which then precedes the next
//     response (post-path-nobody-*, gr-empty-no-cl, body-http10-nocl, conn-204-desync).
//   - If-None-Match does not turn a listing into 304 (get-if-none-match).
//   - include in a body is refused: a command reads no files (gr-include-*).
//   - A body is read whole however it was split (body-split-*, body-chunked-split-3).
//   - A variable in a hash key is known or unknown, whatever the configuration file and earlier bodies use; none
//     poisons the process (bal-hash-uri, bal-hash-indexed, bal-hash-poison*).
//   - The names _dyups_upstream_down_host_ and _dyups_upstream_sandbox_ are ordinary.
//   - Host names are looked up once for each command, outside of any lock, and all or nothing: two different answers
//     cannot leave half an upstream, and a slow DNS server delays its own caller only.
//   - "server NAME resolve", with or without service=, is accepted and listed as written; its first addresses are looked up
//     as other names are, but the command succeeds without them (srv-resolve, srv-service).
//   - A socket path of any accepted length is listed in full (srv-unix-long).
//   - 409 means a full queue and nothing else: there is no lock to try, so dyups_trylock has no effect, and DELETE
//     never loses its connection.
//   - A server that stays across an update keeps its counts, failures and connections; the module starts all of them
//     afresh.
//   - A reload keeps what commands have done, unless "dyups_reload reset" says otherwise (rl-reload-loses-dynamic, contract). To
//     forget it is what operators complain of most, and what forced them to keep a second copy of every definition.
//   - A mount below a prefix works (mount-prefix-*); the module answers 404 to everything there.
//   - A literal proxy_pass http://host1 sees every change of host1, and its deletion, as one with a variable does; in the
//     module it keeps the configured peers for ever. Two names that look alike would mean two things, and a deleted
//     upstream that still serves is what an operator least expects (px-fixed-pass, px-fixed-pass-after-delete, contract).
package admin
