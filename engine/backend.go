package engine

import (
	"context"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// idlePool is the idle conns of one server on one loop: a stack, so that the warmest is used first and the others may
// time out. Only the loop touches it.
type idlePool struct {
	state *upstream.State
	up    *upstream.Upstream // as of the last conn kept: its keepalive bounds
	conns []*conn
}

func (p *idlePool) retired() bool { return p.state.Retired() || len(p.conns) == 0 }

func (l *Loop) poolOf(s *upstream.State) *idlePool {
	if l.lastIdle != nil && l.lastIdle.state == s {
		return l.lastIdle
	}
	p := l.pools[s]
	if p != nil {
		l.lastIdle = p
	}
	return p
}

// takeIdle pops an idle conn to the server, nil if there is none.
func (l *Loop) takeIdle(s *upstream.State) *conn {
	p := l.poolOf(s)
	if p == nil {
		return nil
	}
	for n := len(p.conns); n > 0; n = len(p.conns) {
		c := p.conns[n-1]
		p.conns[n-1] = nil
		p.conns = p.conns[:n-1]
		c.idle, c.pool = false, nil
		if c.rdHup || c.canRead {
			c.close()
			continue
		}
		return c
	}
	return nil
}

// keepIdle puts a conn back after a clean exchange, or closes it when the upstream's keepalive bounds say so.
func (l *Loop) keepIdle(c *conn, up *upstream.Upstream) {
	s := c.server.State
	if up.Keepalive == 0 || c.used >= up.KeepaliveRequests || s.Retired() || l.draining ||
		l.nowNs-c.openedNs >= int64(up.KeepaliveTime) {
		c.close()
		return
	}
	p := l.poolOf(s)
	if p == nil {
		p = &idlePool{state: s}
		l.pools[s] = p
		l.lastIdle = p
	}
	p.up = up
	if len(p.conns) >= up.Keepalive { // the oldest makes room
		old := p.conns[0]
		copy(p.conns, p.conns[1:])
		p.conns = p.conns[:len(p.conns)-1]
		old.idle, old.pool = false, nil
		old.close()
	}
	c.idle, c.pool, c.ex = true, p, nil
	p.conns = append(p.conns, c)
	c.setTimeout(int64(up.KeepaliveTimeout))
}

// dropIdle closes one idle conn: its server closed it, or it timed out.
func (l *Loop) dropIdle(c *conn) {
	p := c.pool
	for i, x := range p.conns {
		if x == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			break
		}
	}
	c.idle, c.pool = false, nil
	c.close()
}

// dropPool closes all idle conns of a server.
func (l *Loop) dropPool(p *idlePool) {
	for _, c := range p.conns {
		c.idle, c.pool = false, nil
		c.close()
	}
	p.conns = nil
	delete(l.pools, p.state)
	if l.lastIdle == p {
		l.lastIdle = nil
	}
}

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

// proxy starts a proxied request: its table, its upstream, then its body or the first try.
func (ex *exchange) proxy() bool {
	p := ex.r.Loc.Proxy
	status, why := p.Target(&ex.r, &ex.target)
	if status != 0 {
		ex.l.eng.logRequest(Err, ex, why)
		return ex.fail(status)
	}
	ex.r.ProxyHost, ex.r.ProxyPort = ex.target.Host, ex.target.Port
	if ex.r.ProxyPort == 0 {
		ex.r.ProxyPort = 80
	}
	if ex.table = ex.site.last.Load(); ex.table == nil {
		ex.table = ex.l.eng.cfg.Store.Load()
	}
	ex.up = nil
	if !ex.target.HasPort && ex.target.Unix == "" {
		ex.up = ex.table.Lookup(ex.target.Name)
	}
	if ex.up == nil {
		if ex.up = ex.implicit(); ex.up == nil {
			return ex.resolve()
		}
	}
	return ex.proxyTo()
}

// proxyTo goes on with a known upstream.
func (ex *exchange) proxyTo() bool {
	p := ex.r.Loc.Proxy
	ex.left, ex.fresh = 0, false
	ex.round = true
	if !ex.body.done && (p.RequestBuffering || ex.body.chunked && p.HTTP10 || ex.wholeBody()) || ex.body.size > 0 {
		ex.after = phPick
		return ex.to(phBody)
	}
	return ex.to(phPick)
}

// implicitMax bounds a loop's cache of upstreams that stand in no table: addresses out of variables.
const implicitMax = 4096

// implicit is the upstream of a proxy_pass to an address or to a name that was resolved at load; nil: to be looked up.
func (ex *exchange) implicit() *upstream.Upstream {
	l, t := ex.l, &ex.target
	key := ex.aux[:0]
	if t.Unix != "" {
		key = append(append(key, "unix:"...), t.Unix...)
	} else {
		key = append(key, t.Name...)
		key = append(key, ':')
		key = codec.AppendUint(key, uint64(ex.r.ProxyPort))
	}
	ex.aux = key
	if up := ex.site.implicit[string(key)]; up != nil {
		return up
	}
	if up := l.implicit[string(key)]; up != nil {
		return up
	}
	var srv *upstream.Server
	if t.Unix != "" {
		srv = newServer(netip.AddrPort{}, t.Unix)
	} else if addr, ok := parseIP(string(t.Name)); ok {
		srv = newServer(netip.AddrPortFrom(addr, ex.r.ProxyPort), "")
	} else {
		return nil
	}
	if len(l.implicit) >= implicitMax {
		clear(l.implicit)
	}
	up := outside(string(key), srv)
	l.implicit[string(key)] = up
	return up
}

// outside makes an upstream that stands in no table but is used again; it keeps idle connections as one without
// keepalive directives does.
func outside(name string, servers ...*upstream.Server) *upstream.Upstream {
	up := upstream.Single(name, servers...)
	up.Keepalive, up.KeepaliveRequests, up.KeepaliveTime, up.KeepaliveTimeout = 32, 1000, time.Hour, time.Minute
	return up
}

// parseIP reads an address as it stands in a URL: IPv6 in brackets.
func parseIP(s string) (netip.Addr, bool) {
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		s = s[1 : n-1]
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// newServer is a server line's defaults for an address that stands in no upstream block.
func newServer(ap netip.AddrPort, unix string) *upstream.Server {
	s := &upstream.Server{Addr: ap, Unix: unix, Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	if unix != "" {
		s.Label = "unix:" + unix
	} else {
		s.Label = ap.String()
	}
	s.Name = s.Label
	return s
}

// resolve asks for the addresses of a name that is no upstream, off the loop.
func (ex *exchange) resolve() bool {
	l, name, res := ex.l, string(ex.target.Name), ex.r.Loc.Resolver
	if res == nil {
		return ex.unresolved("no resolver defined to resolve " + name)
	}
	port := ex.r.ProxyPort
	ex.phase = phWait
	l.submit(func() {
		ctx, cancel := context.WithTimeout(context.Background(), res.Timeout)
		addrs, err := l.eng.cfg.Resolve(ctx, res, name)
		cancel()
		l.post(func() {
			switch {
			case ex.aborted:
				ex.to(phDone)
			case err != nil:
				ex.unresolved(err.Error())
			default:
				servers := make([]*upstream.Server, len(addrs))
				for i, a := range addrs {
					servers[i] = newServer(netip.AddrPortFrom(a, port), "")
				}
				ex.up = upstream.Single(name, servers...)
				ex.proxyTo()
			}
			ex.run()
		})
	})
	return false
}

func (ex *exchange) unresolved(why string) bool {
	ex.l.eng.logRequest(Err, ex, why)
	return ex.fail(502)
}

// pick chooses the server of the next try.
func (ex *exchange) pick() bool {
	l, up, p := ex.l, ex.up, ex.r.Loc.Proxy
	if ex.left == 0 { // the first try
		ex.firstNs = l.nowNs
		if ex.left = up.Tries(); p.NextTries > 0 && p.NextTries < ex.left {
			ex.left = p.NextTries
		}
		ex.query.Tried.Reset()
		ex.query.Key = ex.pickKey()
	}
	ex.query.NowNs = l.nowNs
	ex.tries = len(ex.r.Tries)
	afterRedirect := ex.round && ex.tries > 0
	ex.round = false
	i := up.Pick(&ex.query)
	if i < 0 {
		ex.r.Tries = append(ex.r.Tries, site.Try{Label: up.Name, Status: 502, ConnectNs: -1, HeaderNs: -1,
			ResponseNs: 0, AfterRedirect: afterRedirect})
		l.eng.logRequest(Err, ex, "no live upstreams while connecting to upstream")
		return ex.fail(502)
	}
	ex.cur = i
	ex.r.Tries = append(ex.r.Tries, site.Try{Label: up.Servers[i].Label, ConnectNs: -1, HeaderNs: -1, ResponseNs: -1,
		AfterRedirect: afterRedirect})
	ex.fresh = false
	return ex.open()
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
	ex.begun, ex.sent, ex.extra, ex.broken = false, false, false, false
	ex.r.Response = nil // its bytes are those of an earlier try
	ex.body.atOff, ex.body.memSent = 0, 0
	ex.body.chunk = ex.body.chunk[:0]
	if !ex.fresh {
		if b := l.takeIdle(srv.State); b != nil && ex.usable(b) {
			ex.attach(b, true)
			ex.try().ConnectNs = 0
			return ex.to(phAwait)
		}
	}
	fd, wait, errno := sysConnect(srv.Addr, srv.Unix)
	if errno != 0 {
		return ex.connectFailed(errno)
	}
	b := &conn{loop: l, fd: fd, kind: kindBackend, slot: -1, server: srv, openedNs: l.nowNs, connecting: wait, canWrite: !wait}
	if err := l.register(b, evIn|evOut|evRDHup|evEdge); err != nil {
		sysClose(fd)
		l.eng.logRequest(Crit, ex, err.Error())
		return ex.connectFailed(syscall.ENOMEM)
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
	b.connecting = false
	ex.l.wheel.clear(b)
	ex.try().ConnectNs = ex.l.nowNs - ex.tryNs
	return ex.to(phAwait)
}

func (ex *exchange) connectFailed(errno syscall.Errno) bool {
	ex.l.eng.logRequest(Err, ex, "connect() failed ("+strconv.Itoa(int(errno))+": "+errno.Error()+") while connecting to upstream")
	return ex.next(site.NextError, 502, upstream.Failed)
}

// backendTimedOut is called when the backend's deadline passed.
func (ex *exchange) backendTimedOut() {
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
	ex.leave(upstream.Neither)
	return ex.fail(status)
}
