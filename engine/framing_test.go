package engine

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// TestSetFraming: a Content-Length or Transfer-Encoding of proxy_set_header stands in the place of ours, never beside the other one, and
// a body that is left without either is not sent.
func TestSetFraming(t *testing.T) {
	addr := origin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			head := ""
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				head += line
			}
			head = strings.ToLower(head)
			body := make([]byte, 3)
			switch {
			case strings.Contains(head, "content-length: 3"):
			case strings.Contains(head, "transfer-encoding"):
				body = make([]byte, len("3\r\nabc\r\n0\r\n\r\n"))
			default:
				body = nil
			}
			for i := range body {
				body[i], _ = r.ReadByte()
			}
			lines := 0
			for line := range strings.SplitSeq(head, "\r\n") {
				if strings.HasPrefix(line, "content-length:") || strings.HasPrefix(line, "transfer-encoding:") {
					lines++
				}
			}
			answer := string(rune('0'+lines)) + string(body)
			if !plain(c, answer) {
				return
			}
		}
	})
	r := newRig(t, 1, `
upstream b { server `+addr+`; }
server {
    listen 127.0.0.1:0;
    location /same { proxy_pass http://b; proxy_set_header Content-Length $content_length; }
    location /less { proxy_pass http://b; proxy_set_header Content-Length 3; }
    location /none { proxy_pass http://b; proxy_set_header Content-Length ""; }
    location /set { proxy_pass http://b; proxy_set_header Content-Length ""; proxy_set_body abc; }
    location /stream { proxy_pass http://b; proxy_request_buffering off; proxy_set_header Transfer-Encoding $http_transfer_encoding; }
    location /whole { proxy_pass http://b; proxy_set_header Transfer-Encoding chunked; }
    location /both { proxy_pass http://b; proxy_request_buffering off; proxy_set_header Content-Length 3; }
    location /unframed { proxy_pass http://b; proxy_request_buffering off; proxy_set_header Transfer-Encoding ""; }
}`)
	const length, chunked = "Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n"
	for _, f := range []struct{ path, first, then, want string }{
		{"/same", length, "", "1abc"},
		{"/less", "Content-Length: 5\r\n\r\nabcde", "", "1abc"},
		{"/none", length, "", "0"},
		{"/set", length, "", "0"},
		{"/stream", chunked, "3\r\nabc\r\n0\r\n\r\n", "13\r\nabc\r\n0\r\n\r\n"},
		{"/whole", length, "", "1abc"},
		{"/whole", chunked + "3\r\nabc\r\n0\r\n\r\n", "", "1abc"},
		{"/both", chunked, "3\r\nabc\r\n0\r\n\r\n", "13\r\nabc\r\n0\r\n\r\n"},
		{"/unframed", chunked, "3\r\nabc\r\n0\r\n\r\n", "0"},
	} {
		for range 2 { // the second finds the connection to the backend in order
			c := r.dial(0)
			c.send("POST " + f.path + " HTTP/1.1\r\nHost: x\r\n" + f.first)
			if f.then != "" {
				wait(t, "the backend to be asked", func() bool { return r.in(phAwait)+r.in(phDiscard) > 0 })
				c.send(f.then)
			}
			if resp, got := c.read("POST"); resp.StatusCode != 200 || got != f.want {
				t.Errorf("%s: %d %q, want %q", f.path, resp.StatusCode, got, f.want)
			}
			_ = c.Close()
		}
	}
}
