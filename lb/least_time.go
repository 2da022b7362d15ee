package lb

import "sync/atomic"

// Response times, as nginx keeps and weighs them for least_time: milliseconds, averages in which a new time counts for
// a twentieth. Source: nginx, ngx_http_upstream_least_time_module.c and ngx_http_upstream_round_robin.h.
const (
	maxTimeMs  = 5000 // times above are equally bad, so that requests in flight decide
	clusterMs  = 20   // times are told apart by steps of so much, so that peers nearly as fast take turns
	newestPart = 0.05
)

// Observe records the times that a successful try took, from the start of the try to the response header and to the
// last byte, in nanoseconds, for least_time and random two least_time. A time below 0 is not known and left out.
// Failed tries are not to be recorded: a server that fails fast would be preferred.
func (l *Live) Observe(headerNs, lastByteNs int64) {
	m := l.ensure()
	average(&m.header, headerNs)
	average(&m.lastByte, lastByteNs)
	l.report()
}

// Answered ends the time for which the request whose pick was made at startNs (Query.NowNs) counts as waiting. With
// Options.Inflight the caller calls it exactly once for every pick: when the response header has come, or with
// Options.LastByte when the last byte has; when the try ends before that, then.
func (l *Live) Answered(startNs int64) {
	m := l.ensure()
	m.waiting.Add(-1)
	m.began.Add(-(startNs / 1e6))
	l.report()
}

// Times gives the average times to the response header and to the last byte, in milliseconds; 0: none is known.
func (l *Live) Times() (headerMs, lastByteMs int) {
	m := l.details()
	return int(m.header.Load()), int(m.lastByte.Load())
}

// average brings a time into an average; the first one is taken as it is.
func average(avg *atomic.Uint32, ns int64) {
	if ns < 0 {
		return
	}
	v := uint32(min(ns/1e6, 1<<31))
	for {
		old := avg.Load()
		now := v
		if old != 0 {
			now = uint32(0.5 + (float64(v)*newestPart + float64(old)*(1-newestPart)))
		}
		if now == old || avg.CompareAndSwap(old, now) {
			return
		}
	}
}

// eta estimates how long the peer takes to finish what it has been given and one request more, for its weight: the
// load of least_time. An average that nothing has renewed for fail_timeout is halved, so that a slow peer gets another
// chance. With inflight the mean age of the requests that wait takes the place of the average when it is more; nginx
// smooths that age over the picks, here it is taken as it is.
func (p *peer) eta(averageMs uint32, inflight bool, now int64) float64 {
	l := p.live
	rt := int64(averageMs)
	if idle := now - l.checked.Load(); idle > p.failTimeout {
		if shift := idle / (p.failTimeout + 1e9); shift < 32 {
			rt >>= uint(shift)
		} else {
			rt = 0
		}
	}
	if inflight {
		if m := l.details(); m.waiting.Load() > 0 {
			rt = max(rt, now/1e6-m.began.Load()/max(1, m.waiting.Load()))
		}
	}
	if rt > maxTimeMs {
		rt = maxTimeMs
	} else {
		rt += clusterMs - rt%clusterMs
	}
	return float64(rt*(1+max(0, l.InFlight()))) / float64(p.weight)
}

// visit notes a pick for least_time: the peer is not idle, and with inflight the request waits from now on.
func (p *peer) visit(now int64, inflight bool) {
	l := p.live
	if at := l.checked.Load(); now-at > p.failTimeout {
		l.checked.CompareAndSwap(at, now)
	}
	if inflight {
		m := l.ensure()
		m.waiting.Add(1)
		m.began.Add(now / 1e6)
	}
}
