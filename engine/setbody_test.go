package engine

import (
	"fmt"
	"net"
	"net/http"
	"testing"
)

// TestProxySetBody: the backend gets the body of proxy_set_body with its length, whatever the client has sent and however.
func TestProxySetBody(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, body string) bool {
		text := fmt.Sprintf("%s %d %v [%s]", req.Method, req.ContentLength, req.TransferEncoding, body)
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; }
server { listen 127.0.0.1:0; proxy_set_body "<$arg_x>";
	location / { proxy_pass http://u; }
	location /stream { proxy_pass http://u; proxy_request_buffering off; } }`)
	f := func(path string) {
		t.Helper()
		c := r.dial(0)
		defer c.Close()
		c.send("GET " + path + "?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
		c.want(200, "GET 3 [] [<1>]")
		c.send("POST " + path + "?x=two HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		c.want(200, "POST 5 [] [<two>]")
		c.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		c.want(200, "POST 2 [] [<>]")
	}
	f("/")
	f("/stream")
}
