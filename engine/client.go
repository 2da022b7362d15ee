package engine

import (
	"syscall"
	"time"

	"dyups/codec"
	"dyups/engine/site"
)

// clientState says what a client conn's next input is.
type clientState uint8

const (
	awaitHead clientState = iota // nothing or part of a request head has come
	busy                         // an exchange has the conn
	lingering                    // answered and half closed: input is dropped until the client closes
	closing                      // to be closed as soon as its log record is written
)

// acceptMax is how many connections one listener event takes before others get their turn.
const acceptMax = 64

func (l *Loop) accept(lc *conn) {
	var rsa syscall.RawSockaddrAny
	for range acceptMax {
		if l.clients.n >= l.eng.cfg.Connections {
			l.rest()
			return
		}
		fd, errno := sysAccept(lc.fd, &rsa)
		switch errno {
		case 0:
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS:
			l.eng.log(Crit, 0, "cannot accept a connection: "+errno.Error())
			l.rest()
			return
		case syscall.ECONNABORTED, syscall.EINTR:
			continue
		default: // EAGAIN: another loop was faster, or the backlog is empty
			return
		}
		c := l.newConn()
		*c = conn{loop: l, fd: fd, kind: kindClient, slot: -1, canWrite: true, ls: lc.ls,
			remote: addrOf(&rsa), openedNs: l.nowNs, serial: l.eng.serial.Add(1)}
		if err := l.register(c, evIn|evOut|evRDHup|evEdge); err != nil {
			l.eng.log(Crit, c.serial, err.Error())
			sysClose(fd)
			continue
		}
		l.clients.add(c)
		c.ls.inst.refs.Add(1)
		c.setTimeout(int64(lc.ls.group.Default.ClientHeaderTimeout))
	}
}

// rest stops accepting until a client goes: the kernel's backlog holds the others.
func (l *Loop) rest() {
	if l.full {
		return
	}
	l.full = true
	l.eng.log(Warn, 0, "worker_connections are not enough, new connections wait in the backlog")
	for _, lc := range l.listeners {
		l.poll.del(lc.fd)
	}
}

// release takes up accepting again after rest.
func (l *Loop) release() {
	if !l.full || l.stopping {
		return
	}
	l.full = false
	for _, lc := range l.listeners {
		if err := l.poll.add(lc.fd, lc.seq, evIn); err != nil {
			l.eng.log(Crit, 0, "cannot watch a listening socket: "+err.Error())
		}
	}
}

func (c *conn) clientReady() {
	if c.out.len() > 0 && c.canWrite {
		if err := c.flush(); err != 0 && c.ex == nil {
			c.close()
			return
		}
	}
	switch c.state {
	case awaitHead:
		c.readHead()
	case busy:
		c.ex.clientEvent()
	case lingering:
		c.linger()
	}
}

// readHead reads request heads and starts their exchanges, one after the other, until input runs out or one of them
// has to wait.
func (c *conn) readHead() {
	l := c.loop
	for c.state == awaitHead {
		data := c.unread()
		kept := len(data) > 0
		if !kept || c.partial {
			room := readRoom
			if c.large {
				room = headRead
			}
			n, eof, err := c.read(l.rbuf[headRoom : headRoom+room])
			if eof || err != 0 {
				c.endOfInput(err)
				return
			}
			if n == 0 {
				if !kept && c.requests > 0 && l.draining {
					c.finish(false) // nothing has come, nothing more is waited for
				}
				return
			}
			data = l.rbuf[headRoom : headRoom+n]
			if kept {
				c.more(data)
				data = c.unread()
			}
		}
		ex := l.newExchange(c)
		n, perr := codec.ParseRequest(data, &ex.head, &c.ls.limits)
		if perr == codec.NeedMore {
			l.freeExchange(ex)
			if !kept {
				c.keep(data)
			}
			if !c.partial && c.requests > 0 {
				// The first bytes of a further request: keepalive_timeout gives way to client_header_timeout.
				c.setTimeout(int64(c.ls.group.Default.ClientHeaderTimeout))
			}
			c.partial = true
			continue
		}
		c.partial = false
		c.state, c.ex = busy, ex
		c.requests++
		c.noTimeout()
		if perr != nil {
			// Before the head in the buffer is given up: what was parsed of it goes to the log.
			ex.reject(perr, data)
			c.drop()
			continue
		}
		if c.large && !forPipe(ex.head.ContentLength) {
			c.large = false
			if !kept { // the read was kept short for nothing
				m, _, _ := c.read(l.rbuf[headRoom+len(data) : headRoom+readRoom])
				data = data[:len(data)+m]
			}
		}
		ex.own(data[:n])
		ex.r.Pipelined = kept
		if kept {
			c.skip(n)
		} else {
			c.keep(data[n:])
		}
		ex.run()
	}
}

// endOfInput handles the end of a client that owes us a request head.
func (c *conn) endOfInput(err syscall.Errno) {
	if err != 0 {
		c.loop.eng.logf(Info, c.serial, "recv() failed (%s) while reading client request line, client: %s", errnoText(err), c.peer())
	}
	if c.partial {
		c.recordPartial(400)
		c.loop.eng.logf(Info, c.serial, "client prematurely closed connection while reading client request headers, client: %s", c.peer())
	}
	c.finish(false)
}

// recordPartial writes the access log record of a head that never came to its end.
func (c *conn) recordPartial(status int) {
	l := c.loop
	ex := l.newExchange(c)
	c.requests++
	ex.refuse(c.unread())
	ex.r.Status = status
	l.logs.record(ex, ex.loc())
	l.freeExchange(ex)
}

// cut ends a client at once, whatever it is doing.
func (c *conn) cut() {
	switch {
	case c.state == busy && !c.ex.aborted:
		c.ex.abort("connection closed by worker_shutdown_timeout")
	case c.state != busy:
		c.close()
	}
}

// peer is the client's address for the error log.
func (c *conn) peer() string {
	if !c.remote.IsValid() {
		return "unix:"
	}
	return c.remote.Addr().String()
}

// atEnd reports whether a client that ended its side has nothing in the socket that we have not read.
func (c *conn) atEnd() bool {
	n, err := sysPeek(c.fd)
	return n == 0 || err != 0 && err != eagain
}

// nextRequest makes the conn ready for another request after an exchange.
func (c *conn) nextRequest(keepalive time.Duration) {
	l := c.loop
	c.ex, c.state = nil, awaitHead
	if (!c.adopt() || l.draining) && c.in == nil && !c.canRead {
		c.finish(false) // told to stay before that was known
		return
	}
	c.setTimeout(int64(keepalive))
	if c.in != nil || c.canRead {
		c.loop.goOn(c)
	}
}

// adopt moves a client that stands between two requests over to the site in force. It returns false, and the client stays
// with its own, if that does not listen on its address any more.
func (c *conn) adopt() bool {
	was, next := c.ls, c.place()
	if next == nil {
		return false
	}
	if next != was {
		next.inst.refs.Add(1)
		c.ls = next
		was.inst.unref()
	}
	return true
}

// place is the client's listening address in the site in force, nil if that has it no more.
func (c *conn) place() *listener {
	if c.ls.inst == c.loop.site {
		return c.ls
	}
	return c.loop.site.listeners[listenKey(c.ls.group)]
}

// finish closes a client after its last answer: at once, or lingering when input may still come, which the kernel would
// answer with a reset that takes our answer with it.
func (c *conn) finish(linger bool) {
	c.ex = nil
	c.drop()
	c.state, c.lingers = closing, linger && !c.rdHup
	c.noTimeout()
	c.loop.logs.closeAfter(c)
}

// logged goes on with a conn in state closing once its record is written.
func (c *conn) logged() {
	c.held = false
	if !c.lingers || c.fd < 0 {
		c.close()
		return
	}
	sysShutdownWrite(c.fd)
	c.state = lingering
	c.lingerNs = c.loop.nowNs + int64(c.lingerBy.LingeringTime)
	c.setTimeout(int64(c.lingerBy.LingeringTimeout))
	c.linger()
}

func (c *conn) linger() {
	l := c.loop
	for range 16 {
		n, eof, err := c.read(l.rbuf[:])
		if eof || err != 0 || l.nowNs >= c.lingerNs {
			c.close()
			return
		}
		if n == 0 {
			c.setTimeout(int64(c.lingerBy.LingeringTimeout))
			return
		}
	}
	l.goOn(c)
}

// timeout is called when a conn's deadline has passed.
func (c *conn) timeout() {
	if c.kind == kindBackend {
		c.backendTimeout()
		return
	}
	switch c.state {
	case busy:
		c.ex.clientTimeout()
	case awaitHead:
		if c.partial {
			c.loop.eng.logf(Info, c.serial, "client timed out (110: Connection timed out) while reading client request headers, client: %s", c.peer())
			c.recordPartial(408)
		}
		c.finish(false)
	case lingering, closing:
		c.close()
	}
}

// limitsOf are the bounds on heads at a listening address: those of its default server, as nginx (the head is not parsed
// before the server is known).
func limitsOf(s *site.Server) codec.Limits {
	return codec.Limits{Line: int(s.LargeBufferSize), Field: int(s.LargeBufferSize),
		Total: int(s.LargeBufferSize) * s.LargeBuffers, Count: maxFields}
}

// maxFields bounds the fields of one head, as nginx's max_headers.
const maxFields = 1000
