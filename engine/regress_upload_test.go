package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// recorder is an origin that answers each request as soon as it has its head, as servers do that refuse something, and
// reads the body afterwards: a request that says more body than it has swallows the next one on its connection.
type recorder struct {
	addr string
	mu   sync.Mutex
	got  []string // "POST /x 5 hello": method, path, Content-Length, body
}

func newRecorder(t testing.TB) *recorder {
	o := &recorder{}
	o.addr = origin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil || !plain(c, req.Method+" "+req.URL.Path) {
				return
			}
			body, err := io.ReadAll(req.Body)
			text := fmt.Sprintf("%s %s %d %s", req.Method, req.URL.Path, req.ContentLength, body)
			if err != nil {
				text += " " + err.Error()
			}
			o.mu.Lock()
			o.got = append(o.got, text)
			o.mu.Unlock()
		}
	})
	return o
}

// wait returns the first n requests, sorted.
func (o *recorder) wait(t testing.TB, n int) []string {
	t.Helper()
	var got []string
	wait(t, fmt.Sprintf("%d requests at the backend", n), func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		got = slices.Clone(o.got)
		return len(got) >= n
	})
	slices.Sort(got)
	return got
}

// TestTooLargeProxied checks that a body that was refused goes to no backend, nor its length, and that the connection it
// would have gone over serves the next client rightly.
func TestTooLargeProxied(t *testing.T) {
	f := func(extra string, pieces ...string) {
		t.Helper()
		o := newRecorder(t)
		r := newRig(t, 1, `upstream b { server `+o.addr+`; }
server {
    listen 127.0.0.1:0; client_max_body_size 10; error_page 413 @large;
    location / { proxy_pass http://b; `+extra+` }
    location @large { proxy_pass http://b; }
}`)
		c := r.dial(0)
		c.send("POST /large HTTP/1.1\r\nHost: b\r\n" + pieces[0])
		for _, p := range pieces[1:] {
			wait(t, "the head to be read", func() bool {
				return r.in(phBody)+r.in(phAwait) == 1 && r.count(func(c *conn) bool { return c.canRead }) == 0
			})
			c.send(p)
		}
		c.read("POST")
		if status, body := r.get("GET /victim HTTP/1.1\r\nHost: b\r\nCookie: secret\r\nX-Pad: " + strings.Repeat("p", 200) + "\r\n\r\n"); status != 200 || body != "GET /victim" {
			t.Errorf("%q: the next client got %d %q", pieces, status, body)
		}
		want := []string{"GET /victim 0 ", "POST /large 0 "}
		if got := o.wait(t, 2); !slices.Equal(got, want) {
			t.Errorf("%q: backend got %q, want %q", pieces, got, want)
		}
	}
	const chunked, large = "Transfer-Encoding: chunked\r\n\r\n", "14\r\n01234567890123456789\r\n"
	f("", "Content-Length: 20\r\n\r\n01234567890123456789")
	f("", "Content-Length: 20\r\n\r\n")
	f("", chunked+large+"0\r\n\r\n")
	f("", chunked, large+"0\r\n\r\n")
	f("", chunked, large)
	f("", chunked+"5\r\nhello\r\n", large)
	f("proxy_request_buffering off;", "Content-Length: 20\r\n\r\n01234567890123456789")
	f("proxy_request_buffering off;", chunked+large+"0\r\n\r\n")
}

// TestStaleStream sends a streamed PUT on a connection that its server closes: with body bytes gone there is no second try,
// with the head alone there is one, and it has the body.
func TestStaleStream(t *testing.T) {
	f := func(withBody bool, status int, want string) {
		t.Helper()
		var conns atomic.Int32
		next, second := make(chan struct{}, 1), make(chan string, 2)
		addr := origin(t, func(c net.Conn, br *bufio.Reader) {
			n := conns.Add(1)
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if n == 1 {
				plain(c, "first")
				if req, err = http.ReadRequest(br); err != nil {
					return
				}
				if !withBody {
					return
				}
			}
			next <- struct{}{} // the head is here
			body, _ := io.ReadAll(req.Body)
			if n > 1 {
				second <- string(body)
				plain(c, "second")
			}
		})
		r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
		c := r.dial(0)
		c.send("GET /stream/ HTTP/1.1\r\nHost: b\r\n\r\n")
		c.read("GET")
		c.send("PUT /stream/x HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n")
		<-next
		c.send("hello")
		if resp, _ := c.read("PUT"); resp.StatusCode != status {
			t.Errorf("body sent %v: %d, want %d", withBody, resp.StatusCode, status)
		}
		if n := conns.Load(); n > 1 {
			want += " " + <-second
		}
		if n := conns.Load(); fmt.Sprint(n) != strings.Fields(want)[0] || len(strings.Fields(want)) > 2 {
			t.Errorf("body sent %v: %d connections, %q", withBody, n, want)
		}
	}
	f(true, 502, "1")
	f(false, 200, "2")
}

// TestRefusedStream checks that an answer that comes before a streamed body has gone out reaches a client that is still
// sending, even when the backend drops its connection right behind it.
func TestRefusedStream(t *testing.T) {
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = br.Peek(1000)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
	})
	r := newRig(t, 1, "client_max_body_size 0;"+fmt.Sprintf(proxyTo, addr))
	body := strings.Repeat("x", 4<<20)
	for _, path := range []string{"/stream/", "/"} {
		for range 10 {
			c := r.dial(0)
			go func() {
				_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			}()
			if resp, got := c.read("POST"); resp.StatusCode != 413 || got != "big" {
				t.Fatalf("%s: %d %q", path, resp.StatusCode, got)
			}
		}
	}
}

// TestStreamReset checks that the reset of a client is noticed while its backend takes nothing of the body, when the
// client's own bytes stand between.
func TestStreamReset(t *testing.T) {
	hold := make(chan struct{})
	addr := origin(t, func(_ net.Conn, br *bufio.Reader) {
		_, _ = http.ReadRequest(br)
		<-hold
	})
	r := newRig(t, 1, "client_max_body_size 0;"+fmt.Sprintf(proxyTo, addr))
	defer close(hold)
	c := r.dial(0)
	go func() {
		_, _ = io.WriteString(c, "POST /stream/ HTTP/1.1\r\nHost: b\r\nContent-Length: 900000000000\r\n\r\n")
		pour(c, make([]byte, 1<<20))
	}()
	wait(t, "the backend to be full", func() bool {
		return r.count(func(c *conn) bool { return c.state == busy && c.ex.b != nil && c.ex.behind() && c.canRead }) == 1
	})
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	wait(t, "the client to be gone", func() bool { return r.clients() == 0 })
}

// TestRefusedRetry has a server answer 503 in the midst of a body that lies in a file and drop the connection: the next
// server gets all of it.
func TestRefusedRetry(t *testing.T) {
	bad := origin(t, func(c net.Conn, br *bufio.Reader) {
		if req, err := http.ReadRequest(br); err == nil {
			_, _ = io.CopyN(io.Discard, req.Body, 400000)
			_, _ = io.WriteString(c, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
		}
	})
	good := httpOrigin(t, func(w net.Conn, _ *http.Request, body string) bool { return plain(w, body) })
	r := newRig(t, 1, `upstream b { server `+bad+` max_fails=0; server `+good+` max_fails=0; }
server { listen 127.0.0.1:0; client_max_body_size 0; location / { proxy_pass http://b; proxy_next_upstream http_503 error; } }`)
	body := strings.Repeat("spooled.", 300000)
	for range 6 {
		c := r.dial(0)
		go func() {
			_, _ = fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}()
		if resp, got := c.read("PUT"); resp.StatusCode != 200 || got != body {
			t.Fatalf("%d, %d bytes", resp.StatusCode, len(got))
		}
	}
}
