package poll

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWait(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	if err := p.Add(fds[0], 7, true, false); err != nil {
		t.Fatal(err)
	}
	want := func(d time.Duration, want ...Event) {
		t.Helper()
		got, err := p.Wait(nil, d)
		if err != nil || len(got) != len(want) || (len(want) > 0 && got[0] != want[0]) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	want(50 * time.Microsecond)
	unix.Write(fds[1], []byte("x"))
	want(-1, Event{Tag: 7, Read: true})
	if err := p.Mod(fds[0], 9, false, true); err != nil {
		t.Fatal(err)
	}
	want(-1, Event{Tag: 9, Write: true})
	if err := p.Mod(fds[0], 9, false, false); err != nil {
		t.Fatal(err)
	}
	p.Wake()
	want(-1)
	unix.Close(fds[1])
	want(-1, Event{Tag: 9, Read: true, Write: true})
}

func TestNow(t *testing.T) {
	a := Now()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if b := Now(); a <= 0 || b <= a {
		t.Fatalf("the clock went from %d to %d", a, b)
	}
}
