// Package bench compares HTTP proxies side by side in one run: nginx, HAProxy, Caddy, Go's httputil.ReverseProxy and dyups
// take turns, round by round, in front of the same origins and under the same load, and what is reported are medians,
// spread and the ratios of rounds that lie next to each other in time.
//
// The package imports nothing of dyups. A proxy is a program here: it is started from a configuration file, asked over a
// socket, and measured through /proc from outside, all of them by the same code.
//
// # Contract
//
//   - A Scenario is a text file (scenarios/*.txt, or one of the user's own): what is sent, what stands behind the proxies,
//     what happens to them meanwhile, who takes part, how long. Options choose scenarios, Run measures them, the report is
//     a result.Report, Main is the command line around them.
//   - A Run ends within a bound that follows from its plan, anything that hangs is given up after ten seconds beyond
//     what it may take, and when it returns, for whatever reason, every process it started is gone and so is its temporary
//     folder.
//   - Proxies are pinned to one core. Load generator, origins, and this process, which sends the updates and takes
//     the readings, share another core. A scenario with several workers is the exception: see scenarios/70-scaling.txt.
//   - Origins and generator are started once. Proxies stay up as long as scenarios follow each other for which they are
//     configured alike, unless one says "restart yes". All who take part are up for the whole scenario; those not on turn
//     have nothing to do.
//   - Before a proxy is measured its answers are checked: status, length, and that every origin was reached. The load
//     generator checks status and length of each answer.
//   - Who is missing, cannot do what a scenario needs, or fails in it, is skipped by name there, and the rest goes on. The dyups
//     binary alone has to be there, where dyups takes part.
//
// # Why it measures what it measures
//
// The first figure is CPU time for a request, user and system of the whole process tree, not requests a second:
// throughput says nothing about a proxy when the load generator was the slower side, while CPU time stays comparable.
// Each round compares how busy both cores were and says which side was the bottleneck, and how much of either core
// went to processes that do not belong to the run.
//
// # The measured part
//
// A round begins with a warm-up that counts for nothing. Only the generator knows when it ends, and tells afterwards. So
// readings of everything that only grows (CPU time, context switches, instructions, time of the cores) are taken ten
// times a second from before the round to after it, and the values at the two ends of the measured part are interpolated
// between the readings around them. What is divided by the requests of the measured part was used in the measured part,
// as far as use is even within a tenth of a second. CPU time is that of the kernel's process clocks in nanoseconds; its
// split into user and system is by the ticks of /proc/PID/stat. An open loop counts requests by when they were due, so that
// the time until the last of them was answered belongs to it as well.
//
// What happens to a proxy (updates, reloads, faults of origins) begins with the warm-up, so that the whole measured part is
// under it. Times to the reply of an update include those of the warm-up.
package bench
