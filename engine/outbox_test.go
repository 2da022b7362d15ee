package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

const staticOK = `server { listen 127.0.0.1:0; location / { return 200 ok; } }`

// onLoop runs f on the first loop with its clients, the latest first, in a turn that gathers output.
func (r *rig) onLoop(f func(l *Loop, clients []*conn)) {
	r.e.each(func(l *Loop) {
		var all []*conn
		for c := l.clients.head; c != nil; c = c.next {
			all = append(all, c)
		}
		l.outbox.on = true
		f(l, all)
		l.outbox.on = false
		l.sendOutbox()
	})
}

func TestOutbox(t *testing.T) {
	t.Run("ring", func(t *testing.T) { testOutbox(t, (*rig).needRing) })
	t.Run("calls", func(t *testing.T) { testOutbox(t, (*rig).noRing) })
}

func testOutbox(t *testing.T, mode func(*rig)) {
	r := newRig(t, 1, staticOK)
	mode(r)
	a := r.dial(0)
	wait(t, "the first client", func() bool { return r.clients() == 1 })
	b := r.dial(0)
	wait(t, "the second client", func() bool { return r.clients() == 2 })
	r.onLoop(func(l *Loop, c []*conn) {
		ca, cb := c[1], c[0]
		later := func(c *conn, text string, want bool) {
			t.Helper()
			if got := c.writeLater([]byte(text)); got != want {
				t.Errorf("writeLater(%.10q) is %v, want %v", text, got, want)
			}
		}
		later(ca, "1", true)
		later(ca, "2", true)
		later(cb, "x", true)
		later(ca, "3", false) // others have written since
		_ = ca.write([]byte("3"))
		later(ca, "4", true)
		later(ca, strings.Repeat("5", laterMax+1), false)
		l.sendOutbox()
		for range outboxRoom / laterMax {
			later(cb, strings.Repeat("y", laterMax), true) // what does not fit sends what was there before
		}
		ca.close()
	})
	if got := a.all(); got != "1234" {
		t.Errorf("the first client got %q, want what was written, in order", got)
	}
	want := "x" + strings.Repeat("y", outboxRoom)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(b.r, got); err != nil || string(got) != want {
		t.Errorf("the second client got %.10q and %v", got, err)
	}
}

// TestOutboxFails: a conn that fails when the outbox is sent ends as if the peer had gone.
func TestOutboxFails(t *testing.T) {
	f := func(clients int) {
		r := newRig(t, 1, staticOK)
		for range clients {
			_ = r.dial(0)
		}
		wait(t, "the clients", func() bool { return r.clients() == clients })
		r.onLoop(func(l *Loop, all []*conn) {
			for _, c := range all {
				_ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR)
				if !c.writeLater([]byte("x")) {
					t.Error("it was not taken")
				}
			}
		})
		wait(t, "the end of the clients", func() bool { return r.clients() == 0 })
	}
	f(1)
	f(3)
}

// TestOutboxPipelines: clients that ask for a lot at once and read late get everything, in order.
func TestOutboxPipelines(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		body := req.URL.Path + strings.Repeat(".", 1000)
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return err == nil
	})
	r := newRig(t, 1, "keepalive_requests 100000;\n"+fmt.Sprintf(proxyTo, addr))
	const clients, requests = 4, 2000 // more than the sockets hold
	var all []*client
	for i := range clients {
		c := r.dial(0)
		all = append(all, c)
		go func() { // the backpressure reaches us, so reading must not wait for the end of sending
			for k := range requests {
				if _, err := fmt.Fprintf(c, "GET /%d-%d HTTP/1.1\r\nHost: b\r\n\r\n", i, k); err != nil {
					return
				}
			}
		}()
	}
	for i, c := range all {
		for k := range requests {
			_, body := c.read("GET")
			if got := strings.TrimRight(body, "."); got != fmt.Sprintf("/%d-%d", i, k) {
				t.Fatalf("client %d got %q as answer %d", i, got, k)
			}
		}
	}
}
