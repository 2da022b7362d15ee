package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU times in /proc: USER_HZ, 100 a second on every Linux that Go runs on (proc(5)).
const tick = 10 * time.Millisecond

// procStat is what the run needs of /proc/PID/stat.
type procStat struct {
	pid, parent  int
	user, system time.Duration // of all threads, and of ended children that were waited for
}

// parseProcStat reads the text of /proc/PID/stat. The program's name stands in parentheses and may itself hold spaces
// and parentheses, so the numbered fields are counted from the last one (proc(5)).
func parseProcStat(text []byte) (procStat, error) {
	var s procStat
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, fmt.Errorf("cannot parse process status %q: no name in parentheses", text)
	}
	f := strings.Fields(string(text[end+1:]))
	if len(f) < 15 {
		return s, fmt.Errorf("cannot parse process status %q: %d fields after the name, want 15 or more", text, len(f))
	}
	var err error
	number := func(s string) int64 {
		n, e := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("cannot parse process status %q: %w", text, e)
		}
		return n
	}
	// f[0] is field 3 of proc(5): parent 4, utime 14, stime 15, cutime 16, cstime 17.
	s.pid, s.parent = int(number(string(text[:open]))), int(number(f[1]))
	s.user = time.Duration(number(f[11])+number(f[13])) * tick
	s.system = time.Duration(number(f[12])+number(f[14])) * tick
	return s, err
}

// processTree reads root and all its descendants; a process that ends meanwhile is left out.
func processTree(root int) ([]procStat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	children := make(map[int][]procStat)
	var tree []procStat
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		s, err := parseProcStat(b)
		if err != nil {
			continue
		}
		if s.pid == root {
			tree = append(tree, s)
		}
		children[s.parent] = append(children[s.parent], s)
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("cannot find process %d", root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

// usage is what a process tree has used so far.
type usage struct {
	user, system time.Duration
	rssPeak      int64 // bytes, the sum of VmHWM: pages shared by two processes count twice
	switches     int64 // context switches of all living threads, voluntary and not
}

// treeUsage adds up the tree under root.
func treeUsage(root int) (usage, error) {
	tree, err := processTree(root)
	if err != nil {
		return usage{}, err
	}
	var u usage
	for _, s := range tree {
		u.user += s.user
		u.system += s.system
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid)); err == nil {
			u.rssPeak += statusNumber(b, "VmHWM") << 10
		}
		// The process's own status file counts its first thread alone.
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.pid))
		if err != nil {
			return usage{}, fmt.Errorf("cannot list the threads of process %d: %w", s.pid, err)
		}
		for _, task := range tasks {
			if b, err := os.ReadFile(task); err == nil {
				u.switches += statusNumber(b, "voluntary_ctxt_switches") + statusNumber(b, "nonvoluntary_ctxt_switches")
			}
		}
	}
	return u, nil
}

// statusText is the value of one line of /proc/PID/status, "" without such a line.
func statusText(text []byte, key string) string {
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// statusNumber is statusText as a number without its unit, 0 without such a line.
func statusNumber(text []byte, key string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(statusText(text, key), " kB"), 10, 64)
	return n
}

// resetPeaks sets VmHWM of the whole tree back to what is resident now (proc(5), clear_refs). A kernel without it leaves
// the peak since the start, which is an upper bound.
func resetPeaks(root int) {
	tree, err := processTree(root)
	if err != nil {
		return
	}
	for _, s := range tree {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte("5"), 0)
	}
}

// checkPinned makes sure that every thread of the tree may run on the one core only: a program can undo what it
// inherited, and then nothing that follows would compare.
func checkPinned(root, cpu int) error {
	tree, err := processTree(root)
	if err != nil {
		return err
	}
	for _, s := range tree {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.pid))
		if err != nil {
			return fmt.Errorf("cannot list the threads of process %d: %w", s.pid, err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err != nil {
				continue
			}
			if got := statusText(b, "Cpus_allowed_list"); got != strconv.Itoa(cpu) {
				return fmt.Errorf("cannot pin process %d to core %d: it may run on %s", s.pid, cpu, got)
			}
		}
	}
	return nil
}

// pinSelf pins every thread of this process. A thread inherits from the one that starts it, so a second pass catches
// what was started during the first.
func pinSelf(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("cannot list the threads of this process: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("cannot pin the bench to core %d: %w", cpu, err)
			}
		}
	}
	return nil
}

// coreTime is the time of one core since boot.
type coreTime struct {
	busy, idle, steal time.Duration // steal: the hypervisor ran something else
}

// parseCoreTime reads the line of one core from /proc/stat. Guest time is already in user time (proc(5)).
func parseCoreTime(text []byte, cpu int) (coreTime, error) {
	var c coreTime
	name := "cpu" + strconv.Itoa(cpu)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != name {
			continue
		}
		for i, to := range []*time.Duration{&c.busy, &c.busy, &c.busy, &c.idle, &c.idle, &c.busy, &c.busy, &c.steal} {
			n, err := strconv.ParseInt(f[i+1], 10, 64)
			if err != nil {
				return c, fmt.Errorf("cannot parse the times of core %d: %w", cpu, err)
			}
			*to += time.Duration(n) * tick
		}
		return c, nil
	}
	return c, fmt.Errorf("cannot find core %d in /proc/stat", cpu)
}

// readCoreTimes reads the cores given, in their order.
func readCoreTimes(cpus ...int) ([]coreTime, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, fmt.Errorf("cannot read the times of the cores: %w", err)
	}
	times := make([]coreTime, len(cpus))
	for i, cpu := range cpus {
		if times[i], err = parseCoreTime(b, cpu); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// CoreUse is how one core spent a round. All are shares of the round, 0 to 1.
type CoreUse struct {
	Busy    float64 `json:"busy"`    // running anything
	Steal   float64 `json:"steal"`   // taken by the hypervisor
	Foreign float64 `json:"foreign"` // busy with processes that do not belong to the run
}

// coreUse compares two readings of a core; own is the CPU time of the run's processes that are pinned to it.
func coreUse(before, after coreTime, own time.Duration) CoreUse {
	busy, idle, steal := after.busy-before.busy, after.idle-before.idle, after.steal-before.steal
	total := float64(busy + idle + steal)
	if total <= 0 {
		return CoreUse{}
	}
	return CoreUse{
		Busy:    float64(busy) / total,
		Steal:   float64(steal) / total,
		Foreign: max(0, float64(busy-own)/total),
	}
}

// saturated is the share of a core, with what the hypervisor took of it, from which on it had no more to give.
const saturated = 0.95

// bottleneck says which side had no more to give: "proxy", "load", "both" or "neither".
func bottleneck(proxy, load CoreUse) string {
	p, l := proxy.Busy+proxy.Steal >= saturated, load.Busy+load.Steal >= saturated
	switch {
	case p && l:
		return "both"
	case p:
		return "proxy"
	case l:
		return "load"
	}
	return "neither"
}
