package health

import (
	"fmt"
	"math/rand/v2"
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
	of      map[*upstream.State]*prober
	panicky map[*upstream.State]*upstream.Upstream // of servers of upstreams with PanicBelow: what they stand in
}

// target is what one prober asks, and how.
type target struct {
	label string // of the server
	check upstream.Check
}

// targetOf is the target of a server that is asked: the same one for all upstreams that ask it alike.
func targetOf(u *upstream.Upstream, s *upstream.Server) target {
	return target{s.Label, u.Check.Question()}
}

// New makes a Checker of the servers in store, and is told of its changes from then on. log gets a line when the health of a
// server changes; level is that of the error log.
func New(store *upstream.Store, log func(level int, msg string)) (*Checker, error) {
	pool, err := ants.NewPool(workers())
	if err != nil {
		return nil, fmt.Errorf("cannot make the workers of health checks: %w", err)
	}
	c := &Checker{log: log, pool: pool, probers: map[target]*prober{}, of: map[*upstream.State]*prober{},
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
func checked(u *upstream.Upstream, s *upstream.Server) bool { return u.Check != nil && !s.Down }

// isNew bars a server that nobody can see yet, or that was marked down and so was not asked, if it is known or taken to be unhealthy.
func (c *Checker) isNew(u *upstream.Upstream, s *upstream.Server) {
	if !checked(u, s) {
		return
	}
	c.mu.Lock()
	p := c.probers[targetOf(u, s)]
	c.mu.Unlock()
	if p != nil && !p.up.Load() || p == nil && u.Check.DefaultDown {
		s.State.Bar()
	}
}

// changed follows the table.
func (c *Checker) changed(old, now *upstream.Table) {
	now.Diff(old, func(before, after *upstream.Upstream) {
		if (before == nil || before.Check == nil) && (after == nil || after.Check == nil) {
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

// attach has a server's State follow the prober of its target; mu is held. One that was asked before, in another way, keeps its
// health until the new answers say otherwise.
func (c *Checker) attach(u *upstream.Upstream, s *upstream.Server) {
	at := targetOf(u, s)
	p := c.probers[at]
	if p == nil {
		p = newProber(c, at, s)
		p.known = !s.State.Barred()
		p.up.Store(p.known)
		p.since = time.Now()
		if was := c.of[s.State]; was != nil { // in a panic those that are ill are not barred
			p.known = was.known
			p.up.Store(was.up.Load())
			p.since = was.since
		}
		c.probers[at] = p
		p.again(rand.N(firstWithin(at.check.Interval) + 1))
	}
	p.states[s.State]++
	c.of[s.State] = p
	switch {
	case u.PanicBelow > 0: // settle comes next: what gets requests in a panic must get them all the while
	case !p.up.Load():
		s.State.Bar()
	case s.State.Barred():
		s.State.Unbar(upstream.NowNs())
	}
}

// detach ends that for the server as it was; mu is held. The State is let go if nothing follows.
func (c *Checker) detach(u *upstream.Upstream, s *upstream.Server) {
	at := targetOf(u, s)
	p := c.probers[at]
	if p == nil {
		return
	}
	if p.states[s.State]--; p.states[s.State] > 0 {
		return
	}
	delete(p.states, s.State)
	if c.of[s.State] == p {
		delete(c.of, s.State)
		s.State.Unbar(upstream.NowNs())
	}
	if len(p.states) == 0 {
		delete(c.probers, at)
		p.stop()
	}
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
		for s := range p.states {
			s.Unbar(upstream.NowNs())
		}
		c.settleAll(p)
		c.log(levelNotice, fmt.Sprintf("server %s is healthy: it has passed %d checks (%s)", p.at.label, p.rises, k.Type))
	case (up || !p.known) && err != nil && p.falls >= k.Fall:
		p.known = true
		p.turn(false)
		for s := range p.states {
			if u := c.panicky[s]; u == nil || !u.Panics() {
				s.Bar()
			}
		}
		c.settleAll(p)
		c.log(levelNotice, fmt.Sprintf("server %s is unhealthy: it has failed %d checks (%s), the last: %v", p.at.label, p.falls, k.Type, err))
	}
	if k.Plus {
		p.again(k.Interval + time.Duration(rand.Int64N(int64(k.Jitter)+1)))
	} else {
		p.again(k.Interval*9/10 + time.Duration(rand.Int64N(int64(k.Interval/5)+1)))
	}
	return true
}
