package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dyups/bench/result"
)

// goal is one figure that the project has set itself.
type goal struct {
	title    string
	target   string
	bound    float64
	atMost   bool
	scenario string
	over     string // contender
	under    string // contender it is compared with, round by round; "": not compared

	// of is the figure of a round, not a number if it has none; beside is the same round of under, nil where there is none.
	of func(s, beside *result.Sample) float64
	// total: the figure is added up over the rounds, where one event in any of them counts.
	total bool
}

// ratio compares one figure of two rounds.
func ratio(of func(*result.Sample) float64) func(s, beside *result.Sample) float64 {
	return func(s, beside *result.Sample) float64 {
		if u := of(beside); u != 0 {
			return of(s) / u
		}
		return math.NaN()
	}
}

func cpuOf(s *result.Sample) float64       { return s.CPUUs }
func cpuPerMB(s *result.Sample) float64    { return s.CPUPerMB }
func p99Of(s *result.Sample) float64       { return s.Load.Latency.P99 }
func perSecondOf(s *result.Sample) float64 { return s.Load.PerSecond }

// failedOf counts requests and updates that failed, and requests that reached a removed server.
func failedOf(s, _ *result.Sample) float64 {
	n := int64(0)
	for _, e := range s.Load.Errors {
		n += e
	}
	if s.Churn != nil {
		n += s.Churn.Failed
	}
	return float64(n)
}

// lateOf has no figure where no removal was looked at: none late of none says nothing.
func lateOf(s, _ *result.Sample) float64 {
	if s.Churn == nil || s.Churn.Removals == 0 {
		return math.NaN()
	}
	return float64(s.Churn.Late)
}

func replyOf(s, _ *result.Sample) float64 {
	if s.Churn == nil {
		return math.NaN()
	}
	return s.Churn.P99us / 1e3
}

func updatesOf(s, _ *result.Sample) float64 {
	if s.Churn == nil {
		return math.NaN()
	}
	return s.Churn.PerSecond
}

// residentOf is the memory in the midst of the measured part, when all connections are up: the median of its readings.
func residentOf(s *result.Sample) float64 {
	var bytes []float64
	for _, r := range s.RSS {
		if r.At <= s.Load.Elapsed.Seconds() {
			bytes = append(bytes, float64(r.Bytes))
		}
	}
	if len(bytes) == 0 { // shorter than from one reading to the next
		return float64(s.RSSPeak)
	}
	return medianOf(bytes)
}

// table is every goal, in the order of the report. The scenario "idle" has a figure in goals itself, because it compares
// four contenders.
var table = []goal{
	{"CPU per request, 64 connections", "≤ 0.80 of nginx", 0.80, true, "small-64", "dyups", "nginx", ratio(cpuOf), false},
	{"CPU per request, 64 connections", "≤ 0.85 of HAProxy", 0.85, true, "small-64", "dyups", "haproxy", ratio(cpuOf), false},
	{"CPU per request, 64 connections", "≤ 0.20 of Caddy", 0.20, true, "small-64", "dyups", "caddy", ratio(cpuOf), false},
	{"CPU per request, browser heads", "≤ 0.80 of nginx", 0.80, true, "browser", "dyups", "nginx", ratio(cpuOf), false},
	{"CPU per request, browser heads", "≤ 0.85 of HAProxy", 0.85, true, "browser", "dyups", "haproxy", ratio(cpuOf), false},
	{"CPU per MB, answers of 1 MB", "≤ 0.60 of nginx", 0.60, true, "answer-1m", "dyups", "nginx", ratio(cpuPerMB), false},
	{"CPU per MB, answers of 1 MB", "≤ 0.80 of HAProxy", 0.80, true, "answer-1m", "dyups", "haproxy", ratio(cpuPerMB), false},
	{"p99 at 70 % of nginx's peak, open loop", "≤ nginx", 1, true, "latency", "dyups", "nginx", ratio(p99Of), false},
	{"p99 at 70 % of nginx's peak, open loop", "≤ HAProxy", 1, true, "latency", "dyups", "haproxy", ratio(p99Of), false},
	{"p99 with 1,000 updates a second on 10,000 upstreams", "≤ 1.10 of without", 1.10, true,
		"churn-1000-latency", "dyups+churn", "dyups", ratio(p99Of), false},
	{"throughput with 1,000 updates a second on 10,000 upstreams", "≥ 0.97 of without", 0.97, false,
		"churn-1000", "dyups+churn", "dyups", ratio(perSecondOf), false},
	{"failed requests and updates, 1,000 a second", "none", 0, true, "churn-1000", "dyups+churn", "", failedOf, true},
	{"failed requests and updates, 1,000 a second, open loop", "none", 0, true,
		"churn-1000-latency", "dyups+churn", "", failedOf, true},
	{"requests to a server after its removal was acknowledged", "none", 0, true, "churn-100", "dyups+churn", "", lateOf, true},
	{"requests to a server after its removal was acknowledged, 10,000 upstreams", "none", 0, true,
		"churn-removal", "dyups+churn", "", lateOf, true},
	{"reply to an update, p99, idle, ms", "≤ 1", 1, true, "update-idle", "dyups+churn", "", replyOf, false},
	{"reply to an update, p99, under 50,000 requests/s, ms", "≤ 5", 5, true, "update-loaded", "dyups+churn", "", replyOf, false},
	{"updates a second from 16 clients", "≥ 20,000", 20000, false, "update-rate", "dyups+churn", "", updatesOf, false},
	{"capacity of two loops on two cores, beside two processes of one", "≥ 1.8 of one on one", 1.8, false, "scaling", "dyups+2w", "dyups+2p",
		func(s, one *result.Sample) float64 { return 2 * ratio(cpuOf)(one, s) }, false},
}

// goals computes what the runs of a report measured of the table. A figure whose scenario was not run, or not with all it
// needs, is left out, and so are all where the options changed what a scenario means.
func goals(r *result.Report, o *Options) []result.Goal {
	if o.Connections > 0 || o.Rate > 0 {
		return nil
	}
	var list []result.Goal
	for _, g := range table {
		if run := runOf(r, g.scenario); run != nil {
			if v := g.values(run); len(v) > 0 {
				j := g.judge(v)
				j.Source += g.floor(run)
				list = append(list, j)
			}
		}
	}
	if run := runOf(r, "idle"); run != nil {
		list = append(list, idleGoals(run)...)
	}
	return list
}

// values are those of the goal's rounds.
func (g *goal) values(run *result.Run) []float64 {
	var v []float64
	for _, s := range samplesOf(run, g.over) {
		var beside *result.Sample
		if g.under != "" {
			if beside = sampleOf(run, g.under, s.Round); beside == nil {
				continue
			}
		}
		if x := g.of(s, beside); !math.IsNaN(x) {
			v = append(v, x)
		}
	}
	return v
}

// floor says what of the figure is the machine's, whatever the proxy, if that was measured: the same figure of the bare loop, or, of
// a ratio, what it is between two rounds of the same process.
func (g *goal) floor(run *result.Run) string {
	f := *g
	if f.under == "" {
		f.over = strings.Replace(g.over, "dyups", "bare", 1)
	} else {
		f.over, f.under = "dyups"+again, "dyups"
	}
	v := f.values(run)
	if len(v) == 0 {
		return ""
	}
	m, name := result.SpreadOf(v), f.over
	if f.under != "" {
		name += " / " + f.under
	}
	return fmt.Sprintf("; %s %.3g (%.3g–%.3g)", name, m.Median, m.Min, m.Max)
}

// judge makes values a goal of the report.
func (g *goal) judge(v []float64) result.Goal {
	m := result.SpreadOf(v)
	if g.total {
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		m = result.Spread{Median: sum, Min: sum, Max: sum}
	}
	source := g.scenario + ": " + g.over
	if g.under != "" {
		source += " / " + g.under
	}
	met := m.Median >= g.bound
	if g.atMost {
		met = m.Median <= g.bound
	}
	return result.Goal{Title: g.title, Target: g.target, Bound: g.bound, AtMost: g.atMost, Measured: m, Met: met, Source: source}
}

// idleGoals are about the memory for one silent connection: what a proxy with them has more than one without, by round.
func idleGoals(run *result.Run) []result.Goal {
	s, err := parse(run.Scenario, run.Text)
	if err != nil || s.Idle == 0 {
		return nil
	}
	each := func(label string) map[int]float64 {
		v := make(map[int]float64)
		for _, with := range samplesOf(run, label+"+idle") {
			if without := sampleOf(run, label, with.Round); without != nil {
				v[with.Round] = (residentOf(with) - residentOf(without)) / float64(s.Idle)
			}
		}
		return v
	}
	ours, theirs := each("dyups"), each("nginx")
	var bytes, ratios []float64
	for round, n := range ours {
		bytes = append(bytes, n)
		if m := theirs[round]; m > 0 {
			ratios = append(ratios, n/m)
		}
	}
	var list []result.Goal
	g := goal{title: "memory for one idle client connection, bytes", target: "≤ 1.5 KiB", bound: 1536, atMost: true,
		scenario: "idle", over: "dyups+idle", under: "dyups"}
	if len(bytes) > 0 {
		list = append(list, g.judge(bytes))
	}
	g.target, g.bound = "≤ nginx's", 1
	g.title, g.over, g.under = "memory for one idle client connection", "(dyups+idle − dyups)", "(nginx+idle − nginx)"
	if len(ratios) > 0 {
		list = append(list, g.judge(ratios))
	}
	return list
}

// runOf finds the run of a scenario, nil if there is none.
func runOf(r *result.Report, scenario string) *result.Run {
	i := slices.IndexFunc(r.Runs, func(run result.Run) bool { return run.Scenario == scenario })
	if i < 0 {
		return nil
	}
	return &r.Runs[i]
}

// samplesOf are the rounds of one contender.
func samplesOf(run *result.Run, contender string) []*result.Sample {
	var list []*result.Sample
	for i := range run.Samples {
		if run.Samples[i].Contender == contender {
			list = append(list, &run.Samples[i])
		}
	}
	return list
}

// sampleOf is one round of one contender, nil if there is none.
func sampleOf(run *result.Run, contender string, round int) *result.Sample {
	for _, s := range samplesOf(run, contender) {
		if s.Round == round {
			return s
		}
	}
	return nil
}

// median is that of one figure of samples.
func median(samples []*result.Sample, of func(*result.Sample) float64) float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = of(s)
	}
	return medianOf(v)
}

func medianOf(v []float64) float64 { return result.SpreadOf(v).Median }
