package engine

import (
	"net/netip"

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

// takeIdle pops an idle conn to the server, nil if there is none, or if the last one was bound to another local address than
// from.
func (l *Loop) takeIdle(s *upstream.State, from netip.AddrPort) *conn {
	p := l.poolOf(s)
	if p == nil {
		return nil
	}
	for n := len(p.conns); n > 0; n = len(p.conns) {
		c := p.conns[n-1]
		if c.remote != from {
			return nil
		}
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
	if up.Keepalive == 0 || s.Retired() || l.draining || c.worn(up) {
		c.close()
		return
	}
	p := l.poolOf(s)
	if p == nil {
		p = &idlePool{state: s}
		l.pools[s] = p
		l.lastIdle = p
	}
	if p.up != up { // another table than before, be it an older one
		p.up = up
		l.swept = nil
	}
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

// worn reports whether a conn has served as much, or as long, as up allows; with a keepalive_timeout of 0 it always has, as in
// nginx, whose timer fires at once.
func (c *conn) worn(up *upstream.Upstream) bool {
	return up.KeepaliveTimeout == 0 || c.used >= up.KeepaliveRequests || c.loop.nowNs-c.openedNs >= int64(up.KeepaliveTime)
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

// bound has a pool keep what its upstream, which has changed, would still keep; the oldest go first.
func (l *Loop) bound(p *idlePool, up *upstream.Upstream) {
	p.up = up
	over := len(p.conns) - up.Keepalive
	kept := p.conns[:0]
	for i, c := range p.conns {
		if i < over || c.worn(up) {
			c.idle, c.pool = false, nil
			c.close()
			continue
		}
		if c.deadline > l.nowNs+int64(up.KeepaliveTimeout) {
			c.setTimeout(int64(up.KeepaliveTimeout))
		}
		kept = append(kept, c)
	}
	clear(p.conns[len(kept):])
	p.conns = kept
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
