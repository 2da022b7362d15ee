package origin

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// accept takes one connection off a listening socket.
func accept(fd int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// sendFile sends n bytes of a file from a position on; the kernel passes its pages on and copies nothing.
func sendFile(fd, file int, at int64, n int) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&at)), uintptr(n), 0, 0)
	return int(got), errno
}

// openSource puts plainSource into a file in memory; below 0: there is none, and bodies are sent from the buffer.
func openSource() int {
	fd, err := unix.MemfdCreate("source", unix.MFD_CLOEXEC)
	if err != nil {
		return -1
	}
	if n, err := unix.Write(fd, plainSource); err != nil || n != len(plainSource) {
		unix.Close(fd)
		return -1
	}
	return fd
}

// vector gathers pieces for one send. It is part of the loop, on the heap, so that nothing of it moves.
type vector struct {
	pieces [16]unix.Iovec
	n      int
	bytes  int
	msg    unix.Msghdr
}

func (v *vector) reset() { v.n, v.bytes = 0, 0 }

// add appends a piece; the caller keeps it alive until send.
func (v *vector) add(b []byte) {
	if len(b) == 0 {
		return
	}
	v.pieces[v.n].Base = &b[0]
	v.pieces[v.n].SetLen(len(b))
	v.n++
	v.bytes += len(b)
}

func (v *vector) full() bool { return v.n == len(v.pieces) }

func (v *vector) send(fd int) (int, unix.Errno) {
	v.msg.Iov = &v.pieces[0]
	v.msg.SetIovlen(v.n)
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msg)), unix.MSG_NOSIGNAL)
	return int(n), errno
}

// stamped receives with the kernel's time of arrival.
type stamped struct {
	msg     unix.Msghdr
	piece   unix.Iovec
	control [64]byte
}

// receive reads what there is into buf, and tells when the last segment of it arrived, CLOCK_REALTIME in nanoseconds; 0 if
// the kernel did not say. TCP gives the stamp of the last segment that a read took from (tcp_recv_timestamp).
func (s *stamped) receive(fd int, buf []byte) (n int, arrival int64, errno unix.Errno) {
	s.piece.Base = &buf[0]
	s.piece.SetLen(len(buf))
	s.msg.Iov = &s.piece
	s.msg.SetIovlen(1)
	s.msg.Control = &s.control[0]
	s.msg.SetControllen(len(s.control))
	got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msg)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return int(got), parseStamp(s.control[:s.msg.Controllen]), 0
}

// parseStamp finds SCM_TIMESTAMPNS in control data, which holds a header of 16 bytes and two 64-bit numbers.
func parseStamp(control []byte) int64 {
	const header = unix.SizeofCmsghdr
	for len(control) >= header {
		size := binary.NativeEndian.Uint64(control)
		if size < header || size > uint64(len(control)) {
			return 0
		}
		level, kind := binary.NativeEndian.Uint32(control[8:]), binary.NativeEndian.Uint32(control[12:])
		if level == unix.SOL_SOCKET && kind == unix.SCM_TIMESTAMPNS && size >= header+16 {
			sec, nsec := binary.NativeEndian.Uint64(control[header:]), binary.NativeEndian.Uint64(control[header+8:])
			return int64(sec)*1e9 + int64(nsec)
		}
		control = control[min(int(size+7)&^7, len(control)):]
	}
	return 0
}
