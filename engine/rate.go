package engine

// limitRate begins to hold a response that is about to be passed on to proxy_limit_rate.
func (ex *exchange) limitRate() {
	if ex.rate = ex.r.Loc.Proxy.Rate(&ex.r); ex.rate > 0 {
		ex.noSplice = true
	}
}

// rated is how much of an answer may be read with its head: with a rate no more than proxy_buffer_size, as in nginx.
func (ex *exchange) rated(room int) int {
	if p := ex.r.Loc.Proxy; p.LimitRate != nil {
		return int(min(int64(room), p.BufferSize))
	}
	return room
}

// allowance is how much of the response may be read now, at most what one read takes: what the rate gives in the time since
// its head came and in one second more, less what has come. 0: not yet; the backend's timer is set for when there is more.
// Source: nginx, ngx_event_pipe_read_upstream, which counts in whole seconds.
func (ex *exchange) allowance() int {
	l, t := ex.l, ex.try()
	seconds := float64(l.nowNs-ex.tryNs-t.HeaderNs)/1e9 + 1
	left := seconds*float64(ex.rate) - float64(t.BytesReceived)
	if ex.paced = left < 1; !ex.paced {
		return int(min(left, float64(ex.readSize)))
	}
	ex.b.setTimeout(int64((1-left)/float64(ex.rate)*1e9) + 1)
	return 0
}
