package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Options is one run.
type Options struct {
	Rounds      int      `json:"rounds"`      // measured rounds of each proxy; one more to warm up is dropped
	Seconds     int      `json:"seconds"`     // of a round
	Connections int      `json:"connections"` // client connections, all busy
	Proxies     []string `json:"proxies"`     // by name, in the order of the report
	Scenario    string   `json:"scenario"`
	Churn       int      `json:"churn"` // updates a second in the rounds with updates; 0: no such rounds
	ProxyCPU    int      `json:"proxy_cpu"`
	LoadCPU     int      `json:"load_cpu"`
	Dyups       string   `json:"dyups"` // path of the dyups binary

	Progress io.Writer `json:"-"` // one line a round; nil: none
}

// Validate checks ranges and names, not what the machine has.
func (o *Options) Validate() error {
	for _, v := range []struct {
		name          string
		got, min, max int
	}{
		{"rounds", o.Rounds, 1, 1000},
		{"seconds", o.Seconds, 1, 3600},
		{"connections", o.Connections, 1, 10000},
		{"churn", o.Churn, 0, 1000000},
		{"proxy-cpu", o.ProxyCPU, 0, 1023},
		{"load-cpu", o.LoadCPU, 0, 1023},
	} {
		if v.got < v.min || v.got > v.max {
			return fmt.Errorf("cannot run with %s %d: allowed are %d to %d", v.name, v.got, v.min, v.max)
		}
	}
	if o.ProxyCPU == o.LoadCPU {
		return fmt.Errorf("cannot run proxy and load on the same core %d: the bench needs two", o.ProxyCPU)
	}
	if _, err := scenarioByName(o.Scenario); err != nil {
		return err
	}
	if len(o.Proxies) == 0 {
		return fmt.Errorf("cannot run without proxies")
	}
	for i, name := range o.Proxies {
		if _, err := programByName(name); err != nil {
			return err
		}
		if slices.Contains(o.Proxies[:i], name) {
			return fmt.Errorf("cannot measure %q twice in one run", name)
		}
	}
	return nil
}

// bound is the longest a run may take: what each part may take for itself is bounded as well, this is the sum.
func (o *Options) bound() time.Duration {
	turns := (o.Rounds + 1) * (len(o.Proxies) + 1)
	return time.Duration(turns*(o.Seconds+15)+60) * time.Second
}

// contender is one column of the report: a proxy, without or with updates while it works.
type contender struct {
	name    string
	proxy   *proxy
	updates *updater // nil: none
}

// runner is a run under way.
type runner struct {
	opt        *Options
	scenario   *Scenario
	dir        string // temporary folder of the run
	wrk        wrk
	origins    *origins
	proxies    []*proxy
	contenders []contender
	report     *Report
}

// Run measures what the options say and returns the report. It pins the calling process to the load core and leaves it
// there, because its own work (the updates) counts as load. When it returns, everything it started has ended and its
// files are gone. It fails when wrk is missing, when no proxy is there, when a proxy ends or answers wrongly, and when
// ctx ends.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, opt.bound())
	defer cancel()
	r := &runner{opt: &opt}
	r.scenario, _ = scenarioByName(opt.Scenario)
	var err error
	if r.wrk.path, err = find("wrk"); err != nil {
		return nil, fmt.Errorf("cannot find the load generator wrk: install the package wrk: %w", err)
	}
	if err := raiseFileLimit(opt.Connections); err != nil {
		return nil, err
	}
	if err := pinSelf(opt.LoadCPU); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "dyupsbench-"); err != nil {
		return nil, fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	defer os.RemoveAll(r.dir)
	defer r.stop()
	if err := os.Chmod(r.dir, 0o755); err != nil { // see startProxy
		return nil, fmt.Errorf("cannot open the temporary folder to nginx's worker: %w", err)
	}
	r.report = newReport(&opt, r.wrk.path)
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.rounds(ctx); err != nil {
		return nil, err
	}
	r.report.finish()
	return r.report, nil
}

// raiseFileLimit lifts the soft limit on open files to the hard one, for this process and all it starts, and makes sure
// that it is enough: a proxy has two sockets for each connection.
func raiseFileLimit(connections int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("cannot read the limit on open files: %w", err)
	}
	if need := uint64(2*connections + 100); l.Max < need {
		return fmt.Errorf("cannot open %d connections: the limit on open files is %d, needed are %d (ulimit -Hn)", connections, l.Max, need)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("cannot raise the limit on open files: %w", err)
	}
	return nil
}

// start starts the origins and every proxy that is installed, and lists the contenders.
func (r *runner) start(ctx context.Context) error {
	r.wrk.script = filepath.Join(r.dir, "scenario.lua")
	r.wrk.logFile = filepath.Join(r.dir, "wrk.log")
	r.wrk.cpu, r.wrk.connections, r.wrk.seconds = r.opt.LoadCPU, r.opt.Connections, r.opt.Seconds
	if err := os.WriteFile(r.wrk.script, []byte(r.scenario.lua()), 0o644); err != nil {
		return fmt.Errorf("cannot write the scenario: %w", err)
	}
	var err error
	if r.origins, err = startOrigins(r.opt.LoadCPU, filepath.Join(r.dir, "origins.log")); err != nil {
		return err
	}
	for _, name := range r.opt.Proxies {
		prog, err := programByName(name)
		if err != nil {
			return err
		}
		file := name
		if prog.api {
			file = r.opt.Dyups
		}
		path, err := find(file)
		if err != nil {
			r.skip(name, fmt.Sprintf("%v; %s", err, prog.install))
			continue
		}
		p, err := startProxy(ctx, prog, path, r.dir, r.opt.ProxyCPU, r.origins.addrs, r.scenario)
		if err != nil {
			return err
		}
		r.proxies = append(r.proxies, p)
		r.report.Programs = append(r.report.Programs, Program{Name: name, Version: versionOf(name, path), Config: p.config})
		r.contenders = append(r.contenders, contender{name: name, proxy: p})
		if r.opt.Churn > 0 && prog.api {
			u := newUpdater(p.api, upstreamName, upstreamBodies(r.origins.addrs))
			r.contenders = append(r.contenders, contender{name: name + "+churn", proxy: p, updates: u})
		}
	}
	if len(r.proxies) == 0 {
		return fmt.Errorf("cannot run: none of the proxies is here")
	}
	if r.opt.Churn > 0 && !slices.ContainsFunc(r.contenders, func(c contender) bool { return c.updates != nil }) {
		r.skip("churn", "it needs dyups")
	}
	for _, c := range r.contenders {
		r.report.Contenders = append(r.report.Contenders, c.name)
	}
	return nil
}

// skip notes what is left out, in the report and at once.
func (r *runner) skip(name, why string) {
	r.report.Skipped = append(r.report.Skipped, Skip{Name: name, Why: why})
	r.progress("skipped %s: %s", name, why)
}

// progress writes one line.
func (r *runner) progress(format string, args ...any) {
	if r.opt.Progress != nil {
		fmt.Fprintf(r.opt.Progress, format+"\n", args...)
	}
}

// stop ends all that was started, all at once because each may take stopGrace.
func (r *runner) stop() {
	var all []*process
	if r.origins != nil {
		all = append(all, r.origins.process)
	}
	for _, p := range r.proxies {
		all = append(all, p.process)
	}
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(p.stop)
	}
	wg.Wait()
}

// rounds lets the contenders take turns. Round 0 warms up and is dropped. Each round begins with another contender, so
// that none has a fixed neighbour in time.
func (r *runner) rounds(ctx context.Context) error {
	for round := range r.opt.Rounds + 1 {
		for i := range r.contenders {
			c := &r.contenders[(round+i)%len(r.contenders)]
			s, err := r.turn(ctx, round, c)
			if err != nil {
				return fmt.Errorf("cannot measure %q: %w", c.name, err)
			}
			what := fmt.Sprintf("round %d of %d", round, r.opt.Rounds)
			if round == 0 {
				what = "warm-up"
			} else {
				r.report.Samples = append(r.report.Samples, *s)
			}
			r.progress("%s: %-12s %7.2f µs a request, %8.0f requests/s, p99 %7.0f µs, bottleneck %s",
				what, c.name, s.CPUUs, s.PerSecond, s.P99us, s.Bottleneck)
		}
	}
	return nil
}

// reading is all that is read before and after a turn.
type reading struct {
	proxy   usage
	origins usage
	self    time.Duration
	cores   []coreTime // proxy core, load core
}

// read takes a reading, in about a millisecond, during which the proxy has nothing to do.
func (r *runner) read(c *contender) (rd reading, err error) {
	if rd.cores, err = readCoreTimes(r.opt.ProxyCPU, r.opt.LoadCPU); err != nil {
		return rd, err
	}
	if rd.proxy, err = treeUsage(c.proxy.cmd.Process.Pid); err != nil {
		return rd, err
	}
	if rd.origins, err = treeUsage(r.origins.cmd.Process.Pid); err != nil {
		return rd, err
	}
	var self syscall.Rusage
	if err = syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return rd, fmt.Errorf("cannot read the CPU time of the bench: %w", err)
	}
	rd.self = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	return rd, nil
}

// turn is one round of one contender.
func (r *runner) turn(ctx context.Context, round int, c *contender) (*Sample, error) {
	resetPeaks(c.proxy.cmd.Process.Pid)
	before, err := r.read(c)
	if err != nil {
		return nil, err
	}
	churn := func() *ChurnSample { return nil }
	if c.updates != nil {
		churn = r.churn(ctx, c.updates)
	}
	load, wrkTime, err := r.wrk.run(ctx, "http://"+c.proxy.addr+r.scenario.Path)
	churned := churn() // also on an error: it waits for the updates to end
	if !c.proxy.running() {
		return nil, fmt.Errorf("it ended with %s: %s", c.proxy.cmd.ProcessState, c.proxy.logs())
	}
	if err != nil {
		return nil, err
	}
	if load.Requests == 0 {
		return nil, fmt.Errorf("it answered no request: %s", c.proxy.logs())
	}
	after, err := r.read(c)
	if err != nil {
		return nil, err
	}
	s := newSample(round, c.name, load, before, after, wrkTime)
	s.Churn = churned
	return s, nil
}

// churn starts the updates of a turn; the function returned ends them and gives what came of them.
func (r *runner) churn(ctx context.Context, u *updater) func() *ChurnSample {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan ChurnSample, 1)
	go func() { result <- u.run(ctx, r.opt.Churn) }()
	return func() *ChurnSample {
		cancel()
		s := <-result
		return &s
	}
}
