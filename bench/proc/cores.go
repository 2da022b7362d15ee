package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CheckPinned makes sure that every thread of the tree may run on the cores given and on no other: a program can undo
// what it inherited, and then nothing that follows would compare. A thread may have kept fewer cores: a program with
// several workers pins each to its own.
func CheckPinned(root int, cpus ...int) error {
	tree, err := Tree(root)
	if err != nil {
		return err
	}
	allowed := cpuSet(cpus)
	for _, s := range tree {
		for _, task := range tasks(s.PID) {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				continue
			}
			var set unix.CPUSet
			if unix.SchedGetaffinity(tid, &set) != nil {
				continue // it has ended
			}
			for i := range set {
				if set[i]&^allowed[i] != 0 {
					b, _ := os.ReadFile(task + "/status")
					return fmt.Errorf("cannot pin process %d to cores %v: it may run on %s", s.PID, cpus, statusText(b, "Cpus_allowed_list"))
				}
			}
		}
	}
	return nil
}

// PinSelf pins every thread of this process to one core. A thread inherits from the one that starts it, so a second pass
// catches what was started during the first.
func PinSelf(cpu int) error {
	set := cpuSet([]int{cpu})
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("cannot list the threads of this process: %w", err)
		}
		for _, t := range threads {
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

// CoreTime is the time of one core since boot.
type CoreTime struct {
	Busy, Idle, Steal time.Duration // Steal: the hypervisor ran something else
}

// parseCoreTime reads the line of one core from /proc/stat. Guest time is already in user time (proc(5)).
func parseCoreTime(text []byte, cpu int) (CoreTime, error) {
	var c CoreTime
	name := "cpu" + strconv.Itoa(cpu)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != name {
			continue
		}
		for i, to := range []*time.Duration{&c.Busy, &c.Busy, &c.Busy, &c.Idle, &c.Idle, &c.Busy, &c.Busy, &c.Steal} {
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

// ReadCoreTimes reads the cores given, in their order.
func ReadCoreTimes(cpus ...int) ([]CoreTime, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, fmt.Errorf("cannot read the times of the cores: %w", err)
	}
	times := make([]CoreTime, len(cpus))
	for i, cpu := range cpus {
		if times[i], err = parseCoreTime(b, cpu); err != nil {
			return nil, err
		}
	}
	return times, nil
}
