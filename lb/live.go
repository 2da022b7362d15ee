package lb

import "sync/atomic"

// Live is the living part of a peer: what picks and outcomes write. There is one for each server of an upstream,
// and it outlives the pickers that are made over it. All fields are atomics, written by any goroutine. The zero
// Live is idle and has never failed.
//
// The failure rules are those of nginx's round robin (ngx_http_upstream_round_robin.c), with nanoseconds where
// nginx counts whole seconds: a peer with max_fails failures is left alone for fail_timeout after the last of them;
// then one request is let through, and no other until fail_timeout has passed again; when that one succeeds, the
// failures are forgotten.
type Live struct {
	inFlight atomic.Int64
	fails    atomic.Int64 // failures since the last forgetting
	checked  atomic.Int64 // when the peer last failed or was last let through, NowNs
	accessed atomic.Int64 // when the peer last failed, NowNs
}

// InFlight is the number of places taken and not yet given back.
func (l *Live) InFlight() int64 { return l.inFlight.Load() }

// Fails is the number of failures that count at present.
func (l *Live) Fails() int64 { return l.fails.Load() }

// Release gives one place back.
func (l *Live) Release() { l.inFlight.Add(-1) }

// Succeed records that the peer did its part. Failures are forgotten only by a success that was let through after
// the last failure: a request that was under way when the peer failed proves nothing.
func (l *Live) Succeed() {
	if l.fails.Load() != 0 && l.accessed.Load() < l.checked.Load() {
		l.fails.Store(0)
	}
}

// Forget drops all failures: nginx does so after every request to a lone peer, which is never taken out.
func (l *Live) Forget() {
	if l.fails.Load() != 0 {
		l.fails.Store(0)
	}
}

// Fail records a failure at nowNs and reports whether the peer has now used up maxFails (0: no limit).
//
// The times are written before the count, and accessed before checked: a pick that sees the new count must see the
// new time, and a success beside it must not take the failure for a passed check.
func (l *Live) Fail(nowNs int64, maxFails int) bool {
	l.accessed.Store(nowNs)
	l.checked.Store(nowNs)
	n := l.fails.Add(1)
	return maxFails > 0 && n >= int64(maxFails)
}

// Out reports whether the peer is left alone at nowNs because of its failures.
func (l *Live) Out(nowNs int64, maxFails int, failTimeoutNs int64) bool {
	return maxFails > 0 && l.fails.Load() >= int64(maxFails) && nowNs-l.checked.Load() <= failTimeoutNs
}

// peer joins a living peer with the limits that one table gives it.
type peer struct {
	live        *Live
	maxConns    int64 // 0: no bound; below 0: the peer is marked down
	maxFails    int64
	failTimeout int64
	weight      int64
}

func newPeer(d *Peer, l *Live) peer {
	p := peer{l, int64(max(0, d.MaxConns)), int64(max(0, d.MaxFails)), d.FailTimeoutNs, clampWeight(d.Weight)}
	if d.Down {
		p.maxConns = -1
	}
	return p
}

// verdict is what came of an attempt to take a place.
type verdict uint8

const (
	taken verdict = iota
	busy          // at max_conns, or marked down
	out           // left alone because of its failures
)

// healthy reports whether the peer may be used without looking any further: no bound and no failure on record. The
// time of the check only matters to a peer with failures, so this is one load.
func (p *peer) healthy() bool { return p.maxConns == 0 && p.live.fails.Load() == 0 }

// take takes a place on the peer, if it may be used at now.
func (p *peer) take(now int64) verdict {
	if p.live.fails.Load() != 0 {
		return p.takeFailed(now)
	}
	if p.maxConns != 0 {
		return p.takeBounded()
	}
	p.live.inFlight.Add(1)
	return taken
}

// takeBounded takes a place on a peer with max_conns; concurrent takers never exceed it.
func (p *peer) takeBounded() verdict {
	for {
		n := p.live.inFlight.Load()
		if n >= p.maxConns {
			return busy
		}
		if p.live.inFlight.CompareAndSwap(n, n+1) {
			return taken
		}
	}
}

// takeFailed is take for a peer that has failures on record. When fail_timeout has passed, whoever moves the time
// of the check is the one that is let through.
func (p *peer) takeFailed(now int64) verdict {
	l := p.live
	checked := l.checked.Load()
	passed := now-checked > p.failTimeout
	limited := p.maxFails > 0 && l.fails.Load() >= p.maxFails
	if limited && !passed {
		return out
	}
	if p.maxConns == 0 {
		l.inFlight.Add(1)
	} else if v := p.takeBounded(); v != taken {
		return v
	}
	if passed && !l.checked.CompareAndSwap(checked, now) && limited {
		l.inFlight.Add(-1)
		return out
	}
	return taken
}

// usable reports whether take would succeed at now, without taking.
func (p *peer) usable(now int64) bool {
	if p.maxConns != 0 && p.live.inFlight.Load() >= p.maxConns {
		return false
	}
	return !p.dead(now)
}

// dead reports whether the peer is left alone at now because of its failures.
func (p *peer) dead(now int64) bool {
	return p.maxFails > 0 && p.live.fails.Load() >= p.maxFails && now-p.live.checked.Load() <= p.failTimeout
}
