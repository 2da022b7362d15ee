package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"dyups/bench/load"
	"dyups/bench/proc"
	"dyups/bench/result"

	"golang.org/x/sys/unix"
)

// runner is a run under way.
type runner struct {
	opt       *Options
	dir       string // temporary folder of the run
	items     []item
	report    *result.Report
	progress  *progress
	generator *load.Generator
	fleet     *fleet
	count     bool // whether instructions are counted
	failed    error
}

// Run measures what the options say. It pins the calling process to the load core and leaves it there, because its own
// work (updates, readings) counts as load. When it returns, everything it started has ended and its files are gone.
//
// A contender that cannot do a scenario, or fails in it, is skipped by name there and the rest goes on; without dyups, where
// it is to take part, nothing is measured. The error is that of the bench itself, or it tells of dyups where that failed.
// There is a report beside it when something was measured: all of it where dyups failed, what was done so far where the bench
// did, none after ctx ended.
func Run(ctx context.Context, opt Options) (*result.Report, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	items, err := opt.plan()
	if err != nil {
		return nil, err
	}
	if err := opt.findDyups(items); err != nil {
		return nil, err
	}
	took := estimate(items)
	ctx, cancel := context.WithTimeoutCause(ctx, 3*took+time.Minute,
		fmt.Errorf("it took more than three times as long as estimated, %v", took))
	defer cancel()
	r := &runner{opt: &opt, items: items, progress: newProgress(opt.Progress, took)}
	defer r.progress.end()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.dir)
	defer r.fleet.stop()
	defer func() {
		if r.generator != nil {
			r.generator.Stop()
		}
	}()
	if err := r.revive(); err != nil {
		return nil, err
	}
	r.progress.line("%d scenarios, about %v", len(items), took.Round(time.Second))
	for i := range r.items {
		err := r.scenario(ctx, i)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot measure scenario %q: %w", r.items[i].Name, context.Cause(ctx))
		}
		if err != nil { // what was measured so far is worth keeping
			r.failed = errors.Join(r.failed, fmt.Errorf("cannot measure scenario %q: %w", r.items[i].Name, err))
			break
		}
	}
	r.report.Goals = goals(r.report, &opt)
	r.report.Finish()
	return r.report, r.failed
}

// prepare does what needs no process.
func (r *runner) prepare() error {
	need := uint64(1000)
	for i := range r.items {
		it := &r.items[i]
		need = max(need, uint64(2*it.Connections+it.Idle+500))
	}
	if err := proc.RaiseFileLimit(need); err != nil {
		return err
	}
	if err := proc.PinSelf(r.opt.LoadCPU); err != nil {
		return err
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "dyupsbench-"); err != nil {
		return fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { // see fleet.start
		os.RemoveAll(r.dir)
		return fmt.Errorf("cannot open the temporary folder to nginx's worker: %w", err)
	}
	r.count = proc.InstructionsAvailable()
	r.report = newReport(r.opt, r.count)
	for _, w := range r.report.Notes {
		r.progress.line("note: %s", w)
	}
	r.fleet = newFleet(r.opt, r.dir, r.report)
	return nil
}

// member is a contender with its proxy.
type member struct {
	contender
	*running
}

// stage is a scenario that is being run.
type stage struct {
	*item
	run     result.Run
	origins *origins
	members []member
	where   string // for progress
}

// scenario runs one scenario. The error is that of the bench itself.
func (r *runner) scenario(ctx context.Context, number int) error {
	it := &r.items[number]
	st := &stage{item: it, where: fmt.Sprintf("[%d/%d] %s", number+1, len(r.items), it.Name),
		run: result.Run{Scenario: it.Name, Title: it.Title, Text: it.Text, Rounds: it.Rounds}}
	r.progress.now("%s: starting", st.where)
	r.fleet.use(it.Scenario)
	if it.Restart {
		defer r.fleet.stopProxies()
	}
	var err error
	if st.origins, err = r.fleet.originsOf(it.Scenario); err != nil {
		return err
	}
	if it.shared() {
		if err := r.spread(st.origins.PID(), r.fleet.cores(2)...); err != nil {
			return err
		}
		defer r.spread(st.origins.PID(), r.opt.LoadCPU)
	}
	if err := r.muster(ctx, st); err != nil {
		return err
	}
	before := r.progress.finished()
	if len(st.members) > 0 {
		rate, err := r.rate(ctx, st)
		if err == nil {
			err = r.rounds(ctx, st, rate)
		}
		if err != nil {
			return err
		}
	}
	r.progress.step(before + it.estimate() - r.progress.finished()) // what was skipped is done as well
	r.finish(st)
	return nil
}

// muster starts the proxies of a scenario, or takes those that are up.
func (r *runner) muster(ctx context.Context, st *stage) error {
	for _, c := range st.contenders {
		p, err := r.fleet.proxy(ctx, st.Scenario, c, st.origins)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.skip(st, c, err)
			continue
		}
		st.members = append(st.members, member{c, p})
	}
	return nil
}

// rounds lets the contenders take turns. Each round begins with another one, so that none has a fixed neighbour in time.
func (r *runner) rounds(ctx context.Context, st *stage, rate float64) error {
	out := make(map[string]bool)
	share := st.estimate() / time.Duration(st.Rounds*len(st.contenders))
	for round := range st.Rounds {
		for i := range st.members {
			m := st.members[(round+i)%len(st.members)]
			if out[m.name] {
				continue
			}
			r.progress.now("%s: round %d of %d: %s", st.where, round+1, st.Rounds, m.name)
			s, err := r.turn(ctx, st, m, round+1, rate)
			r.progress.step(share)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				if err := r.revive(); err != nil {
					return err
				}
				out[m.name] = true
				r.skip(st, m.contender, err)
				continue
			}
			st.run.Samples = append(st.run.Samples, *s)
		}
	}
	for _, m := range st.members {
		if !out[m.name] {
			st.run.Contenders = append(st.run.Contenders, m.name)
		}
	}
	st.run.Samples = slices.DeleteFunc(st.run.Samples, func(s result.Sample) bool { return out[s.Contender] })
	return nil
}

// revive starts the generator again if it is gone: it has to be stopped where it waits for a proxy that hangs.
func (r *runner) revive() (err error) {
	if r.generator != nil {
		if _, err := processTime(r.generator.PID()); err == nil {
			return nil
		}
		r.generator.Stop()
	}
	r.generator, err = load.Start(r.opt.LoadCPU, filepath.Join(r.dir, "load.log"))
	return err
}

// rate is that of the scenario's open loop, 0 for a closed one. Where it is a share of a peak, the proxy that the
// scenario names is measured in a closed loop first; where that one is missing, the first one that is there.
func (r *runner) rate(ctx context.Context, st *stage) (float64, error) {
	want := st.Rate
	if want.Share == 0 {
		return want.PerSecond, nil
	}
	var m member
	var s *result.Sample
	for _, m = range peakOrder(st.members, want.Of) {
		m.happens = false
		r.progress.now("%s: looking for the peak of %s", st.where, m.label)
		var err error
		if s, err = r.turn(ctx, st, m, 0, 0); err == nil {
			break
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := r.revive(); err != nil {
			return 0, err
		}
		st.run.Notes = append(st.run.Notes, fmt.Sprintf("the peak of %s could not be found: %v", m.label, err))
	}
	if s == nil {
		return 0, fmt.Errorf("cannot find the peak of any proxy: %v", st.run.Notes)
	}
	peak := s.Load.PerSecond
	if want.PerSecond > 0 && peak >= want.PerSecond {
		return want.PerSecond, nil
	}
	note := fmt.Sprintf("rate: %.0f requests/s, %.0f %% of the %.0f/s that %s reached in a closed loop",
		want.Share*peak, 100*want.Share, peak, m.label)
	if want.PerSecond > 0 {
		note += fmt.Sprintf(", because that is less than %.0f/s", want.PerSecond)
	}
	if m.label != want.Of {
		note += fmt.Sprintf(" (that of %s was asked for)", want.Of)
	}
	st.run.Notes = append(st.run.Notes, note)
	return want.Share * peak, nil
}

// peakOrder is who to ask for a peak: the proxy of that name, then the others.
func peakOrder(members []member, of string) []member {
	order := slices.Clone(members)
	slices.SortStableFunc(order, func(a, b member) int {
		switch {
		case a.label == of && b.label != of:
			return -1
		case a.label != of && b.label == of:
			return 1
		}
		return 0
	})
	return order
}

// skip notes who is left out of a scenario, in the report and at once. Where dyups failed, the run has failed.
func (r *runner) skip(st *stage, c contender, err error) {
	st.run.Skipped = append(st.run.Skipped, result.Skip{Name: c.name, Why: err.Error()})
	r.progress.line("%s: skipped %s: %v", st.Name, c.name, err)
	if c.program == "dyups" && !unsupported(err) {
		r.failed = errors.Join(r.failed, fmt.Errorf("%s failed in scenario %q: %w", c.name, st.Name, err))
	}
}

// finish sums up a scenario and tells the first figures of each contender.
func (r *runner) finish(st *stage) {
	if st.shared() {
		st.run.Notes = append(st.run.Notes, "proxy, load and origins share the cores: compare CPU time for a request, not requests/s")
	}
	st.run.Finish()
	r.report.Runs = append(r.report.Runs, st.run)
	r.progress.line("%s", summary(&st.run))
}

// summary is one line for a scenario.
func summary(run *result.Run) string {
	text := run.Scenario + ":"
	for i, name := range run.Contenders {
		if i > 0 {
			text += ","
		}
		s := samplesOf(run, name)
		text += fmt.Sprintf(" %s %.2f µs %.0f/s", name, median(s, func(s *result.Sample) float64 { return s.CPUUs }),
			median(s, func(s *result.Sample) float64 { return s.Load.PerSecond }))
	}
	return text
}

// spread lets the generator and origins run on the cores given.
func (r *runner) spread(origins int, cpus ...int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	for _, pid := range []int{r.generator.PID(), origins} {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("cannot spread process %d: %w", pid, err)
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err == nil {
				err = unix.SchedSetaffinity(tid, &set)
			}
			if err != nil && err != unix.ESRCH {
				return fmt.Errorf("cannot spread process %d: %w", pid, err)
			}
		}
	}
	return nil
}
