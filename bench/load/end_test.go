package load

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hanging answers 20 requests (WebSocket messages), then no more. taken counts all of them.
func hanging(t *testing.T, webSocket bool) (addr string, taken *atomic.Int64) {
	taken = new(atomic.Int64)
	return server(t, func(c net.Conn, r *bufio.Reader) {
		sent, back := wsMessage(5)
		if webSocket {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\n", wsAccept())
		}
		for {
			text := okText
			if webSocket {
				if _, err := io.ReadFull(r, sent); err != nil {
					return
				}
				text = string(back)
			} else {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.Close {
					text = strings.Replace(text, "X-Origin", "Connection: close\r\nX-Origin", 1)
				}
			}
			if taken.Add(1) > 20 {
				_, _ = io.Copy(io.Discard, r)
				return
			}
			if !say(c, text) {
				return
			}
			if strings.Contains(text, "close") {
				return
			}
		}
	}), taken
}

// TestLost: requests of a closed loop that are never answered are seen, though the round is shorter than the time-out.
func TestLost(t *testing.T) {
	f := func(what string, want int64, change func(*Spec)) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := short("")
			change(&s)
			addr, taken := hanging(t, s.WebSocket)
			s.Addr, s.WarmUp, s.Duration = addr, 0, 2*time.Second
			r := mustRun(t, s)
			if r.Errors[ErrTimeout] != want || len(r.Errors) != 1 || r.Requests != 20 || r.Latency.Count != 20 || r.Bytes != 100 {
				t.Errorf("%d requests, %d bytes, errors %v (%s), the server took %d; want %d errors of kind %q", r.Requests, r.Bytes,
					r.Errors, r.Example, taken.Load(), want, ErrTimeout)
			}
		})
	}
	f("kept", 3, func(*Spec) {})
	f("pipeline", 12, func(s *Spec) { s.Pipeline = 4 })
	f("fresh", 3, func(s *Spec) { s.Fresh = true })
	f("WebSocket", 3, func(s *Spec) { s.WebSocket, s.BodySize = true, 5 })
}

// narrow is a listener for which the kernel takes one connection, and lets the others wait until that is accepted.
func narrow(t *testing.T) (ln net.Listener) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 0)
	}
	if err == nil {
		ln, err = net.FileListener(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// TestNotConnected: connections of a closed loop that are still being opened at its end are seen as well.
func TestNotConnected(t *testing.T) {
	t.Parallel()
	s := short(narrow(t).Addr().String())
	s.Fresh, s.WarmUp = true, 0
	if r := mustRun(t, s); r.Errors[ErrTimeout] != 3 || r.Requests != 0 {
		t.Errorf("%d requests, errors %v (%s), want 3 of kind %q", r.Requests, r.Errors, r.Example, ErrTimeout)
	}
}

// TestAfterTheEnd: an answer that comes after the end of a closed loop counts by its latency alone, and nothing more is sent.
func TestAfterTheEnd(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64
	s := short(server(t, each(func(c net.Conn, _ int) bool {
		if taken.Add(1) > 20 {
			time.Sleep(2500 * time.Millisecond)
		}
		return say(c, okText)
	})))
	s.WarmUp, s.Duration = 0, 1500*time.Millisecond
	r := mustRun(t, s)
	if r.Requests != 20 || r.Bytes != 100 || r.Latency.Count != 23 || r.After != 3 || len(r.Errors) > 0 || taken.Load() != 23 {
		t.Errorf("%d requests, %d bytes, %d latencies, errors %v, the server took %d; want 20 requests and 3 latencies more",
			r.Requests, r.Bytes, r.Latency.Count, r.Errors, taken.Load())
	}
	if r.Latency.Max < 2500e3 || r.Elapsed != s.Duration {
		t.Errorf("the longest latency is %v µs in %v", r.Latency.Max, r.Elapsed)
	}
}

// TestRateNotKept: the throughput of an open loop is what was answered until its end, however many answers come after it.
func TestRateNotKept(t *testing.T) {
	s := short(server(t, each(func(c net.Conn, _ int) bool {
		time.Sleep(20 * time.Millisecond)
		return say(c, okText)
	})))
	s.Connections, s.WarmUp, s.Duration = 1, 200*time.Millisecond, 500*time.Millisecond
	s.Rate = 200 // one connection takes 50 at most
	s.Timeout = 15 * time.Second
	r := mustRun(t, s)
	if r.Requests == 0 || r.Requests > 27 || r.PerSecond != float64(r.Requests)/0.5 || r.Rate != 200 || r.Bytes != 5*r.Requests {
		t.Errorf("%d requests, %v/s, %d bytes, want 25 at most", r.Requests, r.PerSecond, r.Bytes)
	}
	if r.Latency.Count != 100 || r.After < 73 || len(r.Errors) > 0 || r.Latency.Max < 1500e3 {
		t.Errorf("%d latencies up to %v µs, %d after the end, errors %v; want all of 100, most after the end",
			r.Latency.Count, r.Latency.Max, r.After, r.Errors)
	}
	series := int64(0)
	for _, p := range r.Series {
		series += p.Requests
	}
	if series != r.Requests {
		t.Errorf("the series has %d requests, the whole %d", series, r.Requests)
	}
}

// TestConnectTime: the time to connect is part of the latency in a closed loop, also where the end comes before the connection.
func TestConnectTime(t *testing.T) {
	f := func(name string, length time.Duration, within bool) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := narrow(t)
			first, err := net.Dial("tcp4", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			// The kernel tries again after a second, when there is room.
			time.AfterFunc(400*time.Millisecond, func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					if c.RemoteAddr().String() == first.LocalAddr().String() {
						continue
					}
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						say(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
					}
					c.Close()
				}
			})
			s := short(ln.Addr().String())
			s.Fresh, s.Connections, s.WarmUp, s.Duration = true, 1, 0, length
			r := mustRun(t, s)
			if len(r.Errors) > 0 || r.Latency.Max < 300e3 || (r.Requests > 0) != within || !within && r.After != 1 {
				t.Errorf("%d requests and %d after the end, latency up to %v µs, errors %v (%s)",
					r.Requests, r.After, r.Latency.Max, r.Errors, r.Example)
			}
		})
	}
	f("within", 3*time.Second, true)
	f("after the end", 300*time.Millisecond, false)
}
