package result

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// compactFrom is the number of runs from which on a terminal gets one line for each contender of a run instead of a table.
const compactFrom = 4

// WriteText prints the report as tables for a terminal. Figures are medians of the rounds, with the least and the greatest
// behind them. With few runs all figures are there, with many only the first ones.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.writeHead(&b)
	if len(r.Runs) < compactFrom {
		for i := range r.Runs {
			r.Runs[i].writeText(&b)
		}
	} else {
		r.writeCompact(&b)
	}
	r.writeGoals(&b)
	writeNotes(&b, r.Notes)
	_, err := io.WriteString(w, b.String())
	return err
}

// table is aligned columns. What it writes goes to memory, so there are no errors.
func table(b *strings.Builder, write func(line func(cells ...string))) {
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	write(func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) })
	t.Flush()
}

func (r *Report) writeHead(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "date     %s\n", r.Date.Format(time.RFC3339))
	fmt.Fprintf(b, "command  %s\n", strings.Join(r.Command, " "))
	if r.Commit != "" {
		fmt.Fprintf(b, "commit   %s\n", r.Commit)
	}
	fmt.Fprintf(b, "machine  %s\n", m.text())
	fmt.Fprintf(b, "kernel   %s\n", m.Kernel)
	fmt.Fprintf(b, "go       %s\n", m.Go)
	fmt.Fprintf(b, "cores    proxy %d, load and origins %d\n", r.ProxyCPU, r.LoadCPU)
	for _, p := range r.versions() {
		fmt.Fprintf(b, "%-8s %s\n", p.Name, p.Version)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "skipped  %s: %s\n", s.Name, s.Why)
	}
}

func (m *Machine) text() string {
	counter := "instructions are counted"
	if !m.Counter {
		counter = "no instruction counter"
	}
	return fmt.Sprintf("%s, %d cores, %s MiB, %s, %s", m.CPU, m.Cores, fixed(float64(m.Memory>>20), 0), m.Arch, counter)
}

// versions are the programs of the report, each once though it may have had several settings.
func (r *Report) versions() []Program {
	var list []Program
	seen := make(map[[2]string]bool)
	for _, p := range r.Programs {
		if k := [2]string{p.Name, p.Version}; !seen[k] {
			seen[k] = true
			list = append(list, p)
		}
	}
	return list
}

// writeText prints one run whole.
func (r *Run) writeText(b *strings.Builder) {
	fmt.Fprintf(b, "\n== %s: %s\n\n", r.Scenario, r.Title)
	if len(r.Results) > 0 {
		table(b, func(line func(...string)) {
			line(append([]string{r.rounds()}, r.Contenders...)...)
			for _, row := range r.rows() {
				if row.Part {
					row.Title = "  " + row.Title
				}
				line(row.strings()...)
			}
		})
	}
	if columns, rows := r.ratioRows(); len(rows) > 0 {
		fmt.Fprintln(b)
		table(b, func(line func(...string)) {
			line(append([]string{"ratio in the same round"}, columns...)...)
			for _, row := range rows {
				line(row.strings()...)
			}
		})
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintln(b)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "skipped  %s: %s\n", s.Name, s.Why)
	}
	writeNotes(b, r.Notes)
}

// rounds says what the figures of a run's table are.
func (r *Run) rounds() string {
	if r.Rounds == 1 {
		return "one round"
	}
	return fmt.Sprintf("median (min–max) of %d rounds", r.Rounds)
}

func (r *row) strings() []string {
	s := []string{r.Title}
	for _, c := range r.Cells {
		s = append(s, c.String())
	}
	return s
}

func writeNotes(b *strings.Builder, notes []string) {
	if len(notes) > 0 {
		b.WriteString("\nNotes:\n")
	}
	for _, n := range notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
}

// writeCompact prints a line for each contender of each run.
func (r *Report) writeCompact(b *strings.Builder) {
	fmt.Fprintln(b)
	table(b, func(line func(...string)) {
		line("scenario", "", "CPU a request, µs", "ratio to", "requests/s", "p50", "p99", "RSS peak, MiB", "reply to an update, p99", "failed")
		for i := range r.Runs {
			r.Runs[i].writeLines(line)
		}
	})
	b.WriteString("\nMedians of the rounds, CPU with (min–max), and \"a MB\" where bodies are large; " +
		"requests that failed in all rounds together.\n")
	for i := range r.Runs {
		run := &r.Runs[i]
		if len(run.Skipped)+len(run.Notes) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s\n", run.Scenario)
		for _, s := range run.Skipped {
			fmt.Fprintf(b, "- skipped %s: %s\n", s.Name, s.Why)
		}
		for _, n := range run.Notes {
			fmt.Fprintf(b, "- %s\n", n)
		}
	}
}

// writeLines prints the lines of one run.
func (r *Run) writeLines(line func(...string)) {
	for i, res := range r.Results {
		name := r.Scenario
		if i > 0 {
			name = ""
		}
		key := r.cpuKey()
		cpu := cellOf(res.Metrics[key], cpuTime, 1).String()
		if key == "cpu_us_mb" {
			cpu += " a MB"
		}
		cells := []string{name, res.Contender, cpu, r.against(res.Contender)}
		for _, key := range []string{"per_second", "p50_us", "p99_us", "rss_peak_bytes", "ack_p99_us"} {
			cells = append(cells, res.single(key))
		}
		line(append(cells, fixed(float64(total(r.of(res.Contender), failures)), 0))...)
	}
}

// cpuKey is the first figure of a run: CPU time for a megabyte where bodies are large, else for a request.
func (r *Run) cpuKey() string {
	if large(r, nil) {
		return "cpu_us_mb"
	}
	return "cpu_us"
}

// against is the ratio of a contender's first figure to that of the same proxy when nothing happens to it or, without such
// a contender, to that of the first one of the run. "" where there is nothing to compare with.
func (r *Run) against(name string) string {
	under := r.Contenders[0]
	if base(name) != name && slices.Contains(r.Contenders, base(name)) {
		under = base(name)
	}
	for _, t := range r.Ratios {
		if s, ok := t.Metrics[r.cpuKey()]; ok && t.Over == name && t.Under == under && t.alike() {
			return fixed(s.Median, 2) + " " + under
		}
	}
	return ""
}

// single is the median of one metric with its unit, as far as its column does not tell it.
func (res *Result) single(key string) string {
	s, ok := res.Metrics[key]
	if !ok {
		return ""
	}
	m := metricOf(key)
	if m.kind == latency {
		return duration(s.Median)
	}
	_, scale := m.kind.unit(s.Median)
	median, _ := texts(s, m.kind, scale)
	return median
}

// writeGoals prints the goals that were measured.
func (r *Report) writeGoals(b *strings.Builder) {
	if len(r.Goals) == 0 {
		return
	}
	fmt.Fprintln(b)
	table(b, func(line func(...string)) {
		line("goal", "target", "measured", "", "from")
		for _, g := range r.Goals {
			line(g.Title, g.Target, g.cell().String(), g.verdict(), g.Source)
		}
	})
}

func (g *Goal) cell() cell { return cellOf(g.Measured, plain, 1) }

func (g *Goal) verdict() string {
	if g.Met {
		return "met"
	}
	return "missed"
}
