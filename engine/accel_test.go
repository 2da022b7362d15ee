package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAccelRedirect: the answer of a backend that points elsewhere is replaced by what is there, and keeps the fields that nginx
// keeps; a path that climbs is refused, and a body that came with the answer goes nowhere.
func TestAccelRedirect(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		if req.URL.Path == "/plain" {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: own\r\n\r\n"+req.Method+" ")
			_, _ = io.WriteString(w, "!"[:5-len(req.Method)-1])
			return true
		}
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/theirs\r\nSet-Cookie: a=b\r\n"+
			"Cache-Control: kept\r\nX-Other: o\r\nX-Accel-Redirect: "+req.URL.Query().Get("to")+"\r\n\r\nsecret")
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0;
	location / { proxy_pass http://u; }
	location /ignore { proxy_ignore_headers X-Accel-Redirect; proxy_pass http://u; }
	location /inner/ { internal; echo "$request_method $uri $args"; }
	location /back { internal; proxy_pass http://u/plain; }
	location /loop { internal; proxy_pass http://u/x?to=/loop; }
	location @named { return 200 "named $uri"; } }`)
	f := func(request string, status int, body string, fields ...string) {
		t.Helper()
		c := r.dial(0)
		defer c.Close()
		c.send(request + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		resp, got := c.read("GET")
		if resp.StatusCode != status || status == 200 && got != body || resp.Header.Get("X-Accel-Redirect") != "" {
			t.Errorf("%s: %d %q %v", request, resp.StatusCode, got, resp.Header)
		}
		for _, f := range fields {
			name, want, _ := strings.Cut(f, ": ")
			if got := strings.Join(resp.Header.Values(name), "|"); got != want {
				t.Errorf("%s: %s is %q, want %q", request, name, got, want)
			}
		}
	}
	f("GET /?to=/inner/a%2520b%3Fx=1", 200, "GET /inner/a b x=1\n", "Content-Type: text/theirs", "Set-Cookie: a=b", "Cache-Control: kept", "X-Other: ")
	f("POST /?to=/inner/p", 200, "GET /inner/p \n")
	f("GET /?to=@named", 200, "named /")
	f("GET /?to=/back", 200, "GET !", "Cache-Control: own", "Set-Cookie: a=b", "Content-Type: text/theirs")
	f("GET /ignore?to=/inner/a", 200, "secret", "X-Other: o")
	f("GET /?to=/nowhere/../inner/a", 404, "", "Content-Type: text/html", "Set-Cookie: a=b")
	f("GET /?to=/inner/%252e./a", 404, "")
	f("GET /?to=inner", 404, "")
	f("GET /?to=", 404, "")
	f("GET /?to=@none", 500, "")
	f("GET /?to=/loop", 500, "")
	f("GET /inner/a", 404, "") // from outside
}

// TestAccelRate: X-Accel-Limit-Rate is the rate of the answer, also behind X-Accel-Redirect, unless it is ignored or no number.
func TestAccelRate(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		more := ""
		if req.URL.Path == "/to" {
			more = "X-Accel-Redirect: /there\r\n"
		}
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\n%sX-Accel-Limit-Rate: %s\r\nContent-Length: 0\r\n\r\n", more, req.URL.RawQuery)
		return err == nil
	})
	r := newRig(t, 1, `
upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0; add_header X-Rate $limit_rate;
    location / { proxy_pass http://b; }
    location /ignored { proxy_pass http://b; proxy_ignore_headers X-Accel-Limit-Rate; }
    location /there { return 200 x; }
}`)
	for target, want := range map[string]string{"/?7000": "7000", "/?0": "0", "/?7k": "0", "/?-1": "0", "/to?7000": "7000", "/ignored?7000": "0"} {
		c := r.dial(0)
		c.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, _ := c.read("GET"); resp.Header.Get("X-Rate") != want {
			t.Errorf("%s: rate %q, want %q", target, resp.Header.Get("X-Rate"), want)
		}
		_ = c.Close()
	}
}
