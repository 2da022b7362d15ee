package engine

import (
	"math"
	"syscall"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

func (c *conn) backendReady() {
	switch {
	case c.idle:
		if c.canRead || c.rdHup {
			c.loop.dropIdle(c) // an end, or bytes nobody asked for
		}
	case c.ex != nil:
		c.ex.run()
	}
}

func (c *conn) backendTimeout() {
	switch {
	case c.idle:
		c.loop.dropIdle(c)
	case c.ex != nil:
		ex := c.ex // parts from c
		ex.backendTimedOut()
		ex.run()
	}
}

// pick chooses the server of the next try.
func (ex *exchange) pick() bool {
	l, p := ex.l, ex.r.Loc.Proxy
	if ex.departed() {
		return true
	}
	if ex.left == 0 { // the first try
		if ex.outdated() { // the body took its time
			return ex.proxy()
		}
		ex.firstNs = l.nowNs
		ex.left, ex.spare = ex.up.Tries(), math.MaxInt
		if p.NextTries > 0 {
			ex.left = min(ex.left, p.NextTries)
			ex.spare = p.NextTries - ex.left
		}
		ex.query.Tried.Reset()
		ex.query.Key = ex.pickKey()
	} else if ex.outdated() && !ex.move() {
		return ex.unpicked()
	}
	up := ex.up
	ex.query.NowNs = l.nowNs
	i, turn := -1, ex.mayPick()
	switch {
	case up.Sticky != nil:
		i = ex.pickSticky(turn)
	case turn:
		i = up.Pick(&ex.query)
	}
	if i < 0 {
		switch ex.enqueue() {
		case queueLook:
			return true
		case queueWait:
			return false
		}
		return ex.unpicked()
	}
	if ex.waiter != nil {
		ex.leaveQueue()
	}
	if up.Servers[i].Drain && ex.spare > 0 { // is none of those that were counted
		ex.left++
		ex.spare--
	}
	ex.cur, ex.waits = i, up.Waiting
	ex.record(site.Try{Label: up.Servers[i].Label, ConnectNs: -1, HeaderNs: -1, ResponseNs: -1})
	ex.fresh = false
	return ex.open()
}

// unpicked ends a request for which there is no server.
func (ex *exchange) unpicked() bool {
	ex.record(site.Try{Label: ex.up.Name, Status: 502, ConnectNs: -1, HeaderNs: -1})
	ex.l.eng.logRequest(Err, ex, ex.noServer())
	ex.leaveQueue() // an error_page may begin anew
	return ex.fail(502)
}

// record adds the try that begins to those of the request.
func (ex *exchange) record(t site.Try) {
	ex.tries = len(ex.r.Tries)
	t.AfterRedirect = ex.round && ex.tries > 0
	ex.round = false
	ex.r.Tries = append(ex.r.Tries, t)
}

// move takes a request that is to be tried again to the table in force, in which a server may stand no longer that its own table
// would give it; the servers tried stay so. It reports whether the upstream is still there.
func (ex *exchange) move() bool {
	t := ex.l.table()
	up := ex.lookup(t)
	if up == nil {
		return false
	}
	ex.table = t
	if up == ex.up {
		return true
	}
	tried := map[*upstream.State]bool{}
	for i, s := range ex.up.Servers {
		if ex.query.Tried.Has(i) {
			tried[s.State] = true
		}
	}
	ex.query.Tried.Reset()
	for i, s := range up.Servers {
		if tried[s.State] {
			ex.query.Tried.Add(i)
		}
	}
	ex.up = up
	ex.query.Key = ex.pickKey()
	return true
}

// pickKey is what the upstream's method wants to know of the request.
func (ex *exchange) pickKey() []byte {
	if key, ok := ex.up.HashKey.(*site.Value); ok {
		ex.key = key.Append(ex.key[:0], &ex.r)
		return ex.key
	}
	if !ex.up.NeedsAddr || ex.r.RemoteUnix {
		return nil
	}
	a := ex.r.Remote.Addr()
	if a.Is4() {
		b := a.As4()
		return append(ex.addr[:0], b[:]...)
	}
	b := a.As16()
	return append(ex.addr[:0], b[:]...)
}

// open takes an idle conn to the current server or dials one.
func (ex *exchange) open() bool {
	l, srv := ex.l, ex.up.Servers[ex.cur]
	ex.tryNs = l.nowNs
	ex.begun, ex.sent, ex.extra, ex.broken, ex.unframed = false, false, false, false, false
	ex.r.Response = nil // its bytes are those of an earlier try
	ex.body.atOff, ex.body.memSent = 0, 0
	ex.body.chunk = ex.body.chunk[:0]
	from := ex.localTo()
	if !ex.fresh {
		if b := l.takeIdle(srv.State, from); b != nil && ex.usable(b) {
			ex.attach(b, true)
			ex.try().ConnectNs = 0
			return ex.to(phAwait)
		}
	}
	fd, wait, own, errno := sysConnect(srv.Addr, srv.Unix(), from, ex.r.Loc.Proxy.BindTransparent)
	if errno != 0 {
		if own != "" {
			return ex.unable(own, errno)
		}
		return ex.connectFailed(errno)
	}
	if ex.r.Loc.Proxy.SocketKeepalive {
		sysKeepalive(fd)
	}
	b := l.newConn()
	*b = conn{loop: l, fd: fd, kind: kindBackend, slot: -1, server: srv, remote: from, openedNs: l.nowNs, canWrite: !wait}
	if err := l.register(b, evIn|evOut|evRDHup|evEdge); err != nil {
		sysClose(fd)
		l.eng.logRequest(Crit, ex, err.Error())
		return ex.failUpstream(500)
	}
	ex.attach(b, false)
	if wait {
		b.setTimeout(int64(ex.r.Loc.Proxy.ConnectTimeout))
		return ex.to(phDial)
	}
	ex.try().ConnectNs = l.nowNs - ex.tryNs
	return ex.to(phAwait)
}

// usable looks once more at an idle conn before a request goes out on it that could not be sent again (RFC 9110 section
// 9.2.2); others are simply retried.
func (ex *exchange) usable(b *conn) bool {
	if idempotent(ex.r.Method) {
		return true
	}
	if _, err := sysPeek(b.fd); err == eagain {
		return true
	}
	b.close()
	return false
}

// idempotent is nginx's view: everything may be sent again but POST, LOCK and PATCH.
func idempotent(m codec.Method) bool { return m != codec.POST && m != codec.LOCK && m != codec.PATCH }

func (ex *exchange) attach(b *conn, reused bool) {
	ex.b, ex.reused = b, reused
	b.ex = ex
	b.used++
}

func (ex *exchange) try() *site.Try { return &ex.r.Tries[ex.tries] }

// dial waits for the connection.
func (ex *exchange) dial() bool {
	b := ex.b
	if !b.canWrite && !b.rdHup {
		return false
	}
	if errno := connectError(b.fd); errno != 0 {
		return ex.connectFailed(errno)
	}
	b.noTimeout()
	if b.server.State.Retired() && ex.outdated() { // removed while we were connecting
		return ex.elsewhere()
	}
	ex.try().ConnectNs = ex.l.nowNs - ex.tryNs
	return ex.to(phAwait)
}

// elsewhere gives up a try at a server that has left the table before it got anything that counts, and goes by the table in force.
func (ex *exchange) elsewhere() bool {
	ex.dropBackend()
	ex.leave(upstream.Neither)
	ex.r.Tries = ex.r.Tries[:ex.tries]
	if ex.tries == 0 {
		return ex.proxy()
	}
	return ex.to(phPick)
}

func (ex *exchange) connectFailed(errno syscall.Errno) bool {
	ex.l.eng.logRequest(Err, ex, "connect() failed ("+errnoText(errno)+") while connecting to upstream")
	return ex.next(site.NextError, 502, upstream.Failed)
}

// unable ends a request for which there is no socket, or not with the address of proxy_bind: that is nothing the server has done,
// which is not blamed, and no other would fare better. Source: nginx, ngx_event_connect_peer.
func (ex *exchange) unable(call string, errno syscall.Errno) bool {
	ex.l.eng.logRequest(Crit, ex, call+" failed ("+errnoText(errno)+") while connecting to upstream")
	return ex.failUpstream(500)
}

// backendTimedOut is called when the backend's deadline passed.
func (ex *exchange) backendTimedOut() {
	if ex.paced {
		ex.paced = false // it goes on
		return
	}
	what := "connecting to upstream"
	switch ex.phase {
	case phAwait:
		what = "reading response header from upstream"
		if !ex.sent {
			what = "sending request to upstream"
		}
	case phRelay:
		what = "reading upstream"
	case phTunnel:
		what = "proxying upgraded connection"
	}
	ex.l.eng.logRequest(Err, ex, "upstream timed out (110: Connection timed out) while "+what)
	switch ex.phase {
	case phDial, phAwait:
		ex.next(site.NextTimeout, 504, upstream.Failed)
	case phRelay, phTunnel:
		ex.truncate()
	}
}

// lost is a backend conn that failed before any byte of an answer. On a reused conn that may only mean that the server
// closed it while it was idle: then the same server gets the request again on a fresh one, if that is provably safe.
func (ex *exchange) lost(why string) bool {
	if ex.reused && !ex.fresh && idempotent(ex.r.Method) && !ex.begunBody() {
		if ex.up.Servers[ex.cur].State.Retired() && ex.outdated() {
			return ex.elsewhere()
		}
		ex.dropBackend()
		ex.fresh = true
		return ex.open()
	}
	ex.l.eng.logRequest(Err, ex, why)
	return ex.next(site.NextError, 502, upstream.Failed)
}

// begunBody reports whether streamed body bytes are gone that no second try could send.
func (ex *exchange) begunBody() bool { return ex.body.streamed }

func (ex *exchange) dropBackend() {
	if ex.b != nil {
		ex.b.ex = nil
		ex.b.close()
		ex.b = nil
	}
	ex.dropUpload()
}

// next ends a try that failed for reason and goes on to another server if proxy_next_upstream allows; else the client
// gets status. Rules of ngx_http_upstream_next.
func (ex *exchange) next(reason site.Next, status int, o upstream.Outcome) bool {
	p, t := ex.r.Loc.Proxy, ex.try()
	t.ResponseNs = ex.l.nowNs - ex.tryNs
	if t.Status == 0 {
		t.Status = status
	}
	if ex.begun && !idempotent(ex.r.Method) {
		reason |= site.NextNonIdempotent
	}
	ex.dropBackend()
	ex.oweCookie()
	ex.leave(o)
	if ex.left <= 1 || p.Next&reason != reason || ex.begunBody() || ex.late() {
		return ex.fail(status)
	}
	ex.left--
	return ex.to(phPick)
}

// late reports whether proxy_next_upstream_timeout has passed.
func (ex *exchange) late() bool {
	t := ex.r.Loc.Proxy.NextTimeout
	return t > 0 && ex.l.nowNs-ex.firstNs >= int64(t)
}

// failUpstream gives up on the backend and answers with status.
func (ex *exchange) failUpstream(status int) bool {
	ex.dropBackend()
	ex.learnsLeft()
	ex.oweCookie()
	ex.leave(upstream.Neither)
	return ex.fail(status)
}
