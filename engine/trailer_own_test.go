package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAddTrailer: fields of add_trailer follow the body, which goes out in chunks for them, whoever answers and however long the
// body is; HTTP/1.0 and HEAD go without.
func TestAddTrailer(t *testing.T) {
	big := strings.Repeat("0123456789", 30_000)
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		switch req.URL.Path {
		case "/chunked":
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Theirs: t\r\n\r\n")
			return true
		case "/close":
			_, _ = io.WriteString(w, "HTTP/1.0 200 OK\r\n\r\nok")
			return false
		case "/none":
			_, _ = io.WriteString(w, "HTTP/1.1 204 No Content\r\n\r\n")
			return true
		case "/big":
			_, _ = io.WriteString(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big))
			return true
		}
		_, _ = io.WriteString(w, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
		return true
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0; add_trailer X-End "$status $arg_x"; add_trailer X-Empty $arg_none;
	location / { proxy_pass http://u; }
	location /echo { echo ok; }
	location /return { return 200 ok; }
	location /empty { return 200; }
	location /always { add_trailer X-End "$status" always; proxy_pass http://u; }
	location /missing { return 404; } }`)
	f := func(head, body, trailer string) {
		t.Helper()
		c := r.dial(0)
		defer c.Close()
		c.send(head + "\r\nHost: a\r\n\r\n")
		method := strings.Fields(head)[0]
		resp, got := c.read(method)
		var lines []string
		for k, v := range resp.Trailer {
			lines = append(lines, k+": "+v[0])
		}
		slices.Sort(lines)
		if got != body || strings.Join(lines, "|") != trailer {
			t.Errorf("%s: %d %.20q, trailer %q", head, resp.StatusCode, got, lines)
		}
	}
	f("GET /chunked?x=1 HTTP/1.1", "ok", "X-End: 200 1")
	f("GET /chunked?x=1 HTTP/1.1\r\nTE: trailers\r\nX-A: b", "ok", "X-End: 200 1|X-Theirs: t")
	f("GET /close?x=2 HTTP/1.1", "ok", "X-End: 200 2")
	f("GET /big?x=3 HTTP/1.1", big, "X-End: 200 3")
	f("GET /big HTTP/1.0", big, "")
	f("HEAD /big HTTP/1.1", "", "")
	f("GET /none HTTP/1.1", "", "")
	f("GET /nothing HTTP/1.1", "no", "")
	f("GET /always HTTP/1.1", "no", "X-End: 404")
	f("GET /echo?x=4 HTTP/1.1", "ok\n", "X-End: 200 4")
	f("GET /return?x=5 HTTP/1.1", "ok", "X-End: 200 5")
	f("GET /empty?x=6 HTTP/1.1", "", "X-End: 200 6")
}

// TestProxyLimitRate: a response comes no faster than the rate lets it, after the first second's part; a rate out of variables
// that is no size is none.
func TestProxyLimitRate(t *testing.T) {
	big := strings.Repeat("0123456789", 30_000)
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		_, err := io.WriteString(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big))
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0; proxy_limit_rate $arg_rate; location / { proxy_pass http://u; } }`)
	f := func(rate string, least time.Duration) {
		t.Helper()
		begun := time.Now()
		c := r.dial(0)
		defer c.Close()
		c.send("GET /?rate=" + rate + " HTTP/1.1\r\nHost: a\r\n\r\n")
		c.want(200, big)
		if took := time.Since(begun); took < least {
			t.Errorf("rate %s: %v", rate, took)
		}
	}
	f("200k", 400*time.Millisecond)
	f("0", 0)
	f("fast", 0)
	f("", 0)
}

// TestRatePause: the pause of a request whose client left is none of the next one's, whose backend's timer means what it says.
func TestRatePause(t *testing.T) {
	addr := origin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err == nil && req.URL.Path == "/" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 50_000))
		}
		_, _ = r.ReadByte() // until the connection ends
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0; location / { proxy_limit_rate 1k; proxy_pass http://u; } location /silent { proxy_pass http://u; } }`)
	paused := func() (paused, awaiting bool) {
		r.e.each(func(l *Loop) {
			if c := l.clients.head; c != nil && c.ex != nil {
				paused, awaiting = c.ex.paced, c.ex.phase == phAwait
			}
		})
		return paused, awaiting
	}
	c := r.ask("/")
	wait(t, "the pause", func() bool { p, _ := paused(); return p })
	_ = c.Close()
	wait(t, "the end of the request", func() bool {
		open := 1
		r.e.each(func(l *Loop) { open = l.clients.n })
		return open == 0
	})
	r.ask("/silent")
	wait(t, "the next request to wait for its backend", func() bool { _, a := paused(); return a })
	if p, _ := paused(); p {
		t.Error("the next request is paused, too")
	}
}
