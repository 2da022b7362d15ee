package engine

import "syscall"

// takeUpload lends the exchange a pipe if the rest of the request's body is to be spliced to the backend: a plain body of known length,
// of which nothing is held any more.
func (ex *exchange) takeUpload() bool {
	b, c := &ex.body, ex.c
	if ex.upload != nil {
		return true
	}
	if !ex.mayUpload() || c.in != nil || !c.canRead || c.early != 0 {
		return false
	}
	b.mem, b.memSent = b.mem[:0], 0 // gone out
	ex.upload = ex.l.lendPipe(ex.b.fd)
	b.noSplice = ex.upload == nil
	return ex.upload != nil
}

// mayUpload reports whether what is left of the request's body is for a pipe.
func (ex *exchange) mayUpload() bool {
	b := &ex.body
	return !b.chunked && b.remain >= spliceMin && !b.noSplice
}

// dropUpload parts from the pipe for the request's body.
func (ex *exchange) dropUpload() {
	ex.l.returnPipe(ex.upload)
	ex.upload = nil
}

// behind reports whether the backend has yet to take what is there for it.
func (ex *exchange) behind() bool { return ex.b.out.len() > 0 || ex.upload != nil && ex.upload.n > 0 }

// spliceBody passes the request's body on through the pipe, as streamBody does by copying. more: it is over, or has to be copied from
// here on.
func (ex *exchange) spliceBody() (more bool, status int, ok bool) {
	l, c, b, p := ex.l, ex.c, &ex.body, ex.upload
	if ex.turn != l.nowNs {
		ex.turn, ex.moved = l.nowNs, 0
	}
	for {
		was := p.n
		errno := p.drain(ex.b)
		ex.try().BytesSent += int64(was - p.n)
		switch {
		case errno != 0:
			ex.failure = errno
			return false, 0, false
		case p.n > 0:
			c.setTimeout(0)
			return false, 0, true
		case b.remain == 0:
			b.done = true
			ex.dropUpload()
			c.setTimeout(0)
			return true, 0, true
		case !c.canRead:
			ex.dropUpload() // for others, while the client has nothing
			c.setTimeout(int64(ex.loc().ClientBodyTimeout))
			return false, 0, true
		case ex.moved >= turnMax:
			l.goOn(c)
			return false, 0, true
		}
		n, eof, errno := c.received(sysSplice(c.fd, p.w, int(min(b.remain, int64(p.size)))))
		switch {
		case errno == syscall.EINVAL || errno == syscall.ENOSYS: // this pair of sockets cannot
			ex.dropUpload()
			b.noSplice, c.canRead = true, true
			return true, 0, true
		case eof || errno != 0:
			return false, -1, true
		}
		p.n += n
		ex.moved += n
		b.remain -= int64(n)
		b.size += int64(n)
		b.streamed = b.streamed || n > 0
		ex.r.RequestLength += int64(n)
	}
}
