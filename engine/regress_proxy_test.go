package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStaleHead checks that the fields of an earlier try's answer are gone when a later one cannot be understood.
func TestStaleHead(t *testing.T) {
	answers := func(text string) string {
		return httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool { _, _ = io.WriteString(w, text); return false })
	}
	a := answers("HTTP/1.1 500 X\r\nX-A: first\r\nContent-Length: 0\r\n\r\n")
	b := answers("HTTP/1.1 200 X\r\nX-A: second\r\nX-B: c\r\nbad header\r\n\r\n")
	r := newRig(t, 1, `upstream b { server `+a+`; server `+b+` backup; }
server { listen 127.0.0.1:0; add_header X-A "<$upstream_http_x_a>" always; location / { proxy_pass http://b; proxy_next_upstream http_500 error; } }`)
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	if resp, _ := c.read("GET"); resp.StatusCode != 502 || resp.Header.Get("X-A") != "<>" {
		t.Errorf("%d X-A %q, want 502 and none", resp.StatusCode, resp.Header.Get("X-A"))
	}
}

// TestProxyMethod checks that an answer is framed by the method that the backend was asked with (RFC 9112 section 6.3).
func TestProxyMethod(t *testing.T) {
	var conns atomic.Int32
	released := make(chan error, 1)
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		n := conns.Add(1)
		for {
			req, err := http.ReadRequest(br)
			switch {
			case err != nil:
				return
			case req.Method == "HEAD":
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			case n == 1: // its body comes late, the next request must not come before it
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n")
				_, err := http.ReadRequest(br)
				released <- err
				_, _ = fmt.Fprintf(c, "%-55s", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
				return
			default:
				plain(c, "fine")
			}
		}
	})
	r := newRig(t, 1, `upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0; proxy_read_timeout 2s;
    location /get { proxy_pass http://b; proxy_method GET; }
    location /head { proxy_pass http://b; proxy_method HEAD; }
}`)
	c := r.dial(0)
	f := func(method, path, length, want string) {
		t.Helper()
		c.send(method + " " + path + " HTTP/1.1\r\nHost: b\r\n\r\n")
		if resp, body := c.read(method); resp.StatusCode != 200 || resp.Header.Get("Content-Length") != length || body != want {
			t.Errorf("%s %s: %d, length %q, %q", method, path, resp.StatusCode, resp.Header.Get("Content-Length"), body)
		}
	}
	f("HEAD", "/get", "55", "")
	f("GET", "/get", "4", "fine")
	if err := <-released; err == nil {
		t.Error("a connection with a body still to come was used again")
	}
	f("GET", "/head", "0", "")
	f("GET", "/head", "0", "")
	f("HEAD", "/head", "10", "")
	f("GET", "/get", "4", "fine")
}

// TestInterimFlood checks that a backend that sends interim answers without end leaves the loop to others, and goes when
// its client goes.
func TestInterimFlood(t *testing.T) {
	ended := make(chan struct{})
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			pour(c, []byte(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50000)))
			close(ended)
		}
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	wait(t, "the request to be sent", func() bool { return r.in(phAwait) == 1 })
	most := r.perTurn(64<<20, func(l *Loop) int64 { return l.clients.head.ex.r.Tries[0].BytesReceived })
	if most > turnBound {
		t.Errorf("%d bytes in one turn, bound %d", most, turnBound)
	}
	_ = c.Close()
	<-ended
}

// TestSendTimeout checks that a client that reads nothing is given up after send_timeout, whatever it sends meanwhile.
func TestSendTimeout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big"), 64<<20); err != nil {
		t.Fatal(err)
	}
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n")
		pour(w, make([]byte, 1<<20))
		return false
	})
	r := newRig(t, 1, `upstream b { server `+addr+`; }
server { listen 127.0.0.1:0; send_timeout 300ms; root `+dir+`; location / { proxy_pass http://b; } location /big { } }`)
	f := func(path string, p phase) {
		t.Helper()
		c := r.dial(0)
		c.send("GET " + path + " HTTP/1.1\r\nHost: b\r\n\r\n")
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		wait(t, "the answer to be under way", func() bool { return r.in(p) == 1 || r.clients() == 0 }) // or over, if that was not seen
		wait(t, "the client to be given up", func() bool {
			_, _ = io.WriteString(c, "x")
			return r.clients() == 0
		})
	}
	f("/", phRelay)
	f("/big", phStream)
}

// TestFieldSplit checks that line ends decoded from a path end no field, towards either side.
func TestFieldSplit(t *testing.T) {
	got := make(chan string, 1)
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		var head strings.Builder
		for {
			line, err := br.ReadString('\n')
			head.WriteString(line)
			if err != nil || line == "\r\n" {
				break
			}
		}
		got <- head.String()
		plain(c, "ok")
	})
	r := newRig(t, 1, `upstream b { server `+addr+`; }
server { listen 127.0.0.1:0; add_header X-Back $uri; location / { proxy_pass http://b; proxy_set_header X-Uri $uri; }
    location ~ (?s)^/m(.*) { proxy_pass http://b; proxy_set_header X-Uri $uri; proxy_method M$1; } }`)
	for _, path := range []string{"/a", "/m"} {
		c := r.dial(0)
		c.send("GET " + path + "%0d%0aEvil:%20x%0aEvil:%20y%0d%0a%0d%0aGET%20/admin HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
		back := c.all()
		if !strings.HasPrefix(back, "HTTP/1.1 200 ") {
			t.Fatalf("%q", back)
		}
		for _, s := range []string{<-got, back} {
			if head, _, _ := strings.Cut(s, "\r\n\r\n"); !strings.Contains(head, ": "+path) || strings.Contains(head, "\nEvil") {
				t.Errorf("%q", s)
			}
		}
	}
}

// TestBufferSize checks that heads as large as a read takes pass with a large proxy_buffer_size, and larger ones are a 502.
func TestBufferSize(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nX: %s\r\nContent-Length: 2\r\n\r\nok", strings.Repeat("x", int(req.URL.Path[1]-'0')*10000))
		return err == nil
	})
	r := newRig(t, 1, `upstream b { server `+addr+`; }
server { listen 127.0.0.1:0; location / { proxy_pass http://b; proxy_buffer_size 128k; proxy_busy_buffers_size 256k; proxy_buffers 8 128k; } }`)
	f := func(path string, status int) {
		t.Helper()
		if got, _ := r.get("GET " + path + " HTTP/1.1\r\nHost: b\r\n\r\n"); got != status {
			t.Errorf("%s: %d, want %d", path, got, status)
		}
	}
	f("/1", 200)
	f("/6", 200)
	f("/7", 502)
	f("/9", 502)
	if !r.logged("upstream sent invalid header") || r.logged("prematurely closed") {
		t.Errorf("log: %q", r.lines)
	}
}

// TestConnectionLists checks that a client cannot have the proxy drop end-to-end fields by naming them in Connection, nor
// a backend.
func TestConnectionLists(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		h := req.Header
		text := fmt.Sprintf("%s %s %q %s", h.Get("Authorization"), h.Get("Cookie"), h.Get("X-Hop"), req.Host)
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nConnection: Set-Cookie, X-Hop\r\nSet-Cookie: s\r\nX-Hop: z\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\nConnection: Authorization, cookie, host, X-Hop\r\nAuthorization: a\r\nCookie: c\r\nX-Hop: x\r\n\r\n")
	resp, body := c.read("GET")
	if body != `a c "" b` || resp.Header.Get("X-Hop") != "" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

// TestUnixReuse checks that room in the socket of an idle connection, which a unix socket tells when its peer reads, does
// not end the connection.
func TestUnixReuse(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int32
	idle, readOn := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	defer close(idle)
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(deadline))
				for b := make([]byte, 1); ; {
					for seen := ""; !strings.HasSuffix(seen, "\r\n\r"); seen += string(b) { // all but the last byte
						if _, err := c.Read(b); err != nil {
							return
						}
					}
					plain(c, "ok")
					<-idle
					if _, err := c.Read(b); err != nil {
						return
					}
					readOn <- struct{}{}
				}
			})
		}
	})
	r := newRig(t, 1, `upstream b { server unix:`+ln.Addr().String()+`; } server { listen 127.0.0.1:0; location / { proxy_pass http://b; } }`)
	defer r.e.Close() // its connections end, and with them the server's
	c := r.dial(0)
	for range 20 {
		c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		if _, body := c.read("GET"); body != "ok" {
			t.Fatalf("%q", body)
		}
		idle <- struct{}{}
		<-readOn
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 20 requests, want 1", n)
	}
}
