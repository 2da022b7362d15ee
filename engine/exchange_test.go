package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const proxyTo = `
upstream b { server %s; }
server {
    listen 127.0.0.1:0;
    location / { proxy_pass http://b; }
    location /stream/ { proxy_pass http://b; proxy_request_buffering off; }
    location /old/ { proxy_pass http://b; proxy_http_version 1.0; }
    location /up/ { proxy_pass http://b; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }
    location /short/ { proxy_pass http://b; proxy_read_timeout 200ms; }
}
`

func plain(w net.Conn, body string) bool {
	_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err == nil
}

// TestProxy checks framing in both directions against raw origins.
func TestProxy(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20000)
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool {
		switch req.URL.Path {
		case "/echo", "/stream/echo", "/old/echo":
			te := strings.Join(req.TransferEncoding, ",")
			return plain(w, fmt.Sprintf("%s %s %d %q %s", req.Method, req.Proto, req.ContentLength, te, body))
		case "/chunked":
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n")
			return err == nil
		case "/bigchunks":
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for i := 0; i < len(big); i += 1000 {
				_, _ = fmt.Fprintf(w, "3e8\r\n%s\r\n", big[i:i+1000])
			}
			_, err := io.WriteString(w, "0\r\n\r\n")
			return err == nil
		case "/close":
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\nuntil the end")
			return false
		case "/204":
			_, err := io.WriteString(w, "HTTP/1.1 204 No Content\r\n\r\n")
			return err == nil
		case "/304":
			_, err := io.WriteString(w, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n")
			return err == nil
		case "/hints":
			_, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return err == nil
		case "/big":
			return plain(w, big)
		case "/extra":
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA")
			return err == nil
		case "/lf":
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok")
			return err == nil
		}
		return plain(w, req.URL.String()+" host="+req.Host)
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	f := func(request, status, body string) {
		t.Helper()
		c := r.dial(0)
		// Twice on one connection: the first answer must leave it in step.
		for range 2 {
			c.send(request)
			resp, got := c.read(strings.Fields(request)[0])
			if fmt.Sprint(resp.StatusCode) != status || got != body {
				if len(got) > 200 {
					got = got[:200] + "..."
				}
				t.Fatalf("%q: %d %q, want %s", request, resp.StatusCode, got, status)
			}
			if resp.Close {
				break
			}
		}
	}
	const h = " HTTP/1.1\r\nHost: b\r\n"
	f("GET /x?y=z"+h+"\r\n", "200", "/x?y=z host=b")
	f("GET /chunked"+h+"\r\n", "200", "hello world")
	f("GET /bigchunks"+h+"\r\n", "200", big)
	f("GET /close"+h+"\r\n", "200", "until the end")
	f("GET /204"+h+"\r\n", "204", "")
	f("GET /304"+h+"\r\n", "304", "")
	f("GET /hints"+h+"\r\n", "200", "ok")
	f("GET /big"+h+"\r\n", "200", big)
	f("HEAD /big"+h+"\r\n", "200", "")
	f("GET /extra"+h+"\r\n", "200", "ok")
	f("GET /lf"+h+"\r\n", "200", "ok")
	f("GET /chunked HTTP/1.0\r\n\r\n", "200", "hello world")
	f("GET /close HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", "until the end")
	f("POST /echo"+h+"Content-Length: 5\r\n\r\nhello", "200", `POST HTTP/1.1 5 "" hello`)
	f("POST /echo"+h+"Content-Length: 0\r\n\r\n", "200", `POST HTTP/1.1 0 "" `)
	f("POST /echo"+h+"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "200", `POST HTTP/1.1 5 "" hello`)
	f("POST /stream/echo"+h+"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "200", `POST HTTP/1.1 5 "" hello`)
	f("POST /stream/echo"+h+"Content-Length: 5\r\n\r\nhello", "200", `POST HTTP/1.1 5 "" hello`)
	f("POST /old/echo"+h+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200", `POST HTTP/1.0 5 "" hello`)
	f("POST /echo"+h+"Content-Length: 320000\r\n\r\n"+big, "200", `POST HTTP/1.1 320000 "" `+big)
	f("POST /stream/echo"+h+"Content-Length: 320000\r\n\r\n"+big, "200", `POST HTTP/1.1 320000 "" `+big)
}

// TestStreaming checks that with proxy_request_buffering off a backend sees the first of a body before the client has sent
// the last of it.
func TestStreaming(t *testing.T) {
	first := make(chan string, 1)
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		b := make([]byte, 5)
		_, _ = io.ReadFull(req.Body, b)
		first <- string(b)
		rest, _ := io.ReadAll(req.Body)
		body := fmt.Sprint(req.TransferEncoding, string(b), string(rest))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	f := func(head, one, two, want string) {
		t.Helper()
		c := r.dial(0)
		c.send("POST /stream/ HTTP/1.1\r\nHost: b\r\n" + head + "\r\n\r\n" + one)
		if got := <-first; got != "hello" {
			t.Fatalf("backend saw %q", got)
		}
		c.send(two)
		if _, got := c.read("POST"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("Transfer-Encoding: chunked", "5\r\nhello\r\n", "6\r\n world\r\n0\r\n\r\n", "[chunked]hello world")
	f("Content-Length: 11", "hello", " world", "[]hello world")
}

// TestEarlyAnswer answers before the request body was read. The client's connection stays in step: the rest of the body is
// read and dropped, the next request is answered.
func TestEarlyAnswer(t *testing.T) {
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(br); err != nil { // the body stays unread
				return
			}
			plain(c, "early")
		}
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	body := strings.Repeat("x", 1<<20)
	for _, path := range []string{"/", "/stream/"} {
		c := r.dial(0)
		go func() {
			for range 3 {
				_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			}
		}()
		for i := range 3 {
			if resp, got := c.read("POST"); resp.StatusCode != 200 || got != "early" {
				t.Fatalf("%s answer %d: %d %q", path, i, resp.StatusCode, got)
			}
		}
	}
}

// TestTrailers checks that a trailer section reaches clients that take it, whole or in pieces, and only those.
func TestTrailers(t *testing.T) {
	const head, tail = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
		"X-Sum: 42\r\nContent-Length: 9\r\n\r\n"
	step := make(chan struct{})
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		if req.URL.Path == "/pieces" {
			_, _ = io.WriteString(w, head+tail[:4])
			<-step
			_, err := io.WriteString(w, tail[4:])
			return err == nil
		}
		_, err := io.WriteString(w, head+tail)
		return err == nil
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	f := func(path, te, want string) {
		t.Helper()
		c := r.dial(0)
		for range 2 {
			c.send("GET " + path + " HTTP/1.1\r\nHost: b\r\n" + te + "\r\n")
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if path == "/pieces" {
				step <- struct{}{}
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "hello" || resp.Trailer.Get("X-Sum") != want || resp.Trailer.Get("Content-Length") != "" {
				t.Fatalf("%s %s: %q %v %v", path, te, body, resp.Trailer, err)
			}
		}
	}
	f("/", "", "")
	f("/", "TE: trailers\r\nConnection: TE\r\n", "42")
	f("/pieces", "TE: deflate, Trailers\r\n", "42")
	f("/pieces", "", "")
	r = newRig(t, 1, "proxy_pass_trailers off;"+fmt.Sprintf(proxyTo, addr))
	f("/", "TE: trailers\r\nConnection: TE\r\n", "")
}

// TestSocketKeepalive looks at the option of connections to servers.
func TestSocketKeepalive(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool { return plain(w, "x") })
	for word, want := range map[string]int{"on": 1, "off": 0} {
		r := newRig(t, 1, "proxy_socket_keepalive "+word+";"+fmt.Sprintf(proxyTo, addr))
		if status, _ := r.get("GET / HTTP/1.1\r\nHost: b\r\n\r\n"); status != 200 {
			t.Fatalf("status %d", status)
		}
		var got []int
		r.e.each(func(l *Loop) {
			for _, c := range l.conns {
				if c != nil && c.kind == kindBackend {
					v, _ := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
					got = append(got, v)
				}
			}
		})
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %v, want %d", word, got, want)
		}
	}
}

// TestPipelining sends many requests at once and expects the answers in order.
func TestPipelining(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool { return plain(w, req.URL.Path+body) })
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "POST /%d HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc", i)
	}
	c := r.dial(0)
	go func() { _, _ = io.WriteString(c, b.String()) }()
	for i := range 200 {
		if _, got := c.read("POST"); got != fmt.Sprintf("/%dabc", i) {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
}

// TestReuse checks that backend connections are kept, and that a request on one that the server closed meanwhile is sent
// again on a fresh one.
func TestReuse(t *testing.T) {
	var conns, requests atomic.Int32
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		for range 3 { // closes without notice after three
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			requests.Add(1)
			_, _ = io.Copy(io.Discard, req.Body)
			plain(c, "ok")
		}
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	for range 9 {
		c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		if resp, body := c.read("GET"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections for 9 requests, want 3", n)
	}
}

// TestBadGateway checks what the client gets for answers that are none.
func TestBadGateway(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
			_, _ = io.WriteString(w, answer)
			return false
		})
		r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
		if status, body := r.get("GET / HTTP/1.1\r\nHost: b\r\n\r\n"); status != 502 || !strings.Contains(body, "502 Bad Gateway") {
			t.Errorf("%q: %d %q", answer, status, body)
		}
		if !r.logged(want) {
			t.Errorf("%q: not logged: %s in %q", answer, want, r.lines)
		}
	}
	f("", "prematurely closed")
	f("nonsense\r\n\r\n", "invalid header")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "invalid header")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", "invalid header")
	f("HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", "invalid header")
	f("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 70000)+"\r\n\r\n", "header")
	f("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "without being asked")
}

// TestTimeout checks 504 for a backend that keeps silent.
func TestTimeout(t *testing.T) {
	hold := make(chan struct{})
	addr := httpOrigin(t, func(net.Conn, *http.Request, string) bool { <-hold; return false })
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	defer close(hold)
	if status, _ := r.get("GET /short/ HTTP/1.1\r\nHost: b\r\n\r\n"); status != 504 {
		t.Errorf("status %d, want 504", status)
	}
}

// TestClientLeaves checks that a client that goes takes its backend request with it.
func TestClientLeaves(t *testing.T) {
	gone := make(chan error, 1)
	asked := make(chan struct{})
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = http.ReadRequest(br)
		close(asked)
		_, err := br.ReadByte()
		gone <- err
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	<-asked
	_ = c.Close()
	if err := <-gone; err == nil {
		t.Errorf("the backend saw more bytes")
	}
	wait(t, "the log line", func() bool { return r.logged("client prematurely closed connection") })
}

// TestTunnel checks bytes both ways after an upgrade, also those sent ahead.
func TestTunnel(t *testing.T) {
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil || req.Header.Get("Upgrade") != "echo" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst:")
		_, _ = io.Copy(c, br)
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	c.send("GET /up/ HTTP/1.1\r\nHost: b\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nahead;")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("%v %v", resp, err)
	}
	big := strings.Repeat("tunnel", 100000)
	go func() {
		_, _ = io.WriteString(c, big)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}()
	want := "first:ahead;" + big
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Fatalf("tunnel broken: %v", err)
	}
}

// TestBadRequests checks that what cannot be understood for certain is refused, and the connection closed.
func TestBadRequests(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool { return plain(w, "passed") })
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	f := func(request, status string) {
		t.Helper()
		c := r.dial(0)
		c.send(request)
		if got := c.all(); !strings.HasPrefix(got, "HTTP/1.1 "+status) || strings.Contains(got, "passed") ||
			!strings.Contains(got, "Connection: close") {
			t.Errorf("%q: %q, want %s", request, got, status)
		}
	}
	const h = "POST / HTTP/1.1\r\nHost: b\r\n"
	f(h+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400")
	f(h+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400")
	f(h+"Content-Length: +5\r\n\r\nhello", "400")
	f(h+"Transfer-Encoding: xchunked\r\n\r\n", "501")
	f(h+"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400")
	f(h+"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", "400")
	f(h+"X : y\r\n\r\n", "400")
	f(h+"X: y\r\n z\r\n\r\n", "400")
	f(h+"X: \x00\r\n\r\n", "400")
	f(h+"X: a\rb\r\n\r\n", "400")
	f("GET / HTTP/1.1\r\n\r\n", "400")
	f("GET / HTTP/2.0\r\nHost: b\r\n\r\n", "505")
	f("GET /"+strings.Repeat("x", 40000)+" HTTP/1.1\r\nHost: b\r\n\r\n", "414")
	f("GET / HTTP/1.1\r\nHost: b\r\nX: "+strings.Repeat("x", 40000)+"\r\n\r\n", "400")
}

// TestSlowClient checks that a client that does not read stops the backend, and gets everything in the end.
func TestSlowClient(t *testing.T) {
	const total = 32 << 20
	var written atomic.Int64
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", total)
		piece := make([]byte, 64<<10)
		for range total / len(piece) {
			n, err := w.Write(piece)
			written.Add(int64(n))
			if err != nil {
				return false
			}
		}
		return true
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	if _, err := c.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	last := int64(-1)
	wait(t, "the backend to be held", func() bool { // it stands still long before the end
		now := written.Load()
		still := now == last && now > 0
		last = now
		if still {
			for range 20 {
				if written.Load() != now {
					return false
				}
			}
		}
		return still
	})
	if written.Load() >= total {
		t.Skip("the socket buffers of this machine hold the whole body")
	}
	if _, body := c.read("GET"); len(body) != total {
		t.Fatalf("%d bytes of %d", len(body), total)
	}
}

// TestNoFailure: whatever is no failure of a server that was let through after one makes it well, as in nginx: an answer, one for
// which another server is asked, and a client that leaves. The times of the last two count for no average.
func TestNoFailure(t *testing.T) {
	for _, method := range []string{"", "least_time header;"} {
		for _, how := range []string{"200 OK", "404 Not Found", "403 Forbidden", "abort", "500 Error"} {
			came, leave := make(chan bool, 9), make(chan string, 9)
			member := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
				came <- true
				status := <-leave
				_, err := io.WriteString(w, "HTTP/1.1 "+status+"\r\nContent-Length: 4\r\n\r\nmine")
				return err == nil && status != ""
			})
			t.Cleanup(func() { close(leave) })
			r := newRig(t, 1, "upstream u { "+method+" server "+member+" fail_timeout=0; server "+namedOrigin(t)+` backup; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; proxy_next_upstream error timeout http_403 http_404 http_500; } }`)
			state := r.store.Load().Lookup([]byte("u")).Servers[0].State
			c := r.dial(0)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-came
			leave <- "500 Error"
			if c.read("GET"); state.Fails() != 1 {
				t.Fatalf("%d failures after a failure", state.Fails())
			}
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-came
			start := time.Now() // so that there is a time to be seen, were it measured
			wait(t, "time to pass", func() bool { return time.Since(start) > 5*time.Millisecond })
			if how == "abort" {
				_ = c.Close()
			} else {
				leave <- how
				c.read("GET")
			}
			wait(t, "the place to be given back", func() bool { return state.InFlight() == 0 })
			want := int64(0)
			if how == "500 Error" {
				want = 2
			}
			if n := state.Fails(); n != want {
				t.Errorf("%s %s: %d failures, want %d", method, how, n, want)
			}
			if ms, _ := state.Times(); (ms > 0) != (method != "" && how == "200 OK") {
				t.Errorf("%s %s: the average time is %d ms", method, how, ms)
			}
		}
	}
}
