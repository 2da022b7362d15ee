package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"dyups/bench/poll"
)

// conn is one connection to the proxy.
type conn struct {
	tag    int32
	fd     int
	state  state
	idle   bool
	fresh  bool    // nothing was answered on it yet
	want   bool    // it is watched for room to write
	since  int64   // of the state, or since when the first request under way is the first
	retry  int64   // when to open it again
	starts []int64 // of the requests under way, in order

	out    []byte // to be sent
	answer answer
	got    int // bytes of the echo that have come
}

type state uint8

const (
	closed     state = iota
	connecting       // TCP's handshake
	upgrading        // the WebSocket's, or an idle connection's only request
	usable           // open for requests
	ending           // all is answered, the proxy is to close it
)

// retryAfter is how long a connection that failed rests before it is opened again, so that a proxy that is gone is not
// asked in a busy loop.
const retryAfter = int64(5 * time.Millisecond)

// open begins to connect.
func (r *run) open(c *conn) {
	source := byte(0)
	if r.spec.Fresh {
		r.source = r.source%16 + 1
		source = r.source
	}
	fd, done, err := connect(r.addrs[int(c.tag)%len(r.addrs)], source)
	c.state, c.since, c.fresh = connecting, r.now(), true
	if err == nil {
		c.fd = fd
		if err = r.poller.Add(fd, c.tag, true, !done); err != nil {
			r.shut(c)
		}
	}
	if err != nil {
		r.fail(c, ErrConnect, err)
		return
	}
	if c.want = !done; done {
		r.connected(c)
	}
}

// connected goes on with an open connection.
func (r *run) connected(c *conn) {
	c.state = usable
	switch {
	case c.idle || r.spec.WebSocket:
		c.state = upgrading
		r.write(c, r.silent)
	case r.end > 0:
		// In a closed loop a request begins with the connection that is opened for it: it is sent even if the end came meanwhile.
		r.begin(c, c.since)
	}
}

// begin gives a ready connection work, if there is some. at is when a request of a closed loop begins.
func (r *run) begin(c *conn, at int64) {
	switch {
	case c.idle || r.end == 0:
	case r.spec.Rate > 0:
		if r.sentN < r.due { // one waits for a connection
			n := r.sentN
			r.sentN++
			r.request(c, r.intended(r.start-int64(r.spec.WarmUp), n))
			return
		}
		r.free = append(r.free, c.tag)
	case r.batch != nil:
		n := r.spec.Pipeline - len(c.starts)
		for range n {
			c.starts = append(c.starts, at)
		}
		c.since = r.now()
		r.write(c, r.batch[:n*len(r.requests[0])])
	default:
		for len(c.starts) < r.spec.Pipeline && c.state == usable {
			r.request(c, at)
		}
	}
}

// again gives a connection that was ready before more work, unless there is to be none.
func (r *run) again(c *conn) {
	if !r.over {
		r.begin(c, r.now())
	}
}

// request sends one that began at a time.
func (r *run) request(c *conn, began int64) {
	c.starts = append(c.starts, began)
	c.since = r.now()
	if r.spec.WebSocket {
		r.write(c, r.sent)
		return
	}
	b := r.requests[r.next]
	if r.next++; r.next == len(r.requests) {
		r.next = 0
	}
	r.write(c, b)
}

// write sends b, or keeps what the socket does not take.
func (r *run) write(c *conn, b []byte) {
	if len(c.out) > 0 {
		c.out = append(c.out[:len(c.out):len(c.out)], b...)
		return
	}
	c.out = b
	r.flush(c)
}

func (r *run) flush(c *conn) {
	for len(c.out) > 0 {
		n, errno := poll.Send(c.fd, c.out)
		switch errno {
		case 0:
			c.out = c.out[n:]
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.watch(c, true)
			return
		}
		if errno == unix.EPIPE || errno == unix.ECONNRESET {
			// An answer sent before the connection was closed says more than our failure to write does.
			c.out = nil
			break
		}
		r.fail(c, ErrWrite, errno)
		return
	}
	r.watch(c, false)
}

func (r *run) watch(c *conn, write bool) {
	if c.want == write {
		return
	}
	c.want = write
	if err := r.poller.Mod(c.fd, c.tag, true, write); err != nil {
		r.fail(c, ErrWrite, err)
	}
}

// event deals with a ready socket.
func (r *run) event(e poll.Event) {
	if int(e.Tag) == len(r.conns) {
		r.talk.read()
		return
	}
	c := &r.conns[e.Tag]
	if c.state == closed {
		return
	}
	if c.state == connecting {
		if err := connectError(c.fd); err != nil {
			r.fail(c, ErrConnect, err)
			return
		}
		if !e.Write {
			return
		}
		r.watch(c, false)
		r.connected(c)
	}
	if e.Write && len(c.out) > 0 {
		r.flush(c)
	}
	if e.Read && c.state != closed {
		r.read(c)
	}
}

// bulk is the rest of a body from which on it is dropped in the kernel.
const bulk = 64 << 10

// read takes what has come.
func (r *run) read(c *conn) {
	for c.state != closed {
		a := &c.answer
		if !r.spec.WebSocket && a.phase == inBody && a.left > bulk {
			n, errno := poll.Discard(c.fd, a.left-1) // the last byte makes the ordinary way end the answer
			if errno == 0 && n > 0 {
				a.left -= n
				a.length += n
				continue
			}
			if errno == unix.EAGAIN {
				return
			}
		}
		n, errno := poll.Receive(c.fd, r.scratch)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
			continue
		case errno != 0:
			r.broken(c, ErrRead, errno)
			return
		case n == 0:
			r.broken(c, ErrClosed, fmt.Errorf("the connection ended before the answer was complete"))
			return
		}
		if !r.take(c, r.scratch[:n], r.now()) || n < len(r.scratch) {
			return
		}
	}
}

// broken is the end of a connection.
func (r *run) broken(c *conn, kind string, err error) {
	now := r.now()
	if a := &c.answer; a.phase == inRest && kind == ErrClosed && len(c.starts) > 0 {
		r.complete(c, now)
		r.shut(c)
	} else if c.idle && c.state == usable && r.end > 0 {
		// Also in the warm-up: it is missing from then on, and with it what it was to cost.
		r.wrong(kind, "an idle connection was not kept: "+err.Error())
		r.shut(c)
	} else if c.state == usable && len(c.starts) == 0 && !(c.idle && r.end == 0) || c.state == ending {
		r.shut(c) // it was not needed
	} else {
		r.fail(c, kind, err)
		return
	}
	switch {
	case r.over || c.idle:
	case c.fresh: // it was closed before it was of any use: not at once again
		c.retry = now + retryAfter
	default:
		r.open(c)
	}
}

// take goes through received bytes; false: the connection is not read further now.
func (r *run) take(c *conn, p []byte, now int64) bool {
	before := len(c.starts)
	for len(p) > 0 {
		if len(c.starts) == 0 && c.state != upgrading {
			r.fail(c, ErrProtocol, fmt.Errorf("%d bytes came that nobody asked for: %.60q", len(p), p))
			return false
		}
		n, done, ok := r.parse(c, p)
		if !ok {
			r.fail(c, ErrProtocol, fmt.Errorf("cannot read an answer: %.60q", p))
			return false
		}
		p = p[n:]
		if !done {
			continue
		}
		if c.state == upgrading {
			if !r.upgraded(c) {
				return false
			}
			continue
		}
		r.complete(c, now)
		if (c.answer.last || r.spec.Fresh) && !r.spec.WebSocket {
			r.last(c, len(p) > 0)
			return c.state == ending
		}
	}
	if len(c.starts) < before && c.state == usable {
		c.since = now
		r.again(c)
	}
	return true
}

// parse takes one step through p.
func (r *run) parse(c *conn, p []byte) (n int, done, ok bool) {
	if r.spec.WebSocket && c.state == usable {
		return c.echo(r, p)
	}
	a := &c.answer
	if a.phase != inHead {
		return a.body(p)
	}
	n, done, ok = r.head(a, p)
	if !done || !ok {
		return n, false, ok
	}
	if a.status < 200 && a.status != 101 {
		a.phase = inHead // an interim answer
		return n, false, true
	}
	if a.phase == inBody && a.left == 0 {
		return n, true, true
	}
	return n, false, true
}

// upgraded ends a handshake, or the one request of an idle connection.
func (r *run) upgraded(c *conn) bool {
	a := &c.answer
	a.phase = inHead
	switch {
	case r.spec.WebSocket && (a.status != 101 || !a.accept):
		r.fail(c, ErrStatus, fmt.Errorf("the upgrade was answered with status %d, right key: %v", a.status, a.accept))
		return false
	case !r.spec.WebSocket && a.status != r.spec.WantStatus:
		r.fail(c, ErrStatus, fmt.Errorf("status %d", a.status))
		return false
	}
	c.state, c.fresh = usable, false
	r.again(c)
	return c.state == usable
}

// complete counts the first request under way as answered.
func (r *run) complete(c *conn, now int64) {
	began := c.starts[0]
	c.starts = append(c.starts[:0], c.starts[1:]...)
	a := &c.answer
	length, status := a.length, a.status
	a.phase, a.length = inHead, 0
	c.fresh = false
	// What was due in the warm-up and came later counts into the throughput, what came after the end counts by its latency.
	counted, within := r.counts(began, now), now >= r.start && now < r.end
	right := r.spec.WebSocket || status == r.spec.WantStatus && (r.spec.WantLength < 0 || length == r.spec.WantLength)
	if counted && !r.spec.WebSocket {
		r.byStatus[status]++
		switch {
		case status != r.spec.WantStatus:
			r.wrong(ErrStatus, fmt.Sprintf("status %d", status))
		case !right:
			r.wrong(ErrLength, fmt.Sprintf("a body of %d bytes instead of %d", length, r.spec.WantLength))
		case a.origin >= 0:
			r.byOrigin[a.origin]++
		}
	}
	if !right {
		return
	}
	if r.spec.WebSocket {
		length = int64(r.spec.BodySize)
	}
	if counted {
		record(r.hist, now-began)
	}
	switch {
	case within:
		r.result.Requests++
		r.result.Bytes += length
		record(r.point, now-began)
	case counted:
		r.result.After++
	}
}

// last is the answer after which a connection ends. The proxy is left to close first, so that the port which is taken for
// a minute more (TIME_WAIT) is its own. One that does not say it will, though it was asked to, is reset: that leaves no port
// behind on either side. more: bytes came behind the answer.
func (r *run) last(c *conn, more bool) {
	if lost := len(c.starts); lost > 0 || more {
		r.fail(c, ErrClosed, fmt.Errorf("the connection ended with %d requests unanswered", lost))
		return
	}
	if !c.answer.last {
		reset(c.fd)
		r.shut(c)
		if !r.over {
			r.open(c)
		}
		return
	}
	c.state = ending
	c.since = r.now()
}

// wrong counts an answer that is not the one wanted.
func (r *run) wrong(kind, example string) {
	r.pointErr++
	r.count(kind, 1, example)
}

// shut closes a connection and forgets what is under way on it.
func (r *run) shut(c *conn) {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd, c.state, c.out, c.got, c.want = -1, closed, nil, 0, false
	c.starts = c.starts[:0]
	c.answer = answer{part: c.answer.part[:0]}
}

// fail counts the requests under way on a connection as failed, one at least, closes it, and has it opened again later.
func (r *run) fail(c *conn, kind string, err error) {
	now := r.now()
	n := int64(0)
	for _, began := range c.starts {
		if r.counts(began, now) {
			n++
		}
	}
	if len(c.starts) == 0 && (r.end == 0 || now >= r.start && (now < r.end || r.unopened(c) && c.since < r.end)) {
		n = 1
	}
	if n > 0 {
		r.pointErr += n
		r.count(kind, n, err.Error())
	}
	r.shut(c)
	c.retry = now + retryAfter
}
