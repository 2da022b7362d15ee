package result

import (
	"math"
	"strconv"
	"strings"
)

// coord is a length in a chart, in the units of its viewBox. It is written with one digit behind the point.
type coord float64

func (c coord) String() string {
	s := strconv.FormatFloat(float64(c), 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

// scale maps values from lo to hi to coordinates from a to b, evenly or by their logarithms.
type scale struct {
	lo, hi float64
	a, b   coord
	log    bool
}

// sane is where an axis ends at the latest: within it, rounding is nothing to think about.
const sane = 1e15

// linear is a scale from 0 to a little above most.
func linear(most float64, a, b coord) scale {
	if !finite(most) || most < 1/sane {
		most = 1
	}
	return scale{hi: min(most, sane) * 1.05, a: a, b: b}
}

// logarithmic is a scale around values from least to most, both above 0.
func logarithmic(least, most float64, a, b coord) scale {
	if !finite(least) {
		least = 1
	}
	least = min(max(least, 1/sane), sane)
	if !finite(most) || most < least {
		most = least
	}
	most = min(most, sane)
	if most/least < 4 { // a flat line belongs in the middle of some range
		least, most = least/2, most*2
	}
	return scale{lo: least / 1.15, hi: most * 1.15, a: a, b: b, log: true}
}

// fits tells whether a value has a place: it is a finite number and, on a logarithmic scale, above 0.
func (s *scale) fits(v float64) bool { return finite(v) && (!s.log || v > 0) }

// at is the place of a value. What lies outside is put on the edge.
func (s *scale) at(v float64) coord {
	share := 0.0
	switch {
	case !s.fits(v):
	case s.log:
		share = math.Log(v/s.lo) / math.Log(s.hi/s.lo)
	default:
		share = (v - s.lo) / (s.hi - s.lo)
	}
	return s.a + coord(min(max(share, 0), 1))*(s.b-s.a)
}

// ticks are round values on a scale, at most about eight.
func (s *scale) ticks() []float64 {
	if s.log {
		return s.logTicks()
	}
	step := math.Pow(10, math.Floor(math.Log10(s.hi/4)))
	for _, f := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
		if s.hi/step > 7 {
			step *= f
		}
	}
	var list []float64
	for i := 0; i < 10 && float64(i)*step <= s.hi; i++ {
		list = append(list, float64(i)*step)
	}
	return list
}

func (s *scale) logTicks() []float64 {
	decades := math.Log10(s.hi / s.lo)
	factors := []float64{1, 2, 5}
	switch {
	case decades > 4:
		factors = []float64{1}
	case decades > 2.2:
		factors = []float64{1, 3}
	}
	skip := max(1, int(math.Ceil(decades/8))) // decades from one tick to the next
	var list []float64
	for e := int(math.Floor(math.Log10(s.lo))); float64(e) <= math.Log10(s.hi); e++ {
		for _, f := range factors {
			if v := f * math.Pow(10, float64(e)); v >= s.lo && v <= s.hi && (skip == 1 || e%skip == 0) {
				list = append(list, v)
			}
		}
	}
	return list
}

// tickText writes a round number in as few characters as it takes.
func tickText(v float64) string {
	switch {
	case v >= 1e9:
		return short(v/1e9) + "G"
	case v >= 1e6:
		return short(v/1e6) + "M"
	case v >= 1e4:
		return short(v/1e3) + "k"
	}
	return short(v)
}

// timeText is tickText for a time in µs.
func timeText(us float64) string {
	switch {
	case us >= 0.999e6:
		return tickText(us/1e6) + " s"
	case us >= 0.999e3:
		return short(us/1e3) + " ms"
	}
	return short(us) + " µs"
}

// short leaves out what a power of ten computed in floating point has too much.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// point is one value of a line.
type point struct{ x, y float64 }

// path is a line through points as an SVG path, broken where a point has no place. Points that would be drawn on top of
// each other are left out, so its length is bounded by the size of the chart.
func path(points []point, x, y *scale) string {
	var b strings.Builder
	const near = 0.5
	var lastX, lastY coord
	down := false
	for i, p := range points {
		if !x.fits(p.x) || !y.fits(p.y) {
			down = false
			continue
		}
		px, py := x.at(p.x), y.at(p.y)
		end := i == len(points)-1
		if down && !end && max(px-lastX, lastX-px, py-lastY, lastY-py) < near {
			continue
		}
		cmd := "L"
		if !down {
			cmd = "M"
		}
		b.WriteString(cmd + px.String() + " " + py.String())
		if !down && (end || !y.fits(points[i+1].y) || !x.fits(points[i+1].x)) {
			b.WriteString("h0.1") // a point alone is seen by its round cap
		}
		lastX, lastY, down = px, py, true
	}
	return b.String()
}

// thin makes at most so many points of many: each stands for a stretch of them and has its mean place and its value by of.
func thin(points []point, most int, of func([]point) float64) []point {
	if len(points) <= most {
		return points
	}
	list := make([]point, 0, most)
	for i := range most {
		part := points[i*len(points)/most : (i+1)*len(points)/most]
		x := part[0].x/2 + part[len(part)-1].x/2
		list = append(list, point{x, of(part)})
	}
	return list
}

// meanOf and worstOf are values for a stretch of points.
func meanOf(points []point) float64 {
	sum, n := 0.0, 0.0
	for _, p := range points {
		if finite(p.y) {
			sum, n = sum+p.y, n+1
		}
	}
	return sum / n // without any: no number, a gap
}

func worstOf(points []point) float64 {
	worst := math.NaN()
	for _, p := range points {
		if finite(p.y) && !(p.y <= worst) {
			worst = p.y
		}
	}
	return worst
}
