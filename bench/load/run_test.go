package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyups/bench/proc"
)

// TestMain makes the test binary the generator's process when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == ChildFlag {
		if err := Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// server runs serve for each connection and returns its address.
func server(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				serve(c, bufio.NewReader(c))
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	return ln.Addr().String()
}

// answering sends text as the answer to each request.
func answering(t *testing.T, text string) string {
	return server(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(c, text); err != nil || strings.Contains(text, "close") {
				return
			}
		}
	})
}

// short is a run that a test can wait for.
func short(addr string) Spec {
	return Spec{Addr: addr, Path: "/", Connections: 3, Duration: 150 * time.Millisecond, WarmUp: 20 * time.Millisecond,
		Timeout: 5 * time.Second, WantLength: -1, OriginField: "X-Origin"}
}

func mustRun(t *testing.T, s Spec) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := Run(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const okText = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Origin: a\r\n\r\nhello"

func TestClosedLoop(t *testing.T) {
	s := short(answering(t, okText))
	s.WantLength = 5
	r := mustRun(t, s)
	if r.Latency.Count < 3 || r.Bytes != 5*r.Requests || len(r.Errors) > 0 || r.Latency.Count < r.Requests ||
		r.Latency.Count > r.Requests+3 || r.Status[200] != r.Latency.Count || r.Origins["a"] != r.Latency.Count ||
		r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 {
		t.Errorf("got %+v", r)
	}
	sum := int64(0)
	for _, p := range r.Series {
		sum += p.Requests
	}
	if sum > r.Requests || len(r.Series) != 1 {
		t.Errorf("the series has %d points and %d requests, the whole %d", len(r.Series), sum, r.Requests)
	}
	both, err := Merge([]Latency{r.Latency, r.Latency, {}})
	if err != nil || both.Count != 2*r.Latency.Count || both.P50 != r.Latency.P50 || both.Max != r.Latency.Max {
		t.Errorf("merged: %+v, %v", both, err)
	}
}

// TestAnswers: framings, and what is wrong with an answer.
func TestAnswers(t *testing.T) {
	f := func(text, kind string, length int64, change func(*Spec)) {
		t.Helper()
		s := short(answering(t, text))
		s.WantLength = length
		if change != nil {
			change(&s)
		}
		r := mustRun(t, s)
		if kind == "" && (len(r.Errors) > 0 || r.Latency.Count == 0) || kind != "" && (r.Errors[kind] == 0 || r.Requests > 0 && !strings.HasSuffix(text, "more") || r.Example == "") {
			t.Errorf("%q: got %d requests and errors %v (%s), want %q", text, r.Requests, r.Errors, r.Example, kind)
		}
	}
	f(okText, "", 5, nil)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n", "", 5, nil)
	f("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "", 5, nil)
	f("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", "", 5, nil)
	f("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", 0, func(s *Spec) { s.WantStatus = 204 })
	f("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("x", 300000), "", 300000, nil)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", 0, func(s *Spec) { s.Method = "HEAD" })
	f("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", ErrStatus, -1, nil)
	f(okText, ErrLength, 6, nil)
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: close\r\n\r\nhello", ErrClosed, -1, nil)
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", ErrTimeout, -1, func(s *Spec) {
		s.WarmUp, s.Duration, s.Timeout = 0, 500*time.Millisecond, 300*time.Millisecond
	})
	f("nonsense\r\n\r\n", ErrProtocol, -1, nil)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrProtocol, -1, nil)
	f("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", ErrProtocol, -1, func(s *Spec) { s.Rate = 50 })
}

// TestSplit: an answer may come in any two pieces.
func TestSplit(t *testing.T) {
	for _, text := range []string{okText, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"} {
		r := &run{field: "x-origin"}
		for i := range len(text) {
			c := &conn{state: usable, starts: []int64{1, 1}}
			done := 0
			for _, p := range []string{text[:i], text[i:] + text} {
				for b := []byte(p); len(b) > 0; {
					n, over, ok := r.parse(c, b)
					if !ok {
						t.Fatalf("split at %d: refused", i)
					}
					if b = b[n:]; over {
						if c.answer.length != 5 || c.answer.status != 200 {
							t.Fatalf("split at %d: %+v", i, c.answer)
						}
						c.answer.phase, c.answer.length = inHead, 0
						done++
					}
				}
			}
			if done != 2 {
				t.Fatalf("split at %d: %d answers, want 2", i, done)
			}
		}
	}
}

func TestBroken(t *testing.T) {
	reset := server(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	})
	s := short(reset)
	s.Duration = time.Second
	if r := mustRun(t, s); r.Errors[ErrRead] == 0 {
		t.Errorf("a reset: got %v", r.Errors)
	}
	nobody, err := proc.FreeAddr() // nobody else is given it either
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), short(nobody)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: got %v", err)
	}
	s = short(nobody)
	s.Fresh = true
	if r := mustRun(t, s); r.Errors[ErrConnect] == 0 || r.Requests > 0 {
		t.Errorf("nobody listens: got %+v", r)
	}
	for _, bad := range []Spec{{}, {Addr: "127.0.0.1:1"}, {Addr: "127.0.0.1:1", Connections: 1, Duration: 1, Pipeline: 2, Rate: 1}} {
		if _, err := Run(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestOpenLoop: a server that stands still once is seen by every request that was due meanwhile, and in a closed loop by one.
func TestOpenLoop(t *testing.T) {
	const stall = 300 * time.Millisecond
	f := func(rate float64) (slow float64, r Result) {
		t.Helper()
		var once sync.Once
		var mu sync.Mutex
		begin := time.Now()
		addr := server(t, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				mu.Lock()
				if time.Since(begin) > 150*time.Millisecond {
					once.Do(func() { time.Sleep(stall) }) // all connections wait for the lock
				}
				mu.Unlock()
				if _, err := io.WriteString(c, okText); err != nil {
					return
				}
			}
		})
		s := short(addr)
		s.Connections, s.WarmUp, s.Duration, s.Rate, s.Timeout = 2, 0, 800*time.Millisecond, rate, 15*time.Second
		r = mustRun(t, s)
		if len(r.Errors) > 0 {
			t.Errorf("errors %v", r.Errors)
		}
		for _, q := range r.Latency.Curve {
			if q.Us > float64(stall.Microseconds())/2 {
				return (1 - q.Q) * float64(r.Latency.Count), r
			}
		}
		return 0, r
	}
	if slow, r := f(200); slow < 12 || r.Latency.Count != 160 || r.Dropped != 0 {
		t.Errorf("open loop: %.0f of %d requests were slow, want 30 or so of 160", slow, r.Requests)
	}
	if slow, r := f(0); slow > 8 || r.Latency.Max < float64(stall.Microseconds())/2 {
		t.Errorf("closed loop: %.0f of %d requests were slow, want one a connection", slow, r.Requests)
	}
}

// TestLate: what finds no connection before the end is an error.
func TestLate(t *testing.T) {
	s := short(server(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }))
	s.WarmUp, s.Rate, s.Timeout = 0, 100, 300*time.Millisecond
	r := mustRun(t, s)
	if r.Requests != 0 || r.Errors[ErrTimeout]+r.Errors[ErrLate] != 15 || r.Errors[ErrLate] != r.Dropped {
		t.Errorf("got %d requests, errors %v, dropped %d, want 15 errors", r.Requests, r.Errors, r.Dropped)
	}
}

func TestKinds(t *testing.T) {
	var mu sync.Mutex
	hosts := make(map[string]bool)
	var conns, silent, bytes atomic.Int64
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, _ := io.Copy(io.Discard, req.Body)
		bytes.Add(n)
		mu.Lock()
		hosts[req.Host] = true
		mu.Unlock()
		_, _ = io.WriteString(w, "hello")
	}))
	h.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			conns.Add(1)
		case http.StateIdle:
			silent.Add(1)
		}
	}
	h.Start()
	defer h.Close()
	f := func(what string, change func(*Spec)) Result {
		t.Helper()
		conns.Store(0)
		s := short(h.Listener.Addr().String())
		s.WantLength = 5
		change(&s)
		r := mustRun(t, s)
		if r.Latency.Count == 0 || len(r.Errors) > 0 {
			t.Errorf("%s: %d requests, errors %v (%s)", what, r.Requests, r.Errors, r.Example)
		}
		return r
	}
	f("kept", func(*Spec) {})
	if n := conns.Load(); n != 3 {
		t.Errorf("kept: %d connections, want 3", n)
	}
	r := f("fresh", func(s *Spec) { s.Fresh = true })
	if n := conns.Load(); n < r.Requests {
		t.Errorf("fresh: %d connections for %d requests", n, r.Requests)
	}
	f("pipeline", func(s *Spec) { s.Pipeline = 4 })
	f("idle", func(s *Spec) { s.Idle = 300 })
	if n := conns.Load(); n != 303 {
		t.Errorf("idle: %d connections, want 303", n)
	}
	r = f("upload", func(s *Spec) { s.Method, s.BodySize = "POST", 300000 })
	if n := bytes.Load(); n < 300000*r.Requests {
		t.Errorf("upload: %d bytes arrived in %d requests", n, r.Requests)
	}
	mu.Lock()
	clear(hosts)
	mu.Unlock()
	r = f("hosts", func(s *Spec) { s.Hosts = 20 })
	mu.Lock()
	defer mu.Unlock()
	delete(hosts, h.Listener.Addr().String()) // of requests that the run before left behind
	if r.Requests >= 20 && len(hosts) != 20 || !hosts["u7"] && r.Requests >= 20 {
		t.Errorf("hosts: %v in %d requests", hosts, r.Requests)
	}
}

func TestWebSocket(t *testing.T) {
	echo := func(accept string, spoil bool) string {
		return server(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept)
			_, back := wsMessage(70000)
			sent := make([]byte, len(back)+4)
			if spoil {
				back[len(back)-1]++
			}
			for {
				if _, err := io.ReadFull(r, sent); err != nil {
					return
				}
				if _, err := c.Write(back); err != nil {
					return
				}
			}
		})
	}
	f := func(addr string) (Result, error) {
		s := short(addr)
		s.WebSocket, s.BodySize = true, 70000
		return Run(t.Context(), s)
	}
	if r, err := f(echo(wsAccept(), false)); err != nil || r.Latency.Count == 0 || len(r.Errors) > 0 || r.Bytes != 70000*r.Requests {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := f(echo(wsAccept(), true)); err != nil || r.Requests > 0 || r.Errors[ErrProtocol] == 0 {
		t.Errorf("a spoilt echo: got %d requests, %v, %v", r.Requests, r.Errors, err)
	}
	if _, err := f(echo("wrong", false)); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("a wrong key: got %v", err)
	}
}

func TestGenerator(t *testing.T) {
	g, err := Start(-1, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop()
	addr := answering(t, okText)
	for range 2 {
		r, err := g.Run(t.Context(), short(addr))
		if err != nil || r.Latency.Count == 0 || r.Latency.Packed == "" {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	if _, err := g.Run(t.Context(), Spec{Addr: "nowhere"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := short(addr)
	s.Duration = time.Hour
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := g.Run(ctx, s); err != context.Canceled {
		t.Errorf("got error %v, want the context's", err)
	}
}
