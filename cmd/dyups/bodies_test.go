package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Tests of bodies and of peers that are slow, and of many connections that do nothing.

// bigBody is the size of a large body. It is far beyond any buffer on the way, so that a body which is held somewhere as
// a whole shows in the memory of the process.
const bigBody = 64 << 20

// maxGrowth bounds how much the resident memory of the process may grow while large bodies pass, when nothing but what it
// holds counts (see noSlack); the race detector's shadow memory is not counted there.
const maxGrowth = 16 << 20

// noSlack keeps the heap so tight that resident memory tells what is held. With the process's own setting 16 MB of garbage may
// lie about before the first collection, and more while one is under way on a busy machine.
const noSlack = "GOGC=5"

// pattern is a body with a period that divides no buffer size.
type pattern struct{ at, end int64 }

const patternPeriod = 251

// patternBytes is the pattern from its beginning, long enough for any read at any phase.
var patternBytes = func() []byte {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i % patternPeriod)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.end {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.end-p.at)], patternBytes[p.at%patternPeriod:])
	p.at += int64(n)
	return n, nil
}

func patternSum() string {
	h := sha256.New()
	io.Copy(h, &pattern{end: bigBody})
	return sum(h)
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// TestLargeBodies sends 64 MB up and down in every framing, through a process that must not keep them.
func TestLargeBodies(t *testing.T) {
	want := patternSum()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/up":
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%d %s %v %v", n, sum(h), r.ContentLength, err)
		case "/length":
			w.Header().Set("Content-Length", strconv.Itoa(bigBody))
			io.Copy(w, &pattern{end: bigBody})
		case "/chunked":
			io.Copy(w, &pattern{end: bigBody})
		case "/close":
			c, buf, _ := w.(http.Hijacker).Hijack()
			io.WriteString(buf, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
			io.Copy(buf, &pattern{end: bigBody})
			buf.Flush()
			c.Close()
		}
	})
	p := serve(t, upstreamBlock("a", backend)+`
server { listen 127.0.0.1:{proxy}; client_max_body_size 0; location / { proxy_pass http://a; proxy_request_buffering off; } }
server { listen 127.0.0.1:{keep}; client_max_body_size 0; location / { proxy_pass http://a; } }`, noSlack)
	get(t, p.addr("proxy"), "a")
	before := p.rss()
	for _, listener := range []string{"proxy", "keep"} {
		c := client(t, p.addr(listener))
		for _, length := range []int64{bigBody, -1} {
			req, _ := http.NewRequest("POST", "http://a/up", &pattern{end: bigBody})
			req.ContentLength = length
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("up by length %d on %s: %v", length, listener, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if f := strings.Fields(string(body)); err != nil || len(f) != 4 || f[0] != strconv.Itoa(bigBody) || f[1] != want || f[3] != "<nil>" {
				t.Errorf("up by length %d on %s: %q, %v", length, listener, body, err)
			}
		}
		for _, path := range []string{"/length", "/chunked", "/close"} {
			resp, err := c.Get("http://a" + path)
			if err != nil {
				t.Fatalf("down %s: %v", path, err)
			}
			h := sha256.New()
			n, err := io.Copy(h, resp.Body)
			resp.Body.Close()
			if err != nil || n != bigBody || sum(h) != want {
				t.Errorf("down %s on %s: %d bytes, %v, right ones: %v", path, listener, n, err, sum(h) == want)
			}
		}
	}
	grown := p.rss() - before
	t.Logf("resident memory grew by %d KiB", grown>>10)
	if grown > maxGrowth && !raceEnabled {
		t.Errorf("resident memory grew by %d MiB while 64 MB bodies passed", grown>>20)
	}
}

// TestSlowClient: a client that does not read holds up neither others nor memory, and gets everything in the end.
func TestSlowClient(t *testing.T) {
	stalled := make(chan int64, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	resume := make(chan bool)
	done := make(chan error, 1)
	go func() { done <- pour(ln, stalled, resume) }()
	quick := named(t, "quick")
	p := serve(t, upstreamBlock("big", ln.Addr().String())+upstreamBlock("quick", quick)+edge, noSlack)
	get(t, p.addr("proxy"), "quick")
	before := p.rss()
	slow := dial(t, p.addr("proxy"))
	slow.send("GET / HTTP/1.1\r\nHost: big\r\nConnection: close\r\n\r\n")
	sent := <-stalled
	for range 50 {
		if a := get(t, p.addr("proxy"), "quick"); a.body != "quick" {
			t.Fatalf("beside a slow client: %d %q", a.status, a.body)
		}
	}
	grown := p.rss() - before
	t.Logf("the backend could send %d KiB, resident memory grew by %d KiB", sent>>10, grown>>10)
	if sent >= bigBody {
		t.Error("the backend could send everything while the client did not read")
	}
	if grown > maxGrowth && !raceEnabled {
		t.Errorf("resident memory grew by %d MiB", grown>>20)
	}
	close(resume)
	resp, err := http.ReadResponse(slow.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	if err != nil || n != bigBody || sum(h) != patternSum() {
		t.Errorf("the slow client got %d bytes, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Errorf("the backend: %v", err)
	}
}

// pour answers one request with a big body. When the socket takes nothing for a while it reports how much was sent, and
// goes on after resume.
func pour(ln net.Listener, stalled chan<- int64, resume <-chan bool) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return err
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", bigBody)
	body := &pattern{end: bigBody}
	buf := make([]byte, 64<<10)
	patient := false
	for body.at < body.end {
		at := body.at
		n, _ := body.Read(buf)
		wait := 500 * time.Millisecond
		if patient {
			wait = patience
		}
		c.SetWriteDeadline(time.Now().Add(wait))
		n, err = c.Write(buf[:n])
		body.at = at + int64(n)
		if err != nil {
			if patient {
				return err
			}
			patient = true
			stalled <- body.at
			<-resume
		}
	}
	if !patient {
		stalled <- body.at
	}
	return nil
}

// TestSlowBackend: a backend that takes its time is streamed as it comes, one that takes too long is 504, and neither
// holds up others.
func TestSlowBackend(t *testing.T) {
	step := make(chan bool)
	hang := make(chan bool)
	slow := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-hang
			return
		}
		for i := range 3 {
			<-step
			fmt.Fprint(w, i)
			w.(http.Flusher).Flush()
		}
	})
	defer close(hang)
	p := serve(t, upstreamBlock("a", slow)+`
server { listen 127.0.0.1:{proxy}; location / { proxy_pass http://a; } location = /hang { proxy_read_timeout 100ms; proxy_pass http://a; } }
server { listen 127.0.0.1:{local}; return 200 here; }`)
	w := dial(t, p.addr("proxy"))
	w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	hanging := dial(t, p.addr("proxy"))
	hanging.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
	step <- true
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	for i := range 3 {
		if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != byte('0'+i) {
			t.Fatalf("piece %d: %q, %v", i, one, err)
		}
		if a := get(t, p.addr("local"), "x"); a.body != "here" {
			t.Errorf("beside a slow backend: %d %q", a.status, a.body)
		}
		if i < 2 {
			step <- true
		}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("after the last piece: %q, %v", rest, err)
	}
	if a := hanging.receive("GET"); a.status != 504 {
		t.Errorf("a backend that hangs: %d", a.status)
	}
}

// idleConnections is how many connections TestIdleConnections holds open.
const idleConnections = 10000

// TestIdleConnections holds many idle keep-alive connections beside a working one and reports what they cost.
func TestIdleConnections(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < idleConnections+500 {
		t.Skipf("the limit of open files is %d, %d are needed", limit.Max, idleConnections+500)
	}
	if testing.Short() {
		t.Skip("opens 10,000 connections")
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	one := named(t, "one")
	p := prepare(t, globals+"http { access_log off; keepalive_timeout 10m;\n"+upstreamBlock("a", one)+edge+"}\n")
	p.env = []string{noSlack}
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	for range 200 {
		get(t, p.addr("proxy"), "a")
	}
	before := p.rss()
	conns := make([]net.Conn, 0, idleConnections)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	buf := make([]byte, 4096)
	ask := func(c net.Conn) {
		t.Helper()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(request); err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") {
			t.Fatalf("connection %d: %.60q, %v", len(conns), buf[:n], err)
		}
	}
	for range idleConnections {
		c, err := net.DialTimeout("tcp", p.addr("proxy"), patience)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, c)
		ask(c)
	}
	each := (p.rss() - before) / idleConnections
	t.Logf("an idle connection costs %d bytes of resident memory", each)
	if each > 8<<10 && !raceEnabled {
		t.Errorf("an idle connection costs %d bytes of resident memory", each)
	}
	for i := 0; i < len(conns); i += 97 { // they are all still there
		ask(conns[i])
	}
}
