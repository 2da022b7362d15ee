package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestZeroTimeouts: a timeout of 0 has passed as soon as something has to be waited for, as in nginx, however quick it is.
func TestZeroTimeouts(t *testing.T) {
	big := strings.Repeat("x", 32<<20)
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool {
		if strings.HasSuffix(req.URL.Path, "/big") {
			return plain(w, big)
		}
		return plain(w, body)
	})
	over := make(chan struct{})
	deaf := origin(t, func(net.Conn, *bufio.Reader) { <-over })
	t.Cleanup(func() { close(over) })
	r := newRig(t, 1, `
upstream b { server `+addr+`; }
upstream two { server `+addr+`; server `+deaf+`; }
upstream deaf { server `+deaf+`; }
server {
    listen 127.0.0.1:0; client_max_body_size 0;
    location /read { proxy_pass http://b; proxy_read_timeout 0; }
    location /connect { proxy_pass http://two; proxy_connect_timeout 0; add_header X-Tried $upstream_status always; }
    location /send { proxy_pass http://b; proxy_send_timeout 0; }
    location /deaf { proxy_pass http://deaf; proxy_send_timeout 0; }
    location /body { proxy_pass http://b; client_body_timeout 0; }
    location /stream { proxy_pass http://b; client_body_timeout 0; proxy_request_buffering off; }
    location /client { proxy_pass http://b; send_timeout 0; }
    location /linger { return 200 x; lingering_timeout 0; }
}
server { listen 127.0.0.2:0; client_header_timeout 0; return 200; }`)
	const host = " HTTP/1.1\r\nHost: x\r\n"
	f := func(head, body string, want int) *http.Response {
		t.Helper()
		c := r.dial(0)
		c.send(fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n%s", head, host, len(body), body))
		resp, _ := c.read("POST")
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", head, resp.StatusCode, want)
		}
		return resp
	}
	if tried := f("POST /connect", "", 504).Header.Get("X-Tried"); tried != "504, 504" {
		t.Errorf("connecting: tried %q", tried)
	}
	f("POST /send", "hi", 200)
	f("POST /client", "hi", 200)
	f("POST /body", "hi", 200)
	f("POST /read", "hi", 504)
	f("POST /deaf", big, 504)

	// ends wants the connection to be closed behind so many answers.
	ends := func(c *client, text string, answers int) {
		t.Helper()
		c.send(text)
		if got := c.all(); strings.Count(got, "HTTP/1.1 ") != answers {
			t.Errorf("%q: answered with %q", text, got)
		}
	}
	ends(r.dial(0), "POST /body"+host+"Content-Length: 5\r\n\r\nhe", 0)
	ends(r.dial(0), "POST /stream"+host+"Content-Length: 5\r\n\r\nhe", 0)
	ends(r.dial(0), "POST /linger"+host+"Content-Length: 5\r\n\r\nhe", 1)
	ends(r.dial(1), "", 0)
	r.mu.Lock()
	r.lines = nil // clients have timed out before
	r.mu.Unlock()
	c := r.dial(0)
	c.send("GET /client/big" + host + "\r\n")
	wait(t, "the client that does not read to be given up", func() bool { return r.logged("client timed out") })
	if n, err := io.Copy(io.Discard, c.r); n >= int64(len(big)) {
		t.Errorf("it got %d bytes: %v", n, err)
	}
}

// TestZeroQueued: a conn that has used up its turn waits for the next one and for nobody, so no timeout of 0 passes.
func TestZeroQueued(t *testing.T) {
	r := newRig(t, 1, "server { listen 127.0.0.1:0; return 200 x; }")
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.read("GET")
	r.onLoop(func(l *Loop, clients []*conn) {
		l.goOn(clients[0])
		clients[0].setTimeout(0)
		if l.wheel.haste || clients[0].deadline != 0 {
			t.Errorf("a timeout has passed: deadline %d", clients[0].deadline)
		}
	})
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.read("GET")
}
