// Command dyups is an HTTP edge proxy that reads nginx's configuration language and whose upstreams change while it runs.
//
// This is the roof: the only place where the rooms meet. It holds the command line, the meaning of the main and events
// contexts, the error log, signals, reload, and the glue between rooms that do not know each other:
//
//	files ── codec/conf ──┬── mainconf.go       main, events: values of this process
//	                      ├── engine/site       http, server, location: what a request means
//	                      └── upstream          upstream blocks: specs, with host names looked up
//	start:  load everything ── publish upstreams ── bind sockets ── give up privileges ── run loops ── pid file
//	reload: load everything ── bind what is new ── add upstreams ── install the site ── drop what the files lost
//
// Every step before the publishing can fail and leaves things as they were; no step after it can. What cannot change
// while the process runs (number of loops, user, limits) is named in the log when a reload finds it changed.
//
// The order of a reload decides whether a request can fall between two configurations. Requests are routed by the old
// site until a loop has taken the new one, so for that moment the table holds the upstreams of both: those of the new
// files are added, the site is installed, then the table is replaced by what the files say. TestReloadUnderLoad holds it
// to that. A request that the old site has routed and that has no server yet goes by the table, too, so a change after the reload
// counts for it; only the upstreams that the reload takes away are kept for it (engine: Keep).
//
// One process does the work of nginx's master and workers: state is shared by all loops, so balancing, limits and
// counters are exact with any number of them, and there is nothing to keep in step. The price: a privileged port that
// appears in a reload cannot be bound once "user" gave up the privileges; the reload is refused then, and the old
// configuration goes on.
//
// Going into the background is done by starting the program again, since a Go program cannot fork once its runtime has
// threads; see daemonise.
//
// The error log (errorlog.go) never holds up a loop: a bounded queue, one writer, dropped lines are counted and
// reported. A line costs its caller 0.1 µs and no allocation, one that no target wants 2 ns (BenchmarkErrorLog).
//
// Measured on 2 vCPUs by the tests of this package, which print what they find: resident memory for one idle client
// connection, 10,000 of them open, 350 bytes (TestIdleConnections, with a heap kept without slack); growth while ten
// 64 MB bodies pass up and down, 5 MB (TestLargeBodies); growth while a client does not read a 64 MB answer, 0.2 MB
// (TestSlowClient).
package main
