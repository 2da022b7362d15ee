package engine

// clientLeft is nginx's word for a client that ended its side.
const clientLeft = "client prematurely closed connection"

// clientEvent is called when the client's readiness changed during the exchange. A tunnel reads what a side sent before both
// directions ended, and sees for itself what is broken.
func (ex *exchange) clientEvent() {
	if ex.aborted {
		return
	}
	if (ex.c.dead && ex.phase != phTunnel || ex.c.rdHup && ex.clientGone()) && !ex.goesOn() {
		ex.abort(clientLeft)
		return
	}
	ex.run()
}

// clientGone reports whether a client that ended its side is given up: nothing unread is left, and we only wait for a
// backend. As nginx, a half close counts as leaving then (ngx_http_upstream_check_broken_connection); an answer of our own
// still goes out.
func (ex *exchange) clientGone() bool {
	switch ex.phase {
	case phQueue, phDial: // nobody reads the rest of the body now
	case phAwait, phRelay:
		if !ex.body.done {
			return false // the body's reader will see it
		}
	default:
		if ex.cancel == nil {
			return false
		}
	}
	return ex.c.atEnd()
}

// goesOn reports whether the request is to reach its backend, and to be answered there, with or without its client.
func (ex *exchange) goesOn() bool {
	return !ex.headSent && ex.body.done && ex.r.Loc != nil && ex.r.Loc.Proxy != nil && ex.r.Loc.Proxy.IgnoreAbort
}

// departed ends a request whose client ended its side right behind it, before anything waits for a backend: no event will tell.
func (ex *exchange) departed() bool {
	if !ex.c.rdHup || !ex.c.atEnd() || ex.goesOn() {
		return false
	}
	ex.forsake(clientLeft)
	return ex.to(phDone)
}

// abort gives the request up because its client left: the backend request is cancelled.
func (ex *exchange) abort(why string) {
	ex.forsake(why)
	if ex.phase == phWait || ex.phase == phStream && ex.job != nil && ex.job.running {
		ex.aborted = true // the worker's post ends it
		if ex.cancel != nil {
			ex.cancel()
		}
		ex.c.noTimeout()
		return
	}
	ex.endJob()
	ex.to(phDone)
	ex.run()
}

// forsake notes that the client left: there is nobody to answer, and nothing more to read.
func (ex *exchange) forsake(why string) {
	if ex.r.Status == 0 || !ex.headSent {
		ex.r.Status = 499
	}
	ex.l.eng.logRequest(Info, ex, why)
	ex.cut = true
}
