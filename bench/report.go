package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Report is one run: what was run, where, every round, and the figures that follow from the rounds. Times are
// microseconds where the name ends in us, memory is bytes.
type Report struct {
	Date       time.Time `json:"date"` // start, UTC
	Command    []string  `json:"command"`
	Commit     string    `json:"commit"` // of the working directory, "" outside a repository, "-dirty" with local changes
	Machine    Machine   `json:"machine"`
	Options    *Options  `json:"options"`
	Load       string    `json:"load"` // version of wrk
	Programs   []Program `json:"programs"`
	Skipped    []Skip    `json:"skipped"`
	Contenders []string  `json:"contenders"` // proxies, and "dyups+churn" for its rounds under updates
	Samples    []Sample  `json:"samples"`    // in the order they were taken
	Results    []Result  `json:"results"`    // by contender
	Ratios     []Ratio   `json:"ratios"`     // by pair of contenders, the later one over the earlier one
	Notes      []string  `json:"notes"`      // what a reader has to know before using the figures
}

// Machine is where a run took place.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
}

// Program is a proxy that took part.
type Program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Config  string `json:"config"`
}

// Skip is what was asked for and left out.
type Skip struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Sample is one round of one contender.
type Sample struct {
	Round        int          `json:"round"` // from 1
	Contender    string       `json:"contender"`
	Requests     int64        `json:"requests"`
	PerSecond    float64      `json:"per_second"`
	P50us        float64      `json:"p50_us"`
	P99us        float64      `json:"p99_us"`
	SocketErrors int64        `json:"socket_errors"`
	BadStatus    int64        `json:"bad_status"` // answers of status 400 and above
	UserUs       float64      `json:"user_us"`    // CPU time of the proxy's process tree for a request
	SystemUs     float64      `json:"system_us"`
	CPUUs        float64      `json:"cpu_us"` // the sum of both
	RSSPeak      int64        `json:"rss_peak_bytes"`
	Switches     float64      `json:"switches"` // context switches of the proxy for a request
	ProxyCore    CoreUse      `json:"proxy_core"`
	LoadCore     CoreUse      `json:"load_core"`
	Bottleneck   string       `json:"bottleneck"` // proxy, load, both or neither
	Churn        *ChurnSample `json:"churn,omitempty"`
}

// Result sums up the rounds of one contender: metrics by their key.
type Result struct {
	Contender string            `json:"contender"`
	Metrics   map[string]Spread `json:"metrics"`
}

// Ratio compares two contenders round by round: metrics by their key.
type Ratio struct {
	Over    string            `json:"over"`
	Under   string            `json:"under"`
	Metrics map[string]Spread `json:"metrics"`
}

// metric is one row of the table.
type metric struct {
	key, title, format string
	scale              float64
	of                 func(*Sample) float64
	paired             bool // compared between contenders
}

var metrics = []metric{
	{"cpu_us", "CPU a request, µs", "%.2f", 1, func(s *Sample) float64 { return s.CPUUs }, true},
	{"user_us", "  user, µs", "%.2f", 1, func(s *Sample) float64 { return s.UserUs }, false},
	{"system_us", "  system, µs", "%.2f", 1, func(s *Sample) float64 { return s.SystemUs }, false},
	{"per_second", "requests/s", "%.0f", 1, func(s *Sample) float64 { return s.PerSecond }, true},
	{"p50_us", "latency p50, µs", "%.0f", 1, func(s *Sample) float64 { return s.P50us }, true},
	{"p99_us", "latency p99, µs", "%.0f", 1, func(s *Sample) float64 { return s.P99us }, true},
	{"rss_peak_bytes", "RSS peak, MiB", "%.1f", 1.0 / (1 << 20), func(s *Sample) float64 { return float64(s.RSSPeak) }, false},
	{"switches", "context switches a request", "%.3f", 1, func(s *Sample) float64 { return s.Switches }, false},
	{"proxy_core", "proxy core busy, %", "%.0f", 100, func(s *Sample) float64 { return s.ProxyCore.Busy }, false},
	{"load_core", "load core busy, %", "%.0f", 100, func(s *Sample) float64 { return s.LoadCore.Busy }, false},
}

// newSample turns two readings and what wrk saw into a round.
func newSample(round int, name string, l Load, before, after reading, wrkTime time.Duration) *Sample {
	user, system := after.proxy.user-before.proxy.user, after.proxy.system-before.proxy.system
	origins := after.origins.user + after.origins.system - before.origins.user - before.origins.system
	n := float64(l.Requests)
	s := &Sample{
		Round: round, Contender: name, Requests: l.Requests, PerSecond: l.PerSecond,
		P50us: micros(l.P50), P99us: micros(l.P99), SocketErrors: l.SocketErrors, BadStatus: l.BadStatus,
		UserUs: micros(user) / n, SystemUs: micros(system) / n, CPUUs: micros(user+system) / n,
		RSSPeak:   after.proxy.rssPeak,
		Switches:  float64(after.proxy.switches-before.proxy.switches) / n,
		ProxyCore: coreUse(before.cores[0], after.cores[0], user+system),
		LoadCore:  coreUse(before.cores[1], after.cores[1], wrkTime+origins+after.self-before.self),
	}
	s.Bottleneck = bottleneck(s.ProxyCore, s.LoadCore)
	return s
}

// newReport fills in what is known before the first round.
func newReport(opt *Options, wrkPath string) *Report {
	return &Report{
		Date: time.Now().UTC().Truncate(time.Second), Command: os.Args, Commit: commit(), Machine: machine(),
		Options: opt, Load: versionOf("wrk", wrkPath),
	}
}

// machine reads what the kernel tells; what it does not tell stays empty.
func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Arch: runtime.GOARCH}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = infoText(b, "model name")
		m.Cores = strings.Count("\n"+string(b), "\nprocessor")
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = statusNumber(b, "MemTotal") << 10
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

// infoText is the value of the first line of that name in /proc/cpuinfo, whose names are padded with tabs.
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

// of is the samples of one contender, in the order of rounds.
func (r *Report) of(contender string) []*Sample {
	var s []*Sample
	for i := range r.Samples {
		if r.Samples[i].Contender == contender {
			s = append(s, &r.Samples[i])
		}
	}
	return s
}

// values is one metric of samples.
func values(samples []*Sample, of func(*Sample) float64) []float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = of(s)
	}
	return v
}

// finish computes results, ratios and notes from the samples. Every contender has one sample of each round.
func (r *Report) finish() {
	for i, name := range r.Contenders {
		samples := r.of(name)
		res := Result{Contender: name, Metrics: make(map[string]Spread)}
		for _, m := range metrics {
			res.Metrics[m.key] = spreadOf(values(samples, m.of))
		}
		r.Results = append(r.Results, res)
		for _, under := range r.Contenders[:i] {
			ratio := Ratio{Over: name, Under: under, Metrics: make(map[string]Spread)}
			for _, m := range metrics {
				if m.paired {
					ratio.Metrics[m.key] = ratiosOf(values(samples, m.of), values(r.of(under), m.of))
				}
			}
			r.Ratios = append(r.Ratios, ratio)
		}
		r.note(name, samples)
	}
	r.noteDisturbed()
}

// note adds what makes the figures of a contender mean less than they seem to.
func (r *Report) note(name string, samples []*Sample) {
	add := func(format string, args ...any) {
		r.Notes = append(r.Notes, name+": "+fmt.Sprintf(format, args...))
	}
	sides := make(map[string]int)
	var socket, status int64
	for _, s := range samples {
		sides[s.Bottleneck]++
		socket += s.SocketErrors
		status += s.BadStatus
	}
	if n := sides["load"] + sides["both"]; n > 0 {
		add("in %d of %d rounds the load core was saturated: requests/s is a lower bound there and latency is partly the load's own; CPU a request stands", n, len(samples))
	}
	if n := sides["neither"]; n > 0 {
		add("in %d of %d rounds neither core was saturated: something else was waited for", n, len(samples))
	}
	if socket+status > 0 {
		add("%d socket errors and %d answers of status 400 and above", socket, status)
	}
}

// disturbed is the share of a core from which on what others took of it is worth a note.
const disturbed = 0.05

// noteDisturbed adds how much of both cores went to others. It concerns all contenders alike, so it is one note.
func (r *Report) noteDisturbed() {
	n, foreign, steal := 0, 0.0, 0.0
	for _, s := range r.Samples {
		f, st := max(s.ProxyCore.Foreign, s.LoadCore.Foreign), max(s.ProxyCore.Steal, s.LoadCore.Steal)
		if f > disturbed || st > disturbed {
			n++
		}
		foreign, steal = max(foreign, f), max(steal, st)
	}
	if n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("disturbed: in %d of %d rounds other processes or the hypervisor took more than %.0f %% of a core "+
			"(worst: other processes %.0f %%, hypervisor %.0f %%): run it again on a quiet machine",
			n, len(r.Samples), 100*disturbed, 100*foreign, 100*steal))
	}
}
