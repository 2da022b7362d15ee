// Package poll is the smallest event loop that the bench's own load generator and origins need: epoll, level-triggered,
// one goroutine, sockets as plain file descriptors. It exists so that what surrounds a proxy costs little of the core it
// shares, and so that times are taken right after the kernel handed over the bytes.
package poll

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits for sockets to become ready. It belongs to one goroutine; only Wake may be called from others.
type Poller struct {
	epoll, wake int
	events      []unix.EpollEvent
}

// Event is one ready socket. Tag is what Add was given.
type Event struct {
	Tag         int32
	Read, Write bool // an error or hang-up sets both
}

// New opens a poller.
func New() (*Poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot open an epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("cannot open an eventfd: %w", err)
	}
	p := &Poller{epoll: ep, wake: wake, events: make([]unix.EpollEvent, 512)}
	if err := p.Add(wake, wakeTag, true, false); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// wakeTag marks the eventfd; sockets have tags from zero.
const wakeTag = -1

// Add begins to watch a socket for what is asked.
func (p *Poller) Add(fd int, tag int32, read, write bool) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, tag, read, write)
}

// Mod changes what a socket is watched for.
func (p *Poller) Mod(fd int, tag int32, read, write bool) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, tag, read, write)
}

func (p *Poller) control(op, fd int, tag int32, read, write bool) error {
	ev := unix.EpollEvent{Fd: tag}
	if read {
		ev.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("cannot watch socket %d: %w", fd, err)
	}
	return nil
}

// Wait appends what is ready to buf[:0], after at most d (negative: no limit). It returns early, and empty, after Wake
// or a signal. Closing a socket ends its watch.
func (p *Poller) Wait(buf []Event, d time.Duration) ([]Event, error) {
	buf = buf[:0]
	n, err := p.wait(d)
	if err == unix.EINTR {
		return buf, nil
	}
	if err != nil {
		return buf, fmt.Errorf("cannot wait for sockets: %w", err)
	}
	for _, ev := range p.events[:n] {
		if ev.Fd == wakeTag {
			var b [8]byte
			unix.Read(p.wake, b[:])
			continue
		}
		broken := ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
		buf = append(buf, Event{
			Tag:   ev.Fd,
			Read:  broken || ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0,
			Write: broken || ev.Events&unix.EPOLLOUT != 0,
		})
	}
	return buf, nil
}

// wait is epoll_pwait2, whose time-out has the resolution of nanoseconds: an open loop has to send every few
// microseconds, and epoll_wait counts in milliseconds. A kernel before 5.11 gets the coarse one, never waiting too long.
//
// At first it waits past the Go scheduler, whose monitor thread otherwise wakes up every 20 µs on the core of the load.
func (p *Poller) wait(d time.Duration) (n int, err error) {
	for range quiet / nap {
		short := d
		if d < 0 || d > nap {
			short = nap
		}
		if n, err = pwait2(p.epoll, p.events, short, unix.RawSyscall6); n > 0 || err != nil || short == d {
			return n, err
		}
		if d > 0 {
			d -= short
		}
	}
	if d < 0 {
		return unix.EpollWait(p.epoll, p.events, -1)
	}
	return pwait2(p.epoll, p.events, d, unix.Syscall6)
}

const (
	nap   = 10 * time.Millisecond  // a wait that the scheduler does not know of: it could not stop the world meanwhile
	quiet = 100 * time.Millisecond // after so long without an event it is told
)

// Wake ends a Wait under way, or the next one. Safe for concurrent use.
func (p *Poller) Wake() { unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// Close ends the poller, not the sockets it watched.
func (p *Poller) Close() {
	unix.Close(p.wake)
	unix.Close(p.epoll)
}
