package result

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// inside makes sure that all of a chart is in its viewBox: shapes, and texts as wide as a wide font makes them.
func inside(t *testing.T, c *chart) {
	t.Helper()
	check := func(what string, x, y coord) {
		t.Helper()
		if !(x >= 0 && x <= c.Width() && y >= 0 && y <= c.Height) {
			t.Errorf("%s: %s at %v, %v is outside of %v × %v", c.Title, what, float64(x), float64(y), float64(c.Width()), float64(c.Height))
		}
	}
	for _, l := range c.Lines {
		check("line", l.X1, l.Y1)
		check("line", l.X2, l.Y2)
	}
	for _, r := range c.Rects {
		check("rectangle", r.X, r.Y)
		check("rectangle", r.X+r.W, r.Y+r.H)
		if !(r.W >= 0) {
			t.Errorf("%s: a rectangle is %v wide", c.Title, float64(r.W))
		}
	}
	for _, d := range c.Dots {
		check("dot", d.X-3, d.Y-3)
		check("dot", d.X+3, d.Y+3)
	}
	for _, p := range c.Paths {
		for _, q := range places(t, p.D) {
			check("path", q[0], q[1])
		}
	}
	const height = 12
	for _, s := range c.Texts {
		width := coord(utf8.RuneCountInString(s.S)) * 7.4
		left := map[string]coord{"start": s.X, "middle": s.X - width/2, "end": s.X - width}[s.Anchor]
		check(fmt.Sprintf("text %q", s.S), left, s.Y-height)
		check(fmt.Sprintf("text %q", s.S), left+width, s.Y)
	}
}

var pathStep = regexp.MustCompile(`([ML])([-0-9.]+) ([-0-9.]+)(?:h0\.1)?`)

// places are the points of a path, which has to be made of what package result writes and of nothing else.
func places(t *testing.T, d string) (list [][2]coord) {
	t.Helper()
	if left := pathStep.ReplaceAllString(d, ""); left != "" || !strings.HasPrefix(d, "M") {
		t.Fatalf("strange path %q", d)
	}
	for _, m := range pathStep.FindAllStringSubmatch(d, -1) {
		x, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		y, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, [2]coord{coord(x), coord(y)})
	}
	return list
}

// apart makes sure that the names beside a chart can be read.
func apart(t *testing.T, c *chart) {
	t.Helper()
	var names []text
	for _, s := range c.Texts {
		if s.Class == "name" && s.Anchor == "start" {
			names = append(names, s)
		}
	}
	for i := 1; i < len(names); i++ {
		if names[i].Y-names[i-1].Y < 12 {
			t.Errorf("%s: %q and %q are on top of each other", c.Title, names[i-1].S, names[i].S)
		}
	}
}

// ticksApart makes sure that the numbers on the axes can be read.
func ticksApart(t *testing.T, c *chart) {
	t.Helper()
	last := map[string]text{}
	for _, s := range c.Texts {
		if s.Class != "tick" {
			continue
		}
		if before, ok := last[s.Anchor]; ok {
			runes := coord(utf8.RuneCountInString(s.S)+utf8.RuneCountInString(before.S)) / 2
			if s.Anchor == "middle" && s.X-before.X < runes*7 || s.Anchor == "end" && before.Y-s.Y < 12 {
				t.Errorf("%s: ticks %q and %q are on top of each other", c.Title, before.S, s.S)
			}
		}
		last[s.Anchor] = s
	}
}

func TestChartsOfMade(t *testing.T) {
	r := made()
	l := newLooks(r)
	for i := range r.Runs {
		list := r.Runs[i].charts(l)
		if len(list) != 5 {
			t.Fatalf("%s: got %d charts", r.Runs[i].Scenario, len(list))
		}
		for _, c := range list {
			inside(t, c)
			apart(t, c)
			ticksApart(t, c)
			for _, name := range r.Runs[i].Contenders {
				if !strings.Contains(fmt.Sprint(c.Texts), clip(name, labelRunes)) {
					t.Errorf("%s: %s has no label", c.Title, name)
				}
			}
		}
	}
}

// TestChartLengths draws lines of 0, 1, 2 and very many points.
func TestChartLengths(t *testing.T) {
	f := func(n, wantCharts int) {
		t.Helper()
		r := lengths(n)
		r.Finish()
		list := r.charts(newLooks(&Report{Runs: []Run{*r}}))
		if len(list) != wantCharts {
			t.Fatalf("%d points: got %d charts, want %d", n, len(list), wantCharts)
		}
		for _, c := range list {
			inside(t, c)
			apart(t, c)
			ticksApart(t, c)
			size := len(c.Lines)
			for _, p := range c.Paths {
				size += strings.Count(p.D, "L") + 1
			}
			if size > 6000 {
				t.Errorf("%d points: %s has %d parts", n, c.Title, size)
			}
		}
	}
	f(0, 0)
	f(1, 5)
	f(2, 5)
	f(100, 5)
	f(10_000, 5)
}

func TestChartsOfNasty(t *testing.T) {
	for _, finish := range []bool{false, true} {
		r := nasty()
		if finish {
			r.Finish()
		}
		for _, c := range r.Runs[0].charts(newLooks(r)) {
			inside(t, c)
		}
	}
}

// TestTicks: round values, few of them, in order and on the scale.
func TestTicks(t *testing.T) {
	for e := -14.0; e < 15; e += 0.37 {
		for _, width := range []float64{1.01, 3, 10, 90, 1e3, 1e6, 1e9} {
			v := math.Pow(10, e)
			for _, s := range []scale{linear(v, 0, 100), logarithmic(v, v*width, 0, 100)} {
				ticks := s.ticks()
				if len(ticks) == 0 || len(ticks) > 10 {
					t.Fatalf("%+v: got %d ticks", s, len(ticks))
				}
				for i, tick := range ticks {
					if i > 0 && tick <= ticks[i-1] || !finite(tick) || tick < s.lo || tick > s.hi {
						t.Fatalf("%+v: got ticks %v", s, ticks)
					}
				}
			}
		}
	}
}

func TestTickTexts(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(tickText(0), "0")
	f(tickText(0.30000000000000004), "0.3")
	f(tickText(2500), "2500")
	f(tickText(20000), "20k")
	f(tickText(1.5e6), "1.5M")
	f(timeText(200), "200 µs")
	f(timeText(1000.0000001), "1 ms")
	f(timeText(2e6), "2 s")
	f(percentile(0), "0")
	f(percentile(nines(0.5, 0)), "50")
	f(percentile(nines(0.9, 0)), "90")
	f(percentile(2), "99")
	f(percentile(3), "99.9")
	f(percentile(5), "99.999")
}

func TestNines(t *testing.T) {
	f := func(q float64, count int64, want float64) {
		t.Helper()
		if got := nines(q, count); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v of %d: got %v, want %v", q, count, got, want)
		}
	}
	f(0, 0, 0)
	f(0.9, 0, 1)
	f(0.999, 1e6, 3)
	f(1, 1e5, 5) // the maximum is where one of so many is
	f(1, 0, mostNines)
	f(-3, 0, 0)
	f(7, 0, mostNines)
	f(1, 1, 0)
}

func TestPath(t *testing.T) {
	x, y := scale{hi: 100, b: 100}, scale{hi: 100, b: 100}
	f := func(want string, points ...point) {
		t.Helper()
		if got := path(points, &x, &y); got != want {
			t.Errorf("%v: got %q, want %q", points, got, want)
		}
	}
	nan := math.NaN()
	f("")
	f("M1 2h0.1", point{1, 2})
	f("M1 2L3 4.5", point{1, 2}, point{3, 4.5})
	f("M1 2L3 4M7 8h0.1", point{1, 2}, point{3, 4}, point{5, nan}, point{7, 8})
	f("M1 2h0.1M7 8L9 9", point{1, 2}, point{math.Inf(1), 3}, point{7, 8}, point{9, 9})
	f("M1 2L3 2", point{1, 2}, point{1.1, 2}, point{1.2, 2}, point{3, 2}) // what lies on top of each other
	f("M0 100L100 0", point{-5, 500}, point{500, -5})                     // what lies outside is put on the edge
	f("", point{nan, 1}, point{1, nan})
}

// TestThin: a spike stays, and so does the mean.
func TestThin(t *testing.T) {
	many := make([]point, 10_000)
	for i := range many {
		many[i] = point{float64(i), 10}
	}
	many[7777].y = 500
	worst := 0.0
	for _, p := range thin(many, 300, worstOf) {
		worst = max(worst, p.y)
	}
	if worst != 500 {
		t.Errorf("the spike is %v high", worst)
	}
	if got := thin(many, 300, meanOf); len(got) != 300 || got[0].y != 10 || got[0].x != 16 {
		t.Errorf("got %d points, the first %v", len(got), got[0])
	}
	if got := thin(many[:2], 300, meanOf); len(got) != 2 {
		t.Errorf("got %d points", len(got))
	}
	if got := worstOf([]point{{0, math.NaN()}}); !math.IsNaN(got) {
		t.Errorf("got %v of nothing", got)
	}
}

// TestLooks: a proxy has one colour in all conditions, and dashes tell these apart.
func TestLooks(t *testing.T) {
	r := &Report{Runs: []Run{{Contenders: []string{"nginx", "squid", "dyups", "dyups+churn", "dyups+churn+2w"}}}}
	l := newLooks(r)
	f := func(name, want string) {
		t.Helper()
		if got := l.of(name, r.Runs[0].Contenders); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("nginx", "c0")
	f("dyups", "c4")
	f("dyups+churn", "c4 d1")
	f("dyups+churn+2w", "c4 d2")
	f("squid", "c6")
}
