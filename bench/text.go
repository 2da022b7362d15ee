package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText prints the report as tables for a terminal. Each figure is the median of the rounds, with the least and the
// greatest behind it.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.writeHead(&b)
	if err := r.writeResults(&b); err != nil {
		return err
	}
	if err := r.writeRatios(&b); err != nil {
		return err
	}
	r.writeChurn(&b)
	if len(r.Notes) > 0 {
		b.WriteString("\nNotes:\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHead(b *strings.Builder) {
	o, m := r.Options, r.Machine
	fmt.Fprintf(b, "%s: %d connections, %d rounds of %d s, one worker on core %d, load and origins on core %d\n",
		o.Scenario, o.Connections, o.Rounds, o.Seconds, o.ProxyCPU, o.LoadCPU)
	fmt.Fprintf(b, "date     %s\n", r.Date.Format(time.RFC3339))
	fmt.Fprintf(b, "command  %s\n", strings.Join(r.Command, " "))
	if r.Commit != "" {
		fmt.Fprintf(b, "commit   %s\n", r.Commit)
	}
	fmt.Fprintf(b, "machine  %s, %d cores, %d MiB, %s\n", m.CPU, m.Cores, m.Memory>>20, m.Arch)
	fmt.Fprintf(b, "kernel   %s\n", m.Kernel)
	for _, p := range r.Programs {
		fmt.Fprintf(b, "%-8s %s\n", p.Name, p.Version)
	}
	fmt.Fprintf(b, "load     %s\n", r.Load)
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "skipped  %s: %s\n", s.Name, s.Why)
	}
}

// cell is a spread as text.
func cell(s Spread, format string, scale float64) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median*scale, s.Min*scale, s.Max*scale)
}

func (r *Report) writeResults(b *strings.Builder) error {
	fmt.Fprintln(b)
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "median (min–max)\t%s\n", strings.Join(r.Contenders, "\t"))
	for _, m := range metrics {
		fmt.Fprint(t, m.title)
		for _, res := range r.Results {
			fmt.Fprint(t, "\t", cell(res.Metrics[m.key], m.format, m.scale))
		}
		fmt.Fprintln(t)
	}
	row := func(title string, of func([]*Sample) string) {
		fmt.Fprint(t, title)
		for _, name := range r.Contenders {
			fmt.Fprint(t, "\t", of(r.of(name)))
		}
		fmt.Fprintln(t)
	}
	row("bottleneck", func(s []*Sample) string { return sides(s) })
	row("requests in all", func(s []*Sample) string {
		return fmt.Sprint(total(s, func(s *Sample) int64 { return s.Requests }))
	})
	row("socket errors, bad statuses", func(s []*Sample) string {
		return fmt.Sprintf("%d, %d", total(s, func(s *Sample) int64 { return s.SocketErrors }),
			total(s, func(s *Sample) int64 { return s.BadStatus }))
	})
	return t.Flush()
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
		n := total(samples, func(s *Sample) int64 {
			if s.Bottleneck == side {
				return 1
			}
			return 0
		})
		if n == int64(len(samples)) {
			return side
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", side, n))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *Report) writeRatios(b *strings.Builder) error {
	if len(r.Ratios) == 0 {
		return nil
	}
	fmt.Fprintln(b)
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "ratio in the same round")
	for _, m := range metrics {
		if m.paired {
			fmt.Fprint(t, "\t", strings.TrimSuffix(m.title, ", µs"))
		}
	}
	fmt.Fprintln(t)
	for _, ratio := range r.Ratios {
		fmt.Fprintf(t, "%s / %s", ratio.Over, ratio.Under)
		for _, m := range metrics {
			if m.paired {
				fmt.Fprint(t, "\t", cell(ratio.Metrics[m.key], "%.3f", 1))
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// writeChurn tells of the updates. What they cost the requests is a row of the ratios.
func (r *Report) writeChurn(b *strings.Builder) {
	for _, name := range r.Contenders {
		var with []*Sample
		for _, s := range r.of(name) {
			if s.Churn != nil {
				with = append(with, s)
			}
		}
		if len(with) == 0 {
			continue
		}
		spread := func(of func(*ChurnSample) float64) string {
			return cell(spreadOf(values(with, func(s *Sample) float64 { return of(s.Churn) })), "%.0f", 1)
		}
		fmt.Fprintf(b, "\n%s: %d updates a second asked for, %s sent, %d in all, %d failed\n", name, r.Options.Churn,
			spread(func(c *ChurnSample) float64 { return c.PerSecond }),
			total(with, func(s *Sample) int64 { return s.Churn.Sent }), total(with, func(s *Sample) int64 { return s.Churn.Failed }))
		fmt.Fprintf(b, "  reply to an update, µs: p50 %s, p99 %s, max %s\n", spread(func(c *ChurnSample) float64 { return c.P50us }),
			spread(func(c *ChurnSample) float64 { return c.P99us }), spread(func(c *ChurnSample) float64 { return c.MaxUs }))
		for _, s := range with {
			if s.Churn.FirstFailure != "" {
				fmt.Fprintf(b, "  round %d, first failure: %s\n", s.Round, s.Churn.FirstFailure)
			}
		}
	}
}
