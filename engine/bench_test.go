package engine

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"
	"testing"
)

// BenchmarkProxy is one proxied request after the other over one connection, kernel and both ends included: the figure
// to watch is the allocations (none), and the time between two commits, not the time itself.
func BenchmarkProxy(b *testing.B) {
	// Client, origin and loop all block in system calls: each needs a processor of the scheduler for itself.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	f := func(name, request, answer string) {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, 1, fmt.Sprintf(allocSite, rawOrigin(b, answer)))
			fd := rawConn(b, r.dial(0).Conn)
			req, buf := []byte(request), make([]byte, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				if err := roundTrip(fd, req, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	const get = "GET /a/b?b=b HTTP/1.1\r\nHost: example.test\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n"
	f("length", get, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nEND")
	f("chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nEND\r\n0\r\n\r\n")
}

// BenchmarkWheel moves deadlines of 10,000 connections the way requests do: mostly later, now and then earlier.
func BenchmarkWheel(b *testing.B) {
	w := &wheel{}
	conns := make([]*conn, 10000)
	for i := range conns {
		conns[i] = &conn{slot: -1, fd: i}
	}
	now, i := int64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		c := conns[i%len(conns)]
		w.set(c, now+75e9)
		w.set(c, now+60e9)
		if i++; i%256 == 0 {
			now += 1e6
			w.run(now, func(*conn) {})
		}
	}
}

// roundTrip sends a request and reads its whole answer, which ends with END or with the last chunk.
func roundTrip(fd int, req, buf []byte) error {
	if _, err := syscall.Write(fd, req); err != nil {
		return err
	}
	for n := 0; ; {
		m, err := syscall.Read(fd, buf[n:])
		if err != nil || m == 0 {
			return fmt.Errorf("read: %d %v", m, err)
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("END")) || bytes.HasSuffix(buf[:n], []byte("0\r\n\r\n")) {
			if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("%q", buf[:n])
			}
			return nil
		}
	}
}

// allocSite is a site with the fields and variables that a real one has.
const allocSite = `
upstream b { server %s; keepalive_requests 100000000; }
server {
    listen 127.0.0.1:0; keepalive_requests 100000000;
    location / {
        proxy_pass http://b;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header Host $host;
        add_header X-Upstream $upstream_addr;
    }
    location /fields/ {
        proxy_pass http://b/;
        expires 1h;
        add_header ETag $arg_b;
        proxy_cookie_domain example.com $host;
        proxy_cookie_path / /$arg_b/;
        proxy_cookie_flags s secure samesite=lax;
    }
    location /var/ { proxy_pass http://$arg_b; }
}`
