package admin

import (
	"syscall"
	"time"
	"unsafe"
)

// bell wakes the writer's thread. The thread waits in a system call that the Go scheduler does not know of as long as
// commands keep coming, so that a command costs one switch to the thread and one back: by way of a channel it would be
// found by a spinning thread first, which hands its processor over to the locked one. CPU for an update at 1,000 a second,
// all of it, HTTP included: see doc.go.
type bell struct{ fd int }

func newBell() bell {
	fd, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		panic("cannot create an eventfd: " + e.Error()) // out of descriptors or memory before anything was served
	}
	return bell{int(fd)}
}

// ring ends a wait, or the next one.
func (b bell) ring() {
	one := [8]byte{1}
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(b.fd), uintptr(unsafe.Pointer(&one)), 8)
}

// dozeStep bounds one wait that the scheduler does not know of, and dozeTime a sequence of them.
const (
	dozeStep = 10 * time.Millisecond
	dozeTime = 100 * time.Millisecond
)

// wait returns after ring, and perhaps without one. since is how long nothing has come.
func (b bell) wait(since time.Duration) {
	p := struct {
		fd              int32
		events, revents int16
	}{int32(b.fd), 1 /* POLLIN */, 0}
	if since < dozeTime {
		ts := syscall.NsecToTimespec(int64(dozeStep))
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	} else {
		_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0)
	}
	var n [8]byte
	_, _, _ = syscall.RawSyscall(syscall.SYS_READ, uintptr(b.fd), uintptr(unsafe.Pointer(&n)), 8)
}

func (b bell) close() { _ = syscall.Close(b.fd) }
