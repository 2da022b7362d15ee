package origin

import (
	"testing"
	"time"
)

// offline is a loop and a connection without sockets.
func offline() (*loop, *conn) {
	l := &loop{base: time.Now(), out: make([]byte, 0, gatherMax), buf: make([]byte, readSize)}
	l.tick()
	o := &Server{Name: "a"}
	return l, &conn{server: &server{spec: o, delay: newDelayer(o.Delay), answers: make(map[string]*answers)}}
}

const browserHead = "GET /small HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\nCookie: a=1; b=2\r\n\r\n"

// TestStepAllocates: a request of a path that was asked for before allocates nothing.
func TestStepAllocates(t *testing.T) {
	f := func(text string) {
		t.Helper()
		l, c := offline()
		data := []byte(text)
		step := func() {
			for rest := data; len(rest) > 0; {
				n := l.step(c, rest)
				if n == 0 {
					t.Fatalf("%q was left", rest)
				}
				rest = rest[n:]
			}
			l.out = l.out[:0]
		}
		step()
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Fatalf("%v allocations for %q", n, text)
		}
	}
	f("GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
	f(browserHead)
	f("GET /16k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	f("POST /1k HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
	f("POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
}

func BenchmarkStep(b *testing.B) {
	f := func(name, text string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			l, c := offline()
			data := []byte(text)
			for b.Loop() {
				l.step(c, data)
				l.out = l.out[:0]
			}
		})
	}
	f("small", "GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
	f("browser", browserHead)
}
