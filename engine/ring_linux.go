package engine

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// ring has the kernel receive or send on many sockets by one system call (io_uring(7)). Where a call is dear, as in a virtual machine
// or with mitigations of processor faults, entering the kernel four times takes as much as a fifth of a small proxied request.
// Readiness is epoll's affair as ever: nothing that could wait is handed in, so all is done when the call returns. Only its
// loop's thread uses it.
type ring struct {
	fd     int
	maps   [][]byte // of the kernel: heads, tails and results, and the entries
	sqes   []sqe
	cqes   []cqe
	sqTail *atomic.Uint32
	cqHead *atomic.Uint32
	cqTail *atomic.Uint32
	n      uint32 // prepared and not submitted
}

// sqe is struct io_uring_sqe, as far as receiving and sending need it.
type sqe struct {
	op, flags uint8
	ioprio    uint16
	fd        int32
	off       uint64
	addr      uint64
	len       uint32
	msgFlags  uint32
	user      uint64
	_         [24]byte
}

// cqe is struct io_uring_cqe.
type cqe struct {
	user  uint64
	res   int32
	flags uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

const (
	sysRingSetup, sysRingEnter = 425, 426 // the same on every port

	ringSubmitAll    = 1 << 7
	ringCoop         = 1 << 8
	ringSingleIssuer = 1 << 12
	ringDefer        = 1 << 13

	ringSingleMap = 1 << 0 // feature: one mapping for both queues
	ringSQEs      = 0x10000000

	opSend, opReceive = 26, 27
)

// newRing makes a ring for n entries, a power of two, on the thread that is to use it; nil where the kernel has none or does not allow
// it (containers, kernel.io_uring_disabled), or is older than 6.1: then each message is a call of its own.
func newRing(n uint32) *ring {
	p := ringParams{flags: ringSubmitAll | ringCoop | ringSingleIssuer | ringDefer}
	fd, _, e := syscall.RawSyscall(sysRingSetup, uintptr(n), uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil
	}
	r := &ring{fd: int(fd)}
	syscall.CloseOnExec(r.fd)
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	const prot, flags = syscall.PROT_READ | syscall.PROT_WRITE, syscall.MAP_SHARED | syscall.MAP_POPULATE
	queues, err := syscall.Mmap(r.fd, 0, int(size), prot, flags)
	if err != nil {
		r.close()
		return nil
	}
	r.maps = append(r.maps, queues)
	if p.features&ringSingleMap == 0 {
		r.close()
		return nil
	}
	entries, err := syscall.Mmap(r.fd, ringSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), prot, flags)
	if err != nil {
		r.close()
		return nil
	}
	r.maps = append(r.maps, entries)
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&queues[off]) }
	r.sqTail, r.cqHead, r.cqTail = (*atomic.Uint32)(at(p.sq.tail)), (*atomic.Uint32)(at(p.cq.head)), (*atomic.Uint32)(at(p.cq.tail))
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(at(p.cq.cqes)), p.cqEntries)
	for i, array := uint32(0), unsafe.Slice((*uint32)(at(p.sq.array)), p.sqEntries); i < p.sqEntries; i++ {
		array[i] = i
	}
	return r
}

func (r *ring) close() {
	for _, m := range r.maps {
		_ = syscall.Munmap(m)
	}
	sysClose(r.fd)
}

// add prepares to receive into or send p, which must stay where it is until submit returns, as call number user.
func (r *ring) add(op uint8, fd int, p []byte, user int) {
	tail := r.sqTail.Load() + r.n
	r.sqes[tail&uint32(len(r.sqes)-1)] = sqe{op: op, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))),
		len: uint32(len(p)), msgFlags: syscall.MSG_NOSIGNAL | syscall.MSG_DONTWAIT, user: uint64(user)}
	r.n++
}

// submit makes the calls that were prepared, and tells done the outcome of each: bytes, or an errno. It returns false if the ring is
// of no use any more; calls that done was not told of were not made.
func (r *ring) submit(done func(user, n int, err syscall.Errno)) bool {
	r.sqTail.Store(r.sqTail.Load() + r.n)
	ok := true
	for r.n > 0 {
		k, _, e := syscall.RawSyscall6(sysRingEnter, uintptr(r.fd), uintptr(r.n), 0, 0, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 || k == 0 {
			ok = false
			break
		}
		r.n -= uint32(k)
	}
	head, tail := r.cqHead.Load(), r.cqTail.Load()
	for ; head != tail; head++ {
		c := &r.cqes[head&uint32(len(r.cqes)-1)]
		if c.res < 0 {
			done(int(c.user), 0, syscall.Errno(-c.res))
		} else {
			done(int(c.user), int(c.res), 0)
		}
	}
	r.cqHead.Store(head)
	return ok
}
