// Package bench compares HTTP proxies side by side in one run: nginx, HAProxy and dyups take turns, round by round, in
// front of the same two origins and under the same load, and what is reported are medians, spread and the ratios of
// rounds that lie next to each other in time.
//
// The package imports nothing of dyups. A proxy is a program here: it is started from a configuration file, asked over a
// socket, and measured through /proc from outside, all of them by the same code.
//
// # Contract
//
//   - Options is one run, Run does it, Report is what came out (WriteText for people, JSON for programs), Main is the
//     command line around the three. A Run ends within a bound that follows from its options, and when it returns,
//     for whatever reason, every process it started is gone and so is its temporary folder.
//   - One worker for each proxy, pinned to one core. The load generator (wrk), both origins and the client that sends
//     upstream updates share another core, so the work of a proxy and the work of its surroundings never mix.
//   - nginx and dyups read the same file. Where one of them needs something of its own it is in an included file.
//   - A proxy that is not installed is skipped by name and stands in the report as skipped.
//   - Before a proxy is measured, its answers are checked: status, body, and that both origins were reached.
//
// # Why it measures what it measures
//
// The first figure is CPU time for a request, user and system of the whole process tree, not requests a second:
// throughput says nothing about a proxy when the load generator was the slower side, while CPU time stays comparable.
// Each round compares how busy both cores were and says which side was the bottleneck, and how much of either core
// went to processes that do not belong to the run.
//
// CPU time is read from /proc/PID/stat in ticks of 10 ms: 0.3 % of a round of four seconds. The kernel scales these to
// the run time it keeps in nanoseconds, so that the sum is exact and only the split into user and system is sampled.
//
// A child takes its core from the thread that forks it, which spares a helper program, works for programs that know
// nothing of affinity, and holds before their first instruction; Go sees one core and sets GOMAXPROCS by it.
package bench
