package rival

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"dyups/bench/poll"
)

// line is a connection for updates: one question, one answer. It is a blocking socket, on which the calling thread waits for
// the answer in the kernel, at first without telling the Go scheduler: whenever a call that the scheduler knows of takes long, its
// monitor thread wakes up every 20 µs, and the updates share a core with the load, which pays for that. At 1,000 a second each
// update took 160 to 260 µs of CPU with a net.Conn, and 118 to 139 with a line (a busy machine, four runs each, alternating).
type line struct{ fd int }

// promptly bounds the wait that the scheduler does not know of: it could not stop the world meanwhile.
const promptly = 10 * time.Millisecond

// dialLine is the dialer of lines.
func dialLine(network, addr string, timeout time.Duration) (io.ReadWriteCloser, error) {
	fd, err := poll.Dial(network, addr, timeout)
	if err != nil {
		return nil, err
	}
	l := &line{fd}
	wait := unix.NsecToTimeval(int64(promptly))
	if err = unix.SetNonblock(l.fd, false); err == nil {
		err = unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot use the connection to %s: %w", addr, err)
	}
	return l, nil
}

// Read implements io.Reader; it waits for updateTimeout at most.
func (l *line) Read(p []byte) (int, error) {
	n, errno := poll.Receive(l.fd, p)
	for late := time.Now().Add(updateTimeout); errno == unix.EAGAIN || errno == unix.EINTR; {
		var err error
		n, err = unix.Read(l.fd, p)
		if errno, _ = err.(unix.Errno); errno == unix.EAGAIN && time.Now().After(late) {
			return 0, fmt.Errorf("no answer in %v", updateTimeout)
		}
	}
	switch {
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements io.Writer. What the socket does not take waits for room.
func (l *line) Write(p []byte) (n int, err error) {
	for n < len(p) {
		k, errno := poll.Send(l.fd, p[n:])
		if errno != 0 && errno != unix.EINTR {
			return n, errno
		}
		n += max(k, 0)
	}
	return n, nil
}

// Close implements io.Closer.
func (l *line) Close() error { return unix.Close(l.fd) }
