package engine

import (
	"fmt"
	"net"
	"testing"
	"unsafe"
)

// rawConn does blocking reads and writes on a socket without the net package's machinery, so that a count of allocations
// counts the engine's alone.
func rawConn(t testing.TB, c net.Conn) int {
	t.Helper()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	fd := int(f.Fd()) // blocking from here on
	return fd
}

// rawOrigin answers every read on its connections with the same bytes, without allocating.
func rawOrigin(t testing.TB, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, out := make([]byte, 4096), []byte(answer)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// TestProxyAllocs checks that a proxied request costs no allocation once everything is warm: parse, route, variables,
// pick, pool, both heads, the access log record.
func TestProxyAllocs(t *testing.T) {
	f := func(name, request, answer string) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, fmt.Sprintf(allocSite, rawOrigin(t, answer)))
			r.e.each(func(*Loop) { r.e.dozes = false }) // AllocsPerRun leaves one processor for everybody
			fd := rawConn(t, r.dial(0).Conn)
			req, buf := []byte(request), make([]byte, 64<<10)
			round := func() {
				if err := roundTrip(fd, req, buf); err != nil {
					t.Fatal(err)
				}
			}
			for range 200 {
				round()
			}
			if n := testing.AllocsPerRun(100, round); n > 0 {
				t.Errorf("%v allocations a request, want 0", n)
			}
		})
	}
	const get = "GET /a/b?b=b HTTP/1.1\r\nHost: example.test\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n"
	f("length", get, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nEND")
	f("chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nEND\r\n0\r\n\r\n")
	f("variable", "GET /var/x?b=b HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nEND")
	f("fields", "GET /fields/x?b=b HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nCache-Control: no-store\r\n"+
		"ETag: x\r\nSet-Cookie: s=1; Domain=example.com; Path=/; HttpOnly\r\n\r\nEND")
	f("post", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nEND")
}

// TestConnSize keeps what an idle connection costs in sight: its struct and its places in the loop's tables.
func TestConnSize(t *testing.T) {
	if n := unsafe.Sizeof(conn{}) + 2*unsafe.Sizeof((*conn)(nil)); n > 512 {
		t.Errorf("an idle connection costs %d bytes, want at most 512 (and never more than 1024)", n)
	}
}
