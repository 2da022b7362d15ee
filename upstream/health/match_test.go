package health

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Checks with a match block.

// TestMatchEndless: an answer without an end is read as far as the block needs it, of a head that is 64 KiB.
func TestMatchEndless(t *testing.T) {
	endless := func(begin, more string) string {
		return talking(t, func(c net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(c, begin)
			for range 4096 { // 64 MiB
				if _, err := io.WriteString(c, strings.Repeat(more, 16<<10/len(more))); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, in) // until the prober hangs up
		})
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	f := func(addr, block, want string) {
		t.Helper()
		b := newBench(t)
		b.match = block
		b.set("u", "health_check interval=10ms mandatory match=m; server "+addr+";")
		b.until("the check to end: "+want, func() bool { return strings.Contains(b.log(), "server "+addr+" is "+want) })
	}
	const long = "unhealthy: it has failed 1 checks (http), the last: a head of more than 64 KiB"
	f(endless(ok, "Name: value\r\n"), "status 200;", long)
	f(endless(ok, "n"), "status 200;", long)
	f(endless(ok+"X: ", " \r\n"), "status 200;", long)
	f(endless(ok+"\r\n", "body"), "status 200;", "healthy")
	f(endless(ok+"Content-Length: 99999999999\r\n\r\n", "body"), "header Content-Length;", "healthy")
	f(endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n"), "body ~ ^body;", "healthy")
	f(endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n"), "body ~ bad;", "unhealthy: it has failed 1 checks (http), the last: body, by ")
	f(answering(t, ok+"X: "+strings.Repeat("x", maxHead-24)+"\r\n\r\n"), "header X;", "healthy")
}
