package health

import (
	"fmt"

	"dyups/upstream"
)

// settleAll is settle for the upstreams whose servers p asks; mu is held.
func (c *Checker) settleAll(p *prober) {
	settled := map[*upstream.Upstream]bool{}
	for s := range p.states {
		if u := c.panicky[s]; u != nil && !settled[u] {
			settled[u] = true
			c.settle(u)
		}
	}
}

// settle bars the servers of an upstream that are ill, or lets all go if it has a panic threshold and panics; mu is
// held. Backup servers count as others do. Those that wait for their first verdict do not count and are not let go: servers that are
// added must neither begin a panic nor get requests by it before their first passed check.
func (c *Checker) settle(u *upstream.Upstream) {
	all, well := 0, 0
	for _, s := range u.Servers {
		if p := worst(c.of[s.State]); p != nil && p.known {
			all++
			if p.up.Load() {
				well++
			}
		}
	}
	panics := well*100 < u.PanicBelow*all
	for _, s := range u.Servers {
		p := worst(c.of[s.State])
		switch {
		case p == nil:
		case !p.up.Load() && (!panics || !p.known):
			if !s.State.Barred() {
				s.State.Bar()
			}
		case s.State.Barred():
			s.State.Unbar(upstream.NowNs())
		}
	}
	if panics == u.Panics() {
		return
	}
	u.SetPanics(panics)
	word := "has enough healthy servers again: %d of %d, the threshold is %d%%"
	if panics {
		word = "panics, requests go to all its servers: %d of %d are healthy, the threshold is %d%%"
	}
	c.log(levelNotice, fmt.Sprintf("upstream %q "+word, u.Name, well, all, u.PanicBelow))
}
