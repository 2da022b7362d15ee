package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clients counts the client conns of all loops.
func (r *rig) clients() int { return r.count(func(*conn) bool { return true }) }

// in counts the clients whose exchange stands in phase p.
func (r *rig) in(p phase) int {
	return r.count(func(c *conn) bool { return c.state == busy && c.ex.phase == p })
}

// count counts the client conns that ok holds for, which runs on their loops.
func (r *rig) count(ok func(*conn) bool) int {
	counts := make([]int, len(r.e.loops))
	r.e.each(func(l *Loop) {
		for c := l.clients.head; c != nil; c = c.next {
			if ok(c) {
				counts[l.id]++
			}
		}
	})
	n := 0
	for _, k := range counts {
		n += k
	}
	return n
}

// perTurn follows a counter of the first loop from turn to turn until it has grown to total, and returns its largest step:
// what was moved while others waited. read is called on the loop.
func (r *rig) perTurn(total int64, read func(l *Loop) int64) int64 {
	r.t.Helper()
	last, most := int64(-1), int64(0)
	done := make(chan int64)
	end := time.Now().Add(deadline)
	l := r.e.loops[0]
	var step func()
	step = func() {
		now := read(l)
		if last >= 0 {
			most = max(most, now-last)
		}
		last = now
		if now < total && l.now.Before(end) {
			l.post(step)
			return
		}
		done <- now
	}
	l.post(step)
	if got := <-done; got < total {
		r.t.Fatalf("moved %d bytes, want %d", got, total)
	}
	return most
}

// turnBound is what one conn may move between two posts: reading stops at the first read that reaches turnMax, and the rest
// of one turn and the beginning of the next lie between.
const turnBound = 2 * (turnMax + readRoom)

// pour writes until the connection fails.
func pour(c net.Conn, b []byte) {
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// TestNoBodyStatus checks that 204 and 304 have no body, whoever made the answer, and that the next answer on the
// connection is in its place (RFC 9112 section 6.3).
func TestNoBodyStatus(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		if req.URL.Path == "/chunked" {
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			return err == nil
		}
		return plain(w, "proxied")
	})
	r := newRig(t, 1, `upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0;
    location /return204 { return 204 "oops"; }
    location /return304 { return 304 "oops"; }
    location /bare204 { return 204; }
    location /bare304 { return 304; }
    location /echo204 { error_page 404 =204 /text; return 404; }
    location /echo304 { error_page 404 =304 /text; return 404; }
    location /proxy204 { error_page 404 =204 @proxy; return 404; }
    location /proxy304 { error_page 404 =304 @proxy; return 404; }
    location /chunk204 { error_page 404 =204 /chunked; return 404; }
    location /chunk304 { error_page 404 =304 /chunked; return 404; }
    location = /text { echo hello; }
    location = /chunked { proxy_pass http://b; }
    location @proxy { proxy_pass http://b; }
    location /next { return 200 "next"; }
}`)
	f := func(path string, status int) {
		t.Helper()
		c := r.dial(0)
		c.send("GET " + path + " HTTP/1.1\r\nHost: b\r\n\r\nGET /next HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
		got := c.all()
		head, rest, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", status)) || strings.Contains(head, "Transfer-Encoding") ||
			status == 204 && strings.Contains(head, "Content-Length") ||
			!strings.HasPrefix(rest, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(rest, "\r\n\r\nnext") {
			t.Errorf("%s: %q", path, got)
		}
	}
	f("/return204", 204)
	f("/return304", 304)
	f("/bare204", 204)
	f("/bare304", 304)
	f("/echo204", 204)
	f("/echo304", 304)
	f("/proxy204", 204)
	f("/proxy304", 304)
	f("/chunk204", 204)
	f("/chunk304", 304)
}

// TestTooLarge checks 413 with an error_page: the page is sent, the connection closed, and nothing that follows the head on
// it is taken for a request.
func TestTooLarge(t *testing.T) {
	r := newRig(t, 1, `
server {
    listen 127.0.0.1:0; client_max_body_size 10;
    location /page { error_page 413 /413.html; proxy_pass http://127.0.0.1:1; }
    location /named { error_page 413 @named; proxy_pass http://127.0.0.1:1; }
    location /stream { error_page 413 @named; proxy_pass http://127.0.0.1:1; proxy_request_buffering off; }
    location = /413.html { echo custom; }
    location @named { echo custom; }
    location /second { echo SECOND; }
}`)
	const second = "GET /second HTTP/1.1\r\nHost: b\r\n\r\n"
	f := func(path, framing string, pieces ...string) {
		t.Helper()
		c := r.dial(0)
		c.send("POST " + path + " HTTP/1.1\r\nHost: b\r\n" + framing + "\r\n\r\n" + pieces[0])
		for _, p := range pieces[1:] {
			wait(t, "the head to be read", func() bool { return r.in(phBody) == 1 && r.count(func(c *conn) bool { return c.canRead }) == 0 })
			c.send(p)
		}
		if resp, body := c.read("POST"); resp.StatusCode != 413 || body != "custom\n" || !resp.Close {
			t.Errorf("%s %s %q: %d %q close=%v", path, framing, pieces, resp.StatusCode, body, resp.Close)
		}
		c.send(second)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		if rest := c.all(); rest != "" {
			t.Errorf("%s %s %q: then %q", path, framing, pieces, rest)
		}
	}
	const large = "14\r\n01234567890123456789\r\n"
	smuggled := fmt.Sprintf("%x\r\n", len(second)+9) + "\r\n0\r\n\r\n" + second + "\r\n0\r\n\r\n"
	for _, path := range []string{"/page", "/named"} {
		f(path, "Content-Length: 20", "01234567890123456789"+second)
		f(path, "Content-Length: 20", "0123456789")
		f(path, "Transfer-Encoding: chunked", large+"0\r\n\r\n"+second)
		f(path, "Transfer-Encoding: chunked", "", large)
		f(path, "Transfer-Encoding: chunked", "", large+smuggled)
		f(path, "Transfer-Encoding: chunked", "", "5\r\n01234\r\n", large+"0\r\n\r\n"+second)
	}
	f("/stream", "Content-Length: 20", "01234567890123456789"+second)
	f("/stream", "Transfer-Encoding: chunked", large+"0\r\n\r\n"+second)
}

// TestChunkExtensions sends a body whose bytes are nearly all extensions: it is refused, not read to its end.
func TestChunkExtensions(t *testing.T) {
	r := newRig(t, 1, `
server {
    listen 127.0.0.1:0; client_max_body_size 0;
    location / { proxy_pass http://127.0.0.1:1; }
    location /echo { echo hi; }
}`)
	flood := strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 100)
	c := r.dial(0)
	c.send("POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n" + flood)
	if resp, _ := c.read("POST"); resp.StatusCode != 400 || !resp.Close {
		t.Errorf("buffered: %d close=%v, want 400", resp.StatusCode, resp.Close)
	}
	// The rest of a body that was answered without it.
	c = r.dial(0)
	c.send("POST /echo HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.read("POST")
	c.send(flood + "0\r\n\r\nGET /echo HTTP/1.1\r\nHost: b\r\n\r\n")
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
		t.Errorf("discarded: then %q", rest)
	}
}

// TestUploadTurns checks that a body that comes faster than it is read leaves the loop to others after its share of a turn.
func TestUploadTurns(t *testing.T) {
	sink := origin(t, func(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	r := newRig(t, 1, "client_max_body_size 0;"+fmt.Sprintf(proxyTo, sink)+`
server { listen 127.0.0.2:0; location / { echo hi; } }`)
	f := func(listen int, path string, p phase) {
		t.Helper()
		c := r.dial(listen)
		go func() {
			_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: b\r\nContent-Length: 900000000000\r\n\r\n")
			pour(c, make([]byte, 4<<20))
		}()
		wait(t, "the request", func() bool { return r.in(p) == 1 })
		most := r.perTurn(256<<20, func(l *Loop) int64 { return l.clients.head.ex.r.RequestLength })
		if most > turnBound {
			t.Errorf("%s: %d bytes in one turn, bound %d", path, most, turnBound)
		}
		_ = c.Close()
		wait(t, "the client to be gone", func() bool { return r.clients() == 0 })
	}
	f(1, "/", phDiscard)
	f(0, "/stream/", phAwait)
}

// TestRest checks that accepting goes on by itself after a shortage of descriptors, with no client there whose end would
// start it again.
func TestRest(t *testing.T) {
	r := newRig(t, 1, `dyups_read_msg_timeout 10ms; server { listen 127.0.0.1:0; location / { echo hi; } }`)
	r.e.each(func(l *Loop) { l.rest() }) // as accept does after EMFILE
	if status, body := r.get("GET / HTTP/1.1\r\nHost: b\r\n\r\n"); status != 200 || body != "hi\n" {
		t.Errorf("%d %q", status, body)
	}
}

// TestInstallFull replaces the site while worker_connections are used up: a new socket rests as the old ones do, and both
// come to their turn when a client goes.
func TestInstallFull(t *testing.T) {
	r := newRig(t, 1, `server { listen 127.0.0.1:0; location / { echo hi; } }`)
	r.e.each(func(l *Loop) { l.eng.cfg.Connections = 1 })
	const request = "GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
	holder := r.dial(0)
	holder.send(request[:10]) // half a request: a reload leaves it alone
	wait(t, "the half request", func() bool { return r.count(func(c *conn) bool { return c.partial }) == 1 })
	old := r.dial(0)
	wait(t, "the loop to be full", func() bool { return r.logged("worker_connections are not enough") })
	r.load(`server { listen 127.0.0.1:0; listen 127.0.0.2:0; location / { echo hi; } }`)
	fresh := r.dial(1)
	woken := 0
	r.e.each(func(l *Loop) {
		for _, ev := range l.poll.wait(0) {
			if c := l.conns[ev.Fd]; c != nil && c.kind == kindListener {
				woken++
			}
		}
	})
	if woken > 0 {
		t.Errorf("%d listening sockets wake a full loop", woken)
	}
	old.send(request)
	fresh.send(request)
	holder.send(request[10:])
	for _, c := range []*client{holder, old, fresh} {
		if resp, body := c.read("GET"); resp.StatusCode != 200 || body != "hi\n" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	}
}

// openFiles counts this process's descriptors of files below dir.
func openFiles(t testing.TB, dir string) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, dir+"/") {
			n++
		}
	}
	return n
}

// TestStaticTimeout checks that a client that stops reading a file gives its descriptor back when send_timeout passes.
func TestStaticTimeout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big"), 64<<20); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 1, `server { listen 127.0.0.1:0; root `+dir+`; send_timeout 200ms; }`)
	for range 5 {
		c := r.dial(0)
		c.send("GET /big HTTP/1.1\r\nHost: b\r\n\r\n")
		if _, err := c.r.Peek(1); err != nil { // the answer has begun
			t.Fatal(err)
		}
	}
	wait(t, "the clients to time out", func() bool { return r.clients() == 0 })
	wait(t, "the file to be closed", func() bool { return openFiles(t, dir) == 0 })
}

// TestDiscardTimeout checks the record of a request that was answered but whose body never came to its end.
func TestDiscardTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	r := newRig(t, 1, `log_format f "$status";
server { listen 127.0.0.1:0; lingering_timeout 100ms; access_log `+path+` f; location / { return 200 "hello"; } }`)
	c := r.dial(0)
	c.send("POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nab")
	if resp, body := c.read("POST"); resp.StatusCode != 200 || body != "hello" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	c.all()
	if b, err := os.ReadFile(path); err != nil || string(b) != "200\n" {
		t.Errorf("%q %v, want 200", b, err)
	}
}

// TestRealmSplit checks that a decoded line end in a realm does not begin another field.
func TestRealmSplit(t *testing.T) {
	r := newRig(t, 1, `server { listen 127.0.0.1:0;
    location / { auth_basic "realm $uri"; auth_basic_user_file /nowhere; echo x; add_header X-Uri $uri always; } }`)
	c := r.dial(0)
	c.send("GET /x%0d%0aEvil:%20x%0aEvil:%20y HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
	got := c.all()
	if !strings.HasPrefix(got, "HTTP/1.1 401 ") || !strings.Contains(got, "WWW-Authenticate: Basic realm=\"realm /x") ||
		!strings.Contains(got, "X-Uri: /x") || strings.Contains(got, "\nEvil") {
		t.Errorf("%q", got)
	}
}

// TestShutdownInFlight checks that Shutdown waits for answers under way and for nothing after them.
func TestShutdownInFlight(t *testing.T) {
	release := make(chan struct{})
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
		<-release
		_, err := io.WriteString(w, "56789")
		return err == nil
	})
	r := newRig(t, 1, fmt.Sprintf(proxyTo, addr))
	var cs []*client
	var heads []*http.Response
	for range 4 {
		c := r.dial(0)
		c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		cs, heads = append(cs, c), append(heads, resp)
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline/2)
		defer cancel()
		done <- r.e.Shutdown(ctx)
	}()
	wait(t, "the sockets to be closed", func() bool {
		c, err := net.Dial("tcp", cs[0].RemoteAddr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	odd := false
	r.count(func(c *conn) bool { // for every other one the bytes of its request count as a readiness not yet looked at
		odd = !odd
		c.canRead = c.canRead || odd
		return true
	})
	close(release)
	for _, resp := range heads {
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "0123456789" {
			t.Errorf("%q %v", body, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
