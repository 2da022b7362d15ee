package result

import (
	"math"
	"slices"
	"strings"

	"dyups/bench/load"
)

// SpreadOf sums up values, in any order; it leaves them as they are. A value that is no finite number does not count.
func SpreadOf(values []float64) Spread {
	s := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !finite(v) })
	if len(s) == 0 {
		return Spread{}
	}
	slices.Sort(s)
	n := len(s)
	return Spread{Median: s[(n-1)/2]/2 + s[n/2]/2, Min: s[0], Max: s[n-1]}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// ratiosOf divides pairwise what was measured in the same round, then sums up: what the machine did to both in one round
// cancels out. A pair without a finite value above, or without one other than zero below, is left out; ok is false when none
// remains. Both slices are of one length.
func ratiosOf(over, under []float64) (s Spread, ok bool) {
	var r []float64
	for i := range over {
		if q := over[i] / under[i]; finite(q) && finite(under[i]) {
			r = append(r, q)
		}
	}
	return SpreadOf(r), len(r) > 0
}

// of is the samples of one contender, in the order they were taken.
func (r *Run) of(contender string) []*Sample {
	var list []*Sample
	for i := range r.Samples {
		if r.Samples[i].Contender == contender {
			list = append(list, &r.Samples[i])
		}
	}
	return list
}

// values is one figure of samples.
func values(samples []*Sample, of func(*Sample) float64) []float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = of(s)
	}
	return v
}

// Finish computes Results, Ratios and Notes from Contenders and Samples; notes that are there already stay and come first.
// It may be called again, after samples were added for instance. Numbers of samples that are not finite become 0, because
// JSON has none of them.
func (r *Run) Finish() {
	for i := range r.Samples {
		r.Samples[i].clean()
	}
	r.Results, r.Ratios = []Result{}, []Ratio{}
	for i, name := range r.Contenders {
		r.Results = append(r.Results, Result{Contender: name, Metrics: r.metricsOf(name)})
		for j, under := range r.Contenders {
			if j < i || j > i && base(name) == under { // the latter: "x+churn" is listed before "x"
				r.Ratios = append(r.Ratios, r.ratio(name, under))
			}
		}
	}
	for _, n := range r.findNotes() {
		if !slices.Contains(r.Notes, n) {
			r.Notes = append(r.Notes, n)
		}
	}
	r.Contenders, r.Skipped, r.Samples, r.Notes = filled(r.Contenders), filled(r.Skipped), filled(r.Samples), filled(r.Notes)
}

// Finish finishes every run and fills in what is left empty, so that lists are lists in JSON. It may be called again.
func (r *Report) Finish() {
	for i := range r.Runs {
		r.Runs[i].Finish()
	}
	r.Command, r.Programs, r.Skipped, r.Runs = filled(r.Command), filled(r.Programs), filled(r.Skipped), filled(r.Runs)
	r.Goals, r.Notes, r.Machine.Limits = filled(r.Goals), filled(r.Notes), filled(r.Machine.Limits)
	for i := range r.Goals {
		m := &r.Goals[i].Measured
		zeroUnlessFinite(&m.Median, &m.Min, &m.Max)
	}
}

// filled is a list that is not nil.
func filled[E any](s []E) []E {
	if s == nil {
		return []E{}
	}
	return s
}

// clean takes numbers out of a sample that JSON does not know: figures become 0, points of a plot go.
func (s *Sample) clean() {
	l := &s.Load
	zeroUnlessFinite(&s.UserUs, &s.SystemUs, &s.CPUUs, &s.CPUPerMB, &s.Instructions, &s.Switches, &l.PerSecond,
		&s.ProxyCore.Busy, &s.ProxyCore.Steal, &s.ProxyCore.Foreign, &s.LoadCore.Busy, &s.LoadCore.Steal, &s.LoadCore.Foreign,
		&l.Latency.Mean, &l.Latency.P50, &l.Latency.P90, &l.Latency.P99, &l.Latency.P999, &l.Latency.P9999, &l.Latency.Max)
	l.Latency.Curve = slices.DeleteFunc(l.Latency.Curve, func(q load.Quantile) bool { return !finite(q.Q) || !finite(q.Us) })
	l.Series = slices.DeleteFunc(l.Series, func(p load.Point) bool {
		return !finite(p.At) || !finite(p.P50) || !finite(p.P99) || !finite(p.Max)
	})
	if c := s.Churn; c != nil {
		zeroUnlessFinite(&c.PerSecond, &c.P50us, &c.P90us, &c.P99us, &c.MaxUs)
		c.At = slices.DeleteFunc(c.At, func(v float64) bool { return !finite(v) })
	}
	s.RSS = filled(slices.DeleteFunc(s.RSS, func(r Reading) bool { return !finite(r.At) }))
	s.Events = filled(slices.DeleteFunc(s.Events, func(e Event) bool { return !finite(e.At) }))
}

func zeroUnlessFinite(values ...*float64) {
	for _, v := range values {
		if !finite(*v) {
			*v = 0
		}
	}
}

// metricsOf sums up the rounds of a contender. Metrics that mean nothing in this run are left out.
func (r *Run) metricsOf(name string) map[string]Spread {
	m := make(map[string]Spread)
	samples := r.of(name)
	for i := range metrics {
		if k := &metrics[i]; k.applies == nil || k.applies(r, samples) {
			m[k.key] = SpreadOf(values(samples, k.of))
		}
	}
	return m
}

// ratio compares two contenders in those rounds that both have.
func (r *Run) ratio(over, under string) Ratio {
	var a, b []*Sample
	below := r.of(under)
	for _, s := range r.of(over) {
		if i := slices.IndexFunc(below, func(u *Sample) bool { return u.Round == s.Round }); i >= 0 {
			a, b = append(a, s), append(b, below[i])
		}
	}
	ratio := Ratio{Over: over, Under: under, Metrics: make(map[string]Spread)}
	for i := range metrics {
		k := &metrics[i]
		if !k.paired || k.applies != nil && !(k.applies(r, a) && k.applies(r, b)) {
			continue
		}
		if s, ok := ratiosOf(values(a, k.of), values(b, k.of)); ok {
			ratio.Metrics[k.key] = s
		}
	}
	return ratio
}

// base is a contender's name without what happens to it: "dyups" of "dyups+churn".
func base(contender string) string {
	name, _, _ := strings.Cut(contender, "+")
	return name
}

// alike tells whether a ratio of two contenders is worth a line for a reader: one proxy under two conditions, or two
// proxies under the same.
func (t *Ratio) alike() bool {
	over, under := base(t.Over), base(t.Under)
	return over == under || strings.TrimPrefix(t.Over, over) == strings.TrimPrefix(t.Under, under)
}
