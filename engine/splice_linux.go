package engine

import (
	"syscall"
	"unsafe"

	"dyups/codec"
)

const (
	// spliceMin is the rest of a body from which on it goes through a pipe. Two calls and the pipe's pages cost about as
	// much as copying this much.
	spliceMin = 64 << 10
	// pipeSize is asked for; what the kernel gives is in pipe.size. 1 MiB is fs.pipe-max-size's default, the most it gives.
	pipeSize = 1 << 20
	// pipesMax bounds the pipes of one loop, and with them the pages that slow clients can hold in the kernel.
	pipesMax = 64
)

// forPipe reports whether of a body of n bytes enough will be left for a pipe when the read that finds its head has taken some.
func forPipe(n int64) bool { return n >= headRead+spliceMin }

// pipe carries body bytes from one socket to another by splice(2) without copying them. It belongs to the
// loop's stock while it is empty, and to one exchange from the first byte in it to the last one out.
type pipe struct {
	r, w int
	size int
	n    int // bytes in it
}

// openPipe makes an empty pipe as large as the kernel allows this user (fs.pipe-user-pages-soft, pipe(7)).
func openPipe() (*pipe, syscall.Errno) {
	var fds [2]int32
	_, _, e := syscall.RawSyscall(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		return nil, e
	}
	p := &pipe{r: int(fds[0]), w: int(fds[1])}
	const setSize, getSize = 1031, 1032 // F_SETPIPE_SZ, F_GETPIPE_SZ
	_, _, _ = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(p.w), setSize, pipeSize)
	n, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(p.w), getSize, 0)
	if p.size = int(n); e != 0 || p.size < spliceMin {
		p.close() // a page or two: copying is better
		return nil, syscall.EPERM
	}
	return p, 0
}

func (p *pipe) close() {
	sysClose(p.r)
	sysClose(p.w)
}

// sysSplice moves up to n bytes from one descriptor to another; one of them is a pipe.
func sysSplice(from, to, n int) (int, syscall.Errno) {
	const move, nonblock = 1, 2 // SPLICE_F_MOVE, SPLICE_F_NONBLOCK
	for {
		r, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), move|nonblock)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// paced reports whether the kernel spaces the segments of a socket out in time, which BBR does with a timer for each. Such
// a timer is dear in a virtual machine, and copying takes long enough to need few of them: 1 MB over loopback cost 330 µs
// of CPU spliced and 250 µs copied with BBR, 80 and 155 with CUBIC (wrk -c64, medians of 4 alternating rounds).
var paced = func(fd int) bool {
	var name [16]byte
	size := int32(len(name))
	const tcpCongestion = 13 // TCP_CONGESTION, tcp(7)
	_, _, e := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.IPPROTO_TCP, tcpCongestion,
		uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)), 0)
	return e == 0 && string(name[:3]) == "bbr"
}

// takePipe lends the exchange a pipe if the rest of its body is to be spliced: a plain body of known length that goes out
// as it came, to a client that is not behind.
func (ex *exchange) takePipe() bool {
	if ex.pipe != nil {
		return true
	}
	if !ex.mayPipe() || ex.c.out.len() > 0 {
		return false
	}
	ex.pipe = ex.lendPipe(ex.c)
	ex.noSplice = ex.pipe == nil
	return ex.pipe != nil
}

// mayPipe reports whether what is left of the body is for a pipe, and some of it probably there.
func (ex *exchange) mayPipe() bool {
	return ex.kind == codec.BodyLength && ex.remain >= spliceMin && !ex.noSplice && ex.b.canRead
}

// lendPipe gives an empty pipe for bytes to c, nil if there is none to be had or copying is better.
func (ex *exchange) lendPipe(c *conn) *pipe {
	l := ex.l
	if !c.asked {
		c.asked, c.paced = true, paced(c.fd)
	}
	if l.piping >= pipesMax || c.paced {
		return nil
	}
	var p *pipe
	if n := len(l.pipes); n > 0 {
		p = l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
	} else if p, _ = openPipe(); p == nil {
		return nil
	}
	l.piping++
	if !ex.bulk {
		ex.bulk = true
		l.bulk++
	}
	return p
}

// returnPipe takes a lent pipe back, nil included. One with bytes in it is no use to anybody.
func (l *Loop) returnPipe(p *pipe) {
	if p == nil {
		return
	}
	l.piping--
	if p.n > 0 || len(l.pipes) >= pipesKept {
		p.close()
		return
	}
	l.pipes = append(l.pipes, p)
}

// pipesKept bounds the loop's stock of empty pipes, about 10 KB of the kernel's memory each. With a stock of 4 every other
// exchange of 16 at once made one and closed it, in five calls: a MB of 1 MB answers cost 5 % more CPU (0.955 with 32, medians of 4 rounds).
const pipesKept = 32

// dropPipe parts from the exchange's pipe.
func (ex *exchange) dropPipe() {
	ex.l.returnPipe(ex.pipe)
	ex.pipe = nil
}

// fillPipe takes body bytes from the backend; n == 0 without eof and errno: nothing to be had now.
func (ex *exchange) fillPipe() (n int, eof bool, errno syscall.Errno) {
	p, b := ex.pipe, ex.b
	n, eof, errno = b.received(sysSplice(b.fd, p.w, int(min(ex.remain, int64(p.size-p.n)))))
	p.n += n
	ex.remain -= int64(n)
	ex.r.BodyBytesSent += int64(n)
	ex.r.BytesSent += int64(n)
	ex.try().ResponseSize += int64(n)
	ex.try().BytesReceived += int64(n)
	return n, eof, errno
}

// drain sends what is in the pipe as far as c takes it, behind what else waits for c.
func (p *pipe) drain(c *conn) syscall.Errno {
	if c.laterLen > 0 {
		c.sendLater()
	}
	if errno := c.flush(); errno != 0 || c.out.len() > 0 {
		return errno
	}
	for p.n > 0 && c.canWrite {
		n, errno := sysSplice(p.r, c.fd, p.n)
		if errno == eagain {
			c.canWrite = false
			return 0
		}
		if errno != 0 {
			return errno
		}
		p.n -= n
		c.progress, c.corked = true, false
	}
	return 0
}

// relaySpliced is relay for a body that goes through a pipe. It returns to relay's own way only with an empty pipe.
func (ex *exchange) relaySpliced() bool {
	l, b := ex.l, ex.b
	for moved := 0; ; {
		if err := ex.pipe.drain(ex.c); err != 0 {
			return ex.clientFailed(err)
		}
		if ex.remain == 0 {
			ex.extra = b.hasMore()
			return ex.answered(headRoom, headRoom, ex.extra)
		}
		if ex.pipe.n > 0 {
			return ex.awaitClient()
		}
		if moved >= turnMax {
			l.goOn(b)
			return false
		}
		if !b.canRead {
			ex.dropPipe() // for others, while the backend has nothing
			return ex.awaitBody()
		}
		n, eof, errno := ex.fillPipe()
		moved += n
		switch {
		case errno == syscall.EINVAL || errno == syscall.ENOSYS: // this pair of sockets cannot
			ex.dropPipe()
			ex.noSplice, b.canRead = true, true
			return true
		case eof || errno != 0:
			return ex.endedEarly()
		}
	}
}

// hasMore reports whether the backend has sent more than its body. It also learns that there is nothing more to read for
// now, which a conn that is kept has to know.
func (c *conn) hasMore() bool {
	if !c.canRead {
		return false
	}
	n, _, _ := c.read(c.loop.rbuf[:1])
	return n > 0
}
