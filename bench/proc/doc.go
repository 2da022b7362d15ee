// Package proc starts the programs of a run and measures what they use: processes in groups of their own pinned to
// cores; CPU time, resident memory, context switches and, where the machine counts them, instructions of a process tree;
// the time of whole cores; the kernel's limits. All figures come from /proc, /sys and perf_event_open(2), so that nothing
// has to be installed, and from the outside, so that every program is measured alike.
//
// CPU times have the resolution of the kernel's clock tick, 10 ms. A tree is read process by process: one that starts or
// ends meanwhile may be missed.
package proc
