package poll

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pwait2 is epoll_pwait2(2) without a signal mask, made through call. x/sys has its number but no wrapper.
func pwait2(epoll int, events []unix.EpollEvent, d time.Duration, call func(trap, a1, a2, a3, a4, a5, a6 uintptr) (uintptr, uintptr, unix.Errno)) (int, error) {
	ts := unix.NsecToTimespec(int64(d))
	n, _, errno := call(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.ENOSYS {
		return unix.EpollWait(epoll, events, int(d/time.Millisecond))
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Now is CLOCK_MONOTONIC in nanoseconds: the same clock in every process of the machine.
func Now() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
