package lb

import (
	"math"
	"sync/atomic"
)

// Live is the living part of a peer: what picks and outcomes write. There is one for each server of an upstream,
// and it outlives the pickers that are made over it. All fields are atomics, written by any goroutine. The zero
// Live is idle and has never failed.
//
// The failure rules are those of nginx's round robin (ngx_http_upstream_round_robin.c), with nanoseconds where
// nginx counts whole seconds: a peer with max_fails failures is left alone for fail_timeout after the last of them;
// then one request is let through, and no other until fail_timeout has passed again; when that one succeeds, the
// failures are forgotten.
//
// It is kept small, half a cache line, because a pick waits for it; what some methods want besides is apart.
type Live struct {
	inFlight atomic.Int32         // places taken, each onePlace, and the bit counted
	fails    atomic.Int32         // failures since the last forgetting, and the bit barred
	checked  atomic.Int64         // when the peer last failed or was last let through, NowNs
	seat     atomic.Pointer[peer] // whose group is told of places taken and given back
	more     atomic.Pointer[more]
}

// more is what a peer has once it has failed, under least_time and slow_start, and when its times are observed. It is
// made once and stays.
type more struct {
	accessed atomic.Int64  // when the peer last failed, NowNs
	header   atomic.Uint32 // average time to the response header, ms
	lastByte atomic.Uint32 // average time to the end of the response, ms
	waiting  atomic.Int64  // requests whose time counts for least_time inflight
	began    atomic.Int64  // sum of the times when those began, ms
	started  atomic.Int64  // when the slow start began, NowNs; 0: never
	failed   atomic.Uint32 // failures ever
	_        [12]byte      // one cache line: neighbours are written by other loops
}

// barred is the bit of Live.fails that an active check sets: beside the failures, so that a pick of a peer that is well looks
// at one word only. Failures are not counted any further than would spill into it.
const (
	barred   = 1 << 30
	mostFail = barred - 1
)

// nothing is read in place of what a peer does not have, and never written.
var nothing more

// details gives what there is besides, to be read.
func (l *Live) details() *more {
	if m := l.more.Load(); m != nil {
		return m
	}
	return &nothing
}

// ensure gives what there is besides, to be written.
func (l *Live) ensure() *more {
	if m := l.more.Load(); m != nil {
		return m
	}
	l.more.CompareAndSwap(nil, new(more))
	return l.more.Load()
}

// recoveries counts how often failures were forgotten, of any peer: groups that have set peers aside look at it. Rarely
// written, by whoever ends a request.
var recoveries struct {
	_ [64]byte
	atomic.Uint64
	_ [56]byte
}

// Live.inFlight: the bit says whether the places are in the total of the cursor that the seat leads to (balance_factor). It stands in
// the same word, so that whoever takes a place or gives one back, and whoever begins to count or ends it, agree on every single place.
const (
	counted  = 1
	onePlace = 2
)

// InFlight is the number of places taken and not yet given back.
func (l *Live) InFlight() int64 { return int64(l.inFlight.Load() >> 1) }

// occupy takes a place.
func (l *Live) occupy() {
	if l.inFlight.Add(onePlace)&counted != 0 {
		l.sum(1)
	}
}

// Fails is the number of failures that count at present.
func (l *Live) Fails() int64 { return int64(l.fails.Load() &^ barred) }

// Bar leaves the peer out of all picks until Unbar, whatever its failures: for an active check that it has not passed. Places
// that are taken stay taken.
func (l *Live) Bar() { l.fails.Or(barred) }

// Unbar ends Bar at nowNs and begins the slow start of the peer (Peer.SlowStartNs). It does nothing if the peer is not barred.
func (l *Live) Unbar(nowNs int64) {
	if !l.Barred() {
		return
	}
	l.Start(nowNs)
	l.fails.And(^barred)
	recoveries.Add(1)
}

// Barred reports whether Bar is in force.
func (l *Live) Barred() bool { return l.fails.Load()&barred != 0 }

// Release gives one place back.
func (l *Live) Release() {
	if l.inFlight.Add(-onePlace)&counted != 0 {
		l.sum(-1)
		return
	}
	l.report()
}

// Leave ends the part that the peer has in what its upstream sums up, for one that has been taken out of it. Its requests in
// flight go on.
func (l *Live) Leave() { l.uncount() }

// report tells the board that the load has changed.
func (l *Live) report() {
	if p := l.seat.Load(); p != nil && p.group.board != nil {
		p.group.moved(p)
	}
}

// Succeed records that a request to the peer ended without a failure of the peer, be it that the client left. Failures are
// forgotten only by one that was let through after the last of them: a request that was under way when the peer failed proves
// nothing. A peer that was out begins its slow start when that was let through.
func (l *Live) Succeed() {
	if l.Fails() != 0 {
		if m, checked := l.ensure(), l.checked.Load(); m.accessed.Load() < checked {
			m.started.Store(checked)
			l.forget()
		}
	}
}

// Forget drops all failures: nginx does so after every request to a lone peer, which is never taken out.
func (l *Live) Forget() {
	if l.Fails() != 0 {
		l.forget()
	}
}

// forget drops all failures, and lets the groups know that have set the peer aside.
func (l *Live) forget() {
	l.fails.And(barred)
	recoveries.Add(1)
}

// Fail records a failure at nowNs and reports whether the peer has now used up maxFails (0: no limit).
//
// The times are written before the count, and accessed before checked: a pick that sees the new count must see the
// new time, and a success beside it must not take the failure for a passed check.
func (l *Live) Fail(nowNs int64, maxFails int) bool {
	m := l.ensure()
	m.accessed.Store(nowNs)
	l.checked.Store(nowNs)
	n := l.Fails() + 1
	if n < mostFail {
		n = int64(l.fails.Add(1) &^ barred)
	}
	m.failed.Add(1)
	failures.Add(1)
	return maxFails > 0 && n >= int64(maxFails)
}

// Out reports whether the peer is left alone at nowNs because of its failures.
func (l *Live) Out(nowNs int64, maxFails int, failTimeoutNs int64) bool {
	return maxFails > 0 && l.Fails() >= int64(maxFails) && nowNs-l.checked.Load() <= failTimeoutNs
}

// Start begins the slow start of the peer at nowNs (Peer.SlowStartNs): for a server that is new in its upstream, or
// that an active check has found well again. Recovery from failures (Succeed) begins one by itself. It takes effect
// within a tenth of a second.
func (l *Live) Start(nowNs int64) { l.ensure().started.Store(nowNs) }

// peer joins a living peer with the limits that one table gives it. It is one cache line, in which a pick finds all that
// it wants to know besides the Live.
type peer struct {
	live        *Live
	maxConns    int32 // 0: no bound; below 0: the peer is marked down, or drains
	maxFails    int32
	failTimeout int64
	weight      int64
	slowStart   int64
	below       int64  // balance_factor: sum of the weights of the members before
	rank        uint32 // position among the members of its group
	failed      uint32 // Live's failures when the group was made
	group       *group // of a seat
}

func (p *peer) init(d *Peer, l *Live) {
	p.live, p.maxConns, p.maxFails, p.failTimeout = l, limit(d.MaxConns), limit(d.MaxFails), d.FailTimeoutNs
	p.weight, p.slowStart = clampWeight(d.Weight), d.SlowStartNs
	p.failed = l.details().failed.Load()
	if !d.inUse() {
		p.maxConns = -1
	}
}

// limit brings a bound into the range of what it bounds.
func limit(n int) int32 { return int32(min(max(0, n), math.MaxInt32/onePlace)) }

// verdict is what came of an attempt to take a place.
type verdict uint8

const (
	taken verdict = iota
	busy          // at max_conns, or marked down
	out           // barred, or left alone because of its failures
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
	p.live.occupy()
	return taken
}

// takeBounded takes a place on a peer with max_conns; concurrent takers never exceed it.
func (p *peer) takeBounded() verdict {
	for {
		v := p.live.inFlight.Load()
		if v>>1 >= p.maxConns {
			return busy
		}
		if p.live.inFlight.CompareAndSwap(v, v+onePlace) {
			if v&counted != 0 {
				p.live.sum(1)
			}
			return taken
		}
	}
}

// takeFailed is take for a peer that has failures on record. When fail_timeout has passed, whoever moves the time
// of the check is the one that is let through.
func (p *peer) takeFailed(now int64) verdict {
	l := p.live
	if l.Barred() {
		return out
	}
	checked := l.checked.Load()
	passed := now-checked > p.failTimeout
	limited := p.maxFails > 0 && l.Fails() >= int64(p.maxFails)
	if limited && !passed {
		return out
	}
	if p.maxConns == 0 {
		l.occupy()
	} else if v := p.takeBounded(); v != taken {
		return v
	}
	if passed && !l.checked.CompareAndSwap(checked, now) && limited {
		l.Release()
		return out
	}
	return taken
}

// full reports whether the peer is at its max_conns, or marked down.
func (p *peer) full() bool { return p.maxConns != 0 && p.live.InFlight() >= int64(p.maxConns) }

// dead reports whether the peer is left alone at now because it is barred or because of its failures.
func (p *peer) dead(now int64) bool {
	return p.live.Barred() || p.maxFails > 0 && p.live.Fails() >= int64(p.maxFails) && now-p.live.checked.Load() <= p.failTimeout
}

// idleUntil is when a dead peer may be let through again; who bars one says when that is over.
func (p *peer) idleUntil() int64 {
	if p.live.Barred() {
		return math.MaxInt64
	}
	return p.live.checked.Load() + p.failTimeout + 1
}
