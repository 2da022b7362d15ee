// Package origin is what stands behind the proxies of a run: HTTP/1.1 servers on loopback with fixed answers, chosen
// delays and faults on a schedule, all in one child process (Child) that its parent holds by a pipe (Process).
//
// The origins share a core with the load generator, so a request has to cost little: one goroutine on a locked thread,
// one epoll, one receive and one send for a small answer, answers built once for each origin and path, and no allocation
// in the steady state. Everything in a child but its counters' way out belongs to that goroutine, commands included: they
// are read in the same loop, so that an answer to one is as recent as the last batch of requests.
package origin
