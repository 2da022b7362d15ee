package engine

import "dyups/engine/site"

// pace holds what is sent of one answer to limit_rate: so much in the first second and in each one after it, and limit_rate_after
// besides. Source: nginx, ngx_http_write_filter, which counts from the start of the request; a backend that was slow does
// not make a burst here.
type pace struct {
	rate    int64 // bytes a second
	free    int64 // bytes that do not count
	startNs int64 // loop clock
	sent    int64
}

const secondNs = 1e9

// allowed is how many bytes may be sent at nowNs.
func (p *pace) allowed(nowNs int64) int {
	if p.sent < p.free { // in a second of its own, so that what is free ends where it should
		return int(p.free - p.sent)
	}
	seconds := (nowNs-p.startNs)/secondNs + 1
	if seconds > (1<<62)/p.rate { // more than any answer has
		return 1 << 30
	}
	return int(min(max(0, seconds*p.rate-(p.sent-p.free)), 1<<30))
}

// wait is the time from nowNs until something may be sent.
func (p *pace) wait(nowNs int64) int64 {
	if p.allowed(nowNs) > 0 {
		return 0
	}
	return p.startNs + ((p.sent-p.free)/p.rate)*secondNs - nowNs
}

// beginPace holds the client to the rate of the answer that begins now, if it has one; rest ends it.
func (ex *exchange) beginPace(loc *site.Location) {
	if rate, free := loc.Rate(&ex.r); rate > 0 {
		ex.pace = pace{rate: rate, free: free, startNs: ex.l.nowNs}
		ex.c.pace = &ex.pace
	}
}

// resting reports whether a client's pending output waits for its rate alone.
func (c *conn) resting() bool {
	return c.pace != nil && c.canWrite && c.out.len() > 0
}
