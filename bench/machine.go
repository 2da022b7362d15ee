package bench

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"dyups/bench/proc"
	"dyups/bench/result"
)

// newReport fills in what is known before the first round.
func newReport(opt *Options, counter bool) *result.Report {
	limits, warnings := proc.CheckLimits()
	r := &result.Report{
		Date: time.Now().UTC().Truncate(time.Second), Command: os.Args, Commit: commit(), Machine: machine(),
		ProxyCPU: opt.ProxyCPU, LoadCPU: opt.LoadCPU, Notes: warnings,
	}
	r.Machine.Limits, r.Machine.Counter = limits, counter
	return r
}

// machine reads what the kernel tells; what it does not tell stays empty.
func machine() result.Machine {
	m := result.Machine{Cores: runtime.NumCPU(), Arch: runtime.GOARCH, Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = infoText(b, "model name")
		m.Cores = strings.Count("\n"+string(b), "\nprocessor")
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _ := strconv.ParseInt(strings.TrimSuffix(infoText(b, "MemTotal"), " kB"), 10, 64)
		m.Memory = kb << 10
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

// infoText is the value of the first line of that name in a file of "name: value" lines.
func infoText(text []byte, key string) string {
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// commit names the version of the working directory, as far as git is there and knows it.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	c := strings.TrimSpace(string(out))
	if exec.Command("git", "diff-index", "--quiet", "HEAD").Run() != nil {
		c += "-dirty"
	}
	return c
}
