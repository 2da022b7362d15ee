package poll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls on non-blocking sockets go past the Go scheduler (RawSyscall): none of them waits, and telling the scheduler of
// each costs more than the call's own entry into the kernel.

// Receive reads what there is into buf, which is not empty.
func Receive(fd int, buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	return int(n), errno
}

// Discard drops up to n received bytes without copying them out of the kernel (tcp(7), MSG_TRUNC).
func Discard(fd int, n int64) (int64, unix.Errno) {
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0)
	return int64(got), errno
}

// Send writes what the socket takes of buf, which is not empty; a peer that is gone raises no signal.
func Send(fd int, buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}
