package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"dyups/bench/proc"
	"dyups/bench/result"
)

// Crosscheck compares the load generator with wrk and hey, as far as they are installed: all of them put the same plain
// load on the same proxy in turn, pinned to the same core, and what each reports as requests a second is written to w. The
// scenario is the first of Options.Scenarios, delay without any, in which the origins set the rate and no generator is the limit, and
// the proxy the first of that, or of Options.Proxies, which is there. What wrk and hey cannot do is refused: anything but plain
// requests in a closed loop over kept connections.
func Crosscheck(ctx context.Context, opt Options, w io.Writer) error {
	if len(opt.Scenarios) == 0 {
		opt.Scenarios = []string{"delay"}
	}
	opt.Suite = suiteFull
	items, err := opt.plan()
	if err != nil {
		return err
	}
	it := &items[0]
	if s := it.Scenario; s.Method != "GET" && s.Method != "" || len(s.Fields) > 0 || s.Body > 0 || s.Idle > 0 || s.Fresh || s.WebSocket || s.Pipeline > 1 || s.ByHost || s.Rate != (Rate{}) {
		return fmt.Errorf("cannot cross-check with scenario %q: only plain requests in a closed loop over kept connections compare", s.Name)
	}
	if opt.Rounds == 0 {
		it.Rounds = 3
	}
	if opt.Seconds == 0 {
		it.Seconds = 3
	}
	took := time.Duration(it.Rounds) * 3 * (it.WarmUp + time.Duration(it.Seconds*1e9) + time.Second)
	ctx, cancel := context.WithTimeout(ctx, 3*took+time.Minute)
	defer cancel()
	r := &runner{opt: &opt, items: items, progress: newProgress(opt.Progress, took)}
	defer r.progress.end()
	if err := r.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	defer r.fleet.stop()
	if err := r.revive(); err != nil {
		return err
	}
	defer r.generator.Stop()
	st := &stage{item: it}
	if st.origins, err = r.fleet.originsOf(it.Scenario); err != nil {
		return err
	}
	r.fleet.use(it.Scenario)
	for _, c := range it.contenders {
		p, err := r.fleet.proxy(ctx, it.Scenario, c, st.origins)
		if err != nil {
			r.progress.line("skipped %s: %v", c.name, err)
			continue
		}
		return r.crosscheck(ctx, st, member{c, p}, w)
	}
	return fmt.Errorf("cannot cross-check: none of the proxies is here")
}

// crosscheck lets the generators take turns and writes the table.
func (r *runner) crosscheck(ctx context.Context, st *stage, m member, w io.Writer) error {
	it := st.item
	type tool struct {
		name string
		run  func() (perSecond float64, err error)
		seen []float64
	}
	url := "http://" + m.Addr() + it.Path
	connections, length := strconv.Itoa(it.Connections), fmt.Sprintf("%.0fs", it.Seconds+0.5)
	tools := []*tool{{name: "dyupsbench", run: func() (float64, error) {
		s, err := r.turn(ctx, st, m, 1, 0)
		if err != nil {
			return 0, err
		}
		return s.Load.PerSecond, nil
	}}}
	for _, args := range [][]string{{"wrk", "-t1", "-c" + connections, "-d" + length, url},
		{"hey", "-cpus", "1", "-c", connections, "-z", length, url}} {
		path, err := exec.LookPath(args[0])
		if err != nil {
			r.progress.line("skipped %s: it is not installed", args[0])
			continue
		}
		tools = append(tools, &tool{name: args[0], run: func() (float64, error) { return r.external(ctx, path, it.Seconds, args) }})
	}
	for round := range it.Rounds {
		for i := range tools {
			t := tools[(round+i)%len(tools)]
			r.progress.now("round %d of %d: %s", round+1, it.Rounds, t.name)
			perSecond, err := t.run()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("cannot cross-check with %s: %w", t.name, err)
			}
			t.seen = append(t.seen, perSecond)
		}
	}
	r.progress.end()
	fmt.Fprintf(w, "%s in front of two origins, %s, %d rounds of %g s:\n", m.label, strings.ToLower(it.Title), it.Rounds, it.Seconds)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "generator\trequests/s, median (min–max)\tdyupsbench against it")
	own := medianOf(tools[0].seen)
	for _, t := range tools {
		s := result.SpreadOf(t.seen)
		fmt.Fprintf(tw, "%s\t%.0f (%.0f–%.0f)\t%+.1f %%\n", t.name, s.Median, s.Min, s.Max, 100*(own/s.Median-1))
	}
	return tw.Flush()
}

// reportedRate is what wrk and hey print.
var reportedRate = regexp.MustCompile(`(?m)^\s*Requests/sec:\s+([0-9.]+)`)

// external runs another load generator on the load core and returns the requests a second that it printed.
func (r *runner) external(ctx context.Context, path string, seconds float64, args []string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds*1e9)+patience)
	defer cancel()
	log := filepath.Join(r.dir, args[0]+".log")
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	p, err := proc.New(args[0], log, path, args[1:]...)
	if err != nil {
		return 0, err
	}
	if err := p.Start(r.opt.LoadCPU); err != nil {
		return 0, err
	}
	defer p.Stop()
	select {
	case <-p.Done():
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	out, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	m := reportedRate.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("it printed no requests a second: %s", p.LogTail())
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
