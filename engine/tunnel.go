package engine

import (
	"syscall"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// switchProtocols passes a 101 on and makes the two conns a tunnel; rbuf[off:end] are bytes that came behind the head. Whether the
// backend is asked to switch is for proxy_set_header to say: of the client only an Upgrade field is wanted, as by nginx.
func (ex *exchange) switchProtocols(off, end int) bool {
	l, h := ex.l, &ex.resp
	if ex.head.FieldNamed("Upgrade") == nil || h.Upgrade.Empty() || ex.head.Minor == 0 {
		l.eng.logRequest(Err, ex, "upstream switched protocols without being asked")
		return ex.next(site.NextInvalidHeader, 502, upstream.Failed)
	}
	ex.respBuf = append(ex.respBuf[:0], h.Buf...)
	h.Buf = ex.respBuf
	ex.r.Response = h
	t := ex.try()
	t.HeaderNs, t.Status = l.nowNs-ex.tryNs, 101
	if ex.waits {
		ex.answerCame()
	}
	ex.keepConn = false
	ex.dec = codec.Chunked{}
	dst := ex.answerFields(ex.statusLine(l.wbuf[:0], 101, h.Reason.In(h.Buf)))
	dst = append(dst, "Connection: upgrade\r\n"...)
	dst = append(ex.addFields(dst, ex.loc().AddHeaders), '\r', '\n')
	ex.sentHead = append(ex.sentHead[:0], dst...)
	ex.r.SentHead = ex.sentHead
	ex.headSent = true
	ex.r.BytesSent += int64(len(dst))
	l.wbuf = dst[:0]
	if err := ex.c.write(dst); err != 0 {
		return ex.clientFailed(err)
	}
	if off < end {
		ex.r.BytesSent += int64(end - off)
		if err := ex.c.write(l.rbuf[off:end]); err != 0 {
			return ex.clientFailed(err)
		}
	}
	if err := ex.pourUpload(); err != 0 { // the rest of the body, which belongs to the tunnel now
		return ex.clientFailed(err)
	}
	if in := ex.c.unread(); len(in) > 0 { // sent ahead of our answer
		t.BytesSent += int64(len(in))
		if err := ex.b.write(in); err != 0 {
			return ex.clientFailed(err)
		}
		ex.c.drop()
	}
	ex.upEnd, ex.downEnd = endNone, endNone
	return ex.to(phTunnel)
}

// tunnel copies both ways. An end of one side is passed on as a half close once what it sent is delivered (nginx ends the
// whole tunnel then); it is over when both sides have ended, one of them failed, or nothing moved for proxy_read_timeout.
func (ex *exchange) tunnel() bool {
	up, down := ex.haul(ex.c, ex.b, &ex.upEnd), ex.haul(ex.b, ex.c, &ex.downEnd)
	if up == hauledBroken || down == hauledBroken || ex.upEnd == endPassed && ex.downEnd == endPassed {
		ex.try().ResponseNs = ex.l.nowNs - ex.tryNs
		ex.dropBackend()
		ex.leave(upstream.OK)
		ex.c.out.drop()
		return ex.to(phFlush)
	}
	if up == hauledMore || down == hauledMore {
		ex.l.goOn(ex.b)
	}
	ex.b.setTimeout(int64(ex.r.Loc.Proxy.ReadTimeout))
	ex.c.noTimeout()
	return false
}

// tunnelEnd is how far the end of one side has come.
type tunnelEnd uint8

const (
	endNone   tunnelEnd = iota
	endSeen             // no more input; output still waits
	endPassed           // the other side knows
)

type hauled uint8

const (
	hauledAll    hauled = iota // nothing more for now
	hauledMore                 // there is more, but others come first
	hauledBroken               // a socket failed
)

// haul moves bytes one way. Small messages are received ahead and sent at the end of the turn, as heads and small answers are: an
// echo of 128 bytes over a WebSocket, 64 of them at once, took 18.5 µs of CPU before, 17.6 with that, and 13.4 since tunnels
// count for the loop's naps, too (nginx 18.9; medians of 5 and 7 alternating rounds).
func (ex *exchange) haul(from, to *conn, end *tunnelEnd) hauled {
	buf := ex.l.rbuf[:readRoom]
	if to.flush() != 0 {
		return hauledBroken
	}
	for moved := 0; *end == endNone; {
		if to.out.len() >= highMark {
			return hauledAll
		}
		if moved >= turnMax {
			return hauledMore
		}
		p := from.unread() // was received ahead when there was no room for it
		n, eof, err := len(p), false, syscall.Errno(0)
		if n == 0 {
			n, eof, err = from.read(buf)
			p = buf[:n]
			if n > 0 {
				from.small = n < slotRoom
			}
		}
		switch {
		case n > 0:
			moved += n
			if t := ex.try(); from == ex.b {
				ex.r.BytesSent += int64(n)
				t.BytesReceived += int64(n)
			} else {
				t.BytesSent += int64(n)
			}
			if !to.writeLater(p) && to.write(p) != 0 {
				return hauledBroken
			}
			from.drop()
		case err != 0:
			return hauledBroken
		case eof:
			*end = endSeen
		default:
			return hauledAll
		}
	}
	if *end == endSeen {
		if to.laterLen > 0 {
			to.sendLater()
		}
		if to.out.len() == 0 {
			*end = endPassed
			sysShutdownWrite(to.fd)
		}
	}
	return hauledAll
}
