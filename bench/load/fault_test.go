package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// each calls answer for every request on a connection, until it returns false or writing fails.
func each(answer func(c net.Conn, n int) bool) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for n := 0; ; n++ {
			if _, err := http.ReadRequest(r); err != nil || !answer(c, n) {
				return
			}
		}
	}
}

func say(c net.Conn, text string) bool {
	_, err := io.WriteString(c, text)
	return err == nil
}

// TestIdle: idle connections stay open to the end, and one that does not is an error, not a smaller number.
func TestIdle(t *testing.T) {
	var open atomic.Int64
	s := short(server(t, func(c net.Conn, r *bufio.Reader) {
		open.Add(1)
		defer open.Add(-1)
		each(func(c net.Conn, _ int) bool { return say(c, okText) })(c, r)
	}))
	s.Idle = 20
	r, err := newRun(s)
	if err != nil {
		t.Fatal(err)
	}
	if err = r.prepare(t.Context()); err == nil {
		err = r.drive(t.Context())
	}
	kept := open.Load()
	r.close()
	if err != nil || kept != 23 || len(r.result.Errors) > 0 || r.hist.TotalCount() == 0 {
		t.Errorf("%d connections at the end, %d requests, errors %v, %v; want 20 and 3", kept, r.hist.TotalCount(), r.result.Errors, err)
	}
	s.Addr = server(t, func(c net.Conn, r *bufio.Reader) {
		for n := 0; ; n++ {
			var wait time.Time
			if n == 1 { // a second request, which idle connections do not send
				wait = time.Now().Add(250 * time.Millisecond)
			}
			_ = c.SetReadDeadline(wait)
			if _, err := http.ReadRequest(r); err != nil || !say(c, okText) {
				return
			}
		}
	})
	s.WarmUp, s.Duration = 0, time.Second
	if r := mustRun(t, s); r.Errors[ErrClosed] < 20 || !strings.Contains(r.Example, "idle") {
		t.Errorf("closed by the server: errors %v (%s), want 20 of kind %q", r.Errors, r.Example, ErrClosed)
	}
}

// TestFreshIsFresh: also where the server does not close although it was asked to.
func TestFreshIsFresh(t *testing.T) {
	f := func(text string, rate float64) {
		t.Helper()
		var conns, requests atomic.Int64
		s := short(server(t, func(c net.Conn, r *bufio.Reader) {
			conns.Add(1)
			each(func(c net.Conn, n int) bool {
				requests.Add(1)
				return say(c, text) && !strings.Contains(text, "close")
			})(c, r)
		}))
		s.Fresh, s.Rate = true, rate
		r := mustRun(t, s)
		if r.Latency.Count == 0 || len(r.Errors) > 0 || conns.Load() < requests.Load() {
			t.Errorf("rate %v: %d connections for %d requests, errors %v", rate, conns.Load(), requests.Load(), r.Errors)
		}
	}
	f(okText, 0)
	f(okText, 300)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 0)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 300)
}

// TestDropped: a server that takes connections and drops them is not asked in a busy loop.
func TestDropped(t *testing.T) {
	for _, rate := range []float64{0, 20} {
		var conns atomic.Int64
		s := short(server(t, func(net.Conn, *bufio.Reader) { conns.Add(1) }))
		s.WarmUp, s.Rate, s.Duration, s.Timeout = 0, rate, 300*time.Millisecond, 300*time.Millisecond
		r := mustRun(t, s)
		// Three connections every 5 ms at most, for the run and the wait after it.
		if n := conns.Load(); r.Requests > 0 || len(r.Errors) == 0 || n > 3*2*600/5 {
			t.Errorf("rate %v: %d connections, %d requests, errors %v", rate, n, r.Requests, r.Errors)
		}
	}
}

// TestSplitOnTheWire: pieces of one byte, as the socket gives them.
func TestSplitOnTheWire(t *testing.T) {
	f := func(text string) {
		t.Helper()
		s := short(server(t, each(func(c net.Conn, _ int) bool {
			for i := range len(text) {
				if !say(c, text[i:i+1]) {
					return false
				}
				runtime.Gosched()
			}
			return true
		})))
		s.WantLength, s.Connections, s.Duration = 5, 1, time.Second
		if r := mustRun(t, s); r.Latency.Count == 0 || len(r.Errors) > 0 {
			t.Errorf("%q: %d requests, errors %v (%s)", text, r.Requests, r.Errors, r.Example)
		}
	}
	f(okText)
	f("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n")
}

// TestPipelined: several answers in one piece, and cut anywhere.
func TestPipelined(t *testing.T) {
	for _, size := range []int{1, 7, 4 * len(okText)} {
		var few atomic.Int64
		s := short(server(t, func(c net.Conn, r *bufio.Reader) {
			for { // it waits for four, for a while: fewer are under way only at the end
				n := 0
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				for ; n < 4; n++ {
					if _, err := http.ReadRequest(r); err != nil {
						break
					}
				}
				if n == 0 {
					return
				}
				if n < 4 {
					few.Add(1)
				}
				for b := strings.Repeat(okText, n); b != ""; b = b[min(size, len(b)):] {
					if !say(c, b[:min(size, len(b))]) {
						return
					}
				}
			}
		}))
		s.Pipeline, s.WantLength = 4, 5
		if r := mustRun(t, s); r.Latency.Count == 0 || len(r.Errors) > 0 || r.Origins["a"] != r.Latency.Count || few.Load() > 3 {
			t.Errorf("pieces of %d: %d requests, errors %v (%s), %d times fewer than four", size, r.Requests, r.Errors, r.Example,
				few.Load())
		}
	}
}

// TestReopen: a connection that ends with a complete answer is opened again, and that is no error.
func TestReopen(t *testing.T) {
	var conns atomic.Int64
	s := short(server(t, func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		each(func(c net.Conn, n int) bool {
			if n < 2 {
				return say(c, okText)
			}
			say(c, "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 5\r\n\r\nhello")
			return false
		})(c, r)
	}))
	s.Duration = time.Second
	if r := mustRun(t, s); len(r.Errors) > 0 || r.Requests < 9 || conns.Load() < 6 {
		t.Errorf("%d requests over %d connections, errors %v (%s)", r.Requests, conns.Load(), r.Errors, r.Example)
	}
}

// TestHead: what is taken for a response head, and what is not.
func TestHead(t *testing.T) {
	f := func(fields string, want bool, left int64) {
		t.Helper()
		r, a := &run{}, &answer{}
		text := "HTTP/1.1 200 OK\r\n" + fields + "\r\n\r\n"
		if n, done, ok := r.head(a, []byte(text)); n != len(text) || !done || ok != want || ok && a.left != left {
			t.Errorf("%q: used %d, done %v, right %v, length %d", fields, n, done, ok, a.left)
		}
	}
	f("Content-Length: 5", true, 5)
	f("content-length:\t5 \t", true, 5)
	f("Content-Length: 5\r\nContent-Length: 5", true, 5)
	f("Content-Length: 4\r\nContent-Length: 5", false, 0)
	f("Content-Length: +5", false, 0)
	f("Content-Length: -5", false, 0)
	f("Content-Length: 5x", false, 0)
	f("Content-Length: 9223372036854775808", false, 0)
	f("no colon", false, 0)
	r, a := &run{}, &answer{}
	if _, _, ok := r.head(a, []byte("HTTP/1.1 2000 OK\r\n\r\n")); ok {
		t.Error("a status of four digits was taken")
	}
	if _, _, ok := r.head(a, []byte("HTTP/1.1 200\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n")); !ok || a.phase != inSize {
		t.Errorf("chunked as the last coding: right %v, %+v", ok, a)
	}
}

// TestAllocations: none for a request in the steady state.
func TestAllocations(t *testing.T) {
	text := []byte(okText)
	s := short(server(t, func(c net.Conn, _ *bufio.Reader) {
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	}))
	for _, rate := range []float64{0, 5000} {
		s.Rate = rate
		s.Connections, s.Duration = 8, time.Second
		r, err := newRun(s)
		if err != nil {
			t.Fatal(err)
		}
		if err = r.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = r.drive(t.Context())
		runtime.ReadMemStats(&after)
		r.close()
		// The series grows, and the rest of the process does something now and then.
		n, requests := after.Mallocs-before.Mallocs, uint64(r.hist.TotalCount())
		if err != nil || requests < 100 || n > 100+requests/10 {
			t.Errorf("rate %v: %d allocations for %d requests, %v", rate, n, requests, err)
		}
	}
}
