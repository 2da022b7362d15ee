package engine

import (
	"net/netip"
	"syscall"

	"dyups/engine/site"
	"dyups/upstream"
)

// connKind says who handles a conn's events.
type connKind uint8

const (
	kindWake connKind = iota
	kindListener
	kindClient
	kindBackend
)

// conn is one descriptor on one loop: a client, a backend, a listening socket or the loop's own wake-up. Only its loop
// touches it. A client that waits for its next request costs this struct (about 300 bytes) and no buffer.
type conn struct {
	loop *Loop
	fd   int   // -1: closed
	seq  int32 // tells events of this conn from those of an earlier one with the same descriptor
	kind connKind

	// Readiness as epoll last told, edge-triggered: true until a call says otherwise.
	canRead, canWrite bool
	rdHup             bool // the peer will send no more
	dead              bool // reset, or closed both ways
	progress          bool // output went out since the send timeout was armed
	queued            bool // stands in the loop's list of conns to go on with
	held              bool // waits for the log's writer to post it

	// Timer wheel; slot < 0: not linked. deadline 0: none.
	slot         int32
	slotTick     int64
	deadline     int64
	tprev, tnext *conn

	early             int32  // the slot of the loop's inbox that holds what comes first, from 1 on; 0: none
	in                []byte // input read but not used yet, from inPos on; nil when there is none
	inPos             int
	out               pending // output the socket did not take
	pace              *pace   // of a client with limit_rate, while it is answered; else nil
	laterAt, laterLen int32   // output in the loop's outbox, in front of out
	ex                *exchange

	// Clients.
	ls       *listener
	remote   netip.AddrPort // of a backend's: the local address it was bound to (proxy_bind), zero: none
	serial   uint64
	requests int   // on this connection, the one under way included
	partial  bool  // unread input is part of a head: parse again only with more
	openedNs int64 // loop clock
	state    clientState
	lingerNs int64          // when lingering ends at the latest
	lingerBy *site.Location // says how long
	lingers  bool           // with state closing: to linger instead of closing at once
	prev     *conn          // the loop's list of clients
	next     *conn

	asked  bool // whether it is paced
	paced  bool // the kernel spaces out what is sent on it; see paced
	corked bool // what was sent last was to go with what follows
	large  bool // the last body that came in on it was one for a pipe
	small  bool // backends: the last answer fitted a slot of the inbox; sides of a tunnel: the last read did

	// Backends.
	server *upstream.Server
	pool   *idlePool
	idle   bool
	used   int // requests sent on it
}

// read reads into p. n > 0: bytes; eof: the peer ended; neither: nothing to be had now, or err.
func (c *conn) read(p []byte) (n int, eof bool, err syscall.Errno) {
	if !c.canRead {
		return 0, false, 0
	}
	if c.early != 0 {
		n, full, err := c.takeEarly(p)
		c.canRead = full || c.rdHup
		return c.received(n, err)
	}
	n, eof, err = c.received(sysRead(c.fd, p))
	if 0 < n && n < len(p) && !c.rdHup {
		// A short read emptied the socket: what comes later is a new edge. With the end announced there is one more to read.
		c.canRead = false
	}
	return n, eof, err
}

// received notes what a call that takes input told of the conn; its results are those of read.
func (c *conn) received(n int, err syscall.Errno) (int, bool, syscall.Errno) {
	switch {
	case err == syscall.EAGAIN:
		c.canRead = false
		return 0, false, 0
	case err != 0:
		c.canRead = false
		return 0, false, err
	case n == 0:
		c.canRead, c.rdHup = false, true
		return 0, true, 0
	}
	return n, false, 0
}

// write sends p behind what is pending, keeping a copy of what the socket does not take.
func (c *conn) write(p []byte) syscall.Errno { return c.send(p, 0) }

// writeMore is write for output that more is expected to follow at once, with which the kernel is to send it: a segment less, and
// the peer is woken once. If nothing follows, push sends it. Answers of 100 KB took 0.94 of the CPU (8 rounds in turn), of 1 MB as much
// as before.
func (c *conn) writeMore(p []byte) syscall.Errno { return c.send(p, msgMore) }

// push sends what writeMore has left to the kernel.
func (c *conn) push() {
	if c.corked {
		c.corked = false
		_ = syscall.SetsockoptInt(c.fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // sends what is pending, tcp(7)
	}
}

// send is write with flags of send(2).
func (c *conn) send(p []byte, flags int) syscall.Errno {
	if c.laterLen > 0 {
		c.sendLater()
	}
	if c.out.len() > 0 || c.pace != nil {
		c.out.add(p)
		return c.flush()
	}
	for c.canWrite && len(p) > 0 {
		n, err := sysWrite(c.fd, p, flags)
		c.corked = flags != 0
		if p, err = c.wrote(p, n, err); err != 0 {
			return err
		}
	}
	c.out.add(p)
	return 0
}

// wrote notes what a call that sends p told of the conn, and gives what is left to be sent, or the error.
func (c *conn) wrote(p []byte, n int, err syscall.Errno) ([]byte, syscall.Errno) {
	if err != 0 {
		c.canWrite = c.canWrite && err != syscall.EAGAIN
		if err == syscall.EAGAIN {
			err = 0
		}
		return p, err
	}
	c.progress = true
	if n < len(p) {
		c.canWrite = false // a full socket; its edge comes when there is room
	}
	return p[n:], 0
}

// flush sends what is pending as far as the socket takes it.
func (c *conn) flush() syscall.Errno {
	for c.canWrite && c.out.len() > 0 {
		b := c.out.first()
		if c.pace != nil {
			if b = b[:min(len(b), c.pace.allowed(c.loop.nowNs))]; len(b) == 0 {
				return 0
			}
		}
		n, err := sysWrite(c.fd, b, 0)
		rest, err := c.wrote(b, n, err)
		if err != 0 {
			return err
		}
		if n = len(b) - len(rest); n == 0 {
			return 0
		}
		c.out.take(n)
		if c.pace != nil {
			c.pace.sent += int64(n)
		}
	}
	return 0
}

// unread is input that was read but not used.
func (c *conn) unread() []byte { return c.in[c.inPos:] }

// keep holds a copy of b as unread input. b may be the unread input itself, or its tail.
func (c *conn) keep(b []byte) {
	if len(b) == 0 {
		c.drop()
		return
	}
	if c.in == nil {
		c.in = c.loop.bytes.get()
	}
	c.in = append(c.in[:0], b...)
	c.inPos = 0
}

// more appends b to the unread input.
func (c *conn) more(b []byte) {
	if c.in == nil {
		c.in = c.loop.bytes.get()
	} else if c.inPos > 0 {
		c.in = append(c.in[:0], c.in[c.inPos:]...)
	}
	c.inPos = 0
	c.in = append(c.in, b...)
}

// drop forgets unread input and gives its memory back.
func (c *conn) drop() {
	if c.in != nil {
		c.loop.bytes.put(c.in)
		c.in, c.inPos = nil, 0
	}
}

// skip drops n bytes of unread input.
func (c *conn) skip(n int) {
	if c.inPos += n; c.inPos >= len(c.in) {
		c.drop()
	}
}

// setTimeout arms the conn's one timer, ns from now. 0 is no time at all: it fires at the next look at the wheel, whatever is on its
// way, as a timeout of 0 does in nginx; but not for a conn that waits for nothing but its next turn.
func (c *conn) setTimeout(ns int64) {
	switch {
	case ns == 0 && c.queued:
		c.noTimeout()
		return
	case ns == 0:
		c.loop.wheel.rush(c)
		return
	}
	c.loop.wheel.set(c, c.loop.nowNs+ns)
}

// noTimeout clears the conn's timer.
func (c *conn) noTimeout() { c.loop.wheel.clear(c) }

// close closes the descriptor and gives back all that the conn holds. Events still on their way are told by seq.
func (c *conn) close() {
	if c.fd < 0 {
		return
	}
	if c.laterLen > 0 {
		c.sendLater()
	}
	l := c.loop
	l.conns[c.fd] = nil
	sysClose(c.fd)
	c.fd = -1
	l.open--
	l.wheel.unlink(c)
	c.deadline = 0
	c.drop()
	c.out.drop()
	if c.kind == kindClient {
		l.clients.remove(c)
		c.ls.inst.unref()
		l.release()
	}
	l.closed = append(l.closed, c)
}

// connsKept bounds the loop's stock of conns to be used again, 5 MB of them.
const connsKept = 1 << 14

// newConn gives an empty conn.
func (l *Loop) newConn() *conn {
	n := len(l.spareConns)
	if n == 0 {
		return new(conn)
	}
	c := l.spareConns[n-1]
	l.spareConns = l.spareConns[:n-1]
	return c
}

// recycle makes the conns that were closed in this turn ready to be used again, at its end, when nobody looks at them any more:
// a burst of connections is then no burst of garbage, which would take up as much memory as they did until it is collected.
// Those that a list still has are left to the collector.
func (l *Loop) recycle() {
	for i, c := range l.closed {
		l.closed[i] = nil
		if !c.queued && !c.held && len(l.spareConns) < connsKept {
			*c = conn{}
			l.spareConns = append(l.spareConns, c)
		}
	}
	l.closed = l.closed[:0]
	if cap(l.closed) > 1024 {
		l.closed = nil
	}
}

// connList is a list of conns linked through prev and next. Only the loop touches it.
type connList struct {
	head *conn
	n    int
}

func (s *connList) add(c *conn) {
	c.prev, c.next = nil, s.head
	if s.head != nil {
		s.head.prev = c
	}
	s.head = c
	s.n++
}

func (s *connList) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.n--
}
