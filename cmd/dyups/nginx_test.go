package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A differential test against nginx: both get the same configuration and the same requests, and a backend that records
// has to receive the same from both.

const differentialConf = `
server {
	listen 127.0.0.1:{proxy};
	client_max_body_size 10k;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	location / { proxy_pass http://recorder; }
	location /own { proxy_pass http://recorder; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
		proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
		proxy_set_header X-Args "$args|$uri|$request_method|$server_protocol|$http_x_a|$cookie_b|$arg_c"; }
	location /uri/ { proxy_pass http://recorder/base/; }
	location = /exact { proxy_pass http://recorder/other?x=1; }
	location /vars { set $target recorder; proxy_pass http://$target$request_uri; }
	location /drop { proxy_pass http://recorder; proxy_set_header Connection ""; proxy_set_header Accept-Encoding ""; proxy_set_header User-Agent "edge/1"; proxy_set_header Cookie $http_cookie; }
	location /named { proxy_pass http://recorder; proxy_set_header Connection ""; proxy_set_header Host "name:$server_port"; }
	location ~ ^/re/(\d+)/(?<rest>.*)$ { proxy_pass http://recorder/$rest?n=$1; }
}
`

// knownDifferences are requests that the two treat differently, and why dyups does what it does.
var knownDifferences = map[string]string{
	"hop by hop": "Proxy-Connection never was meant for the next hop (RFC 9112 section C.2.2), dyups drops it",
	"no version": "HTTP/0.9 is refused",
	"expect":     "100 is left out when the body is there already (RFC 9110 section 10.1.1)",
}

// differentialHeads are complete requests; NAME in front of the first colon.
var differentialHeads = []string{
	"plain:GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"http 1.0:GET / HTTP/1.0\r\n\r\n",
	"http 1.0 with host:GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
	"host with port:GET / HTTP/1.1\r\nHost: A.Example:8080\r\n\r\n",
	"no host:GET / HTTP/1.1\r\n\r\n",
	"two hosts:GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"odd host:GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"query:GET /p/q?a=1&b=%20&c HTTP/1.1\r\nHost: a\r\n\r\n",
	"empty query:GET /p? HTTP/1.1\r\nHost: a\r\n\r\n",
	"escapes:GET /a%20b/%41%2f..%2Fc HTTP/1.1\r\nHost: a\r\n\r\n",
	"dots:GET /a/../b/./c//d HTTP/1.1\r\nHost: a\r\n\r\n",
	"above the root:GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n",
	"absolute form:GET http://other.example/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
	"asterisk:OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"post:POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
	"post nothing:POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"post without length:POST /post HTTP/1.1\r\nHost: a\r\n\r\n",
	"chunked:POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
	"length and chunked:POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two lengths:POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"bad length:POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello",
	"unknown coding:POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
	"too large:POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n",
	"hop by hop:GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: x\r\nProxy-Connection: close\r\n\r\n",
	"head:HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n",
	"delete:DELETE /d HTTP/1.1\r\nHost: a\r\n\r\n",
	"put:PUT /d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
	"own method:FROB /d HTTP/1.1\r\nHost: a\r\n\r\n",
	"lower case method:get /d HTTP/1.1\r\nHost: a\r\n\r\n",
	"trace:TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
	"many fields:GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x/1 (y; z)\r\nAccept: */*\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nCookie: a=1; b=2\r\nCookie: c=3\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\nAuthorization: Basic eA==\r\nX-Empty:\r\nX-Spaces:   a  b  \r\n\r\n",
	"underscore:GET / HTTP/1.1\r\nHost: a\r\nX_A: 1\r\nX-B: 2\r\n\r\n",
	"odd name:GET / HTTP/1.1\r\nHost: a\r\nX.A: 1\r\nX-B: 2\r\n\r\n",
	"space before colon:GET / HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n",
	"folded:GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n",
	"line feeds:GET /lf HTTP/1.1\nHost: a\nX-A: 1\n\n",
	"leading empty line:\r\nGET /e HTTP/1.1\r\nHost: a\r\n\r\n",
	"nul:GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\n\r\n",
	"high bytes:GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\r\n\r\n",
	"version 2:GET / HTTP/2.0\r\nHost: a\r\n\r\n",
	"no version:GET /\r\n\r\n",
	"version 1.9:GET / HTTP/1.9\r\nHost: a\r\n\r\n",
	"expect:POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
	"set fields:GET /own/x?c=7&d HTTP/1.1\r\nHost: Own.Example:99\r\nX-A: 1\r\nCookie: a=1; b=two\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
	"replaced uri:GET /uri/a%20b/c?d=e HTTP/1.1\r\nHost: a\r\n\r\n",
	"replaced uri, dots:GET /uri/../uri/x HTTP/1.1\r\nHost: a\r\n\r\n",
	"exact uri:GET /exact?ignored HTTP/1.1\r\nHost: a\r\n\r\n",
	"uri of a variable:GET /vars/%41?b HTTP/1.1\r\nHost: a\r\n\r\n",
	"dropped fields:GET /drop HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nUser-Agent: x\r\nCookie: a=1\r\n\r\n",
	"own host:GET /named HTTP/1.1\r\nHost: a\r\n\r\n",
	"captures:GET /re/42/a/b HTTP/1.1\r\nHost: a\r\n\r\n",
	"long field:GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 3000) + "\r\n\r\n",
	"too long a line:GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	"too long a field:GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 9000) + "\r\n\r\n",
}

// nginxBinary is the nginx of this machine; without one the test is skipped.
func nginxBinary(t *testing.T) string {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx"
	}
	if _, err := os.Stat(nginx); err != nil {
		t.Skip("nginx is not installed")
	}
	return nginx
}

func TestAgainstNginx(t *testing.T) {
	nginx := nginxBinary(t)
	rec := newRecorder(t)
	text := strings.Replace(globals, "\n", "\nuser root;\n", 1)
	if os.Geteuid() != 0 {
		text = globals
	}
	text += "http { access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n" +
		upstreamBlock("recorder", rec.addr) + differentialConf + "}\n"
	start := func(bin string) *proc {
		p := prepare(t, text)
		p.mayComplain = true
		p.runBinary(bin, "-p", p.dir, "-c", filepath.Join(p.dir, "dyups.conf"), "-e", "error.log")
		p.waitReady()
		return p
	}
	theirs, ours := start(nginx), start(binary)
	for _, head := range differentialHeads {
		name, request, _ := strings.Cut(head, ":")
		want, got := rec.through(t, theirs.addr("proxy"), request), rec.through(t, ours.addr("proxy"), request)
		// Ports of the two differ, and show in $server_port.
		want = strings.ReplaceAll(want, theirs.expand("{proxy}"), "PORT")
		got = strings.ReplaceAll(got, ours.expand("{proxy}"), "PORT")
		why, known := knownDifferences[name]
		switch {
		case got == want && known:
			t.Errorf("%s: no difference any more, though listed: %s", name, why)
		case got != want && !known:
			t.Errorf("%s: what the backend and the client got\nfrom nginx:\n%s\nfrom dyups:\n%s", name, want, got)
		}
	}
}

// runBinary is run for another program.
func (p *proc) runBinary(bin string, args ...string) {
	p.t.Helper()
	saved := binary
	binary = bin
	defer func() { binary = saved }()
	p.run(args...)
}

// recorder is a backend that keeps the last request it received.
type recorder struct {
	addr string
	last chan string
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: ln.Addr().String(), last: make(chan string, 16)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

// serve records one request: its first line, its fields in order of their names, and its body decoded.
func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	tp := textproto.NewReader(bufio.NewReader(c))
	line, err := tp.ReadLine()
	if err != nil {
		return
	}
	var fields []string
	length, chunked := 0, false
	for {
		field, err := tp.ReadLine()
		if err != nil {
			return
		}
		if field == "" {
			break
		}
		fields = append(fields, field)
		switch k, v, _ := strings.Cut(strings.ToLower(field), ":"); k {
		case "content-length":
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		case "transfer-encoding":
			chunked = true
		}
	}
	slices.Sort(fields)
	var body []byte
	if chunked {
		resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(
			strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), tp.R)), nil)
		if err == nil {
			body, _ = io.ReadAll(resp.Body)
		}
	} else {
		body = make([]byte, length)
		io.ReadFull(tp.R, body)
	}
	r.last <- fmt.Sprintf("%s\n%s\nbody %q", line, strings.Join(fields, "\n"), body)
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// through sends a request to a proxy and tells what came of it on both sides.
func (r *recorder) through(t *testing.T, addr, request string) string {
	t.Helper()
	for len(r.last) > 0 {
		<-r.last
	}
	w := dial(t, addr)
	defer w.Close()
	io.WriteString(w, request)
	method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
	status := ""
	for interim := true; interim; {
		w.r.Peek(1)
		start, _ := w.r.Peek(min(w.r.Buffered(), 40))
		resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
		if err != nil {
			status += fmt.Sprintf("%q", start)
			break
		}
		interim = resp.StatusCode == 100
		status += resp.Proto + " " + resp.Status + " "
	}
	select {
	case got := <-r.last:
		return got + "\nanswer " + status
	default:
		return "nothing reached the backend\nanswer " + status
	}
}
