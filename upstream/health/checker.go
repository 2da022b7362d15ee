package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/panjf2000/ants/v2"

	"dyups/upstream"
)

// levelNotice is the error log's.
const levelNotice = 5

// How many probes may run at once; others wait for their turn, which must not come to pass: servers that hang keep their probes for
// the whole timeout, a minute for a health_check by default, and would hide from then on what becomes of all others. A worker that
// is idle costs nothing. What stands against more is that each probe has a descriptor, so a quarter of those is the bound.
const (
	leastWorkers = 256
	mostWorkers  = 1 << 16
)

func workers() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return leastWorkers
	}
	return int(min(max(files.Cur/4, leastWorkers), mostWorkers))
}

// Checker asks the servers of a Store. Make one with New; its methods may be called from any goroutine.
type Checker struct {
	log  func(level int, msg string)
	pool *ants.Pool

	mu      sync.Mutex // guards all below and the fields of probers that say so
	closed  bool
	probers map[target]*prober
	of      map[*upstream.State][]*prober          // that ask the server
	panicky map[*upstream.State]*upstream.Upstream // of servers of upstreams with PanicBelow: what they stand in
}

// target is what one prober asks, and how.
type target struct {
	label string // of the server
	check upstream.Check
}

// targetOf is the target of a server in one of its checks: the same one for all upstreams that ask it alike.
func targetOf(s *upstream.Server, check *upstream.Check) target {
	return target{s.Label, check.Question()}
}

// New makes a Checker of the servers in store, and is told of its changes from then on. log gets a line when the health of a
// server changes; level is that of the error log.
func New(store *upstream.Store, log func(level int, msg string)) (*Checker, error) {
	pool, err := ants.NewPool(workers())
	if err != nil {
		return nil, fmt.Errorf("cannot make the workers of health checks: %w", err)
	}
	c := &Checker{log: log, pool: pool, probers: map[target]*prober{}, of: map[*upstream.State][]*prober{},
		panicky: map[*upstream.State]*upstream.Upstream{}}
	store.OnNew(c.isNew)
	store.Watch(c.changed)
	return c, nil
}

// Close ends all probes and waits for those under way.
func (c *Checker) Close() {
	c.mu.Lock()
	c.closed = true
	all := c.probers
	c.probers = map[target]*prober{}
	for _, p := range all {
		p.stop()
	}
	c.mu.Unlock()
	for _, p := range all {
		p.work.Wait()
	}
	c.pool.Release()
}

// checked reports whether a server is asked at all.
func checked(u *upstream.Upstream, s *upstream.Server) bool { return len(u.Checks) > 0 && !s.Down }

// isNew bars a server that nobody can see yet, or that was marked down and so was not asked, if it is known or taken to be unhealthy.
func (c *Checker) isNew(u *upstream.Upstream, s *upstream.Server) {
	if !checked(u, s) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, check := range u.Checks {
		if p := c.probers[targetOf(s, check)]; p != nil && !p.up.Load() || p == nil && check.DefaultDown {
			s.State.Bar()
		}
	}
}

// changed follows the table.
func (c *Checker) changed(old, now *upstream.Table) {
	now.Diff(old, func(before, after *upstream.Upstream) {
		if (before == nil || len(before.Checks) == 0) && (after == nil || len(after.Checks) == 0) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			return
		}
		c.follow(before, after)
	})
}

// follow has the probers follow a change of an upstream; nil: there was or is none. Whether a server gets requests is decided once,
// when all is known, so that what a change keeps is not barred for a moment. mu is held.
func (c *Checker) follow(before, after *upstream.Upstream) {
	var ill []*upstream.Server // of after
	for _, s := range asked(after) {
		if w := worst(c.of[s.State]); w != nil && w.known && !w.up.Load() {
			ill = append(ill, s)
		}
		c.attach(after, s)
	}
	for _, s := range asked(before) {
		c.detach(before, s)
		delete(c.panicky, s.State)
		if c.of[s.State] == nil {
			s.State.Unbar(upstream.NowNs())
		}
	}
	if after == nil {
		return
	}
	if after.PanicBelow > 0 {
		for _, s := range asked(after) {
			c.panicky[s.State] = after
		}
	}
	c.settle(after)
	for _, s := range ill {
		if worst(c.of[s.State]).up.Load() {
			c.log(levelNotice, fmt.Sprintf("server %s of upstream %q is healthy: what it has failed is not asked any more", s.Label, after.Name))
		}
	}
}

// asked gives the servers of an upstream that are asked; nil is one without.
func asked(u *upstream.Upstream) (list []*upstream.Server) {
	if u == nil {
		return nil
	}
	for _, s := range u.Servers {
		if checked(u, s) {
			list = append(list, s)
		}
	}
	return list
}

// firstWithin is the time within which a server is asked first: soon, as it may have to pass before it gets requests, and yet not all
// servers of a change at once, nor in step ever after. The module takes the whole interval for it.
func firstWithin(interval time.Duration) time.Duration { return min(time.Second, interval/10) }

// attach has a server's State follow the probers of its targets; mu is held. One that takes the place of another takes over what that
// has found, until its own answers say otherwise.
func (c *Checker) attach(u *upstream.Upstream, s *upstream.Server) {
	var gone []*prober // that do not ask any more
	for _, p := range c.of[s.State] {
		if !slices.ContainsFunc(u.Checks, func(check *upstream.Check) bool { return targetOf(s, check) == p.at }) {
			gone = append(gone, p)
		}
	}
	for _, check := range u.Checks {
		at := targetOf(s, check)
		p := c.probers[at]
		if p == nil {
			p = newProber(c, at, s, check)
			c.probers[at] = p
			p.known = !s.State.Barred() || !check.DefaultDown
			p.up.Store(p.known)
			p.since = time.Now()
			if was := replaced(gone, u, check); was != nil { // in a panic those that are ill are not barred
				p.known = was.known
				p.up.Store(was.up.Load())
				p.since = was.since
			}
			p.again(rand.N(firstWithin(at.check.Interval) + 1))
		}
		if p.states[s.State]++; p.states[s.State] == 1 {
			c.of[s.State] = append(c.of[s.State], p)
		}
	}
}

// replaced gives that one of the probers which are gone whose place a new check of u takes: the one that asked for the same thing in
// another way, or else the worst of those that asked for what nobody asks for now; nil if there is none.
func replaced(gone []*prober, u *upstream.Upstream, check *upstream.Check) *prober {
	same := func(a, b *upstream.Check) bool { return a.Type == b.Type && a.Port == b.Port && a.Send == b.Send }
	var others []*prober
	for _, p := range gone {
		if same(&p.at.check, check) {
			return p
		}
		if !slices.ContainsFunc(u.Checks, func(c *upstream.Check) bool { return same(&p.at.check, c) }) {
			others = append(others, p)
		}
	}
	return worst(others)
}

// detach ends that for the server as it was; mu is held.
func (c *Checker) detach(u *upstream.Upstream, s *upstream.Server) {
	for _, check := range u.Checks {
		at := targetOf(s, check)
		p := c.probers[at]
		if p == nil {
			continue
		}
		if p.states[s.State]--; p.states[s.State] > 0 {
			continue
		}
		delete(p.states, s.State)
		if len(p.states) == 0 {
			delete(c.probers, at)
			p.stop()
		}
		c.of[s.State] = slices.DeleteFunc(c.of[s.State], func(o *prober) bool { return o == p })
		if len(c.of[s.State]) == 0 {
			delete(c.of, s.State)
		}
	}
}

// worst is the prober whose word counts for a server that all of these ask: the first for which it is ill, else that for which it
// has to pass yet, else any; nil if nobody asks.
func worst(all []*prober) (w *prober) {
	for _, p := range all {
		switch {
		case !p.up.Load() && p.known:
			return p
		case w == nil || !p.up.Load() && w.up.Load():
			w = p
		}
	}
	return w
}

// turn says what the server is from now on; mu is held.
func (p *prober) turn(up bool) {
	if p.up.Swap(up) != up {
		p.since = time.Now()
	}
}

// result counts what came of a probe, and asks again later: from then on the probe's worker must not touch p. If nobody wants to
// know any more it reports false.
func (c *Checker) result(p *prober, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	k := &p.at.check
	if err == nil {
		p.rises, p.falls = p.rises+1, 0
	} else {
		p.rises, p.falls = 0, p.falls+1
	}
	switch up := p.up.Load(); {
	case !up && err == nil && p.rises >= k.Rise:
		p.known = true
		p.turn(true)
		well := 0
		for s := range p.states {
			if worst(c.of[s]).up.Load() {
				s.Unbar(upstream.NowNs())
				well++
			}
		}
		c.settleAll(p)
		if well > 0 {
			c.log(levelNotice, fmt.Sprintf("server %s is healthy: it has passed %d checks (%s)", p.at.label, p.rises, p.name))
		} else {
			c.log(levelNotice, fmt.Sprintf("server %s has passed %d checks (%s), but not yet all that it has to", p.at.label, p.rises, p.name))
		}
	case (up || !p.known) && err != nil && p.falls >= k.Fall:
		p.known = true
		p.turn(false)
		for s := range p.states {
			if c.panicky[s] == nil { // else it may begin a panic
				s.Bar()
			}
		}
		c.settleAll(p)
		c.log(levelNotice, fmt.Sprintf("server %s is unhealthy: it has failed %d checks (%s), the last: %v", p.at.label, p.falls, p.name, err))
	}
	if k.Plus {
		p.again(k.Interval + time.Duration(rand.Int64N(int64(k.Jitter)+1)))
	} else {
		p.again(k.Interval*9/10 + time.Duration(rand.Int64N(int64(k.Interval/5)+1)))
	}
	return true
}
