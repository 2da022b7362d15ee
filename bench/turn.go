package bench

import (
	"context"
	"fmt"
	"time"

	"dyups/bench/load"
	"dyups/bench/origin"
	"dyups/bench/proc"
	"dyups/bench/result"
	"dyups/bench/rival"
)

// loadSpec is what the generator is told for a round of a contender.
func loadSpec(it *item, c contender, addr string, rate float64) load.Spec {
	s := load.Spec{
		Addr: addr, WebSocket: it.WebSocket, Method: it.Method, Path: it.Path, Fields: it.Fields, BodySize: int(it.Body),
		Connections: it.Connections, Fresh: it.Fresh, Pipeline: it.Pipeline, Rate: rate,
		WarmUp: it.WarmUp, Duration: time.Duration(it.Seconds * 1e9), WantLength: it.length(), OriginField: origin.Field,
		Timeout: patience / 2, // an open loop waits for its last answers so long
	}
	if c.apart {
		for i := range c.workers {
			s.Spread = append(s.Spread, rival.Address(addr, i))
		}
	}
	if it.ByHost {
		s.Hosts = it.Upstreams
	}
	if c.happens {
		s.Idle = it.Idle
	}
	return s
}

// turn is one round of one contender.
func (r *runner) turn(ctx context.Context, st *stage, m member, round int, rate float64) (*result.Sample, error) {
	p, o := m.running, st.origins
	spec := loadSpec(st.item, m.contender, p.Addr(), rate)
	if m.happens && st.Churn != nil && st.Churn.ByLoad {
		var err error
		if spec.Updates, err = rival.Rehearse(ctx, p.Proxy, churnOptions(st.Scenario, o), (spec.WarmUp + spec.Duration).Seconds()); err != nil {
			return nil, err
		}
	}
	proc.ResetPeaks(p.PID())
	others := []int{r.generator.PID(), o.PID(), 0}
	meter, err := startMeter(p.PID(), others, [2]int{r.opt.ProxyCPU, r.opt.LoadCPU}, r.count)
	if err != nil {
		return nil, err
	}
	var h *happening
	if m.happens {
		h = happen(ctx, st, p)
	}
	within, cancel := context.WithTimeout(ctx, spec.WarmUp+spec.Duration+patience+time.Duration(spec.Idle)*time.Millisecond)
	defer cancel()
	seen, err := r.generator.Run(within, spec)
	if metered := meter.finish(); err == nil {
		err = metered
	}
	if h != nil {
		if seen.Updates != nil {
			h.said(ctx, st, p, seen.Updates, seen.Start-int64(spec.WarmUp))
			seen.Updates = nil // they are the sample's
		}
		if happened := h.end(st, p); happened != nil && (err == nil || unsupported(happened)) {
			err = happened
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !p.Running() {
		return nil, fmt.Errorf("it has ended: %s", p.Logs())
	}
	if unsupported(err) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.Logs())
	}
	if seen.Requests == 0 {
		return nil, fmt.Errorf("it answered no request rightly in the measured part: %s: %s", seen.Example, p.Logs())
	}
	s := newSample(st.item, round, m.name, meter, seen)
	if _, ok := p.Proxy.(rival.Itself); !ok {
		s.Even = st.even()
	}
	if peaks, err := proc.TreeUsage(p.PID()); err == nil {
		s.RSSPeak = max(s.RSSPeak, peaks.RSSPeak)
	}
	if h != nil {
		h.into(s, st.item, seen.Start)
	}
	return s, nil
}

// even lists the origins that ought to get equally many requests. Every upstream has all of them, by weight 1. Where origins fail
// there are none: a proxy may leave one alone for longer than it fails, also in rounds in which it does not.
func (s *Scenario) even() []string {
	if len(s.Faults) > 0 {
		return nil
	}
	names := make([]string, s.Servers)
	for i := range names {
		names[i] = originName(i)
	}
	return names
}

// newSample divides what was used in the measured part by the answers that came in it.
func newSample(it *item, round int, name string, m *meter, seen load.Result) *result.Sample {
	before, after := m.at(seen.Start), m.at(seen.Start+int64(seen.Elapsed))
	user, system := split(&before, &after)
	n := float64(seen.Requests)
	s := &result.Sample{
		Round: round, Contender: name, Load: seen,
		UserUs: user / n, SystemUs: system / n, CPUUs: (user + system) / n,
		Instructions: (after.instructions - before.instructions) / n,
		Switches:     (after.switches - before.switches) / n,
		RSS:          m.memory(seen.Start),
		RSSPeak:      m.peak(),
		Events:       []result.Event{},
	}
	if bytes := float64(seen.Bytes) + n*float64(it.Body); bytes > 0 {
		s.CPUPerMB = s.CPUUs * n / (bytes / (1 << 20))
	}
	proxy, others := after.cpu-before.cpu, after.others-before.others
	s.ProxyCore = use(before.cores[0], after.cores[0], proxy)
	s.LoadCore = use(before.cores[1], after.cores[1], others)
	if it.shared() {
		// Everybody may run on both cores: who belongs where is not known.
		add := func(a, b [3]float64) [3]float64 { return [3]float64{a[0] + b[0], a[1] + b[1], a[2] + b[2]} }
		both := use(add(before.cores[0], before.cores[1]), add(after.cores[0], after.cores[1]), proxy+others)
		s.ProxyCore, s.LoadCore = both, both
	}
	s.Bottleneck = proc.Bottleneck(proc.CoreUse(s.ProxyCore), proc.CoreUse(s.LoadCore))
	return s
}

// shared tells whether proxies, load and origins share all cores: some proxy has more than one worker.
func (s *Scenario) shared() bool {
	for _, n := range s.Workers {
		if n > 1 {
			return true
		}
	}
	return false
}
