package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dyups/bench/poll"
)

// TestDueAtTheEnd: what was due before the end is sent even if the generator comes to it only after the end.
func TestDueAtTheEnd(t *testing.T) {
	s := short(answering(t, okText))
	s.WarmUp, s.Duration, s.Rate = 0, 1, 1 // one nanosecond: it is over when the loop looks for the first time
	if r := mustRun(t, s); r.After != 1 || r.Latency.Count != 1 || len(r.Errors) > 0 {
		t.Errorf("got %d answers and errors %v, want the one that was due", r.Latency.Count, r.Errors)
	}
}

// TestTrickle: the time-out is for the whole answer, so bytes that come one by one do not put it off.
func TestTrickle(t *testing.T) {
	s := short(server(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for ; err == nil; _, err = io.WriteString(c, "x") {
			time.Sleep(10 * time.Millisecond)
		}
	}))
	s.WarmUp, s.Duration, s.Timeout = 0, 500*time.Millisecond, 100*time.Millisecond
	if r := mustRun(t, s); r.Errors[ErrTimeout] == 0 || r.Requests > 0 {
		t.Errorf("got %d requests and errors %v, want time-outs", r.Requests, r.Errors)
	}
}

// TestFreshWithoutClose: with Fresh no connection carries a second request, whatever the answer says.
func TestFreshWithoutClose(t *testing.T) {
	var second atomic.Int64
	s := short(server(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		if _, err := io.WriteString(c, okText); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)) // a second request would come by then
		if n, _ := r.Read(make([]byte, 1)); n > 0 {
			second.Add(1)
		}
	}))
	s.Fresh = true
	if r := mustRun(t, s); r.Latency.Count == 0 || len(r.Errors) > 0 || second.Load() > 0 {
		t.Errorf("got %d requests, errors %v, %d second requests", r.Requests, r.Errors, second.Load())
	}
}

// TestIdleStay: idle connections send one request, without "Connection: close", and stay until the run ends.
func TestIdleStay(t *testing.T) {
	f := func(want int, change func(*Spec)) {
		t.Helper()
		ends := make(chan int64, 1000)
		s := short(server(t, func(c net.Conn, r *bufio.Reader) {
			for {
				req, err := http.ReadRequest(r)
				if err != nil {
					ends <- poll.Now()
					return
				}
				if req.Close {
					_, _ = io.WriteString(c, strings.Replace(okText, "X-Origin", "Connection: close\r\nX-Origin", 1))
					return
				}
				if _, err := io.WriteString(c, okText); err != nil {
					ends <- poll.Now()
					return
				}
			}
		}))
		s.Idle = 300
		change(&s)
		r := mustRun(t, s)
		if r.Latency.Count == 0 || len(r.Errors) > 0 {
			t.Errorf("got %d requests and errors %v", r.Requests, r.Errors)
		}
		for i := range want {
			select {
			case at := <-ends:
				if early := r.Start + int64(s.Duration) - at; early > 0 {
					t.Fatalf("a kept connection ended %v before the run", time.Duration(early))
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%d connections were kept, want %d", i, want)
			}
		}
	}
	f(303, func(*Spec) {})
	f(300, func(s *Spec) { s.Fresh = true })
}

// TestIdleRefused: an idle connection that does not stay while the others are opened is an error at once.
func TestIdleRefused(t *testing.T) {
	f := func(text string) {
		t.Helper()
		var first atomic.Bool
		gone := make(chan struct{})
		s := short(server(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if first.CompareAndSwap(false, true) {
				_, _ = io.WriteString(c, text)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, r) // until the generator has seen it
				close(gone)
				return
			}
			<-gone
			_, _ = io.WriteString(c, okText)
			_, _ = io.Copy(io.Discard, r)
		}))
		s.Idle = 3
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := Run(ctx, s); err == nil || !strings.Contains(err.Error(), ErrClosed+":") {
			t.Errorf("%q: got error %v, want one about a closed connection", text, err)
		}
	}
	f(okText)
	f("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// TestWarmUpDropped: what was due before the measured part is in no figure, not even when it was never answered.
func TestWarmUpDropped(t *testing.T) {
	s := short(server(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }))
	s.WarmUp, s.Rate, s.Timeout = 100*time.Millisecond, 100, 300*time.Millisecond
	r := mustRun(t, s)
	if n := r.Errors[ErrTimeout] + r.Errors[ErrLate]; n != 15 || r.Errors[ErrLate] != r.Dropped {
		t.Errorf("errors %v, dropped %d, want 15 errors without the 10 of the warm-up", r.Errors, r.Dropped)
	}
}

// TestFieldSpace: white space around a value is no part of it (RFC 9110, section 5.5).
func TestFieldSpace(t *testing.T) {
	s := short(answering(t, "HTTP/1.1 200 OK\r\nContent-Length:\t5 \r\nX-Origin:a \t\r\n\r\nhello"))
	s.WantLength = 5
	if r := mustRun(t, s); r.Latency.Count == 0 || len(r.Errors) > 0 || r.Origins["a"] != r.Latency.Count {
		t.Errorf("got %d requests, errors %v (%s), origins %v", r.Requests, r.Errors, r.Example, r.Origins)
	}
}

// TestHeadAllocations: reading answers allocates nothing once a connection is warm.
func TestHeadAllocations(t *testing.T) {
	r := &run{field: "x-origin"}
	c := &conn{state: usable, starts: []int64{1}}
	f := func(text string) {
		t.Helper()
		b := []byte(text)
		one := func() {
			done := false
			for p := b; len(p) > 0; {
				n, over, ok := r.parse(c, p)
				if !ok {
					t.Fatalf("refused %q", p)
				}
				p, done = p[n:], over
			}
			if !done {
				t.Fatal("the answer is not complete")
			}
			c.answer.phase, c.answer.length = inHead, 0
		}
		if n := testing.AllocsPerRun(100, one); n != 0 {
			t.Errorf("%.0f allocations for %q", n, text)
		}
	}
	f(okText)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
	f(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 4000, strings.Repeat("x", 4000)))
}
