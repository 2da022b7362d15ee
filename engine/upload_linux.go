package engine

import "syscall"

// mayUpload reports whether what is left of the request's body is for a pipe: a plain body of known length, and enough of it.
func (ex *exchange) mayUpload() bool {
	b := &ex.body
	return !b.chunked && b.remain >= spliceMin && !b.copied
}

// takeUpload lends the exchange a pipe to the backend if what is left of the request's body is for one and nothing of it waits elsewhere.
func (ex *exchange) takeUpload() bool {
	c := ex.c
	if !ex.mayUpload() || c.in != nil || !c.canRead || c.early != 0 {
		return false
	}
	ex.upload = ex.lendPipe(ex.b)
	if ex.upload == nil {
		ex.body.copied = true
		return false
	}
	c.large = true
	ex.askBody()
	return true
}

// dropUpload parts from the pipe for the request's body.
func (ex *exchange) dropUpload() {
	ex.l.returnPipe(ex.upload)
	ex.upload = nil
}

// behind reports whether the backend has yet to take what is there for it.
func (ex *exchange) behind() bool { return ex.b.out.len() > 0 || ex.upload != nil && ex.upload.n > 0 }

// spliceBody passes the request's body on through the pipe, as streamBody does by copying. more: the pipe is done with, because
// all of the body has gone out or the rest has to be copied.
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
			c.noTimeout()
			return false, 0, true
		case b.done:
			ex.dropUpload()
			c.noTimeout()
			return true, 0, true
		case !c.canRead:
			ex.dropUpload() // for others, while the client has nothing
			c.setTimeout(int64(ex.loc().ClientBodyTimeout))
			return false, 0, true
		case ex.moved >= turnMax:
			c.noTimeout()
			l.goOn(c)
			return false, 0, true
		}
		n, eof, errno := c.received(sysSplice(c.fd, p.w, int(min(b.remain, int64(p.size)))))
		switch {
		case errno == syscall.EINVAL || errno == syscall.ENOSYS: // this pair of sockets cannot
			ex.dropUpload()
			b.copied, c.canRead = true, true
			return true, 0, true
		case eof || errno != 0:
			return false, -1, true
		}
		p.n += n
		ex.moved += n
		b.remain -= int64(n)
		b.done = b.remain == 0
		b.size += int64(n)
		b.streamed = b.streamed || n > 0
		ex.r.RequestLength += int64(n)
	}
}

// pourUpload has what is in the pipe wait for the backend in memory, where what comes after it is put behind it.
func (ex *exchange) pourUpload() syscall.Errno {
	p := ex.upload
	if p == nil {
		return 0
	}
	if p.n > 0 {
		buf := make([]byte, p.n)
		for off := 0; off < len(buf); {
			n, err := syscall.Read(p.r, buf[off:])
			if n <= 0 || err != nil {
				return syscall.EIO // it has them
			}
			off += n
		}
		p.n = 0
		ex.try().BytesSent += int64(len(buf))
		if errno := ex.b.write(buf); errno != 0 {
			return errno
		}
	}
	ex.dropUpload()
	return 0
}
