package admin

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"dyups/upstream"
)

// statusView is the JSON of GET /status: what the process holds. What the system does not tell is left out: outside Linux that is
// most of it.
type statusView struct {
	PID              int       `json:"pid"`
	Now              time.Time `json:"now"`
	Generation       uint64    `json:"generation"` // of the table
	Upstreams        int       `json:"upstreams"`
	Goroutines       int       `json:"goroutines"`
	Threads          int       `json:"threads,omitempty"`
	ResidentBytes    int64     `json:"resident_bytes,omitempty"`
	Descriptors      int       `json:"descriptors,omitempty"`
	DescriptorsLimit uint64    `json:"descriptors_limit,omitempty"`
}

// status looks at the process. It reads the list of its descriptors, so it must not run on a loop.
func status(t *upstream.Table) statusView {
	v := statusView{
		PID: os.Getpid(), Now: time.Now().UTC().Truncate(time.Millisecond), Generation: t.Generation(), Upstreams: t.Len(),
		Goroutines: runtime.NumGoroutine(), Threads: entries("/proc/self/task"), ResidentBytes: resident(),
	}
	if n := entries("/proc/self/fd"); n > 0 {
		v.Descriptors = n - 1 // that of the list itself
	}
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		v.DescriptorsLimit = uint64(files.Cur)
	}
	return v
}

// entries counts what is in a folder of proc(5), 0 where there is none.
func entries(dir string) int {
	f, err := os.Open(dir)
	if err != nil {
		return 0
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names)
}

// resident is the second figure of proc(5) statm, in pages there; 0: not known.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
