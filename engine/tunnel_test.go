package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const tunnelSite = `upstream b { server %s; }
server { listen 127.0.0.1:0; location / { proxy_pass http://b; proxy_http_version 1.1;
    proxy_set_header Connection $http_connection; proxy_set_header Upgrade $http_upgrade; } }`

// openTunnel makes c a tunnel.
func openTunnel(c *client) error {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil && resp.StatusCode != 101 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

// switching is a backend that switches protocols and then does with its connection what is told.
func switching(t *testing.T, do func(c net.Conn, br *bufio.Reader)) string {
	return origin(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			do(c, br)
		}
	})
}

// TestTunnels: what many tunnels of one loop carry at the same time, in messages of all sizes, comes back in order and whole, the
// last of it after a half close.
func TestTunnels(t *testing.T) {
	r := newRig(t, 1, fmt.Sprintf(tunnelSite, switching(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = io.Copy(c, br)
		_ = c.(*net.TCPConn).CloseWrite()
	})))
	var all sync.WaitGroup
	for i := range 32 {
		c := r.dial(0)
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			if err := openTunnel(c); err != nil {
				t.Error(err)
				return
			}
			sent := bigBody(256 << 10)
			for at := 0; at < len(sent); {
				n := 1 + random.IntN(200)
				if random.IntN(8) == 0 { // beyond what is received ahead, or sent late
					n = 1 + random.IntN(3*slotRoom)
				}
				n = min(n, len(sent)-at)
				if _, err := c.Write(sent[at : at+n]); err != nil {
					t.Error(err)
					return
				}
				last := at+n == len(sent)
				if last {
					_ = c.Conn.(*net.TCPConn).CloseWrite()
				}
				got := make([]byte, n)
				if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, sent[at:at+n]) {
					t.Errorf("tunnel %d: %d bytes at %d came back otherwise: %v", i, n, at, err)
					return
				}
				at += n
			}
			if n, err := c.r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("tunnel %d: after the half close: %d bytes, %v", i, n, err)
			}
		})
	}
	all.Wait()
	wait(t, "the tunnels to end", func() bool { return r.clients() == 0 })
}

// TestTunnelsBehind: small messages for sides that do not read for a while wait in order, also those that were received ahead when
// there was no more room for them.
func TestTunnelsBehind(t *testing.T) {
	const tunnels, piece, pieces = 4, 1000, 150
	hold := make(chan struct{})
	r := newRig(t, 1, fmt.Sprintf(tunnelSite, switching(t, func(c net.Conn, br *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		<-hold
		_ = c.(*net.TCPConn).SetReadBuffer(1 << 20)
		_, _ = io.Copy(c, br)
		_ = c.(*net.TCPConn).CloseWrite()
	})))
	var clients []*client
	for range tunnels {
		c := r.dial(0)
		if err := openTunnel(c); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	r.narrow(4 << 10)
	body := bigBody(piece * pieces)
	ahead := 0
	for at := 0; at < len(body); at += piece {
		r.e.each(func(*Loop) { // so that the loop finds them all in one turn
			for _, c := range clients {
				if _, err := c.Write(body[at : at+piece]); err != nil {
					t.Error(err)
				}
			}
		})
		ahead = max(ahead, r.count(func(c *conn) bool { return c.kind == kindClient && c.in != nil }))
	}
	if ahead == 0 {
		t.Error("nothing was received ahead of its time")
	}
	r.narrow(1 << 20)
	close(hold)
	for _, c := range clients {
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c.r); err != nil || !bytes.Equal(got, body) {
			t.Errorf("got %d bytes, %v, that are not the %d that were sent", len(got), err, len(body))
		}
	}
}

// TestTunnelLateSide: what a client sends after its backend has ended its side, with its own end right behind, arrives.
func TestTunnelLateSide(t *testing.T) {
	for _, size := range []int{10, 4 << 20} {
		got := make(chan int64, 1)
		r := newRig(t, 1, fmt.Sprintf(tunnelSite, switching(t, func(c net.Conn, br *bufio.Reader) {
			_ = c.(*net.TCPConn).CloseWrite()
			n, _ := io.Copy(io.Discard, br)
			got <- n
		})))
		c := r.dial(0)
		if err := openTunnel(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Fatalf("the end of the backend's side: %v", err)
		}
		last := 10
		c.send(string(bigBody(size - last)))
		r.e.each(func(*Loop) { // the end comes with the last bytes
			c.send(string(bigBody(last)))
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		})
		if n := <-got; n != int64(size) {
			t.Errorf("the backend got %d bytes of %d", n, size)
		}
	}
}

// TestTunnelSmall: bulk is not received ahead in pieces.
func TestTunnelSmall(t *testing.T) {
	r := newRig(t, 1, fmt.Sprintf(tunnelSite, switching(t, func(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })))
	c := r.dial(0)
	if err := openTunnel(c); err != nil {
		t.Fatal(err)
	}
	small := func() int { return r.count(func(c *conn) bool { return c.kind == kindClient && c.small }) }
	c.send("x")
	wait(t, "small messages to be expected", func() bool { return small() == 1 })
	c.send(string(bigBody(32 << 10)))
	wait(t, "large ones to be", func() bool { return small() == 0 })
}

// TestTunnelHead: the head of a 101 goes through what the location says about heads, bytes of a tunnel count for the backend's
// variables, and the client need not say "Connection: upgrade".
func TestTunnelHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n"+
				"Server: b\r\nX-Secret: s\r\nX-Accel-Expires: 1\r\nSet-Cookie: a=b; path=/in\r\n\r\n")
			_, _ = io.CopyN(c, br, 3)
		}
	})
	r := newRig(t, 1, `
log_format f "$upstream_bytes_sent $upstream_bytes_received $sent_http_x_always";
upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0; access_log `+path+` f;
    location / {
        proxy_pass http://b; proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;
        proxy_hide_header X-Secret; proxy_pass_header Server; proxy_cookie_path /in /out;
        add_header X-Always $upstream_status always; add_header X-Ok 1;
    }
}`)
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := resp.Header
	if resp.StatusCode != 101 || h.Get("Upgrade") != "x" || h.Get("Connection") != "upgrade" {
		t.Errorf("%d %v", resp.StatusCode, h)
	}
	if h.Get("X-Secret") != "" || h.Get("X-Accel-Expires") != "" || h.Get("Server") != "b" || h.Get("Set-Cookie") != "a=b; path=/out" ||
		h.Get("X-Always") != "101" || h.Get("X-Ok") != "" {
		t.Errorf("the head is %v", h)
	}
	c.send("abc")
	if got := c.all(); got != "abc" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	sent := len("GET / HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n") + 3
	got := len("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n"+
		"Server: b\r\nX-Secret: s\r\nX-Accel-Expires: 1\r\nSet-Cookie: a=b; path=/in\r\n\r\n") + 3
	want := fmt.Sprintf("%d %d 101\n", sent, got)
	wait(t, "the record", func() bool { b, _ := os.ReadFile(path); return len(b) > 0 })
	if b, _ := os.ReadFile(path); string(b) != want {
		t.Errorf("logged %q, want %q", b, want)
	}
}
