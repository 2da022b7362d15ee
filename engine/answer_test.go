package engine

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestRepeatedFields: of what an answer can have only once the first counts, for the client and for variables; other fields may
// stand there several times.
func TestRepeatedFields(t *testing.T) {
	once := []string{"Content-Type", "Date", "Last-Modified", "ETag", "Server", "Location", "Expires", "Refresh"}
	many := []string{"Cache-Control", "Set-Cookie", "Vary", "Www-Authenticate", "X-A"}
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		var b strings.Builder
		b.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
		for _, v := range []string{"1", "2"} {
			for _, name := range append(once, many...) {
				b.WriteString(name + ": " + v + "\r\n")
			}
		}
		_, err := io.WriteString(w, b.String()+"\r\n")
		return err == nil
	})
	r := newRig(t, 1, `
upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0;
    location / {
        proxy_pass http://b; proxy_pass_header Date; proxy_pass_header Server; proxy_redirect off;
        add_header X-Seen "$upstream_http_content_type|$upstream_http_etag|$upstream_http_x_a";
    }
}`)
	c := r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, _ := c.read("GET")
	for _, name := range once {
		if got := resp.Header.Values(name); len(got) != 1 || got[0] != "1" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range many {
		if got := resp.Header.Values(name); len(got) != 2 {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := resp.Header.Get("X-Seen"); got != "1|1|1, 2" {
		t.Errorf("variables: %q", got)
	}
}

// TestPaddedChunks: a backend may fill up the lines of its chunk sizes with blanks.
func TestPaddedChunks(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4   \r\nbody\r\n0  \r\n\r\n")
		return err == nil
	})
	r := newRig(t, 1, "upstream b { server "+addr+"; } server { listen 127.0.0.1:0; location / { proxy_pass http://b; } }")
	if status, body := r.get("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 || body != "body" {
		t.Errorf("%d %q", status, body)
	}
}
