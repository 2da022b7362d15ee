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

// kind is what the log calls the check.
func (t *target) kind() string {
	if t.check.URI == "" {
		return t.check.Type.String()
	}
	return t.check.Type.String() + " " + t.check.URI
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
		if after != nil {
			for _, s := range after.Servers {
				if checked(after, s) {
					c.attach(after, s)
				}
			}
		}
		if before != nil {
			for _, s := range before.Servers {
				if checked(before, s) {
					c.detach(before, s)
				}
				delete(c.panicky, s.State)
			}
		}
		if after != nil && after.PanicBelow > 0 {
			for _, s := range after.Servers {
				if checked(after, s) {
					c.panicky[s.State] = after
				}
			}
			c.settle(after)
		}
	})
}

// firstWithin is the time within which a server is asked first: soon, as it may have to pass before it gets requests, and yet not all
// servers of a change at once, nor in step ever after. The module takes the whole interval for it.
func firstWithin(interval time.Duration) time.Duration { return min(time.Second, interval/10) }

// attach has a server's State follow the probers of its targets; mu is held. One that was asked before, in another way, keeps its
// health until the new answers say otherwise.
func (c *Checker) attach(u *upstream.Upstream, s *upstream.Server) {
	was := worst(c.of[s.State])
	for _, check := range u.Checks {
		at := targetOf(s, check)
		p := c.probers[at]
		if p == nil {
			p = newProber(c, at, s)
			c.probers[at] = p
			p.known = !s.State.Barred() || !check.DefaultDown
			p.up.Store(p.known)
			p.since = time.Now()
			if was != nil { // in a panic those that are ill are not barred
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
	switch {
	case u.PanicBelow > 0: // settle comes next: what gets requests in a panic must get them all the while
	case !worst(c.of[s.State]).up.Load():
		s.State.Bar()
	default:
		s.State.Unbar(upstream.NowNs())
	}
}

// detach ends that for the server as it was; mu is held. The State is let go if nothing that follows holds it.
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
		left := slices.DeleteFunc(c.of[s.State], func(o *prober) bool { return o == p })
		c.of[s.State] = left
		if len(left) == 0 {
			delete(c.of, s.State)
		}
		if w := worst(left); w == nil || w.up.Load() {
			s.State.Unbar(upstream.NowNs())
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
		word := "is healthy"
		for s := range p.states {
			if worst(c.of[s]).up.Load() {
				s.Unbar(upstream.NowNs())
			} else {
				word = "is healthy again by one check, not by all"
			}
		}
		c.settleAll(p)
		c.log(levelNotice, fmt.Sprintf("server %s %s: it has passed %d checks (%s)", p.at.label, word, p.rises, p.at.kind()))
	case (up || !p.known) && err != nil && p.falls >= k.Fall:
		p.known = true
		p.turn(false)
		for s := range p.states {
			if u := c.panicky[s]; u == nil || !u.Panics() {
				s.Bar()
			}
		}
		c.settleAll(p)
		c.log(levelNotice, fmt.Sprintf("server %s is unhealthy: it has failed %d checks (%s), the last: %v", p.at.label, p.falls, p.at.kind(), err))
	}
	if k.Plus {
		p.again(k.Interval + time.Duration(rand.Int64N(int64(k.Jitter)+1)))
	} else {
		p.again(k.Interval*9/10 + time.Duration(rand.Int64N(int64(k.Interval/5)+1)))
	}
	return true
}
