// Package churn changes the upstreams of a running proxy at a rate, by scripts, and notes how long each change took to be
// acknowledged and whether a server that had been removed was still reached afterwards.
//
// # Contract
//
//   - An Updater is one client of one proxy; package rival has them. Run drives any number of them at once.
//   - The moments of sending are fixed in advance: after a late acknowledgement the rest follow at once, so a proxy that
//     stalls gets no fewer updates than another one. With rate 0 each client sends as fast as it is acknowledged.
//   - An update that has been sent is waited for, also when the run is over: a half-known state could not be set back. With
//     a proxy that takes seconds for an update, a run takes that much longer.
//   - A Talk is the same for one client as bytes, which Rehearse has an updater write down that sends nothing: package load says it
//     from its own loop. Restore sets back afterwards what it has left changed.
//   - When Run returns, the upstreams are what they were, unless the proxy refused to take that, which counts as a failure.
//
// # Removals
//
// The time of a removal is taken after its acknowledgement has been read. Options.Watch gives the kernel's time stamp of the
// last request that arrived at the removed server. It is asked right before the server is added again, at the earliest
// watchHold after the acknowledgement: for every removal at up to 100 updates a second, and at higher rates, which the wait
// would hold up, at most once in watchEvery. Asking costs the origin's core time. A stamp later than the acknowledgement is a
// late request. Since a server is known by its address, it must be in one upstream at a time: with Watch, one client alone
// does the script Servers.
//
// # Cost
//
// The client shares a core with load and origins. Around the call of the Updater a step costs two clock readings and
// one histogram entry: BenchmarkStep. Waiting for a moment less than 2 ms ahead is nanosleep(2), because timers of the Go
// scheduler, which wait in epoll_wait(2), are rounded to milliseconds.
package churn
