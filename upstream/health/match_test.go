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
	const long = "unhealthy: it has failed 1 checks (http u/, match m), the last: a head of more than 64 KiB"
	f(endless(ok, "Name: value\r\n"), "status 200;", long)
	f(endless(ok, "n"), "status 200;", long)
	f(endless(ok+"X: ", " \r\n"), "status 200;", long)
	f(endless(ok+"\r\n", "body"), "status 200;", "healthy")
	f(endless(ok+"Content-Length: 99999999999\r\n\r\n", "body"), "header Content-Length;", "healthy")
	f(endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n"), "body ~ ^body;", "healthy")
	f(endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n"), "body ~ bad;", "unhealthy: it has failed 1 checks (http u/, match m), the last: body, by ")
	f(answering(t, ok+"X: "+strings.Repeat("x", maxHead-24)+"\r\n\r\n"), "header X;", "healthy")
}

// TestMatchFields: a match block sees every field of an answer as it came, those too that say how its body is to be read.
func TestMatchFields(t *testing.T) {
	f := func(fields, block string, up bool) {
		t.Helper()
		b := newBench(t)
		b.match = block
		addr := answering(t, "HTTP/1.1 200 OK\r\n"+fields+"\r\n2\r\nhi\r\n0\r\n\r\n")
		b.set("u", "health_check interval=10ms mandatory match=m; server "+addr+";")
		want := "server " + addr + " is unhealthy"
		if up {
			want = "server " + addr + " is healthy"
		}
		b.until("a verdict of "+block, func() bool { return b.log() != "" })
		if got := b.log(); !strings.HasPrefix(got, want) {
			t.Errorf("%q of %q: %s", block, fields, got)
		}
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	f(chunked, "header Transfer-Encoding;", true)
	f(chunked, "header transfer-encoding ~ chunked;", true)
	f(chunked, "header Transfer-Encoding = chunked; body ~ ^hi$;", true)
	f(chunked, "header ! Transfer-Encoding;", false)
	f(chunked, "header ! Transfer-Encoding; body ~ ^hi$;", false)
	f("Transfer-Encoding: Chunked\r\n", "header Transfer-Encoding = Chunked; body ~ ^hi$;", true)
	f("Transfer-Encoding: gzip, chunked\r\n", "header Transfer-Encoding ~ gzip;", true)
	f(chunked+"Content-Length: 17\r\n", "header Content-Length = 17; body ~ ^hi$;", true)
	f(chunked+"Content-Length: 17\r\n", "header ! Content-Length;", false)
	f(chunked+"Trailer: X-Sum\r\n", "header Trailer = X-Sum; body ~ ^hi$;", true)
	f(chunked+"Trailer: X-Sum\r\n", "header ! Trailer;", false)
	f("Connection: close\r\n", "header Connection = close;", true)
	f("Connection: close\r\n", "header ! Connection;", false)
	f("Content-Length: 1\r\nContent-Length: 2\r\n", "header Content-Length = 2;", true)
	f("Content-Length: 1\r\nContent-Length: 2\r\n", "body ~ 2;", false)
	f("A: b\r\n", "header ! Transfer-Encoding; header ! Content-Length; header ! Trailer; header ! Connection;", true)
	f(": nope\r\n", "status 200;", false)
}

// TestInterim: a health_check looks at the answer behind interim ones, a check at the first of all.
func TestInterim(t *testing.T) {
	f := func(answer, check, match, want string) {
		t.Helper()
		b := newBench(t)
		b.match = match
		addr := answering(t, answer)
		b.set("u", check+"; server "+addr+";")
		b.until("a verdict", func() bool { return b.log() != "" })
		if got, _, _ := strings.Cut(b.log(), "\n"); got != "server "+addr+" is "+want {
			t.Errorf("%s of %.80q: %s", check, answer, got)
		}
	}
	const (
		plain    = "health_check interval=10ms mandatory"
		match    = plain + " match=m"
		block    = "status 200; header X = last; body ~ ^hi$;"
		check    = "check interval=10 rise=1 fall=1 type=http"
		hints    = "HTTP/1.1 103 Early Hints\r\nX: early\r\nLink: </a>\r\n\r\n"
		proceed  = "HTTP/1.1 100 Continue\r\n\r\n"
		last     = " OK\r\nX: last\r\nContent-Length: 2\r\n\r\nhi"
		ok, ill  = "HTTP/1.1 200" + last, "HTTP/1.1 503" + last
		failed   = "unhealthy: it has failed 1 checks (http u/), the last: "
		switches = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	)
	f(hints+ok, plain, "", "healthy: it has passed 1 checks (http u/)")
	f(proceed+hints+hints+ok, plain, "", "healthy: it has passed 1 checks (http u/)")
	f(strings.Repeat(hints, maxInterim)+ok, match, block, "healthy: it has passed 1 checks (http u/, match m)")
	f(proceed+ok, match, block, "healthy: it has passed 1 checks (http u/, match m)")
	f(hints+ill, plain, "", failed+"status 503")
	f(switches+ok, plain, "", failed+"status 101")
	f(hints+switches, plain, "", failed+"status 101")
	f(hints, plain, "", failed+"EOF")
	f("HTTP/1.1 103 Early Hints\r\nX: ", plain, "", failed+"unexpected EOF")
	f(strings.Repeat(hints, maxInterim+1)+ok, plain, "", failed+"more than 16 interim answers")
	f("HTTP/1.1 103\r\nX: "+strings.Repeat("x", maxHead)+"\r\n\r\n"+ok, plain, "", failed+"a head of more than 64 KiB")
	f(hints+ok, check, "", "unhealthy: it has failed 1 checks (http), the last: status 103")
	f(hints+ill, check+"; check_http_expect_alive http_1xx", "", "healthy: it has passed 1 checks (http)")
}
