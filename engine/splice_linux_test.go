package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
)

// bigBody is n bytes without a period that fits any buffer.
func bigBody(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// dialUnpaced connects a client whose connection the proxy may splice to, whatever congestion control the machine has.
func (r *rig) dialUnpaced(algorithm string) *client {
	r.t.Helper()
	c := r.dial(0)
	wait(r.t, "the client", func() bool { return r.clients() == 1 })
	var err error
	r.e.each(func(l *Loop) {
		for k := l.clients.head; k != nil; k = k.next {
			err = syscall.SetsockoptString(k.fd, syscall.IPPROTO_TCP, 13, algorithm)        // TCP_CONGESTION
			_ = syscall.SetsockoptInt(k.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 256<<10) // soon full
		}
	})
	if err != nil {
		r.t.Skipf("no congestion control %q for this user: %v", algorithm, err)
	}
	return c
}

// pipes is how many pipes the first loop has in stock, and how many are lent.
func (r *rig) pipes() (stock, lent int) {
	r.e.each(func(l *Loop) { stock, lent = len(l.pipes), l.piping })
	return stock, lent
}

const spliceSite = `upstream b { server %s; keepalive 4; }
server { listen 127.0.0.1:0; location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; } }`

func TestSplice(t *testing.T) {
	body := bigBody(6<<20 + 7)
	var conns atomic.Int32
	o := origin(t, func(c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 700<<10)
				if _, err := c.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}
	})
	r := newRig(t, 1, fmt.Sprintf(spliceSite, o))
	c := r.dialUnpaced("reno")
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(256 << 10) // the kernel may let it grow until the body fits
	for i := range 3 {
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if i == 1 { // a client that lets everything fill up first
			wait(t, "a full pipe", func() bool {
				return r.count(func(c *conn) bool { return c.state == busy && c.ex.pipe != nil && c.ex.pipe.n > 0 && !c.canWrite }) == 1
			})
		}
		if _, got := c.read("GET"); got != string(body) {
			t.Fatalf("request %d: got another body of %d bytes, want %d", i, len(got), len(body))
		}
	}
	if stock, lent := r.pipes(); stock != 1 || lent != 0 {
		t.Errorf("got %d pipes in stock and %d lent, want 1 and 0", stock, lent)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("the backend saw %d connections, want 1", n)
	}
}

// TestSplicePush: the head of a large answer goes out at once, also when the body that it was to go with lets itself be waited for.
func TestSplicePush(t *testing.T) {
	body := bigBody(1 << 20)
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
	goOn := make(chan bool)
	o := origin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			n := headRead - len(head) // so that the read of the head is full
			if _, err := c.Write(append([]byte(head), body[:n]...)); err != nil || !<-goOn {
				return
			}
			if _, err := c.Write(body[n:]); err != nil {
				return
			}
		}
	})
	r := newRig(t, 1, fmt.Sprintf(spliceSite, o))
	c := r.dialUnpaced("reno")
	for i := range 3 { // from the second on the read of the head is short
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := c.r.Peek(len("HTTP/1.1 200 OK")); err != nil {
			t.Fatal(err)
		}
		wait(t, "the body to be waited for", func() bool { return r.in(phRelay) == 1 })
		if n := r.count(func(c *conn) bool { return c.corked }); n != 0 {
			t.Errorf("answer %d: what was sent waits for more", i)
		}
		goOn <- true
		if _, got := c.read("GET"); got != string(body) {
			t.Fatalf("answer %d: got another body of %d bytes, want %d", i, len(got), len(body))
		}
	}
	close(goOn)
}

// TestSpliceCut: what a body that ends early or a client that leaves has in a pipe reaches nobody else.
func TestSpliceCut(t *testing.T) {
	body := bigBody(8 << 20)
	o := origin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			n := len(body)
			if req.URL.Path == "/short" {
				n /= 2
			}
			if _, err := c.Write(body[:n]); err != nil || n < len(body) {
				return
			}
			if req.URL.Path == "/more" {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	r := newRig(t, 1, fmt.Sprintf(spliceSite, o))
	c := r.dialUnpaced("reno")
	c.send("GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, body[:len(body)/2]) {
		t.Errorf("got %d bytes and %v, want half the body and an unexpected end", len(got), err)
	}
	wait(t, "the log line", func() bool { return r.logged("upstream prematurely closed connection while reading upstream") })
	wait(t, "the end of the client", func() bool { return r.clients() == 0 })

	c = r.dialUnpaced("reno")
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, "a lent pipe", func() bool { _, lent := r.pipes(); return lent == 1 })
	_ = c.Close()
	wait(t, "the end of the client", func() bool { return r.clients() == 0 })
	if _, lent := r.pipes(); lent != 0 {
		t.Errorf("%d pipes are lent to nobody", lent)
	}

	c = r.dialUnpaced("reno")
	for range 2 { // what was sent too much answers no request
		c.send("GET /more HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, got := c.read("GET"); got != string(body) {
			t.Fatalf("got another body of %d bytes, want %d", len(got), len(body))
		}
	}
}

// TestSplicePaced: what the kernel paces is copied.
func TestSplicePaced(t *testing.T) {
	body := bigBody(4 << 20)
	o := origin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	r := newRig(t, 1, fmt.Sprintf(spliceSite, o))
	c := r.dialUnpaced("bbr")
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, got := c.read("GET"); got != string(body) {
		t.Fatalf("got another body of %d bytes, want %d", len(got), len(body))
	}
	if stock, lent := r.pipes(); stock+lent != 0 {
		t.Errorf("a paced connection used a pipe")
	}
}
