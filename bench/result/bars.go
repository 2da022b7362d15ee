package result

const (
	barLeft    coord = 112 // names are on the left of it
	barRight   coord = 376 // values on the right
	barTop     coord = 30
	barHeight  coord = 16
	barAdvance coord = 26
)

// cpuChart is CPU time in bars, user and system, with the range of the rounds as whiskers.
func (r *Run) cpuChart(l *looks) *chart {
	key := r.cpuKey()
	unit := "request"
	if key == "cpu_us_mb" {
		unit = "MB"
	}
	most := 0.0
	for _, res := range r.Results {
		most = max(most, res.Metrics[key].Max)
	}
	if most == 0 || !finite(most) {
		return nil
	}
	c := &chart{Title: "CPU time of a " + unit, Label: "CPU time of a " + unit + " in bars, user and system, for " + r.names(),
		About: "Medians; whiskers from the least to the greatest round."}
	x := linear(most, barLeft, barRight)
	bottom := barTop + barAdvance*coord(len(r.Results)) + 2
	for _, v := range x.ticks() {
		at := x.at(v)
		c.Lines = append(c.Lines, segment{at, barTop - 4, at, bottom, "grid", ""})
		c.Texts = append(c.Texts, text{at, bottom + 15, "middle", "tick", tickText(v)})
	}
	c.Rects = append(c.Rects, rect{barLeft, 6, 12, 10, "user ink", ""}, rect{barLeft + 60, 6, 12, 10, "system ink", ""})
	c.Texts = append(c.Texts, text{barLeft + 17, 15, "start", "title", "user"}, text{barLeft + 77, 15, "start", "title", "system"},
		text{(barLeft + barRight) / 2, bottom + 32, "middle", "title", "µs a " + unit})
	for i, res := range r.Results {
		c.bar(&res, key, l.of(res.Contender, r.Contenders), barTop+barAdvance*coord(i)+4, &x)
	}
	c.Lines = append(c.Lines, segment{barLeft, barTop - 4, barLeft, bottom, "axis", ""})
	c.Height = bottom + 40
	return c
}

// bar draws one contender. User and system time have the shares that their medians have.
func (c *chart) bar(res *Result, key, look string, y coord, x *scale) {
	m := res.Metrics[key]
	user, system := res.Metrics["user_us"].Median, res.Metrics["system_us"].Median
	share := 0.0
	if sum := user + system; sum > 0 {
		share = user / sum
	}
	from, mid, to := x.at(0), x.at(m.Median*share), x.at(m.Median)
	middle, around := texts(m, cpuTime, 1)
	name := res.Contender
	c.Rects = append(c.Rects,
		rect{from, y, mid - from, barHeight, "user " + look, name + ", user: " + number(m.Median*share, 4) + " µs"},
		rect{mid, y, to - mid, barHeight, "system " + look, name + ", system: " + number(m.Median*(1-share), 4) + " µs"})
	lo, hi, at := x.at(m.Min), x.at(m.Max), y+barHeight/2
	c.Lines = append(c.Lines, segment{lo, at, hi, at, "whisker", name + ": " + around + " µs"},
		segment{lo, at - 4, lo, at + 4, "whisker", ""}, segment{hi, at - 4, hi, at + 4, "whisker", ""})
	c.Texts = append(c.Texts, text{barLeft - 6, at + 4, "end", "name", clip(name, labelRunes)},
		text{barRight + 8, at + 4, "start", "name", clip(middle+" µs", labelRunes-1)})
}
