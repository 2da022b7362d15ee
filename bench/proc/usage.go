package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, 100 a second on every Linux that Go runs on (proc(5)).
const tick = 10 * time.Millisecond

// Stat is what a run needs of /proc/PID/stat.
type Stat struct {
	PID, Parent  int
	User, System time.Duration // of all threads, and of ended children that were waited for
}

// parseStat reads the text of /proc/PID/stat. The program's name stands in parentheses and may itself hold spaces and
// parentheses, so the numbered fields are counted from the last one (proc(5)).
func parseStat(text []byte) (Stat, error) {
	var s Stat
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
	s.PID, s.Parent = int(number(string(text[:open]))), int(number(f[1]))
	s.User = time.Duration(number(f[11])+number(f[13])) * tick
	s.System = time.Duration(number(f[12])+number(f[14])) * tick
	return s, err
}

// Tree reads root and all its descendants, root first; a process that ends meanwhile is left out. An error says that
// there is no root.
func Tree(root int) ([]Stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	children := make(map[int][]Stat)
	var tree []Stat
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		s, err := parseStat(b)
		if err != nil {
			continue
		}
		if s.PID == root {
			tree = append(tree, s)
		}
		children[s.Parent] = append(children[s.Parent], s)
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("cannot find process %d", root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].PID]...)
	}
	return tree, nil
}

// Usage is what a process tree has used so far. Memory is the sum over its processes: pages shared by two count twice.
type Usage struct {
	User, System time.Duration
	RSS          int64 // bytes resident now
	RSSPeak      int64 // bytes, the sum of the living processes' own peaks since the start or ResetPeaks
	Switches     int64 // context switches of all living threads, voluntary and not
}

// TreeUsage adds up the tree under root.
func TreeUsage(root int) (Usage, error) {
	tree, err := Tree(root)
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, s := range tree {
		u.User += s.User
		u.System += s.System
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID)); err == nil {
			u.RSS += statusNumber(b, "VmRSS") << 10
			u.RSSPeak += statusNumber(b, "VmHWM") << 10
		}
		// The process's own status file counts its first thread alone.
		for _, task := range tasks(s.PID) {
			if b, err := os.ReadFile(task + "/status"); err == nil {
				u.Switches += statusNumber(b, "voluntary_ctxt_switches") + statusNumber(b, "nonvoluntary_ctxt_switches")
			}
		}
	}
	return u, nil
}

// tasks are the folders of a process's threads, none once it has ended.
func tasks(pid int) []string {
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid)) // the pattern is good: no error to expect
	return dirs
}

// RSS is the resident memory of the tree under root in bytes. It reads three files or so for each process of the tree
// and none of others, so that sampling it ten times a second is no load.
func RSS(root int) (int64, error) {
	pages, err := residentPages(root)
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of process %d: %w", root, err)
	}
	todo := childrenOf(root)
	for len(todo) > 0 {
		pid := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], childrenOf(pid)...)
		if n, err := residentPages(pid); err == nil {
			pages += n
		}
	}
	return pages * int64(os.Getpagesize()), nil
}

// residentPages is the second number of /proc/PID/statm.
func residentPages(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, fmt.Errorf("%q has too few numbers", b)
	}
	return strconv.ParseInt(string(f[1]), 10, 64)
}

// childrenOf reads the children of all threads of a process (proc(5), /proc/PID/task/TID/children: CONFIG_PROC_CHILDREN,
// without which a tree is its root alone).
func childrenOf(pid int) []int {
	var pids []int
	for _, task := range tasks(pid) {
		b, err := os.ReadFile(task + "/children")
		if err != nil {
			continue
		}
		for _, f := range bytes.Fields(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
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

// ResetPeaks sets the peak of resident memory of the whole tree back to what is resident now (proc(5), clear_refs). A
// kernel without it leaves the peak since the start, which is an upper bound.
func ResetPeaks(root int) {
	tree, err := Tree(root)
	if err != nil {
		return
	}
	for _, s := range tree {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.PID), []byte("5"), 0)
	}
}
