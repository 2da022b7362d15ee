package poll

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects as net.DialTimeout does and gives the descriptor, non-blocking, out of the Go scheduler's sight.
func Dial(network, addr string, timeout time.Duration) (fd int, err error) {
	conn, err := net.DialTimeout(network, addr, timeout)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}
