package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"dyups/upstream"
)

// counting is an origin that answers with name and counts its connections and requests.
type counting struct {
	addr            string
	conns, requests atomic.Int32
}

func newCounting(t testing.TB, name string) *counting {
	o := &counting{}
	o.addr = origin(t, func(c net.Conn, br *bufio.Reader) {
		o.conns.Add(1)
		defer o.conns.Add(-1)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			o.requests.Add(1)
			_, _ = io.Copy(io.Discard, req.Body)
			if !plain(c, name) {
				return
			}
		}
	})
	return o
}

// TestUpdate changes an upstream between requests: the next request sees it, what stays keeps its connection and its place
// in the rotation, what goes loses its idle connections.
func TestUpdate(t *testing.T) {
	a, b := newCounting(t, "a"), newCounting(t, "b")
	r := newRig(t, 1, "dyups_read_msg_timeout 10ms;"+fmt.Sprintf(proxyTo, a.addr))
	c := r.dial(0)
	get := func() string {
		t.Helper()
		c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		_, body := c.read("GET")
		return body
	}
	if got := get(); got != "a" {
		t.Fatalf("before: %q", got)
	}
	r.update("b", "server "+a.addr+"; server "+b.addr+";")
	if got := get() + get() + get() + get(); got != "baba" && got != "abab" {
		t.Fatalf("two servers: %q", got)
	}
	for i := range 50 { // the rotation goes on across updates
		r.update("b", fmt.Sprintf("server %s; server %s max_conns=%d;", a.addr, b.addr, 100+i))
		get()
	}
	if na, nb := a.requests.Load(), b.requests.Load(); na-nb > 2 || nb-na > 2 {
		t.Errorf("churn upset the rotation: %d to %d", na, nb)
	}
	if n := a.conns.Load(); n != 1 {
		t.Errorf("%d connections to a server that stayed, want 1", n)
	}
	r.update("b", "server "+b.addr+";")
	before := a.requests.Load()
	for range 10 {
		if got := get(); got != "b" {
			t.Fatalf("after: %q", got)
		}
	}
	if a.requests.Load() != before {
		t.Errorf("requests reached a removed server")
	}
	wait(t, "the idle connection to the removed server to close", func() bool { return a.conns.Load() == 0 })
}

// TestUpdateKeepalive: bounds on idle connections that an update lowers hold for those that are there, also when an exchange that
// began before it brings one back.
func TestUpdateKeepalive(t *testing.T) {
	var conns atomic.Int32
	leave := make(chan bool)
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		defer conns.Add(-1)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.URL.Path == "/held" {
				<-leave
			}
			if !plain(c, "x") {
				return
			}
		}
	})
	r := newRig(t, 1, "dyups_read_msg_timeout 10ms;"+fmt.Sprintf(proxyTo, addr))
	fill := func(n int, before func()) {
		t.Helper()
		var clients []*client
		for range n {
			c := r.dial(0)
			c.send("GET /held HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
			clients = append(clients, c)
		}
		wait(t, "the requests to arrive", func() bool { return int(conns.Load()) >= n })
		before()
		for range n {
			leave <- true
		}
		for _, c := range clients {
			c.read("GET")
			c.Close()
		}
	}
	f := func(bounds string, want int32) {
		t.Helper()
		server := "server " + addr + ";"
		update := func() { r.update("b", bounds+server) }
		r.update("b", server)
		fill(8, func() {})
		if n := conns.Load(); n != 8 {
			t.Errorf("%d connections are kept, want 8", n)
		}
		update()
		wait(t, fmt.Sprintf("%d connections with %s", want, bounds), func() bool { return conns.Load() == want })
		r.update("b", server)
		fill(8, update)
		wait(t, fmt.Sprintf("%d connections with %s before they are free", want, bounds), func() bool { return conns.Load() == want })
	}
	f("keepalive 3;", 3)
	f("keepalive_timeout 10ms;", 0)
	f("keepalive_timeout 0;", 0)
	f("keepalive_requests 1;", 0)
	f("keepalive_time 1ms;", 0)
	f("keepalive 0;", 0)
}

// TestUpdateStorm replaces an upstream as fast as it goes while clients run: not one request may fail.
func TestUpdateStorm(t *testing.T) {
	a, b := newCounting(t, "a"), newCounting(t, "b")
	r := newRig(t, 2, fmt.Sprintf(proxyTo, a.addr))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			r.update("b", []string{"server " + a.addr + ";", "server " + b.addr + "; server " + a.addr + " weight=3;",
				"least_conn; server " + b.addr + ";"}[i%3])
			runtime.Gosched() // or a lone processor does hardly anything else
		}
	}()
	var clients sync.WaitGroup
	for range 8 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			c := r.dial(0)
			for range 300 {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: b\r\n\r\n"); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("answer: %v %v", resp, err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Errorf("body: %v", err)
					return
				}
			}
		}()
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	r.store.Load().All(func(u *upstream.Upstream) bool {
		for _, s := range u.Servers {
			if n := s.State.InFlight(); n != 0 {
				t.Errorf("%s: %d places still taken", s.Label, n)
			}
		}
		return true
	})
}

// TestContinue checks 100 Continue, and that a refusal comes instead of it.
func TestContinue(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool { return plain(w, body) })
	r := newRig(t, 1, fmt.Sprintf(`upstream b { server %s; } server { listen 127.0.0.1:0; location / { proxy_pass http://b; }
    location /small { client_max_body_size 10; proxy_pass http://b; } }`, addr))
	c := r.dial(0)
	c.send("POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := c.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = c.r.ReadString('\n')
	c.send("hello")
	if _, body := c.read("POST"); body != "hello" {
		t.Errorf("%q", body)
	}
	c = r.dial(0)
	c.send("POST /small HTTP/1.1\r\nHost: b\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n")
	if resp, _ := c.read("POST"); resp.StatusCode != 413 {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

// TestRetryBody sends a body that lies in a file to a second server after the first one failed.
func TestRetryBody(t *testing.T) {
	bad := origin(t, func(c net.Conn, br *bufio.Reader) {
		if req, err := http.ReadRequest(br); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
	})
	good := httpOrigin(t, func(w net.Conn, _ *http.Request, body string) bool { return plain(w, body) })
	r := newRig(t, 1, fmt.Sprintf(`
upstream b { server %s; server %s backup; }
server { listen 127.0.0.1:0; location / { proxy_pass http://b; client_body_buffer_size 4k; client_max_body_size 0;
    proxy_next_upstream error non_idempotent; } }`, bad, good))
	body := strings.Repeat("spooled.", 100000)
	f := func(head, wire string) {
		t.Helper()
		c := r.dial(0)
		go func() { _, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: b\r\n"+head+"\r\n\r\n"+wire) }()
		if resp, got := c.read("POST"); resp.StatusCode != 200 || got != body {
			t.Errorf("%s: %d, %d bytes", head, resp.StatusCode, len(got))
		}
	}
	f(fmt.Sprintf("Content-Length: %d", len(body)), body)
	f("Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
}

// TestAccessLog checks that the record is in the file when the client sees the connection closed.
func TestAccessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "a.log")
	r := newRig(t, 1, fmt.Sprintf(`
log_format f "$request_uri $status $body_bytes_sent $request_length";
server { listen 127.0.0.1:0; access_log %s f; location / { return 200 "hello"; } location /none { access_log off; return 204; } }`, path))
	for i := range 20 {
		c := r.dial(0)
		c.send(fmt.Sprintf("GET /%d HTTP/1.0\r\n\r\n", i))
		c.all()
		b, err := os.ReadFile(path)
		if err != nil || strings.Count(string(b), "\n") != i+1 || !strings.HasSuffix(string(b), fmt.Sprintf("/%d 200 5 %d\n", i, 18+len(fmt.Sprint(i)))) {
			t.Fatalf("after request %d: %q %v", i, b, err)
		}
	}
	c := r.dial(0)
	c.send("GET /none HTTP/1.0\r\n\r\n")
	c.all()
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "none") {
		t.Errorf("logged although off")
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := r.e.Reopen(); err != nil {
		t.Fatal(err)
	}
	c = r.dial(0)
	c.send("GET /new HTTP/1.0\r\n\r\n")
	c.all()
	if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), "/new ") {
		t.Errorf("after reopening: %q %v", b, err)
	}
}

// TestLogged checks records that are easily lost: a backend's fields, and heads that were refused or never finished.
func TestLogged(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nX-P: seen\r\nTE: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	})
	path := filepath.Join(t.TempDir(), "a.log")
	r := newRig(t, 1, fmt.Sprintf(`
log_format f "$request|$status|$upstream_http_x_p";
upstream b { server %s; }
server { listen 127.0.0.1:0; access_log %s f; location / { proxy_pass http://b; } location /s { return 404 "$status"; } }`, addr, path))
	f := func(wire, want string) {
		t.Helper()
		c := r.dial(0)
		c.send(wire)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.all()
		if b, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(b), want+"\n") {
			t.Errorf("%q: log %q %v, want %s", wire, b, err, want)
		}
	}
	c := r.dial(0)
	c.send("GET /p HTTP/1.0\r\n\r\n")
	if got := c.all(); strings.Contains(got, "TE:") || strings.Contains(got, "Upgrade") {
		t.Errorf("fields of the hop passed on: %q", got)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "GET /p HTTP/1.0|200|seen\n" {
		t.Errorf("log %q %v", b, err)
	}
	f("GET /x HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n", "GET /x HTTP/1.1|400|-")
	f("GET /half HTTP/1.1\r\nHo", "GET /half HTTP/1.1|400|-")
	f("nonsense\r\n\r\n", "nonsense|400|-")
	if status, body := r.get("GET /s HTTP/1.1\r\nHost: a\r\n\r\n"); status != 404 || body != "404" {
		t.Errorf("$status in return: %d %q", status, body)
	}
}

// TestLocal checks the answers of our own: echo, return, files, passwords, the interface's body.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("file.", 100000)
	for name, text := range map[string]string{"index.html": "index", "big.txt": big, "passwd": "u:{PLAIN}p\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	iface = func(ctx *fasthttp.RequestCtx) {
		fmt.Fprintf(ctx, "%s %s %v %d", ctx.Method(), RequestPath(ctx), RequestHasBody(ctx), len(ctx.PostBody()))
	}
	r := newRig(t, 1, fmt.Sprintf(`
server {
    listen 127.0.0.1:0; root %s; error_page 404 = /missing; client_max_body_size 9m;
    location /echo { echo a $arg_x; echo second; }
    location /return { return 200 "text $uri"; }
    location /moved { return 301 /there; }
    location /drop { return 444; }
    location /missing { return 200 "missing"; }
    location /secret { auth_basic realm; auth_basic_user_file %s; echo in; }
    location /deny { deny all; echo in; }
    location /api { dyups_interface; }
}`, dir, filepath.Join(dir, "passwd")))
	f := func(request, status, body string) {
		t.Helper()
		c := r.dial(0)
		c.send(request)
		resp, got := c.read(strings.Fields(request)[0])
		if fmt.Sprint(resp.StatusCode) != status || !strings.Contains(got, body) {
			t.Errorf("%.60q: %d %.100q, want %s %.60q", request, resp.StatusCode, got, status, body)
		}
	}
	const h = " HTTP/1.1\r\nHost: x\r\n"
	f("GET /echo?x=b"+h+"\r\n", "200", "a b\nsecond\n")
	f("GET /return%2fx"+h+"\r\n", "200", "text /return/x")
	f("GET /moved"+h+"\r\n", "301", "301 Moved Permanently")
	f("GET /"+h+"\r\n", "200", "index")
	f("HEAD /"+h+"\r\n", "200", "")
	f("GET /big.txt"+h+"\r\n", "200", big)
	f("GET /sub"+h+"\r\n", "301", "")
	f("GET /sub/"+h+"\r\n", "403", "403 Forbidden")
	f("GET /nowhere"+h+"\r\n", "200", "missing")
	f("POST /index.html"+h+"Content-Length: 0\r\n\r\n", "405", "405 Not Allowed")
	f("GET /deny"+h+"\r\n", "403", "403 Forbidden")
	f("GET /secret"+h+"\r\n", "401", "401 Authorization Required")
	f("GET /secret"+h+"Authorization: Basic dTpx\r\n\r\n", "401", "")
	f("GET /secret"+h+"Authorization: Basic dTpw\r\n\r\n", "200", "in")
	f("POST /api/x"+h+"\r\n", "200", "POST /api/x false 0")
	f("POST /api/x"+h+"Content-Length: 0\r\n\r\n", "200", "POST /api/x true 0")
	f("POST /api/x"+h+"Content-Length: 8000000\r\n\r\n"+strings.Repeat("x", 8000000), "200", "POST /api/x true 8000000")
	f("POST /api/x"+h+"Content-Length: 99000000\r\n\r\n", "413", "413 Request Entity Too Large")
	c := r.dial(0)
	c.send("GET /drop" + h + "\r\n")
	if got := c.all(); got != "" {
		t.Errorf("444 answered %q", got)
	}
}

// TestInstall replaces a site: the socket stays, idle connections go, half a request ends where it began.
func TestInstall(t *testing.T) {
	a, b := newCounting(t, "a"), newCounting(t, "b")
	conf := func(addr string) string {
		return fmt.Sprintf("upstream b { server %s; } server { listen %%s; location / { proxy_pass http://b; } }", addr)
	}
	r := newRig(t, 2, fmt.Sprintf(conf(a.addr), "127.0.0.1:0"))
	at := r.addr(0)
	idle := r.dial(0)
	idle.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	idle.read("GET")
	half := r.dial(0) // half a request: it ends under the old site
	half.send("GET / HTTP/1.1\r\nHo")
	wait(t, "the half request to arrive", func() bool {
		var n atomic.Int32
		r.e.each(func(l *Loop) {
			for c := l.clients.head; c != nil; c = c.next {
				if c.partial {
					n.Add(1)
				}
			}
		})
		return n.Load() == 1
	})
	r.load(fmt.Sprintf(conf(b.addr), at))
	if _, err := idle.r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection outlived the reload: %v", err)
	}
	half.send("st: b\r\n\r\n")
	if resp, body := half.read("GET"); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("half a request across a reload: %d %q close=%v", resp.StatusCode, body, resp.Close)
	}
	if _, body := r.get("GET / HTTP/1.1\r\nHost: b\r\n\r\n"); body != "b" {
		t.Errorf("after the reload: %q", body)
	}
	if got := r.addr(0); got != at {
		t.Errorf("the socket moved from %s to %s", at, got)
	}
}

// TestInstallKeeps: a reload costs no connection. One that waits for its next request gets it answered by the new site, one
// with a request under way from the next request on; only an address that is gone takes its connections with it.
func TestInstallKeeps(t *testing.T) {
	hold := make(chan struct{})
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		if req.URL.Path == "/slow" {
			<-hold
		}
		return plain(w, "origin")
	})
	conf := func(port, text string) string {
		return fmt.Sprintf(`server { listen %s; location / { return 200 %s; } location /slow { proxy_pass http://%s; } }`, port, text, addr)
	}
	r := newRig(t, 1, conf("127.0.0.1:0", "old"))
	idle, busy, silent := r.dial(0), r.dial(0), r.dial(0)
	f := func(c *client, path, want string) {
		t.Helper()
		if path != "" {
			c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		resp, body := c.read("GET")
		if strings.TrimSpace(body) != want || resp.Close {
			t.Errorf("got %q (close: %v), want %q on a connection that stays", body, resp.Close, want)
		}
	}
	f(idle, "/", "old")
	busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, "the slow request", func() bool { return r.in(phAwait) == 1 && r.clients() == 3 })
	gone := make(chan struct{})
	r.e.current.gone = func() { close(gone) }
	r.load(conf("127.0.0.1:0", "new"))
	close(hold)
	f(idle, "/", "new")
	f(busy, "", "origin")
	f(busy, "/", "new")
	f(silent, "/", "old")
	f(silent, "/", "new")
	select {
	case <-gone:
	case <-time.After(deadline):
		t.Error("the old site is still held")
	}
	r.load(conf("127.0.0.2:0", "elsewhere"))
	for _, c := range []*client{idle, busy, silent} {
		if rest := c.all(); rest != "" {
			t.Errorf("got %q from an address that is gone", rest)
		}
	}
}

// TestConnsAgain: connections one after the other need no more conns than are open at once.
func TestConnsAgain(t *testing.T) {
	addr := origin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; } server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }`)
	for range 30 {
		if status, body := r.get("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); status != 200 || body != "ok" {
			t.Fatalf("%d %q", status, body)
		}
	}
	spare := 0
	wait(t, "the end of all connections", func() bool {
		open := 0
		r.e.each(func(l *Loop) { open, spare = l.clients.n, len(l.spareConns) })
		return open == 0 && spare > 0
	})
	if spare > 10 {
		t.Errorf("%d conns were made for 60 connections, of which two or a few more are open at once", spare)
	}
}

// TestKeepaliveTimeoutZero: with a keepalive_timeout of 0 every request has a connection of its own.
func TestKeepaliveTimeoutZero(t *testing.T) {
	var opened, open atomic.Int32
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		opened.Add(1)
		open.Add(1)
		defer open.Add(-1)
		for {
			if _, err := http.ReadRequest(br); err != nil || !plain(c, "x") {
				return
			}
		}
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr+"; keepalive_timeout 0"))
	c := r.dial(0)
	for range 3 {
		c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		c.read("GET")
	}
	wait(t, "no connection to be open", func() bool { return open.Load() == 0 })
	if n := opened.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
}
