package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// installed is a site with what the engine holds for it. Conns keep the one they were accepted under.
type installed struct {
	site      *site.Site
	listeners map[string]*listener
	logs      map[string]*logFile
	implicit  map[string]*upstream.Upstream // proxy_pass to names that were resolved at load, by implicitKey
	refs      atomic.Int64                  // connections, and 1 while in force
	// next is the site that took this one's place, nil while in force; lost are the upstreams, by upstream.Key, that went from the
	// table with it. Requests that are still routed by this one find them here; of all others they find what the table has now.
	next atomic.Pointer[installed]
	lost atomic.Pointer[map[string]*upstream.Upstream]
	gone func()
}

// kept finds an upstream that the table has lost because a reload took it away from s, nil if there is none.
func (s *installed) kept(name []byte) *upstream.Upstream {
	for ; s != nil; s = s.next.Load() {
		if lost := s.lost.Load(); lost != nil {
			if up := (*lost)[upstream.Key(string(name))]; up != nil {
				return up
			}
		}
	}
	return nil
}

func (s *installed) unref() {
	if s.refs.Add(-1) == 0 && s.gone != nil {
		s.gone()
	}
}

// listener is one listening address as a site sees it.
type listener struct {
	inst   *installed
	group  *site.Listen
	limits codec.Limits
}

// socket is one bound address: a descriptor for each loop.
type socket struct {
	network, addr string
	fds           []int
	bound         string // the address with its real port
}

func (s *socket) unlink() {
	if s.network == "unix" {
		_ = os.Remove(s.addr)
	}
}

func (s *socket) close() {
	for _, fd := range s.fds {
		sysClose(fd)
	}
	s.unlink()
}

// Prepared is a site whose sockets are bound and whose logs are open, but which serves nothing yet.
type Prepared struct {
	e     *Engine
	inst  *installed
	fresh map[string]*socket
}

func listenKey(l *site.Listen) string { return l.Network + " " + l.Addr }

// backlogDefault is nginx's NGX_LISTEN_BACKLOG.
const backlogDefault = 511

// Prepare binds the listening sockets that the site needs and the engine does not have yet, and opens its access logs.
// On error everything it opened is closed again.
func (e *Engine) Prepare(s *site.Site) (*Prepared, error) {
	p := &Prepared{e: e, fresh: map[string]*socket{}, inst: &installed{site: s, listeners: map[string]*listener{},
		logs: map[string]*logFile{}, implicit: map[string]*upstream.Upstream{}}}
	p.inst.refs.Store(1)
	if err := p.open(s); err != nil {
		p.Discard()
		return nil, err
	}
	return p, nil
}

func (p *Prepared) open(s *site.Site) error {
	for _, path := range s.Logs {
		if p.e.current != nil && p.e.current.logs[path] != nil {
			f := p.e.current.logs[path]
			f.users.Add(1)
			p.inst.logs[path] = f
			continue
		}
		f, err := openLog(path)
		if err != nil {
			return err
		}
		f.users.Add(1)
		p.inst.logs[path] = f
	}
	for _, l := range s.Listens {
		key := listenKey(l)
		p.inst.listeners[key] = &listener{inst: p.inst, group: l, limits: limitsOf(l.Default)}
		if p.e.sockets[key] != nil {
			continue
		}
		sock, err := p.bind(l)
		if err != nil {
			return err
		}
		p.fresh[key] = sock
	}
	for _, l := range s.Locations {
		if l.Content == site.Interface {
			if p.e.cfg.Interface == nil {
				return errors.New("cannot serve dyups_interface: no handler")
			}
			l.Handler = p.e.cfg.Interface(l)
		}
	}
	return nil
}

// bind opens a socket for each loop.
func (p *Prepared) bind(l *site.Listen) (*socket, error) {
	backlog := l.Backlog
	if backlog == 0 {
		backlog = backlogDefault
	}
	s := &socket{network: l.Network, addr: l.Addr, bound: l.Addr}
	addr := l.Addr
	for i := range p.e.loops {
		if i > 0 && l.Network == "unix" {
			fd, err := syscall.Dup(s.fds[0])
			if err != nil {
				s.close()
				return nil, fmt.Errorf("cannot share the listening socket %q: %w", l.Addr, err)
			}
			syscall.CloseOnExec(fd)
			s.fds = append(s.fds, fd)
			continue
		}
		fd, err := listenSocket(l.Network, addr, backlog, i == 0 && !p.e.holdsPort(p, l))
		if err != nil {
			for _, fd := range s.fds {
				sysClose(fd)
			}
			return nil, err
		}
		s.fds = append(s.fds, fd)
		if i == 0 && l.Network != "unix" {
			addr = localAddr(fd).String() // with port 0 the others take the same one
			s.bound = addr
		}
	}
	return s, nil
}

// holdsPort reports whether one of our own sockets already has the port, on another address.
func (e *Engine) holdsPort(p *Prepared, l *site.Listen) bool {
	want, err := netip.ParseAddrPort(l.Addr)
	if err != nil || want.Port() == 0 {
		return false
	}
	for _, set := range []map[string]*socket{e.sockets, p.fresh} {
		for _, s := range set {
			if ap, err := netip.ParseAddrPort(s.bound); err == nil && ap.Port() == want.Port() {
				return true
			}
		}
	}
	return false
}

// Discard closes what Prepare opened.
func (p *Prepared) Discard() {
	for _, s := range p.fresh {
		s.close()
	}
	p.inst.closeFiles()
	p.fresh = nil
}

// Implicit sets the addresses of a proxy_pass to a host name that is no upstream, resolved at load.
func (p *Prepared) Implicit(host string, port uint16, addrs []netip.Addr) {
	p.inst.implicit[string(implicitKey(nil, []byte(host), port))] = outside(fmt.Sprintf("%s:%d", host, port), newServers(addrs, port)...)
}

// Install makes p the site in force: new connections and requests see it, sockets that are no longer named are closed,
// client connections go over to it between two requests, so that none is lost; those on such sockets are closed
// then. The first Install starts the loops. gone, if not nil, is called
// once the last connection of this site has ended after another took its place; on a loop, so it must not block.
// Requests that are still routed by the old site go by the table as all others do: publish what the new site needs before
// Install, and take away what only the old one needs after it, and after Keep.
func (e *Engine) Install(p *Prepared, gone func()) {
	old := e.current
	if old != nil {
		old.next.Store(p.inst)
	}
	p.inst.gone = gone
	e.current, e.previous = p.inst, old
	for key, s := range p.fresh {
		e.sockets[key] = s
	}
	removed := map[string]bool{}
	for key, s := range e.sockets {
		if p.inst.listeners[key] == nil {
			removed[key] = true
			s.unlink()
			delete(e.sockets, key)
		}
	}
	e.each(func(l *Loop) { l.install(p) })
	if !e.started {
		e.started = true
		e.dozes = runtime.GOMAXPROCS(0) > len(e.loops)
		for _, l := range e.loops {
			go l.run()
		}
	}
	if old != nil {
		old.closeLogs(e)
		old.unref()
	}
}

// Keep has requests that are still routed by sites before the one in force find upstreams that the table is about to lose because
// the files no longer have them. To be called after Install, before they are deleted.
func (e *Engine) Keep(ups []*upstream.Upstream) {
	if e.previous == nil || len(ups) == 0 {
		return
	}
	lost := make(map[string]*upstream.Upstream, len(ups))
	for _, up := range ups {
		lost[up.Key()] = up
	}
	e.previous.lost.Store(&lost)
}

// closeLogs lets go of the site's log files once its last conn is gone and every loop has handed its records over. It
// wraps gone.
func (s *installed) closeLogs(e *Engine) {
	gone := s.gone
	s.gone = func() {
		if gone != nil {
			gone()
		}
		var left atomic.Int32
		left.Store(int32(len(e.loops)))
		for _, l := range e.loops {
			l.post(func() {
				l.logs.flush(l)
				if left.Add(-1) == 0 {
					e.logs.add(s.closeFiles)
				}
			})
		}
	}
}

// closeFiles closes the files that no other site has.
func (s *installed) closeFiles() {
	for _, f := range s.logs {
		if f.users.Add(-1) == 0 {
			f.close()
		}
	}
}

// install runs on the loop.
func (l *Loop) install(p *Prepared) {
	l.site = p.inst
	kept := l.listeners[:0]
	for _, lc := range l.listeners {
		if next := p.inst.listeners[listenKey(lc.ls.group)]; next != nil {
			lc.ls = next
			kept = append(kept, lc)
			continue
		}
		lc.close()
	}
	l.listeners = kept
	for key, s := range p.fresh {
		lc := &conn{loop: l, fd: s.fds[l.id], kind: kindListener, slot: -1, ls: p.inst.listeners[key]}
		if err := l.register(lc, evIn); err != nil {
			l.eng.log(Crit, 0, err.Error())
			continue
		}
		if l.full {
			l.poll.del(lc.fd)
		}
		l.listeners = append(l.listeners, lc)
	}
	if l.nextSweep == 0 || l.eng.started {
		l.nextSweep = l.nowNs
	}
	l.adoptIdle()
}

// DropOld closes the connections that are still served by a site which was replaced (worker_shutdown_timeout).
func (e *Engine) DropOld() {
	e.each(func(l *Loop) {
		for c := l.clients.head; c != nil; {
			next := c.next
			if c.ls.inst != l.site {
				c.cut()
			}
			c = next
		}
	})
}

// waits reports whether a client stands between two requests, with nothing of the next one there.
func (c *conn) waits() bool { return c.state == awaitHead && c.in == nil && !c.canRead }

// adoptIdle takes the clients that wait for a further request over to the site in force, and closes those that it has no place
// for. One that has sent none yet stays with its own for the first, and falls to worker_shutdown_timeout, as in nginx.
func (l *Loop) adoptIdle() {
	for c := l.clients.head; c != nil; {
		next := c.next
		if c.requests > 0 && c.waits() && !c.adopt() {
			c.close()
		}
		c = next
	}
}

// closeIdle closes clients that wait for a request.
func (l *Loop) closeIdle() {
	for c := l.clients.head; c != nil; {
		next := c.next
		if c.waits() {
			c.close()
		}
		c = next
	}
}

// Addrs lists the bound addresses ("tcp 127.0.0.1:8080"), with the real port where the configuration said 0.
func (e *Engine) Addrs() []string {
	var out []string
	for _, l := range e.current.site.Listens {
		s := e.sockets[listenKey(l)]
		out = append(out, s.network+" "+s.bound)
	}
	return out
}
