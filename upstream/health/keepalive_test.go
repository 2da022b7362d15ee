package health

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Checks on connections that are kept (check_keepalive_requests).

// TestKeepalive: connections of http checks are kept for as many requests as the check says.
func TestKeepalive(t *testing.T) {
	one := newBackend(t)
	b := newBench(t)
	b.set("u", quick+`; check_keepalive_requests 5; check_http_send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"; server `+one.addr+";")
	b.until("40 checks", func() bool { return one.asked.Load() >= 40 })
	if n, of := one.opened.Load(), one.asked.Load(); n > of/5+1 { // in this order: checks go on
		t.Errorf("%d connections for %d checks, of which 5 share one", n, of)
	}
	b.becomes("u", "0")
}

// TestKeepaliveFails: a bad status on a kept connection is a failure, and not asked about again.
func TestKeepaliveFails(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%2 == 0 {
			w.WriteHeader(500)
		}
	}))
	defer srv.Close()
	b := newBench(t)
	b.set("u", "check interval=10 rise=1 fall=1 timeout=5000 type=http"+
		`; check_keepalive_requests 100; check_http_send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"; server `+srv.Listener.Addr().String()+";")
	b.until("a failure", func() bool {
		return strings.Contains(b.log(), "is unhealthy: it has failed 1 checks (http), the last: status 500")
	})
}

// TestKeepaliveHead: HEAD, as in the module's own example, is answered with the length of a body that does not come.
func TestKeepaliveHead(t *testing.T) {
	var asked, opened atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Length", "5")
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	b := newBench(t)
	b.set("u", quick+`; check_keepalive_requests 1000000; check_http_send "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"; server `+srv.Listener.Addr().String()+";")
	b.becomes("u", "0")
	b.until("20 checks", func() bool { return asked.Load() >= 20 })
	if n := opened.Load(); n != 1 || b.picks("u") != "0" {
		t.Errorf("%d connections, requests go to %q", n, b.picks("u"))
	}
}

// TestKeepaliveLarge: a long head and a body of any length are no failure, whether the connection can be kept or not.
func TestKeepaliveLarge(t *testing.T) {
	var length atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", strings.Repeat("default-src 'self'; ", 500))
		_, _ = w.Write(make([]byte, length.Load()))
	}))
	defer srv.Close()
	b := newBench(t)
	for _, n := range []int64{10, 3 << 20} {
		length.Store(n)
		b.set("u", quick+`; check_keepalive_requests 9; check_http_send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"; server `+srv.Listener.Addr().String()+";")
		b.becomes("u", "0")
		b.set("u", "")
	}
}

// TestKeepaliveVerdict: the status of an answer decides, whether its connection is to be kept or not; what follows it only decides
// whether the connection is.
func TestKeepaliveVerdict(t *testing.T) {
	b := newBench(t)
	f := func(answer string, up, kept bool) {
		t.Helper()
		for _, requests := range []string{"1", "5"} {
			var opened, asked atomic.Int64
			addr := talking(t, func(c net.Conn, in *bufio.Reader) {
				opened.Add(1)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					asked.Add(1)
					_, _ = io.WriteString(c, answer)
				}
			})
			b.set("u", "check interval=1 rise=1 fall=1 timeout=10000 type=http; check_http_send \"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\"; "+
				"check_keepalive_requests "+requests+"; server "+addr+";")
			u := b.upstream("u")
			b.until(fmt.Sprintf("10 checks with %.60q", answer), func() bool {
				b.c.mu.Lock()
				defer b.c.mu.Unlock()
				p := b.c.probers[targetOf(u.Servers[0], u.Checks[0])]
				return p.rises >= 10 || p.falls >= 10
			})
			if got := b.picks("u") == "0"; got != up {
				t.Errorf("%.60q, %s requests on a connection: well %v, want %v", answer, requests, got, up)
			}
			b.set("u", "")
			if n, of := opened.Load(), asked.Load(); requests == "5" && (n < of) != kept {
				t.Errorf("%.60q: %d connections for %d requests, kept should be %v", answer, n, of, kept)
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	f(ok+"Content-Length: 2\r\n\r\nhi", true, true)
	f(ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", true, true)
	f("HTTP/1.1 204 No Content\r\n\r\n", true, true)
	f("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true, true)
	f("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", true, true)
	f(ok+"X: "+strings.Repeat("a", 20000)+"\r\nContent-Length: 0\r\n\r\n", true, true)
	f("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true, true)
	f(ok+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", true, true)
	f(ok+"X: "+strings.Repeat("a", maxHead)+"\r\nContent-Length: 0\r\n\r\n", true, false)
	f(ok+"Connection: Upgrade\r\n\r\n", true, false)
	f(ok+"Content-Length: many\r\n\r\nhello", true, false)
	f(ok+": nope\r\nContent-Length: 0\r\n\r\n", true, false)
	f(ok+"Connection: close\r\nContent-Length: 0\r\n\r\n", true, false)
	f(ok+"Transfer-Encoding: chunked\r\n\r\nno size\r\n", true, false)
	f(ok+"Content-Length: 2\r\n\r\nhi, and more", true, false)
	f("HTTP/1.0 200 OK\r\n\r\n", true, false)
	f("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhi", true, false)
	f("HTTP/1.1 200\r\n\r\n", true, false)
	f("HTTP/1.1 103 Early Hints\r\n\r\n"+ok+"Content-Length: 0\r\n\r\n", false, false)
	f("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", false, false)
	f("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", false, false)
}

// TestKeepaliveTime: a health_check keeps its connections for keepalive_time, with a match block as well; what the block does not
// find is a failure, and not asked about again.
func TestKeepaliveTime(t *testing.T) {
	b := newBench(t)
	b.match = `status 200; body ~ "well";`
	f := func(params, body string, up, kept bool) {
		t.Helper()
		var opened, asked atomic.Int64
		addr := talking(t, func(c net.Conn, in *bufio.Reader) {
			opened.Add(1)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if req.Close != !strings.Contains(params, "keepalive_time=") {
					t.Errorf("%s: the request says close: %v", params, req.Close)
				}
				asked.Add(1)
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		})
		b.set("u", "health_check interval=1ms timeout=10s "+params+" server "+addr+";")
		u := b.upstream("u")
		b.until("10 checks with "+params, func() bool {
			b.c.mu.Lock()
			defer b.c.mu.Unlock()
			p := b.c.probers[targetOf(u.Servers[0], u.Checks[0])]
			return p.rises >= 10 || p.falls >= 10
		})
		if got := b.picks("u") == "0"; got != up {
			t.Errorf("%s: well %v, want %v", params, got, up)
		}
		b.set("u", "")
		if n, of := opened.Load(), asked.Load(); kept && n != 1 || !kept && n < of { // one more may have been opened for a check that was ended
			t.Errorf("%s: %d connections for %d requests, kept should be %v", params, n, of, kept)
		}
	}
	f("keepalive_time=1h;", "ill", true, true)
	f("keepalive_time=1h match=m;", "well, and more", true, true)
	f("keepalive_time=1h match=m;", "ill", false, false)
	f("match=m;", "well", true, false)

	var asked atomic.Int64
	addr := talking(t, func(c net.Conn, in *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			body := "well"
			if asked.Add(1)%2 == 0 {
				body = "ill"
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	b.set("u", "health_check interval=1ms timeout=10s keepalive_time=1h match=m; server "+addr+";")
	u := b.upstream("u")
	b.until("a failure on a connection that was kept", func() bool {
		b.c.mu.Lock()
		defer b.c.mu.Unlock()
		return b.c.probers[targetOf(u.Servers[0], u.Checks[0])].falls > 0
	})
}

// TestKeepaliveIdle: a server that says 408 on a connection that was idle, and closes it, is asked again on a new one.
func TestKeepaliveIdle(t *testing.T) {
	b := newBench(t)
	b.match = "status 200;"
	for _, params := range []string{"", " match=m"} {
		tired := make(chan struct{}) // the connection has been idle for too long
		addr := talking(t, func(c net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				<-tired
				_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		})
		b.set("u", "health_check interval=10ms timeout=10s keepalive_time=1h"+params+"; server "+addr+";")
		u := b.upstream("u")
		for n := 1; n <= 20; n++ {
			b.until("a check that is well", func() bool {
				b.c.mu.Lock()
				defer b.c.mu.Unlock()
				p := b.c.probers[targetOf(u.Servers[0], u.Checks[0])]
				if p.falls > 0 {
					t.Fatalf("health_check%s: it has failed", params)
				}
				return p.rises >= n
			})
			tired <- struct{}{}
		}
		close(tired)
		b.set("u", "")
	}
}
