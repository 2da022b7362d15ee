package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Both ends of the wire: clients of the process under test, and backends behind it.

// answer is a response as it came.
type answer struct {
	status  int
	head    http.Header
	body    string
	closing bool // the response said that the connection closes
}

// wire is one client connection that speaks raw bytes.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatalf("cannot send %.60q: %v", text, err)
	}
}

// receive reads one response to a request with the given method.
func (w *wire) receive(method string) answer {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("cannot read the response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("cannot read the body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(body), resp.Close}
}

// all reads to the end of the connection.
func (w *wire) all() string {
	w.t.Helper()
	b, err := io.ReadAll(w.r)
	if err != nil {
		w.t.Fatalf("cannot read to the end: %v after %.200q", err, b)
	}
	return string(b)
}

// get asks for "/" of a host on a connection of its own.
func get(t *testing.T, addr, host string) answer {
	t.Helper()
	w := dial(t, addr)
	defer w.Close()
	w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	return w.receive("GET")
}

// api sends one command to the interface.
func api(t *testing.T, addr, method, path, body string) answer {
	t.Helper()
	w := dial(t, addr)
	defer w.Close()
	framing := ""
	if method == "POST" {
		framing = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	w.send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n%s", method, path, framing, body))
	return w.receive(method)
}

// mustAPI is api for a command that has to succeed.
func mustAPI(t *testing.T, addr, method, path, body string) string {
	t.Helper()
	a := api(t, addr, method, path, body)
	if a.status/100 != 2 {
		t.Fatalf("%s %s %q: %d %q", method, path, body, a.status, a.body)
	}
	return a.body
}

// origin serves a handler on a free loopback port and returns its address. It ends with the test, its connections too.
func origin(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	originOn(t, ln, h)
	return ln.Addr().String()
}

// originOn is origin on a listener of the caller's; the server is returned for tests that end it early.
func originOn(t *testing.T, ln net.Listener, h http.HandlerFunc) *http.Server {
	srv := &http.Server{Handler: h, ErrorLog: nil}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("origin: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	return srv
}

// named is an origin that answers its name.
func named(t *testing.T, name string) string {
	return origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
}

// client is an HTTP client with keep-alive that reaches addr whatever the URL's host is.
func client(t *testing.T, addr string) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 64,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// load runs n clients that ask for "/" of the hosts in turn until stop is called. Every answer goes through check; what it
// complains about, and every failed request, is collected.
type load struct {
	stop func() (requests int, complaints []string)
}

func startLoad(t *testing.T, addr string, n int, hosts []string, check func(host string, a answer) string) *load {
	t.Helper()
	var mu sync.Mutex
	var complaints []string
	requests := 0
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		c := client(t, addr)
		if i%4 == 3 { // every fourth client opens a connection for each request
			c.Transport.(*http.Transport).DisableKeepAlives = true
		}
		wg.Go(func() {
			for k := i; ; k++ {
				select {
				case <-quit:
					return
				default:
				}
				host := hosts[k%len(hosts)]
				complaint := ""
				if resp, err := c.Get("http://" + host + "/"); err != nil {
					complaint = err.Error()
				} else {
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil {
						complaint = err.Error()
					} else {
						complaint = check(host, answer{resp.StatusCode, resp.Header, string(body), resp.Close})
					}
				}
				mu.Lock()
				requests++
				if complaint != "" {
					complaints = append(complaints, complaint)
				}
				mu.Unlock()
			}
		})
	}
	return &load{stop: func() (int, []string) {
		close(quit)
		wg.Wait()
		return requests, complaints
	}}
}

// wellServed ends a load and fails the test on any complaint.
func (l *load) wellServed(t *testing.T) {
	t.Helper()
	n, complaints := l.stop()
	if len(complaints) > 0 {
		t.Errorf("%d of %d requests failed, the first ones: %q", len(complaints), n, complaints[:min(5, len(complaints))])
	}
	if n == 0 {
		t.Error("no request was made")
	}
	t.Logf("%d requests, %d failed", n, len(complaints))
}
