package result

import (
	"math"
	"slices"
)

// chart is a drawing as the page's template writes it: shapes whose place is fixed and whose look is by class. Texts are
// escaped by the template.
type chart struct {
	Title  string // above it
	About  string // below it
	Label  string // what it shows in words, for those who do not see it
	Height coord
	Lines  []segment
	Rects  []rect
	Paths  []curve
	Dots   []dot
	Texts  []text
}

// Width is that of every chart. Text is 12 units high: legible at the width of a phone and at twice that.
func (c *chart) Width() coord { return chartWidth }

type segment struct {
	X1, Y1, X2, Y2 coord
	Class, Title   string
}

type rect struct {
	X, Y, W, H   coord
	Class, Title string
}

type curve struct {
	D            string
	Class, Title string
}

type dot struct {
	X, Y         coord
	Class, Title string
}

type text struct {
	X, Y   coord
	Anchor string // start, middle or end
	Class  string
	S      string
}

const (
	chartWidth  coord = 480
	plotLeft    coord = 56
	plotRight   coord = 362
	plotTop     coord = 28
	plotBottom  coord = 246
	stripHeight coord = 8  // of the moments of one contender, below the plot
	lineHeight  coord = 14 // of labels
	labelRunes        = 14 // of a name; more do not fit beside a chart
	labelPixels       = 14 // from the plot to a label
)

// series is one line of a chart.
type series struct {
	name   string
	look   string // classes of colour and dashes
	points []point
	pale   [][]point // other rounds
	marks  []mark    // moments at which something happened
	dots   []dotAt   // points worth a word
}

type dotAt struct {
	point
	title string
}

// mark is a moment in the course of a round.
type mark struct {
	at    float64
	title string
	whole bool // drawn over the whole height
}

// plot draws lines in the frame that all line charts share. yText writes the values of the ticks on the left.
type plot struct {
	chart
	x, y   scale
	series []series
}

// frame draws grid, ticks and the titles of both axes.
func (p *plot) frame(yTitle, xTitle string, yText func(float64) string, xTicks []float64, xText func(float64) string) {
	for _, v := range p.y.ticks() {
		at := p.y.at(v)
		p.Lines = append(p.Lines, segment{plotLeft, at, plotRight, at, "grid", ""})
		p.Texts = append(p.Texts, text{plotLeft - 6, at + 4, "end", "tick", yText(v)})
	}
	bottom := plotBottom + p.strips()
	for _, v := range xTicks {
		at := p.x.at(v)
		p.Lines = append(p.Lines, segment{at, plotTop, at, plotBottom, "grid", ""})
		p.Texts = append(p.Texts, text{at, bottom + 15, "middle", "tick", xText(v)})
	}
	p.Lines = append(p.Lines, segment{plotLeft, plotBottom, plotRight, plotBottom, "axis", ""})
	p.Texts = append(p.Texts, text{4, 14, "start", "title", yTitle},
		text{(plotLeft + plotRight) / 2, bottom + 32, "middle", "title", xTitle})
	p.Height = bottom + 40
}

// strips is the height of the moments below the plot: one strip for each series with any.
func (p *plot) strips() coord {
	h := coord(0)
	for i := range p.series {
		if len(p.series[i].marks) > 0 {
			h += stripHeight
		}
	}
	return h
}

// draw draws the series, the pale lines below all others.
func (p *plot) draw() {
	for i := range p.series {
		s := &p.series[i]
		for _, round := range s.pale {
			if d := path(round, &p.x, &p.y); d != "" {
				p.Paths = append(p.Paths, curve{d, "line pale " + s.look, ""})
			}
		}
	}
	for i := range p.series {
		s := &p.series[i]
		if d := path(s.points, &p.x, &p.y); d != "" {
			p.Paths = append(p.Paths, curve{d, "line " + s.look, s.name})
		}
		for _, at := range s.dots {
			if p.x.fits(at.x) && p.y.fits(at.y) {
				p.Dots = append(p.Dots, dot{p.x.at(at.x), p.y.at(at.y), "dot " + s.look, at.title})
			}
		}
	}
	p.moments()
	p.labels()
}

// mostTicks is how many moments of one series are drawn: as many as can be told apart.
const mostTicks = 100

// moments draws when something happened to whom.
func (p *plot) moments() {
	top := plotBottom + 1
	for i := range p.series {
		s := &p.series[i]
		if len(s.marks) == 0 {
			continue
		}
		stride := (len(s.marks) + mostTicks - 1) / mostTicks
		for k := 0; k < len(s.marks); k += stride {
			m := &s.marks[k]
			if !p.x.fits(m.at) {
				continue
			}
			at := p.x.at(m.at)
			p.Lines = append(p.Lines, segment{at, top + 1, at, top + stripHeight - 1, "moment " + s.look, s.name + ": " + m.title})
			if m.whole {
				p.Lines = append(p.Lines, segment{at, plotTop, at, plotBottom, "event " + s.look, s.name + ": " + m.title})
			}
		}
		top += stripHeight
	}
}

// labels writes the names of the series beside their ends, in the order of their ends, without one on top of another.
func (p *plot) labels() {
	type label struct {
		series *series
		x, end coord
		y      coord
	}
	var list []label
	for i := range p.series {
		s := &p.series[i]
		for k := len(s.points) - 1; k >= 0; k-- {
			if q := s.points[k]; p.x.fits(q.x) && p.y.fits(q.y) {
				list = append(list, label{s, p.x.at(q.x), p.y.at(q.y), 0})
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b label) int { return int(math.Copysign(1, float64(a.end-b.end))) })
	height := min(lineHeight, (plotBottom-plotTop)/coord(max(len(list), 1)))
	for i := range list {
		list[i].y = max(list[i].end, plotTop+4)
		if i > 0 {
			list[i].y = max(list[i].y, list[i-1].y+height)
		}
	}
	limit := plotBottom
	for i := len(list) - 1; i >= 0; i-- {
		list[i].y = min(list[i].y, limit)
		limit = list[i].y - height
	}
	for i := range list {
		l := &list[i]
		p.Paths = append(p.Paths, curve{path([]point{{float64(l.x), float64(l.end)}, {float64(plotRight + 4), float64(l.y)},
			{float64(plotRight + labelPixels - 2), float64(l.y)}}, &unscaled, &unscaled), "leader " + l.series.look, ""})
		p.Texts = append(p.Texts, text{plotRight + labelPixels, l.y + 4, "start", "name", clip(l.series.name, labelRunes)})
	}
}

// unscaled is for points that are coordinates already.
var unscaled = scale{hi: float64(chartWidth), b: chartWidth}

// clip shortens a name.
func clip(name string, most int) string {
	r := []rune(name)
	if len(r) <= most {
		return name
	}
	return string(r[:most-1]) + "…"
}
