package result

import (
	"fmt"
	"math"
	"strings"
)

// kind is how values of a metric are shown.
type kind int

const (
	plain   kind = iota // a number without a unit
	whole               // a count
	cpuTime             // µs, always
	latency             // µs, ms or s, alike for all contenders
	memory              // MiB
	percent             // of a share, 0 to 1
)

// metric is one row of the tables.
type metric struct {
	key, title string
	kind       kind
	of         func(*Sample) float64
	paired     bool // compared between contenders
	short      string
	applies    func(*Run, []*Sample) bool // nil: always
}

// metrics in the order of the tables. Those with a short name are columns of the table of ratios.
var metrics = []metric{
	{"cpu_us", "CPU a request", cpuTime, func(s *Sample) float64 { return s.CPUUs }, true, "CPU a request", nil},
	{"user_us", "  user", cpuTime, func(s *Sample) float64 { return s.UserUs }, true, "", nil},
	{"system_us", "  system", cpuTime, func(s *Sample) float64 { return s.SystemUs }, true, "", nil},
	{"cpu_us_mb", "CPU a MB", cpuTime, func(s *Sample) float64 { return s.CPUPerMB }, true, "CPU a MB", large},
	{"instructions", "instructions a request", whole, func(s *Sample) float64 { return s.Instructions }, true, "instructions", some(
		func(s *Sample) bool { return s.Instructions > 0 })},
	{"per_second", "requests/s", whole, func(s *Sample) float64 { return s.Load.PerSecond }, true, "requests/s", nil},
	{"p50_us", "latency p50", latency, func(s *Sample) float64 { return s.Load.Latency.P50 }, true, "p50", nil},
	{"p90_us", "latency p90", latency, func(s *Sample) float64 { return s.Load.Latency.P90 }, true, "", nil},
	{"p99_us", "latency p99", latency, func(s *Sample) float64 { return s.Load.Latency.P99 }, true, "p99", nil},
	{"p999_us", "latency p99.9", latency, func(s *Sample) float64 { return s.Load.Latency.P999 }, true, "", nil},
	{"p9999_us", "latency p99.99", latency, func(s *Sample) float64 { return s.Load.Latency.P9999 }, true, "", nil},
	{"max_us", "latency max", latency, func(s *Sample) float64 { return s.Load.Latency.Max }, true, "", nil},
	{"rss_peak_bytes", "RSS peak", memory, func(s *Sample) float64 { return float64(s.RSSPeak) }, true, "RSS peak", nil},
	{"switches", "context switches a request", plain, func(s *Sample) float64 { return s.Switches }, true, "", nil},
	{"errors", "failed requests a round", whole, func(s *Sample) float64 { return float64(failures(s)) }, false, "", nil},
	{"proxy_core", "proxy core busy", percent, func(s *Sample) float64 { return s.ProxyCore.Busy }, false, "", nil},
	{"load_core", "load core busy", percent, func(s *Sample) float64 { return s.LoadCore.Busy }, false, "", nil},
	{"updates_per_second", "updates/s", whole, ofChurn(func(s *Sample) float64 { return s.Churn.PerSecond }), true, "updates/s", updated},
	{"ack_p50_us", "reply to an update p50", latency, ofChurn(func(s *Sample) float64 { return s.Churn.P50us }), true, "", updated},
	{"ack_p99_us", "reply to an update p99", latency, ofChurn(func(s *Sample) float64 { return s.Churn.P99us }), true, "reply p99", updated},
	{"ack_max_us", "reply to an update max", latency, ofChurn(func(s *Sample) float64 { return s.Churn.MaxUs }), true, "", updated},
}

// metricOf is the metric of a key.
func metricOf(key string) *metric {
	for i := range metrics {
		if metrics[i].key == key {
			return &metrics[i]
		}
	}
	panic("BUG: there is no metric " + key)
}

// failures are the requests of a round that failed, of all kinds.
func failures(s *Sample) (n int64) {
	for _, k := range s.Load.Errors {
		n += k
	}
	return n
}

// some tells whether any sample is as asked for.
func some(ok func(*Sample) bool) func(*Run, []*Sample) bool {
	return func(_ *Run, samples []*Sample) bool {
		for _, s := range samples {
			if ok(s) {
				return true
			}
		}
		return false
	}
}

var updated = some(func(s *Sample) bool { return s.Churn != nil })

// ofChurn is a figure of updates, 0 for a round without.
func ofChurn(of func(*Sample) float64) func(*Sample) float64 {
	return func(s *Sample) float64 {
		if s.Churn == nil {
			return 0
		}
		return of(s)
	}
}

// largeBody is the size of bodies, in bytes for a request in both directions, from which on CPU time for a megabyte is shown.
const largeBody = 100_000

// large tells whether bodies are the work of a run. Their size follows from the two ways to divide CPU time, which holds
// for uploads as well.
func large(r *Run, _ []*Sample) bool {
	return some(func(s *Sample) bool { return s.CPUPerMB > 0 && s.CPUUs/s.CPUPerMB*(1<<20) >= largeBody })(r, pointers(r.Samples))
}

func pointers(samples []Sample) []*Sample {
	p := make([]*Sample, len(samples))
	for i := range samples {
		p[i] = &samples[i]
	}
	return p
}

// unit is the name and the factor with which values of a kind are shown, for medians up to most.
func (k kind) unit(most float64) (name string, scale float64) {
	switch k {
	case cpuTime:
		return "µs", 1
	case latency:
		switch {
		case most >= 1e7:
			return "s", 1e-6
		case most >= 1e4:
			return "ms", 1e-3
		}
		return "µs", 1
	case memory:
		return "MiB", 1.0 / (1 << 20)
	case percent:
		return "%", 100
	}
	return "", 1
}

// digits is how many digits of a value are worth showing.
func (k kind) digits() int {
	if k == cpuTime {
		return 4
	}
	return 3
}

// decimals is the number of digits behind the point with which v shows as many significant ones, at most three.
func decimals(v float64, digits int) int {
	if v == 0 || !finite(v) {
		return 0
	}
	rounded := math.Abs(v) * (1 + math.Pow10(-digits)/2) // 9.999 has as many before the point as 10
	n := digits - 1 - int(math.Floor(math.Log10(rounded)))
	return min(max(n, 0), 3)
}

// fixed writes a number with commas between thousands.
func fixed(v float64, decimals int) string {
	if !finite(v) {
		return "–"
	}
	s := fmt.Sprintf("%.*f", decimals, math.Abs(v))
	integer, fraction, _ := strings.Cut(s, ".")
	for i := len(integer) - 3; i > 0; i -= 3 {
		integer = integer[:i] + "," + integer[i:]
	}
	if fraction != "" {
		integer += "." + fraction
	}
	if v < 0 && strings.Trim(s, "0.") != "" {
		return "-" + integer
	}
	return integer
}

// number writes a number with so many significant digits; those before the point are all shown.
func number(v float64, digits int) string { return fixed(v, decimals(v, digits)) }

// texts is a spread in words: the median, and the range.
func texts(s Spread, k kind, scale float64) (median, around string) {
	d := 0
	if k != whole && k != percent {
		if d = decimals(s.Median*scale, k.digits()); s.Median == 0 {
			d = decimals(s.Max*scale, k.digits())
		}
	}
	if !finite(s.Min) || !finite(s.Max) {
		return fixed(s.Median*scale, d), ""
	}
	low := d
	if k != whole && k != percent && s.Min*farApart < s.Median { // or nothing would be left of it
		low = max(d, decimals(s.Min*scale, 2))
	}
	return fixed(s.Median*scale, d), fixed(s.Min*scale, low) + "–" + fixed(s.Max*scale, d)
}

// row is one line of the table of a run.
type row struct {
	Title string
	Part  bool // of the figure above it
	Cells []cell
}

// cell is one figure of a contender; the zero value is that of none.
type cell struct {
	Median, Range string
}

// cellOf leaves out a range that has nothing in it.
func cellOf(s Spread, k kind, scale float64) cell {
	median, around := texts(s, k, scale)
	if lo, hi, _ := strings.Cut(around, "–"); lo == hi {
		around = ""
	}
	return cell{median, around}
}

func (c cell) String() string {
	if c.Median == "" {
		return "–"
	}
	if c.Range == "" {
		return c.Median
	}
	return c.Median + " (" + c.Range + ")"
}

// rows is the table of a run, one cell for each of its Results.
func (r *Run) rows() []row {
	var list []row
	for i := range metrics {
		m := &metrics[i]
		most, any := 0.0, false
		for _, res := range r.Results {
			if s, ok := res.Metrics[m.key]; ok {
				most, any = max(most, s.Median), true
			}
		}
		if !any {
			continue
		}
		name, scale := m.kind.unit(most)
		line := row{Title: strings.TrimSpace(m.title), Part: strings.HasPrefix(m.title, " ")}
		if name != "" {
			line.Title += ", " + name
		}
		for _, res := range r.Results {
			var c cell
			if s, ok := res.Metrics[m.key]; ok {
				c = cellOf(s, m.kind, scale)
			}
			line.Cells = append(line.Cells, c)
		}
		list = append(list, line)
	}
	count := func(title string, of func([]*Sample) string) {
		line := row{Title: title}
		for _, res := range r.Results {
			line.Cells = append(line.Cells, cell{Median: of(r.of(res.Contender))})
		}
		list = append(list, line)
	}
	count("bottleneck", sides)
	count("requests in all", func(s []*Sample) string {
		return fixed(float64(total(s, func(s *Sample) int64 { return s.Load.Requests })), 0)
	})
	return list
}

// ratioRows is the table of ratios: the names of its columns, and a line for each pair of contenders worth one.
func (r *Run) ratioRows() (columns []string, list []row) {
	var keys []string
	for i := range metrics {
		m := &metrics[i]
		for _, t := range r.Ratios {
			if _, ok := t.Metrics[m.key]; ok && m.short != "" && t.alike() {
				keys, columns = append(keys, m.key), append(columns, m.short)
				break
			}
		}
	}
	for _, t := range r.Ratios {
		if !t.alike() {
			continue
		}
		line := row{Title: t.Over + " / " + t.Under}
		for _, key := range keys {
			var c cell
			if s, ok := t.Metrics[key]; ok {
				c = cellOf(s, plain, 1)
			}
			line.Cells = append(line.Cells, c)
		}
		list = append(list, line)
	}
	return columns, list
}

// total adds up one count.
func total(samples []*Sample, of func(*Sample) int64) (n int64) {
	for _, s := range samples {
		n += of(s)
	}
	return n
}

// sides counts the rounds by their bottleneck: "proxy", or "proxy 4, load 1".
func sides(samples []*Sample) string {
	var parts []string
	for _, side := range []string{"proxy", "both", "load", "neither"} {
		n := 0
		for _, s := range samples {
			if s.Bottleneck == side {
				n++
			}
		}
		if n > 0 && n == len(samples) {
			return side
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", side, n))
		}
	}
	return strings.Join(parts, ", ")
}

// quantile is one of the percentiles that load.Latency names.
type quantile struct {
	name  string
	q, us float64
}

// quantiles are the named percentiles of a round.
func quantiles(s *Sample) []quantile {
	l := &s.Load.Latency
	return []quantile{{"p50", 0.5, l.P50}, {"p90", 0.9, l.P90}, {"p99", 0.99, l.P99}, {"p99.9", 0.999, l.P999},
		{"p99.99", 0.9999, l.P9999}, {"max", 1, l.Max}}
}
