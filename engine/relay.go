package engine

import (
	"syscall"

	"dyups/codec"
	"dyups/upstream"
)

// passOn sends rbuf[off:end], raw response bytes, to the client: decoded, cut at the body's end, in the client's framing.
func (ex *exchange) passOn(off, end int, eof bool) bool {
	over := false
	switch ex.kind {
	case codec.BodyLength:
		if n := int64(end - off); n >= ex.remain {
			ex.extra = n > ex.remain
			end = off + int(ex.remain)
			over = true
		}
		ex.remain -= int64(end - off)
	case codec.BodyChunked:
		from, to, rest, done, err := ex.dechunk(off, end)
		if done && ex.dec.LeaveTrailer {
			return ex.beginTrailer(from, to, ex.l.rbuf[rest:end])
		}
		off, end, over = from, to, done
		if err != nil {
			ex.l.eng.logRequest(Err, ex, "upstream sent invalid chunked response: "+err.Error())
			if err := ex.emit(off, end, false); err != 0 {
				return ex.clientFailed(err)
			}
			return ex.truncate()
		}
	default:
		over = eof
	}
	if over {
		return ex.answered(off, end, ex.extra)
	}
	if end > off || len(ex.l.wbuf) > 0 {
		if err := ex.emit(off, end, false); err != 0 {
			return ex.clientFailed(err)
		}
	}
	return true
}

// dechunk decodes rbuf[off:end] in place and returns where the data stands, usually one piece that is not moved, and where
// what was not consumed begins.
func (ex *exchange) dechunk(off, end int) (from, to, rest int, over bool, err *codec.Error) {
	b := ex.l.rbuf
	from, to = off, off
	first := true
	for off < end && !over {
		n, data, done, e := ex.dec.Next(b[off:end])
		if len(data) > 0 {
			at := offsetIn(b, data)
			if first {
				from, to, first = at, at, false
			}
			if at != to {
				copy(b[to:], data)
			}
			to += len(data)
		}
		if e != nil {
			return from, to, off, false, e
		}
		off += n
		over = done
		if n == 0 && !done {
			break
		}
	}
	ex.extra = over && off < end
	return from, to, off, over, nil
}

// emit sends body bytes rbuf[off:end] to the client, the head that waits in the loop's head buffer in front of them, and
// the chunked framing around them. Everything is put together in place: the body is not copied.
func (ex *exchange) emit(off, end int, last bool) syscall.Errno {
	l, b := ex.l, ex.l.rbuf
	n := end - off
	ex.r.BodyBytesSent += int64(n)
	ex.try().ResponseSize += int64(n)
	if ex.chunked {
		if n > 0 {
			var hex [chunkMax]byte
			size := codec.AppendChunkHeader(hex[:0], n)
			off -= len(size)
			copy(b[off:], size)
			end += copy(b[end:], "\r\n")
		}
		if last && !ex.ownTrailer {
			end += copy(b[end:], codec.LastChunk)
		}
	}
	head := l.wbuf
	l.wbuf = head[:0]
	ex.r.BytesSent += int64(len(head) + end - off)
	if len(head) > off {
		if err := ex.c.write(head); err != 0 {
			return err
		}
	} else if len(head) > 0 {
		off -= len(head)
		copy(b[off:], head)
	}
	if off == end || last && ex.keepConn && ex.c.writeLater(b[off:end]) {
		return 0
	}
	if !last && ex.mayPipe() {
		return ex.c.writeMore(b[off:end])
	}
	return ex.c.write(b[off:end])
}

// answered sends the last piece and parts from the backend.
func (ex *exchange) answered(off, end int, extra bool) bool {
	if ex.learns { // before the client can send what goes by it
		ex.learn()
	}
	err := ex.emit(off, end, true)
	if ex.ownTrailer && err == 0 {
		ex.aux = ex.appendOwnTrailer(ex.aux[:0], false)
		ex.r.BytesSent += int64(len(ex.aux))
		err = ex.c.write(ex.aux)
	}
	l, b, t := ex.l, ex.b, ex.try()
	t.ResponseNs = l.nowNs - ex.tryNs
	b.small = t.BytesReceived < slotRoom
	ex.b = nil
	b.ex = nil
	ex.dropUpload()
	if ex.sent && !extra && !ex.broken && ex.resp.KeepAlive && ex.kind != codec.BodyUntilClose && !b.canRead && !b.rdHup &&
		b.out.len() == 0 && !ex.r.Loc.Proxy.HTTP10 {
		l.keepIdle(b, ex.up)
	} else {
		b.close()
	}
	ex.leave(upstream.OK)
	if err != 0 {
		return ex.clientFailed(err)
	}
	return ex.to(phFlush)
}

// truncate ends an answer that cannot be completed: the client sees the connection closed before the end.
func (ex *exchange) truncate() bool {
	ex.try().ResponseNs = ex.l.nowNs - ex.tryNs
	ex.dropBackend()
	ex.leave(upstream.OK)
	ex.keepConn = false
	return ex.to(phFlush)
}

// relay passes the response body on until the backend has no more, the client is behind, or others should have a turn.
func (ex *exchange) relay() bool {
	l, b, c := ex.l, ex.b, ex.c
	if err := c.flush(); err != 0 {
		return ex.clientFailed(err)
	}
	if !ex.sent {
		switch status, ok := ex.pump(); {
		case status < 0:
			return ex.clientFailed(syscall.ECONNRESET)
		case status > 0 || !ok: // the rest cannot be understood (pull has given it up), or the backend does not want it
			ex.sent, ex.broken = true, true
		}
	}
	for moved := 0; ex.phase == phRelay; {
		if ex.takePipe() {
			return ex.relaySpliced()
		}
		if c.out.len() >= highMark {
			return ex.awaitClient()
		}
		if moved >= turnMax {
			l.goOn(b)
			return false
		}
		room := ex.readSize
		if ex.rate > 0 {
			if room = ex.allowance(); room == 0 {
				return false
			}
		}
		n, eof, err := b.read(l.rbuf[headRoom : headRoom+room])
		switch {
		case n > 0:
			moved += n
			ex.try().BytesReceived += int64(n)
			if ex.trailing {
				b.more(l.rbuf[headRoom : headRoom+n])
				ex.trailer()
			} else {
				ex.passOn(headRoom, headRoom+n, false)
			}
			if ex.phase != phRelay {
				return true
			}
			if c.out.len() > 0 {
				ex.readSize = readRoom // what a slow client does not take has to be kept for it
			}
		case eof && ex.kind == codec.BodyUntilClose:
			return ex.answered(headRoom, headRoom, false)
		case eof || err != 0:
			return ex.endedEarly()
		default:
			return ex.awaitBody()
		}
	}
	return true
}

// awaitClient arms the timeouts while it is the client that is slow.
func (ex *exchange) awaitClient() bool {
	ex.b.noTimeout()
	ex.clientBehind()
	return false
}

// awaitBody arms the timeouts while the backend has nothing to read.
func (ex *exchange) awaitBody() bool {
	ex.b.setTimeout(int64(ex.r.Loc.Proxy.ReadTimeout))
	ex.c.push()
	if ex.c.out.len() > 0 {
		ex.clientBehind()
	} else if ex.body.done {
		ex.c.noTimeout()
	}
	return false
}

// endedEarly is a backend that went before the end of its body.
func (ex *exchange) endedEarly() bool {
	ex.l.eng.logRequest(Err, ex, "upstream prematurely closed connection while reading upstream")
	return ex.truncate()
}
