package origin

import (
	"dyups/bench/poll"
	"time"

	"golang.org/x/sys/unix"
)

// phase is what a connection is at.
type phase uint8

const (
	phaseHead   phase = iota // a request's head is next
	phaseBody                // length bytes of a request's body are to be dropped
	phaseChunks              // a chunked body is to be dropped
	phaseDelay               // the answer waits for a timer
	phaseSource              // the answer goes on from its source
	phaseSocket              // frames of a WebSocket
	phaseHung                // nothing is answered any more
	phaseLast                // the last answer was given: what still comes is dropped
)

// What the poller watches a connection for.
type watch uint8

const (
	watchRead watch = iota
	watchWrite
	watchNothing
)

// Limits of one turn of a connection, for the others' sake.
const (
	discardMax = 1 << 20 // bytes of a body
	vectorMax  = 1 << 20 // bytes of an answer in one send
	turnMax    = 4 << 20 // bytes of answers
)

// conn is one connection. A slot is used for one after another; gen tells them apart.
type conn struct {
	server *server
	slot   int32
	gen    uint32
	fd     int // -1: the slot is free
	phase  phase
	watch  watch

	in  []byte // received and not yet taken
	out []byte // to be sent and not yet taken by the socket

	arrival int64   // with Spec.Stamp: of the last bytes read
	length  int64   // of the body that is to come
	chunks  chunks  // state of a chunked body
	answer  *answer // of the request at work
	head    bool    // only its head
	sent    int64   // of its source and tail
	frames  frames  // state of a WebSocket
}

// blocked tells whether the socket has to take bytes before the next request is looked at.
func (c *conn) blocked() bool { return len(c.out) > 0 || c.phase == phaseSource }

// ready serves one event. The slot may have been closed, or taken by another connection, earlier in the same batch: then
// there is nothing to read.
func (l *loop) ready(c *conn, ev pollEvent) {
	if c.fd < 0 {
		return
	}
	if ev.Write && c.blocked() {
		l.consume(c, nil)
		return
	}
	if !ev.Read {
		return
	}
	if len(c.in) == 0 && (c.phase == phaseBody || c.phase == phaseHung || c.phase == phaseLast) {
		l.discard(c)
		return
	}
	kept := copy(l.buf, c.in)
	if kept == len(l.buf) { // only while an answer is delayed: a head of that size was refused
		if c.watch == watchNothing {
			l.drop(c) // then only an error or the end is reported
			return
		}
		l.setWatch(c, watchNothing)
		return
	}
	n, ok := l.read(c, l.buf[kept:])
	if !ok {
		return
	}
	c.in = c.in[:0]
	l.consume(c, l.buf[:kept+n])
}

// read receives into buf; not ok: there is nothing now, or the connection was closed.
func (l *loop) read(c *conn, buf []byte) (n int, ok bool) {
	var errno unix.Errno
	if l.stamped != nil {
		n, c.arrival, errno = l.stamped.receive(c.fd, buf)
	} else {
		n, errno = poll.Receive(c.fd, buf)
	}
	return n, l.good(c, n, errno)
}

// good judges what a receiving call returned.
func (l *loop) good(c *conn, n int, errno unix.Errno) bool {
	if errno == 0 && n > 0 {
		return true
	}
	if errno != unix.EAGAIN && errno != unix.EINTR {
		l.drop(c)
	}
	return false
}

// discard drops what comes without looking at it.
func (l *loop) discard(c *conn) {
	most := int64(discardMax)
	if c.phase == phaseBody {
		most = min(most, c.length)
	}
	n, errno := poll.Discard(c.fd, most)
	if !l.good(c, int(n), errno) || c.phase != phaseBody {
		return
	}
	if c.length -= n; c.length > 0 {
		return
	}
	gen := c.gen
	if l.reply(c); c.gen == gen {
		l.consume(c, nil)
	}
}

// consume takes received bytes request by request, sends what is to be answered, and keeps the rest. Without bytes it goes
// on with those kept.
func (l *loop) consume(c *conn, data []byte) {
	if len(data) == 0 {
		kept := copy(l.buf, c.in)
		data, c.in = l.buf[:kept], c.in[:0]
	}
	gen, whole := c.gen, len(data) == len(l.buf)
	for {
		progress := false
		for len(data) > 0 && !c.blocked() && len(l.out) < gatherMax {
			n := l.step(c, data)
			if c.gen != gen {
				return // closed
			}
			if n == 0 {
				break
			}
			data, progress, whole = data[n:], true, false
		}
		blocked := c.blocked()
		if !l.flush(c) || len(data) == 0 || !progress && !blocked {
			break
		}
	}
	if c.gen != gen {
		return
	}
	if whole && c.phase == phaseHead && !c.blocked() { // the buffer is full of one head, and that is too long
		l.refuse(c, 431)
		data = nil
		if !l.flush(c) {
			return
		}
	}
	c.in = append(c.in[:0], data...)
}

// step takes one thing from data and returns its length, 0 if it needs more or must wait.
func (l *loop) step(c *conn, data []byte) int {
	switch c.phase {
	case phaseHead:
		return l.stepHead(c, data)
	case phaseBody:
		n := min(c.length, int64(len(data)))
		if c.length -= n; c.length == 0 {
			l.reply(c)
		}
		return int(n)
	case phaseChunks:
		n, done, ok := c.chunks.feed(data)
		if !ok {
			l.refuse(c, 400)
		} else if done {
			l.reply(c)
		}
		return n
	case phaseSocket:
		return l.stepSocket(c, data)
	case phaseHung, phaseLast:
		return len(data)
	}
	return 0
}

// stepHead takes a request's head.
func (l *loop) stepHead(c *conn, data []byte) int {
	var r request
	n, status := parseHead(data, &r)
	if status != 0 {
		l.refuse(c, status)
		return len(data)
	}
	if n == 0 {
		return 0
	}
	s := c.server
	s.seen.Requests++
	if l.stamped != nil {
		s.seen.Last, s.seen.Source = c.arrival, SourceSocket
		if c.arrival == 0 {
			s.seen.Last, s.seen.Source = time.Now().UnixNano(), SourceRead
		}
	}
	p := persist11
	switch {
	case r.http10 && (r.close || !r.keepAlive):
		p = close10
	case r.http10:
		p = persist10
	case r.close:
		p = close11
	}
	c.head = r.head
	if string(r.path) == "/ws" {
		c.answer = handshake(s, &r, p)
	} else {
		c.answer = &s.answersOf(r.path)[p]
	}
	switch {
	case r.chunked:
		c.phase = phaseChunks
	case r.length > 0:
		c.phase, c.length = phaseBody, r.length
	default:
		l.reply(c)
		return n
	}
	if r.expect && !r.http10 && s.fault == "" {
		l.out = append(l.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	}
	return n
}

// answersOf finds the answers of a path.
func (s *server) answersOf(path []byte) *answers {
	if a := s.answers[string(path)]; a != nil { // the conversion does not allocate here
		return a
	}
	a := newAnswers(s.spec.Name, string(path))
	if len(s.answers) < maxAnswers {
		s.answers[string(path)] = a
	}
	return a
}

// reply is called when a request was read to its end.
func (l *loop) reply(c *conn) {
	switch c.server.fault {
	case faultHang:
		c.phase = phaseHung
		return
	case faultReset:
		l.breakOff(c)
		return
	}
	if d := c.server.delay.draw(); d > 0 {
		c.phase = phaseDelay
		l.timers.push(timer{at: l.now + d, slot: c.slot, gen: c.gen})
		return
	}
	l.emit(c)
}

// emit gives the answer to the gather buffer, and leaves to flush what comes from a source.
func (l *loop) emit(c *conn) {
	a := c.answer
	if a.second != l.second {
		a.second = l.second
		copy(a.text[a.dateAt:], l.date)
	}
	switch {
	case c.head:
		l.out = append(l.out, a.text[:a.headLen]...)
	default:
		l.out = append(l.out, a.text...)
	}
	switch {
	case a.source != nil && !c.head:
		c.phase, c.sent = phaseSource, 0
	default:
		c.phase = c.after()
	}
}

// after is the phase when the answer at work is complete.
func (c *conn) after() phase {
	switch {
	case c.answer.close:
		return phaseLast
	case c.answer.upgrade:
		return phaseSocket
	}
	return phaseHead
}

// refuse answers what cannot be understood; the connection ends with that.
func (l *loop) refuse(c *conn, status int) {
	a := errorAnswer(c.server.spec.Name, status, close11)
	c.answer, c.head = &a, false
	l.emit(c)
}

// breakOff resets a connection, every second one after half of the answer.
func (l *loop) breakOff(c *conn) {
	s := c.server
	s.resets++
	if s.resets%2 == 0 {
		l.emit(c)
		half := len(l.out) / 2
		if c.phase == phaseSource {
			half = len(l.out)
		}
		l.vector.reset()
		l.vector.add(l.out[:half])
		if c.phase == phaseSource {
			l.vector.add(c.answer.part(0, vectorMax/2))
		}
		if l.vector.n > 0 {
			l.vector.send(c.fd)
		}
	}
	l.out = l.out[:0]
	l.reset(c)
}
