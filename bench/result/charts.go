package result

import (
	"fmt"
	"math"
	"slices"
)

// looks gives every contender of a report its classes of colour and dashes: one colour for each proxy, the same in all
// charts, and other dashes for each condition it is under.
type looks struct {
	colours []string // proxies in the order of their colours
}

// palette is how many colours the page's style knows.
const palette = 8

// newLooks keeps the colours of well known proxies the same in all reports; others get those that are left.
func newLooks(r *Report) *looks {
	l := &looks{colours: []string{"nginx", "haproxy", "caddy", "goproxy", "dyups", "dyups-old"}}
	for i := range r.Runs {
		for _, name := range r.Runs[i].Contenders {
			if !slices.Contains(l.colours, base(name)) {
				l.colours = append(l.colours, base(name))
			}
		}
	}
	return l
}

// of is the look of a contender beside others of the same run.
func (l *looks) of(name string, contenders []string) string {
	look := fmt.Sprintf("c%d", slices.Index(l.colours, base(name))%palette)
	nth := 0
	for _, other := range contenders {
		if other == name {
			break
		}
		if base(other) == base(name) {
			nth++
		}
	}
	if nth > 0 {
		look += fmt.Sprintf(" d%d", min(nth, 3))
	}
	return look
}

// charts are those of a run that have something to show.
func (r *Run) charts(l *looks) []*chart {
	var list []*chart
	for _, draw := range []func(*looks) *chart{r.latencyChart, r.throughputChart, r.p99Chart, r.memoryChart, r.cpuChart} {
		if c := draw(l); c != nil {
			list = append(list, c)
		}
	}
	return list
}

// middle is the sample in the middle of the others by one figure: the upper one of two. nil of none.
func middle(samples []*Sample, of func(*Sample) float64) *Sample {
	if len(samples) == 0 {
		return nil
	}
	sorted := slices.Clone(samples)
	slices.SortStableFunc(sorted, func(a, b *Sample) int {
		switch {
		case of(a) < of(b):
			return -1
		case of(a) > of(b):
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2]
}

// most nines that a chart of latencies shows.
const mostNines = 6

// nines is the place of a quantile on the axis: 0, then 1 for 90 %, 2 for 99 %, 3 for 99.9 %.
func nines(q float64, count int64) float64 {
	limit := mostNines * 1.0
	if count > 0 {
		limit = min(limit, math.Log10(float64(count))) // further out is the maximum and nothing else
	}
	return max(0, min(limit, -math.Log10(max(1-q, 1e-12))))
}

// curveOf is the latency curve of a round; without one, what is known of it.
func curveOf(s *Sample) []point {
	l := &s.Load.Latency
	var list []point
	for _, q := range l.Curve {
		if finite(q.Q) {
			list = append(list, point{nines(q.Q, l.Count), q.Us})
		}
	}
	if len(list) == 0 && l.P50 > 0 {
		for _, q := range quantiles(s) {
			list = append(list, point{nines(q.q, l.Count), q.us})
		}
	}
	return thin(list, mostPoints, worstOf)
}

// latencyChart is latency by percentile: the round with the median p99 strong, the others pale.
func (r *Run) latencyChart(l *looks) *chart {
	p := plot{chart: chart{Title: "Latency by percentile", Label: "Latency by percentile, one line for each of " + r.names(),
		About: "Strong: the round with the median p99. Pale: the other rounds."}}
	least, most, far := math.Inf(1), 0.0, 2.0
	for _, name := range r.Contenders {
		samples := r.of(name)
		mid := middle(samples, func(s *Sample) float64 { return s.Load.Latency.P99 })
		if mid == nil {
			continue
		}
		s := series{name: name, look: l.of(name, r.Contenders), points: curveOf(mid)}
		for _, q := range quantiles(mid) {
			if q.us > 0 && (q.q < 1 || mid.Load.Latency.Count > 0) && len(s.points) > 0 {
				s.dots = append(s.dots, dotAt{point{nines(q.q, mid.Load.Latency.Count), q.us}, name + " " + q.name + ": " + duration(q.us)})
			}
		}
		for _, other := range samples {
			if other != mid {
				s.pale = append(s.pale, curveOf(other))
			}
		}
		for _, line := range append([][]point{s.points}, s.pale...) {
			for _, q := range line {
				if q.y > 0 && finite(q.y) {
					least, most, far = min(least, q.y), max(most, q.y), max(far, q.x)
				}
			}
		}
		p.series = append(p.series, s)
	}
	if most == 0 {
		return nil
	}
	p.x, p.y = scale{hi: far, a: plotLeft, b: plotRight}, logarithmic(least, most, plotBottom, plotTop)
	ticks := []float64{0}
	if (plotRight-plotLeft)/coord(far) > 50 {
		ticks = append(ticks, nines(0.5, 0))
	}
	for n := 1.0; n <= far; n++ {
		ticks = append(ticks, n)
	}
	p.frame("latency, logarithmic", "percentile", timeText, ticks, percentile)
	p.draw()
	return &p.chart
}

// percentile is the text of a tick: 90 for one nine, 99 for two.
func percentile(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 1:
		return "50"
	case n < 2:
		return "90"
	}
	return fmt.Sprintf("%.*f", int(n)-2, 100-100*math.Pow(10, -math.Floor(n)))
}

// names lists the contenders in a sentence.
func (r *Run) names() string {
	s := ""
	for i, n := range r.Contenders {
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}

// mostPoints is how many points of a line over time are drawn.
const mostPoints = 300

// overTime draws one figure of the series of the round in the middle by the figure given. Nothing to draw is nil.
func (r *Run) overTime(l *looks, by func(*Sample) float64, points func(*Sample) []point, of func([]point) float64) *plot {
	p := &plot{}
	length := 0.0
	for _, name := range r.Contenders {
		mid := middle(r.of(name), by)
		if mid == nil {
			continue
		}
		s := series{name: name, look: l.of(name, r.Contenders), points: thin(points(mid), mostPoints, of), marks: marksOf(mid)}
		for _, q := range s.points {
			if finite(q.x) {
				length = max(length, min(q.x, sane))
			}
		}
		if len(s.points) > 0 {
			length = max(length, mid.Load.Elapsed.Seconds())
		}
		p.series = append(p.series, s)
	}
	if length == 0 {
		return nil
	}
	p.x = scale{hi: length, a: plotLeft, b: plotRight}
	return p
}

// marksOf are the moments at which something happened in a round: events as lines, updates as ticks.
func marksOf(s *Sample) []mark {
	var list []mark
	for _, e := range s.Events {
		list = append(list, mark{e.At, fmt.Sprintf("%s at %s s", e.What, number(e.At, 3)), true})
	}
	if s.Churn != nil {
		for _, at := range s.Churn.At {
			list = append(list, mark{at, fmt.Sprintf("update at %s s", number(at, 3)), false})
		}
	}
	return list
}

// seriesOf are the points of a round's series, each in the middle of its interval. A stump of an interval at the end,
// less than half of one, is left out.
func seriesOf(s *Sample, of func(p *point, seconds float64, requests int64, p99 float64)) []point {
	in := s.Load.Series
	var list []point
	width := s.Load.Elapsed.Seconds()
	if len(in) > 1 {
		width = in[1].At - in[0].At
	}
	for i := range in {
		w := width
		if i == len(in)-1 && s.Load.Elapsed > 0 {
			if w = min(w, s.Load.Elapsed.Seconds()-in[i].At); w < width/2 && i > 0 {
				break
			}
		}
		q := point{in[i].At + w/2, math.NaN()}
		if w > 0 {
			of(&q, w, in[i].Requests, in[i].P99)
		}
		list = append(list, q)
	}
	return list
}

// aboutMoments explains the moments of a chart, if there are any.
func (p *plot) aboutMoments() string {
	ticks, lines := false, false
	for i := range p.series {
		for _, m := range p.series[i].marks {
			ticks, lines = ticks || !m.whole, lines || m.whole
		}
	}
	about := ""
	if ticks {
		about = " Ticks below: its updates, thinned out."
	}
	if lines {
		about += " Dotted lines: reloads and faults."
	}
	return about
}

// top is the highest value of all series.
func (p *plot) top() float64 {
	most := 0.0
	for i := range p.series {
		for _, q := range p.series[i].points {
			if finite(q.y) {
				most = max(most, q.y)
			}
		}
	}
	return most
}

// least is the lowest value above zero of all series.
func (p *plot) least() float64 {
	least := math.Inf(1)
	for i := range p.series {
		for _, q := range p.series[i].points {
			if finite(q.y) && q.y > 0 {
				least = min(least, q.y)
			}
		}
	}
	return least
}

func (r *Run) throughputChart(l *looks) *chart {
	p := r.overTime(l, func(s *Sample) float64 { return s.Load.PerSecond }, func(s *Sample) []point {
		return seriesOf(s, func(p *point, seconds float64, n int64, _ float64) { p.y = float64(n) / seconds })
	}, meanOf)
	if p == nil {
		return nil
	}
	p.Title, p.Label = "Throughput over time", "Requests a second over time, one line for each of "+r.names()
	p.About = "The round with the median throughput." + p.aboutMoments()
	p.y = linear(p.top(), plotBottom, plotTop)
	p.frame("requests/s", "seconds", tickText, p.x.ticks(), tickText)
	p.draw()
	return &p.chart
}

func (r *Run) p99Chart(l *looks) *chart {
	p := r.overTime(l, func(s *Sample) float64 { return s.Load.Latency.P99 }, func(s *Sample) []point {
		return seriesOf(s, func(p *point, _ float64, n int64, p99 float64) {
			if n > 0 && p99 > 0 {
				p.y = p99
			}
		})
	}, worstOf)
	if p == nil || p.top() == 0 {
		return nil
	}
	p.Title, p.Label = "p99 over time", "The 99th percentile of latency over time, one line for each of "+r.names()
	p.About = "The round with the median p99." + p.aboutMoments()
	p.y = logarithmic(p.least(), p.top(), plotBottom, plotTop)
	p.frame("latency p99, logarithmic", "seconds", timeText, p.x.ticks(), tickText)
	p.draw()
	return &p.chart
}

// farApart is the ratio of the largest to the smallest value from which on a linear axis would hide the small ones.
const farApart = 8

func (r *Run) memoryChart(l *looks) *chart {
	p := r.overTime(l, func(s *Sample) float64 { return float64(s.RSSPeak) }, func(s *Sample) []point {
		var list []point
		for _, m := range s.RSS {
			list = append(list, point{m.At, float64(m.Bytes) / (1 << 20)})
		}
		return list
	}, worstOf)
	if p == nil || p.top() == 0 {
		return nil
	}
	p.Title, p.Label = "Resident memory over time", "Resident memory over time, one line for each of "+r.names()
	p.About = "The round with the median peak." + p.aboutMoments()
	title := "MiB"
	if p.y = linear(p.top(), plotBottom, plotTop); p.top() > farApart*p.least() {
		p.y, title = logarithmic(p.least(), p.top(), plotBottom, plotTop), "MiB, logarithmic"
	}
	p.frame(title, "seconds", tickText, p.x.ticks(), tickText)
	p.draw()
	return &p.chart
}
