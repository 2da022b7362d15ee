package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A differential test of balancing: nginx and dyups read the same 50 generated upstreams (balance_cases_test.go), get the
// same requests, and have to send them to the same servers. A request is known by its $upstream_addr, failed tries
// included, and by its status.

// balanceConf stands around the upstreams. real_ip gives each request the client address that its case wants.
const balanceConf = `
set_real_ip_from 127.0.0.0/8;
real_ip_header X-Forwarded-For;
add_header X-Addr $upstream_addr always;
proxy_http_version 1.1;
proxy_set_header Connection "";
keepalive_requests 100000;
server { listen 127.0.0.1:{proxy}; location / { proxy_pass http://$host; } }
`

func TestBalanceAgainstNginx(t *testing.T) {
	nginx := nginxBinary(t)
	b := newBackends(t)
	cases := generateCases(b.living, b.dead)
	if len(cases) != 50 {
		t.Fatalf("%d upstreams generated, want 50", len(cases))
	}
	text := "worker_processes 1;\nmaster_process off;" + strings.Replace(globals, " info", " error", 1)
	if os.Geteuid() == 0 {
		text += "user root;\n"
	}
	text += "http { access_log off;\n" // nginx makes all these folders, its own are not ours to write to
	for _, dir := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += dir + "_temp_path {dir}/" + dir + ";\n"
	}
	for _, c := range cases {
		text += c.block()
	}
	text += balanceConf + "}\n"
	start := func(name, bin string) *balancerUnderTest {
		p := prepare(t, text)
		p.mayComplain = true // of a server that does not answer
		p.runBinary(bin, "-p", p.dir, "-c", filepath.Join(p.dir, "dyups.conf"), "-e", "error.log")
		p.waitReady()
		return &balancerUnderTest{t: t, name: name, backends: b, addr: p.addr("proxy"), quick: dial(t, p.addr("proxy"))}
	}
	theirs, ours := start("nginx", nginx), start("dyups", binary)
	for _, c := range cases {
		want, got := theirs.play(c), ours.play(c)
		for step := range want {
			if want[step] != got[step] {
				t.Errorf("%s: %s\nfirst at step %d\n  nginx: %s\n  dyups: %s", c.kind, c.block(), step,
					strings.Join(want[step:], " | "), strings.Join(got[step:], " | "))
				break
			}
		}
	}
}

// backends are the servers of all upstreams: living ones, each on an address of its own, and dead ones, whose ports
// are bound so that nobody gets them, and refuse.
type backends struct {
	living, dead []string
	mu           sync.Mutex
	held         map[string]*heldRequest // by path
}

// heldRequest is a request whose backend waits for the test.
type heldRequest struct {
	arrived chan string // address of the backend, when the request has come there
	release chan struct{}
	done    chan outcome // what the client got
}

func newBackends(t *testing.T) *backends {
	b := &backends{held: map[string]*heldRequest{}}
	for i := range 8 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		originOn(t, ln, func(w http.ResponseWriter, r *http.Request) {
			b.mu.Lock()
			h := b.held[r.URL.Path]
			b.mu.Unlock()
			if h != nil {
				h.arrived <- addr
				select {
				case <-h.release:
				case <-r.Context().Done():
				}
			}
			io.WriteString(w, "ok")
		})
		b.living = append(b.living, addr)
	}
	for range 4 {
		b.dead = append(b.dead, refusing(t))
	}
	return b
}

// refusing gives an address that refuses connections as long as the test runs.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// balancerUnderTest is one of the two programs.
type balancerUnderTest struct {
	t        *testing.T
	name     string
	backends *backends
	addr     string
	quick    *wire // for requests that are not held, one after another
}

// outcome is the answer to a request: its status and the servers that were tried.
type outcome struct {
	text string
	err  error
}

// play takes the steps of a case and tells for each request its status and the servers it went to, in order.
func (p *balancerUnderTest) play(c *balanceCase) []string {
	p.t.Helper()
	results := make([]string, 0, len(c.steps))
	type place struct {
		*heldRequest
		step int
		addr string
	}
	var held []place
	release := func(addr string) {
		p.t.Helper()
		held = slices.DeleteFunc(held, func(h place) bool {
			if addr != "" && h.addr != addr {
				return false
			}
			close(h.release)
			o := <-h.done
			if o.err != nil {
				p.t.Fatalf("%s, %s, step %d: %v", p.name, c.kind, h.step, o.err)
			}
			results[h.step] = o.text
			return true
		})
	}
	for n, s := range c.steps {
		path := fmt.Sprintf("/%s/%s/%d", p.name, c.name, n)
		request := fmt.Sprintf("GET %s?k=%s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\n\r\n", path, s.key, c.name, s.from)
		results = append(results, "")
		switch {
		case s.release != "":
			release(s.release)
			results[n] = "released " + s.release
		case s.hold:
			h := p.hold(path, request)
			select {
			case addr := <-h.arrived:
				held = append(held, place{h, n, addr})
			case o := <-h.done:
				if o.err != nil {
					p.t.Fatalf("%s, %s, step %d: %v", p.name, c.kind, n, o.err)
				}
				results[n] = o.text
			}
		default:
			p.quick.SetDeadline(time.Now().Add(patience))
			p.quick.send(request)
			o := receiveOutcome(p.quick)
			if o.err != nil {
				p.t.Fatalf("%s, %s, step %d: %v", p.name, c.kind, n, o.err)
			}
			results[n] = o.text
		}
	}
	release("")
	return results
}

// hold sends a request, which a backend keeps until it is released, on a connection of its own.
func (p *balancerUnderTest) hold(path, request string) *heldRequest {
	p.t.Helper()
	h := &heldRequest{make(chan string, 1), make(chan struct{}), make(chan outcome, 1)}
	p.backends.mu.Lock()
	p.backends.held[path] = h
	p.backends.mu.Unlock()
	w := dial(p.t, p.addr)
	w.send(request)
	go func() {
		h.done <- receiveOutcome(w)
		w.Close()
	}()
	return h
}

func receiveOutcome(w *wire) outcome {
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return outcome{err: err}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return outcome{err: err}
	}
	return outcome{text: fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Addr"))}
}
