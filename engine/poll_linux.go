package engine

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/cloudwego/netpoll"
)

// event is one readiness report: EpollEvent's Fd is the descriptor, Pad the serial of the conn that registered it.
type event = syscall.EpollEvent

// Readiness bits.
const (
	evIn    = syscall.EPOLLIN
	evOut   = syscall.EPOLLOUT
	evRDHup = syscall.EPOLLRDHUP
	evErr   = syscall.EPOLLERR | syscall.EPOLLHUP
	evEdge  = 1 << 31 // EPOLLET
)

// poller is one epoll descriptor. Only its loop uses it.
type poller interface {
	add(fd int, seq int32, events uint32) error
	del(fd int)
	// wait returns the events that are ready; ms 0 polls without entering the scheduler, ms < 0 blocks.
	wait(ms int) []event
	// doze blocks for at most ms without telling the scheduler: the processor stays with the loop.
	doze(ms int) []event
	close()
}

// epoll drives netpoll's epoll calls. netpoll does not export its event type, so it is inferred from the three
// functions, and read through syscall.EpollEvent, which has the same layout on every Linux port; newPoller checks that.
type epoll[E any] struct {
	fd     int
	ctl    func(epfd, op, fd int, ev *E) error
	waitFn func(epfd int, evs []E, ms int) (int, error)
	evs    []E
	view   []event
}

// batch is the number of events taken at once.
const batch = 256

func newPoller() (poller, error) {
	return openEpoll(netpoll.EpollCreate, netpoll.EpollCtl, netpoll.EpollWait)
}

func openEpoll[E any](create func(int) (int, error), ctl func(int, int, int, *E) error,
	wait func(int, []E, int) (int, error)) (poller, error) {
	if unsafe.Sizeof(*new(E)) != unsafe.Sizeof(event{}) {
		panic("BUG: netpoll's epoll event differs in size from syscall.EpollEvent")
	}
	fd, err := create(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an epoll descriptor: %w", err)
	}
	p := &epoll[E]{fd: fd, ctl: ctl, waitFn: wait, evs: make([]E, batch)}
	p.view = unsafe.Slice((*event)(unsafe.Pointer(&p.evs[0])), batch)
	return p, nil
}

func (p *epoll[E]) add(fd int, seq int32, events uint32) error {
	ev := event{Events: events, Fd: int32(fd), Pad: seq}
	return p.ctl(p.fd, syscall.EPOLL_CTL_ADD, fd, (*E)(unsafe.Pointer(&ev)))
}

func (p *epoll[E]) del(fd int) {
	var ev event // kernels before 2.6.9 want one
	_ = p.ctl(p.fd, syscall.EPOLL_CTL_DEL, fd, (*E)(unsafe.Pointer(&ev)))
}

func (p *epoll[E]) wait(ms int) []event {
	n, err := p.waitFn(p.fd, p.evs, ms)
	if err != nil || n < 0 { // EINTR: as if nothing was ready
		return nil
	}
	return p.view[:n]
}

func (p *epoll[E]) doze(ms int) []event {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.evs[0])), batch, uintptr(ms), 0, 0)
	if e != 0 { // EINTR among them: the runtime wants the loop's attention
		return nil
	}
	return p.view[:n]
}

func (p *epoll[E]) close() { _ = syscall.Close(p.fd) }
