package result

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var pageText string

// pageTemplate is the whole page. It refers to nothing outside of itself and needs no script.
var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template is given.
type page struct {
	*Report
	Day, Time string
	CommandIn string // one line
	MachineIn string
	Versions  []Program
	Settings  []settingsView
	Met       int // goals
	Goals     []goalView
	Summary   summary
	Runs      []runView
}

type goalView struct {
	Goal
	Cell cell
}

// settingsView is one program with one setup.
type settingsView struct {
	Program
	About string // the comment that its settings begin with: what they are for
	Text  string // cut to a length for reading
}

// runView is one scenario of the page.
type runView struct {
	*Run
	ID, Head     string
	Rows         []row
	RatioColumns []string
	RatioRows    []row
	Charts       []*chart
	Lengths      string // of the round
}

// summary is one line for each scenario, and one more for each condition its proxies were under; a column is a proxy.
type summary struct {
	Proxies []string
	Lines   []summaryLine
}

type summaryLine struct {
	ID, Scenario, Title, Under string
	Unit                       string
	Cells                      []summaryCell
}

type summaryCell struct{ CPU, PerSecond, P99 string }

// WriteHTML writes the report as one page that stands for itself.
func (r *Report) WriteHTML(w io.Writer) error {
	p := page{
		Report: r, Day: r.Date.Format("2006-01-02"), Time: r.Date.Format("15:04 MST"), CommandIn: strings.Join(r.Command, " "),
		MachineIn: r.Machine.text(), Versions: r.versions(),
	}
	for _, g := range r.Goals {
		p.Goals = append(p.Goals, goalView{g, g.cell()})
		if g.Met {
			p.Met++
		}
	}
	for _, s := range r.Programs {
		v := settingsView{Program: s, Text: cut(s.Settings)}
		if first, _, _ := strings.Cut(s.Settings, "\n"); strings.HasPrefix(first, "# ") {
			v.About = first[2:]
		}
		p.Settings = append(p.Settings, v)
	}
	l := newLooks(r)
	for i := range r.Runs {
		p.Runs = append(p.Runs, r.Runs[i].view(i, l))
	}
	p.Summary = r.summary()
	if err := pageTemplate.Execute(w, &p); err != nil {
		return fmt.Errorf("cannot write the report as a page: %w", err)
	}
	return nil
}

// runID is the anchor of a run: a number, because names are not ours.
func runID(i int) string { return fmt.Sprintf("s%d", i+1) }

func (r *Run) view(i int, l *looks) runView {
	v := runView{Run: r, ID: runID(i), Head: r.rounds(), Rows: r.rows(), Charts: r.charts(l)}
	v.RatioColumns, v.RatioRows = r.ratioRows()
	if len(r.Samples) > 0 {
		v.Lengths = fmt.Sprintf("%d × %s s", r.Rounds, number(r.Samples[0].Load.Elapsed.Seconds(), 2))
	}
	return v
}

// summary is the first figures of all runs.
func (r *Report) summary() summary {
	var t summary
	column := make(map[string]int)
	for i := range r.Runs {
		for _, name := range r.Runs[i].Contenders {
			if _, ok := column[base(name)]; !ok {
				column[base(name)] = len(t.Proxies)
				t.Proxies = append(t.Proxies, base(name))
			}
		}
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		lines := make(map[string]int) // by condition
		for _, res := range run.Results {
			under := strings.TrimPrefix(res.Contender, base(res.Contender))
			k, ok := lines[under]
			if !ok {
				k = len(t.Lines)
				lines[under] = k
				t.Lines = append(t.Lines, summaryLine{ID: runID(i), Scenario: run.Scenario, Title: run.Title, Under: under,
					Unit: run.unit(), Cells: make([]summaryCell, len(t.Proxies))})
			}
			cpu, _ := texts(res.Metrics[run.cpuKey()], cpuTime, 1)
			t.Lines[k].Cells[column[base(res.Contender)]] = summaryCell{cpu, res.single("per_second"), res.single("p99_us")}
		}
	}
	return t
}

// unit is that of a run's first figure.
func (r *Run) unit() string {
	if r.cpuKey() == "cpu_us_mb" {
		return "µs a MB"
	}
	return "µs"
}

// longSettings is how many lines of settings a page shows of each program, half of them from the end. A table of 10,000
// upstreams would make the page too large to open.
const longSettings = 400

// cut leaves out the middle of long settings, and says so.
func cut(settings string) string {
	lines := strings.Split(settings, "\n")
	left := len(lines) - longSettings
	if left <= 0 {
		return settings
	}
	head, tail := lines[:longSettings/2], lines[len(lines)-longSettings/2:]
	gap := fmt.Sprintf("\n\n… %s lines are left out here; the JSON report has them …\n\n", fixed(float64(left), 0))
	return strings.Join(head, "\n") + gap + strings.Join(tail, "\n")
}
