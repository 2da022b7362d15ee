package origin

import (
	"golang.org/x/sys/unix"

	"dyups/bench/poll"
)

type pollEvent = poll.Event

// part is the next piece of an answer's source or tail from a position on, of at most n bytes; nil at the end.
func (a *answer) part(at int64, n int) []byte {
	if at < a.size {
		b := a.source[at%int64(len(a.source)):]
		return b[:min(int64(len(b)), int64(n), a.size-at)]
	}
	b := a.tail[at-a.size:]
	return b[:min(len(b), n)]
}

// length is that of source and tail together.
func (a *answer) length() int64 { return a.size + int64(len(a.tail)) }

// flush sends: what the socket did not take before, what was gathered, what the source has. It returns false if the
// socket is full, or the connection is closed.
func (l *loop) flush(c *conn) bool {
	for turn := 0; ; {
		pending := c.out
		if len(pending) == 0 {
			pending = l.out
		}
		v := &l.vector
		v.reset()
		v.add(pending)
		if c.phase == phaseSource && !(c.answer.file && len(pending) > 0) { // from the file the head goes alone
			for at := c.sent; v.bytes < vectorMax && !v.full(); {
				b := c.answer.part(at, vectorMax-v.bytes)
				if len(b) == 0 {
					break
				}
				v.add(b)
				at += int64(len(b))
				if c.answer.file {
					break // to its end, one piece at a time
				}
			}
		}
		if v.n == 0 {
			break
		}
		if turn >= turnMax {
			return l.later(c, pending)
		}
		var n int
		var errno unix.Errno
		switch {
		case v.n == 1 && len(pending) > 0:
			n, errno = poll.Send(c.fd, pending)
		case len(pending) == 0 && c.answer.file && l.file >= 0:
			n, errno = sendFile(c.fd, l.file, c.sent%sharedBody, v.bytes)
		default:
			n, errno = v.send(c.fd)
		}
		if errno == unix.EAGAIN || errno == unix.EINTR {
			return l.later(c, pending)
		}
		if errno != 0 {
			l.out = l.out[:0]
			l.drop(c)
			return false
		}
		turn += n
		short, k := n < v.bytes, min(n, len(pending))
		pending = pending[k:]
		if c.phase == phaseSource {
			if c.sent += int64(n - k); c.sent == c.answer.length() {
				c.phase = c.after()
			}
		}
		if short {
			return l.later(c, pending)
		}
		c.out, l.out = c.out[:0], l.out[:0]
	}
	return l.settle(c)
}

// later makes pending, the end of either buffer, what is to be sent next, and waits for the socket to take more.
func (l *loop) later(c *conn, pending []byte) bool {
	c.out = append(c.out[:0], pending...) // moves forward within c.out, or copies from l.out
	l.out = l.out[:0]
	l.setWatch(c, watchWrite)
	return false
}

// settle is called when everything is sent.
func (l *loop) settle(c *conn) bool {
	if c.phase == phaseLast && c.answer != nil {
		// A connection closed with bytes unread would be reset, and the answer lost on its way (RFC 9112 §9.6): so only
		// this direction ends, and the client's end closes it.
		c.answer = nil
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
	}
	l.setWatch(c, watchRead)
	return true
}

func (l *loop) setWatch(c *conn, w watch) {
	if c.watch == w {
		return
	}
	c.watch = w
	if err := l.poll.Mod(c.fd, c.slot, w == watchRead, w == watchWrite); err != nil {
		panic("BUG: " + err.Error()) // the descriptor is open and watched
	}
}
