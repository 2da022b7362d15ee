package engine

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// needRing skips the test where the kernel gives no ring, and noRing has the loops make their calls one by one.
func (r *rig) needRing() {
	var missing atomic.Bool
	r.e.each(func(l *Loop) {
		if l.ring == nil {
			missing.Store(true)
		}
	})
	if missing.Load() {
		r.t.Skip("no io_uring here")
	}
}

func (r *rig) noRing() {
	r.e.each(func(l *Loop) {
		if l.ring != nil {
			l.ring.close()
			l.ring = nil
		}
	})
}

// pair is two connected sockets that do not block.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fds[0]); _ = syscall.Close(fds[1]) })
	return fds[0], fds[1]
}

// TestRing: each of several calls has the outcome that it has as a system call of its own, whatever the others' is.
func TestRing(t *testing.T) {
	runtime.LockOSThread() // for good: the ring belongs to the thread
	r := newRing(4)
	if r == nil {
		t.Skip("no io_uring here")
	}
	defer r.close()
	type outcome struct {
		n   int
		err syscall.Errno
	}
	got := map[int]outcome{}
	submit := func(want ...outcome) {
		t.Helper()
		clear(got)
		if !r.submit(func(i, n int, err syscall.Errno) { got[i] = outcome{n, err} }) {
			t.Fatal("the ring has failed")
		}
		for i, w := range want {
			if got[i] != w {
				t.Errorf("call %d: %v, want %v", i, got[i], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d outcomes of %d calls", len(got), len(want))
		}
	}
	a, b := pair(t)
	gone, other := pair(t)
	_ = syscall.Shutdown(other, syscall.SHUT_RDWR)
	full, _ := pair(t)
	big := make([]byte, 1<<20)
	for n := 1; n > 0; {
		n, _ = syscall.Write(full, big)
	}
	_ = syscall.SetsockoptInt(b, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1<<10)
	for range 3 { // around the queues, which have fewer entries than this makes calls
		r.add(opSend, a, []byte("hello"), 0)
		r.add(opSend, gone, []byte("x"), 1)
		r.add(opSend, full, []byte("x"), 2)
		r.add(opSend, -1, []byte("x"), 3)
		submit(outcome{5, 0}, outcome{0, syscall.EPIPE}, outcome{0, syscall.EAGAIN}, outcome{0, syscall.EBADF})
		in := make([]byte, 4)
		r.add(opReceive, b, in, 0)
		r.add(opReceive, gone, make([]byte, 4), 1)
		r.add(opReceive, a, make([]byte, 4), 2)
		submit(outcome{4, 0}, outcome{0, 0}, outcome{0, syscall.EAGAIN})
		if string(in) != "hell" {
			t.Errorf("received %q", in)
		}
		r.add(opReceive, b, in, 0)
		submit(outcome{1, 0})
	}
	submit()
	syscall.Close(r.fd)
	r.add(opSend, a, []byte("x"), 0)
	if r.submit(func(int, int, syscall.Errno) { t.Error("an outcome of a call that was not made") }) {
		t.Error("a ring without its descriptor is of use")
	}
	r.fd = -1
}

// TestReceiveAhead: requests and answers of all lengths around a slot's, in one piece and in several, alone and many together, arrive
// as they were sent, whether or not the loop has received them ahead.
func TestReceiveAhead(t *testing.T) {
	t.Run("ring", func(t *testing.T) { testReceiveAhead(t, (*rig).needRing) })
	t.Run("calls", func(t *testing.T) { testReceiveAhead(t, (*rig).noRing) })
}

func testReceiveAhead(t *testing.T, mode func(*rig)) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool {
		n := 0
		fmt.Sscan(req.Header.Get("X-Want"), &n)
		text := req.URL.Path + "!" + fmt.Sprint(len(req.Header.Get("X-Pad"))) + "!" + body
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(text)+n, text, strings.Repeat(".", n))
		return err == nil
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	mode(r)
	const clients = 20
	var all []*client
	for range clients {
		all = append(all, r.dial(0))
	}
	lengths := []int{0, 1, 3900, slotRoom - 150, slotRoom - 100, slotRoom - 50, slotRoom, slotRoom + 1, 2 * slotRoom, 20000, 100000}
	for round := range 30 {
		held, hold := make(chan struct{}), make(chan struct{})
		go r.e.each(func(*Loop) { close(held); <-hold }) // so that many events are due at once
		<-held
		want := make([]string, clients)
		for i, c := range all {
			pad := lengths[(round*3+i)%8]
			body := strings.Repeat("b", (round+i)%3*40)
			n := lengths[(round+i*5)%len(lengths)]
			text := fmt.Sprintf("POST /%d-%d HTTP/1.1\r\nHost: b\r\nX-Want: %d\r\nX-Pad: %s\r\nContent-Length: %d\r\n\r\n%s",
				round, i, n, strings.Repeat("p", pad), len(body), body)
			want[i] = fmt.Sprintf("/%d-%d!%d!%s", round, i, pad, body) + strings.Repeat(".", n)
			if cut := (round * 211) % len(text); i%4 == 3 { // the rest comes after the hold
				c.send(text[:cut])
				time.AfterFunc(time.Duration(i)*time.Millisecond, func() { _, _ = c.Write([]byte(text[cut:])) })
				continue
			}
			c.send(text)
		}
		close(hold)
		for i, c := range all {
			if resp, body := c.read("POST"); resp.StatusCode != 200 || body != want[i] {
				t.Fatalf("round %d, client %d: %d, %d bytes %.60q, want %d bytes %.60q", round, i, resp.StatusCode, len(body), body, len(want[i]), want[i])
			}
		}
	}
	// Clients that leave right behind a request, or in the midst of one.
	for i, c := range all {
		if i%2 == 0 {
			c.send("GET /last HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			if got := c.all(); i%2 == 0 && !strings.HasPrefix(got, "HTTP/1.1 200") && got != "" {
				t.Errorf("client %d that half closed: %.40q", i, got)
			}
		} else {
			c.send("GET /la")
			_ = c.Close()
		}
	}
	wait(t, "the clients to be gone", func() bool { return r.clients() == 0 })
}
