package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"dyups/bench/churn"
	"dyups/bench/origin"
	"dyups/bench/proc"
	"dyups/bench/result"
	"dyups/bench/rival"
)

// patience is how long anything may take that ought to be done at once.
const patience = 10 * time.Second

// running is a proxy that is up.
type running struct {
	rival.Proxy
	checked string // path that its answers were last checked with
}

// fleet is what is up: origins by what they do, which stay for the whole run, and the proxies of one setup.
type fleet struct {
	opt     *Options
	dir     string // temporary folder of the run
	report  *result.Report
	origins map[string]*origins
	setup   string // of the proxies
	proxies map[string]*running
	started int             // proxies so far; numbers their folders
	told    map[string]bool // programs whose settings are in the report, by label and setup
}

// origins is a running set: one for each server of an upstream, and a spare one that updates add and remove.
type origins struct {
	*origin.Process
	servers []churn.Server
	spare   churn.Server
	names   map[string]string // by address
}

func newFleet(opt *Options, dir string, report *result.Report) *fleet {
	return &fleet{opt: opt, dir: dir, report: report, origins: make(map[string]*origins),
		proxies: make(map[string]*running), told: make(map[string]bool)}
}

// spareName is the origin that no configuration names.
const spareName = "spare"

// originsOf gives the origins of a scenario and starts them if there are none like them yet.
func (f *fleet) originsOf(s *Scenario) (*origins, error) {
	spec := origin.Spec{Stamp: s.stamps()}
	for i := range s.Servers {
		o := origin.Server{Name: originName(i)}
		for _, d := range s.Delays {
			if d.Origin == "" || d.Origin == o.Name {
				o.Delay = d.Delay
				o.Delay.Seed += uint64(i) // or all of them would be slow at the same time
			}
		}
		for _, v := range s.Faults {
			if v.Origin == "" || v.Origin == o.Name {
				o.Faults = append(o.Faults, v.Fault)
			}
		}
		spec.Origins = append(spec.Origins, o)
	}
	spec.Origins = append(spec.Origins, origin.Server{Name: spareName})
	key := fmt.Sprintf("%+v", spec)
	if o := f.origins[key]; o != nil {
		return o, nil
	}
	p, err := origin.Start(f.opt.LoadCPU, filepath.Join(f.dir, "origins.log"), spec)
	if err != nil {
		return nil, err
	}
	o := &origins{Process: p, names: make(map[string]string)}
	for i, addr := range p.Addrs() {
		o.names[addr] = spec.Origins[i].Name
		if o.servers = append(o.servers, churn.Server{Addr: addr, Weight: 1}); i == len(p.Addrs())-1 {
			o.spare, o.servers = o.servers[i], o.servers[:i:i]
		}
	}
	f.origins[key] = o
	return o, nil
}

// upstreams are those of a scenario: u0, u1 …, each with all of the origins. Each begins with another one: requests to all of
// them in turn would else begin with the same everywhere.
func (o *origins) upstreams(s *Scenario) []rival.Upstream {
	twice := append(slices.Clone(o.servers), o.servers...)
	ups := make([]rival.Upstream, s.Upstreams)
	for i := range ups {
		first := i % len(o.servers)
		ups[i] = rival.Upstream{Name: fmt.Sprintf("u%d", i), Servers: twice[first : first+len(o.servers) : first+len(o.servers)]}
	}
	return ups
}

// proxy gives a proxy of a scenario that answers it rightly. One that is up already is kept as long as the setup stays.
func (f *fleet) proxy(ctx context.Context, s *Scenario, c contender, o *origins) (*running, error) {
	key := s.processKey(c)
	p := f.proxies[key]
	if p != nil && !p.Running() {
		p.Stop()
		p = nil
	}
	if p == nil {
		var err error
		if p, err = f.start(ctx, s, c, o); err != nil {
			return nil, err
		}
		f.proxies[key] = p
	}
	if p.checked == s.Path {
		return p, nil
	}
	if err := f.check(ctx, s, p); err != nil {
		p.Stop()
		delete(f.proxies, key)
		return nil, fmt.Errorf("%w: %s", err, p.Logs())
	}
	p.checked = s.Path
	return p, nil
}

// start starts a proxy and waits until it accepts connections.
func (f *fleet) start(ctx context.Context, s *Scenario, c contender, o *origins) (*running, error) {
	prog, err := rival.ByName(c.program)
	if err != nil {
		return nil, err
	}
	f.started++
	setup := rival.Setup{Dir: filepath.Join(f.dir, fmt.Sprintf("%s-%d", c.label, f.started)), Upstreams: o.upstreams(s),
		ByHost: s.ByHost, CPU: f.opt.ProxyCPU, Workers: c.workers, Apart: c.apart, Binary: f.opt.binary(c)}
	path, err := prog.Find(&setup)
	if err != nil {
		if err = fmt.Errorf("%w; %s", err, prog.Install()); c.program != "dyups" { // without dyups a run has failed
			err = &missing{err}
		}
		return nil, err
	}
	// nginx's worker is another user than its master and has to reach its temporary folders.
	if err := os.Mkdir(setup.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", c.label, err)
	}
	if setup.Addr, err = proc.FreeAddr(); err == nil {
		setup.API, err = proc.FreeAddr()
	}
	if err != nil {
		return nil, err
	}
	// A configuration of 100,000 servers takes its time.
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(s.Upstreams*s.Servers)*time.Millisecond/2)
	defer cancel()
	px, err := prog.Start(ctx, path, &setup)
	if err != nil {
		return nil, err
	}
	if err = rival.Await(ctx, px); err == nil {
		err = proc.CheckPinned(px.PID(), f.cores(c.workers)...)
	}
	if err != nil {
		px.Stop()
		return nil, fmt.Errorf("cannot start %q: %w", c.label, err)
	}
	f.tell(prog, path, px, s, c)
	return &running{Proxy: px}, nil
}

// missing is the error of a program that is not installed, or that lacks what a scenario needs.
type missing struct{ error }

// cores are those of a proxy with this many workers: its own and, with more than one, the load's.
func (f *fleet) cores(workers int) []int {
	if workers == 1 {
		return []int{f.opt.ProxyCPU}
	}
	return []int{f.opt.ProxyCPU, f.opt.LoadCPU}
}

// tell puts a program into the report, once for each setup.
func (f *fleet) tell(prog rival.Program, path string, p rival.Proxy, s *Scenario, c contender) {
	name := c.label
	setup := s.setup()
	if c.workers > 1 {
		setup += fmt.Sprintf(", %d workers", c.workers)
		if c.apart {
			setup += " apart"
		}
	}
	if f.told[name+setup] {
		return
	}
	f.told[name+setup] = true
	f.report.Programs = append(f.report.Programs, result.Program{Name: name, Version: prog.Version(path),
		Settings: "# " + setup + "\n" + p.Settings()})
}

// check makes sure that a proxy answers rightly. Large answers and WebSockets are left to the load, which checks each.
func (f *fleet) check(ctx context.Context, s *Scenario, p *running) error {
	c := rival.Check{Path: "/small", Length: 6, Field: origin.Field}
	if n := s.length(); n >= 0 && n <= 1<<20 {
		c.Path, c.Length = s.Path, int(n)
	}
	if _, ok := p.Proxy.(rival.Itself); !ok {
		for i := range s.Servers {
			c.Origins = append(c.Origins, originName(i))
		}
	}
	if s.ByHost {
		c.Hosts = []string{"u0", fmt.Sprintf("u%d", s.Upstreams/2), fmt.Sprintf("u%d", s.Upstreams-1)}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return rival.CheckAnswers(ctx, p, c)
}

// use prepares for the proxies of a scenario: those of another setup are stopped.
func (f *fleet) use(s *Scenario) {
	if setup := s.setup(); setup != f.setup || s.Restart {
		f.stopProxies()
		f.setup = setup
	}
}

// stopProxies stops all proxies, all at once because each may take two seconds.
func (f *fleet) stopProxies() {
	var wg sync.WaitGroup
	for _, p := range f.proxies {
		wg.Go(p.Stop)
	}
	wg.Wait()
	clear(f.proxies)
	f.setup = ""
}

// stop stops everything.
func (f *fleet) stop() {
	var wg sync.WaitGroup
	for _, o := range f.origins {
		wg.Go(o.Stop)
	}
	f.stopProxies()
	wg.Wait()
}

// unsupported tells an error that says what a proxy cannot do at all from one that says what went wrong.
func unsupported(err error) bool {
	var m *missing
	return errors.Is(err, churn.ErrUnsupported) || errors.As(err, &m)
}
