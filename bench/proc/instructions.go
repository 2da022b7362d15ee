package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Instructions counts what the threads of a process tree execute, in user mode and in the kernel, and what the threads
// and processes started by them after the counting began execute (perf_event_open(2), inherit). Not for concurrent use.
type Instructions struct {
	fds []int
}

// InstructionsAvailable tells whether this machine counts instructions in hardware and lets this process read it. Most
// virtual machines do not.
func InstructionsAvailable() bool {
	fd, err := openCounter(unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// CountInstructions begins to count for the tree under root. The caller closes what is returned.
func CountInstructions(root int) (*Instructions, error) {
	return count(root, unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS)
}

// count attaches one counter to every thread of the tree.
func count(root int, kind uint32, event uint64) (*Instructions, error) {
	tree, err := Tree(root)
	if err != nil {
		return nil, err
	}
	c := &Instructions{}
	for _, s := range tree {
		for _, task := range tasks(s.PID) {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				continue
			}
			fd, err := openCounter(kind, event, tid)
			if errors.Is(err, unix.ESRCH) {
				continue // it has ended
			}
			if err != nil {
				c.Close()
				return nil, fmt.Errorf("cannot count instructions of process %d: %w", s.PID, err)
			}
			c.fds = append(c.fds, fd)
		}
	}
	return c, nil
}

// openCounter counts one event for one thread (0: the calling one) and its offspring, on whichever core it runs.
func openCounter(kind uint32, event uint64, tid int) (int, error) {
	attr := unix.PerfEventAttr{
		Type:        kind,
		Size:        uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Config:      event,
		Bits:        unix.PerfBitInherit | unix.PerfBitExcludeHv,
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
	}
	return unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
}

// Total is what was counted since CountInstructions. Where the kernel had to share the hardware's counters it is scaled up
// from the time in which they ran.
func (c *Instructions) Total() (uint64, error) {
	var total uint64
	for _, fd := range c.fds {
		var b [24]byte // value, time enabled, time running
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return 0, fmt.Errorf("cannot read an instruction counter: %d bytes, %w", n, err)
		}
		value := binary.NativeEndian.Uint64(b[:8])
		enabled, running := binary.NativeEndian.Uint64(b[8:16]), binary.NativeEndian.Uint64(b[16:])
		if running > 0 && running < enabled {
			value = uint64(math.Round(float64(value) * (float64(enabled) / float64(running))))
		}
		total += value
	}
	return total, nil
}

// Close ends the counting.
func (c *Instructions) Close() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
	c.fds = nil
}
