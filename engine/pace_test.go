package engine

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPace: in the first second and in each one after it rate bytes go, and those that are free besides.
func TestPace(t *testing.T) {
	p := &pace{}
	f := func(nowNs, send int64, allowed int, wait int64) {
		t.Helper()
		p.sent += send
		if a, w := p.allowed(nowNs), p.wait(nowNs); a != allowed || w != wait {
			t.Errorf("at %d with %d sent: %d allowed and %d to wait, want %d and %d", nowNs, p.sent, a, w, allowed, wait)
		}
	}
	const sec, start = int64(1e9), int64(77e9)
	*p = pace{rate: 100, startNs: start}
	f(start, 0, 100, 0)
	f(start, 40, 60, 0)
	f(start+sec/2, 60, 0, sec/2)
	f(start+sec-1, 0, 0, 1)
	f(start+sec, 0, 100, 0)
	f(start+sec, 100, 0, sec)
	f(start+9*sec, 0, 800, 0) // a client that was behind may catch up
	*p = pace{rate: 100, free: 30, startNs: start}
	f(start, 0, 30, 0)
	f(start, 30, 100, 0)
	f(start, 100, 0, sec)
	*p = pace{rate: 1 << 60, startNs: start}
	f(start+100*sec, 0, 1<<30, 0)
}

// TestLimitRate: whatever the answer is made of, all of it comes, and the next one on the same connection.
func TestLimitRate(t *testing.T) {
	dir, long := t.TempDir(), strings.Repeat("0123456789", 30_000)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(long), 0o644); err != nil {
		t.Fatal(err)
	}
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		head := "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + long
		if req.URL.Path == "/chunked" {
			head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + long + "\r\n0\r\n\r\n"
		}
		_, err := io.WriteString(w, head)
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0; root `+dir+`; limit_rate 200k;
	location / { proxy_pass http://u; }
	location /after { limit_rate 1; limit_rate_after 1m; proxy_pass http://u; }
	location /var { limit_rate $arg_r; proxy_pass http://u; }
	location /set { limit_rate 1; set $limit_rate 0; proxy_pass http://u; }
	location /off { limit_rate 0; return 200 ok; }
	location /own { limit_rate $arg_r; limit_rate_after $arg_a; return 200 "$limit_rate"; }
	location /file { } }`)
	c := r.dial(0)
	f := func(path, want string) {
		t.Helper()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		c.want(200, want)
	}
	f("/", long)
	f("/chunked", long)
	f("/after", long)
	f("/var?r=1g", long)
	f("/var?r=what", long)
	f("/set", long)
	f("/off", "ok")
	f("/own?r=300", "0")
	f("/file", long)
	c.send(strings.Repeat("GET /own?r=1&a=1m HTTP/1.1\r\nHost: a\r\n\r\n", 3)) // each answer has what is free to itself
	for range 3 {
		c.want(200, "0")
	}
}
