package origin

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// port is the address of an origin. It is held by a socket that is bound and never listens, so that nobody else gets the
// port while the origin is dead: connecting is refused then.
type port struct {
	hold   int
	number int
	stamp  bool
}

// newPort takes a free port of 127.0.0.1.
func newPort(stamp bool) (port, error) {
	fd, err := bound(0, stamp)
	if err != nil {
		return port{}, fmt.Errorf("cannot take a loopback port: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return port{}, fmt.Errorf("cannot read the port taken: %w", err)
	}
	return port{hold: fd, number: sa.(*unix.SockaddrInet4).Port, stamp: stamp}, nil
}

func (p *port) String() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }

func (p *port) close() { unix.Close(p.hold) }

// listen opens a further socket on the port that does listen.
func (p *port) listen() (int, error) {
	fd, err := bound(p.number, p.stamp)
	if err != nil {
		return -1, fmt.Errorf("cannot take loopback port %d: %w", p.number, err)
	}
	if err := unix.Listen(fd, 65535); err != nil { // the kernel makes it net.core.somaxconn
		unix.Close(fd)
		return -1, fmt.Errorf("cannot listen on loopback port %d: %w", p.number, err)
	}
	return fd, nil
}

// bound makes a socket with the options that connections accepted from it inherit. SO_REUSEPORT lets the two sockets of
// one port be bound side by side; with SO_REUSEADDR a stranger that has it too could listen there while neither does.
func bound(number int, stamp bool) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	options := [][3]int{
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	}
	if stamp {
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
