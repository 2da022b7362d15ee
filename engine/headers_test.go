package engine

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fieldsOrigin is a backend that answers with the fields of the argument "h", cut by "|", and the status of "st".
func fieldsOrigin(t testing.TB) string {
	return httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		q := req.URL.Query()
		status := q.Get("st")
		if status == "" {
			status = "200"
		}
		head := "HTTP/1.1 " + status + " X\r\nContent-Length: 0\r\n"
		for f := range strings.SplitSeq(q.Get("h"), "|") {
			if f != "" {
				head += f + "\r\n"
			}
		}
		_, err := io.WriteString(w, head+"\r\n")
		return err == nil
	})
}

// TestFields: expires, add_header for the fields of which an answer has one, and the rules about cookies, on what a backend
// answers and on answers of our own.
func TestFields(t *testing.T) {
	r := newRig(t, 1, `upstream u { server `+fieldsOrigin(t)+`; }
server { listen 127.0.0.1:0; expires epoch; add_header X-Level server; add_header ETag outer always;
	location /own { return 200 x; }
	location /missing { return 404; }
	location /inherit { proxy_pass http://u; }
	location /off { expires off; add_header X-Level location; proxy_pass http://u; }
	location /modified { expires modified 2048; proxy_pass http://u; }
	location /etag { expires $arg_e; add_header ETag $arg_etag; add_header last-modified $arg_lm; add_header Cache-Control a; add_header Cache-Control b; proxy_pass http://u; }
	location /static/ { root html; expires off; add_header ETag ""; add_header ETag second always; add_header ETag "" always; }
	location /cookie { expires off; proxy_cookie_path / /x/; proxy_cookie_flags a secure; proxy_pass http://u; }
	location /trailer { expires off; add_header X-Level t; add_trailer ETag t; proxy_pass http://u; } }`)
	f := func(path, fields string, want ...string) {
		t.Helper()
		c := r.dial(0)
		defer c.Close()
		c.send("GET " + path + "h=" + url.QueryEscape(fields) + " HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, _ := c.read("GET")
		for _, f := range want {
			name, want, _ := strings.Cut(f, ": ")
			if got := strings.Join(resp.Header.Values(name), "|"); got != want {
				t.Errorf("%s %s: %s is %q, want %q", path, fields, name, got, want)
			}
		}
	}
	const never, stale = "Expires: Thu, 01 Jan 1970 00:00:01 GMT", "Expires: x|Cache-Control: a|cache-control: b|X-Kept: k"
	f("/own?", "", never, "Cache-Control: no-cache", "X-Level: server", "ETag: outer")
	f("/missing?", "", "Expires: ", "Cache-Control: ", "X-Level: ", "ETag: outer")
	f("/inherit?", stale, never, "Cache-Control: no-cache", "X-Kept: k", "X-Level: server")
	f("/inherit?st=404&", stale, "Expires: x", "Cache-Control: a|b", "X-Kept: k", "X-Level: ")
	f("/inherit?", "ETag: theirs", "ETag: outer")
	f("/off?", stale+"|ETag: theirs", "Expires: x", "Cache-Control: a|b", "X-Level: location", "ETag: theirs")
	f("/modified?", "Last-Modified: Mon, 28 Sep 1970 06:00:00 GMT", "Expires: Mon, 28 Sep 1970 06:34:08 GMT", "Cache-Control: no-cache",
		"Last-Modified: Mon, 28 Sep 1970 06:00:00 GMT")
	f("/etag?etag=mine&lm=now&e=max&", stale+"|ETag: theirs|Last-Modified: then", "ETag: mine", "Last-Modified: now", "X-Kept: k",
		"Cache-Control: max-age=315360000|a|b")
	f("/etag?", stale+"|ETag: theirs|Last-Modified: then", "ETag: ", "Last-Modified: ", "Cache-Control: a|b|a|b", "Expires: x")
	f("/etag?st=500&etag=mine&", "ETag: theirs", "ETag: theirs")
	f("/cookie?", "Set-Cookie: a=b; Path=/|set-cookie: c=d;Path=/y|set-cookie: e;f", "Set-Cookie: a=b; Path=/x/; Secure|c=d; Path=/x/y|e;f")
	f("/trailer?", "ETag: theirs", "ETag: theirs")
	f("/static/none?", "", "ETag: ")
}

// TestFieldsOfFiles: the field that goes is one that a file's answer has of itself.
func TestFieldsOfFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 1, `server { listen 127.0.0.1:0; root `+dir+`; location / { add_header ETag ""; expires modified 10m; } }`)
	c := r.dial(0)
	c.send("GET /f HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, body := c.read("GET")
	if h := resp.Header; body != "text" || h.Get("ETag") != "" || h.Get("Last-Modified") == "" || h.Get("Expires") == "" {
		t.Errorf("%q %v", body, h)
	}
}
