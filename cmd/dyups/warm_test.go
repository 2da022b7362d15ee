package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a change of one server costs its neighbours, and what becomes of a server that goes.

// ask is get for goroutines of a test: on a connection that stays, with an error to return.
func (w *wire) ask(host, target string) (body string, err error) {
	w.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(w, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(text), err
}

// serveOnTwo is serve with two event loops, each of which has idle connections of its own.
func serveOnTwo(t *testing.T, template string) *proc {
	t.Helper()
	p := prepare(t, "worker_processes 2;"+globals+"http {\naccess_log off;\n"+template+"\n}\n")
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	return p
}

// countedOrigin is named with its connections counted; its name is its number.
func countedOrigin(t *testing.T, i int) *accepts {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &accepts{Listener: ln}
	originOn(t, l, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })
	return l
}

// checked is what the page of checks says of a server.
type checked struct {
	Name, Status, Since string
	Rise                int
}

// health gives the rows of the page of checks, which is on the port called page.
func (p *proc) health() []checked {
	p.t.Helper()
	var v struct{ Servers struct{ Server []checked } }
	if err := json.Unmarshal([]byte(api(p.t, p.addr("page"), "GET", "/", "").body), &v); err != nil {
		p.t.Fatal(err)
	}
	return v.Servers.Server
}

// TestWeightOfOne changes the weight of one server among 100 again and again under load: no key moves between the others,
// none of them sees a new connection, and checks find them well since when they did before.
//
// Each of the clients keeps to one connection and asks for keys of servers that no other client asks for, so that one
// connection to each server is all it takes; more are needed only at the server that changes, to which keys of all move.
func TestWeightOfOne(t *testing.T) {
	const n, clients, keys, changed = 100, 4, 1000, 37
	origins := make([]*accepts, n)
	for i := range origins {
		origins[i] = countedOrigin(t, i)
	}
	block := func(weight int) string {
		var b strings.Builder
		b.WriteString("hash $arg_k consistent; check interval=1000 rise=1 timeout=20000 type=http; check_keepalive_requests 1000000;" +
			` check_http_send "GET / HTTP/1.1\r\nHost: a\r\n\r\n";`)
		for i, o := range origins {
			fmt.Fprintf(&b, " server %s", o.Addr())
			if i == changed {
				fmt.Fprintf(&b, " weight=%d", weight)
			}
			b.WriteString(";")
		}
		return b.String()
	}
	p := serveOnTwo(t, "keepalive_requests 1000000;\nupstream a { "+block(1)+" }\n"+edge+
		"server { listen 127.0.0.1:{page}; location / { check_status json; } }\n")
	p.until("all servers to be up", func() bool { return strings.Count(fmt.Sprint(p.health()), " up ") == n })
	well := p.health()
	target := func(key int) string { return fmt.Sprint("/?k=", key) }
	placement := func() []string {
		t.Helper()
		w, where := dial(t, p.addr("proxy")), make([]string, keys)
		defer w.Close()
		for key := range where {
			var err error
			if where[key], err = w.ask("a", target(key)); err != nil {
				t.Fatalf("key %d: %v", key, err)
			}
		}
		return where
	}
	home := placement()
	own := make([][]int, clients) // keys of each client
	for key, name := range home {
		var i int
		fmt.Sscan(name, &i)
		own[i%clients] = append(own[i%clients], key)
	}

	var quit atomic.Bool
	var served atomic.Int64
	var warm, all sync.WaitGroup
	warm.Add(clients)
	t.Cleanup(func() { quit.Store(true); all.Wait() })
	for _, mine := range own {
		w := dial(t, p.addr("proxy"))
		all.Go(func() {
			for round := 0; !quit.Load(); round++ {
				for _, key := range mine {
					got, err := w.ask("a", target(key))
					if err != nil || got != home[key] && (round == 0 || got != fmt.Sprint(changed)) {
						t.Errorf("key %d of server %s in round %d: server %q, %v", key, home[key], round, got, err)
						if round == 0 {
							warm.Done()
						}
						return
					}
					served.Add(1)
				}
				if round == 0 {
					warm.Done()
				}
			}
		})
	}
	warm.Wait()
	before := make([]int64, n)
	for i, o := range origins {
		before[i] = o.n.Load()
	}
	for i := range 30 {
		mustAPI(t, p.addr("api"), "POST", "/upstream/a", block(1+i%2*9))
		more := served.Load() + keys/2
		p.until("requests under way", func() bool { return served.Load() >= more || t.Failed() })
	}
	quit.Store(true)
	all.Wait()
	for i, o := range origins {
		if got := o.n.Load(); i != changed && got != before[i] {
			t.Errorf("server %d was not changed and saw %d new connections", i, got-before[i])
		}
	}

	moved := 0
	for key, name := range placement() { // the last change was to a weight of 10
		switch {
		case name == home[key]:
		case name != fmt.Sprint(changed):
			t.Errorf("key %d moved from server %s to %s, which was not changed", key, home[key], name)
		default:
			moved++
		}
	}
	for i, now := range p.health() {
		if was := well[i]; i != changed && (now.Status != "up" || now.Since == "" || now.Since != was.Since || now.Name != was.Name || now.Rise < was.Rise) {
			t.Errorf("server %d was not changed and is %+v, before %+v", i, now, was)
		}
	}
	if moved == 0 {
		t.Errorf("no key moved to the server whose weight was raised")
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", block(1))
	if !slices.Equal(placement(), home) {
		t.Errorf("keys are not where they were before")
	}
}

// leaving is a server to be removed: it tells of its connections, of requests that the client sent too late to be sent
// here, and holds those for /hold.
type leaving struct {
	addr    string
	open    atomic.Int64 // connections
	late    atomic.Int64 // requests for /late
	arrived chan struct{}
	release chan struct{}
}

func newLeaving(t *testing.T) *leaving {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &leaving{addr: ln.Addr().String(), arrived: make(chan struct{}, 64), release: make(chan struct{})}
	srv := &http.Server{
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed:
				s.open.Add(-1)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/late":
				s.late.Add(1)
			case "/hold":
				io.WriteString(w, "first,")
				w.(http.Flusher).Flush()
				s.arrived <- struct{}{}
				select {
				case <-s.release:
				case <-r.Context().Done():
					return
				}
			}
			io.WriteString(w, "last")
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

// TestServerLeaves removes a server under load: what is sent after the reply goes elsewhere, what was under way there ends
// well, and connections close: idle ones at once (keepalive_timeout is longer than this test waits), the others after
// their request.
func TestServerLeaves(t *testing.T) {
	const clients, holds = 4, 3
	s, other := newLeaving(t), named(t, "other")
	p := serveOnTwo(t, "dyups_read_msg_timeout 10ms;\nkeepalive_requests 1000000;\n"+upstreamBlock("held", s.addr)+
		"upstream a { server "+s.addr+"; server "+other+"; keepalive_timeout 1h; }\n"+edge)
	type result struct {
		body string
		err  error
	}
	held := make(chan result, holds)
	for range holds {
		w := dial(t, p.addr("proxy"))
		go func() {
			body, err := w.ask("held", "/hold")
			held <- result{body, err}
		}()
	}
	for range holds {
		select {
		case <-s.arrived:
		case <-time.After(patience):
			t.Fatal("no request arrived at the server")
		}
	}

	var quit, replied atomic.Bool
	var served atomic.Int64
	var all sync.WaitGroup
	t.Cleanup(func() { quit.Store(true); all.Wait() })
	for range clients {
		w := dial(t, p.addr("proxy"))
		all.Go(func() {
			for !quit.Load() {
				target := "/"
				if replied.Load() {
					target = "/late"
				}
				if body, err := w.ask("a", target); err != nil {
					t.Errorf("%s: %q, %v", target, body, err)
					return
				}
				served.Add(1)
			}
		})
	}
	some := func() {
		t.Helper()
		more := served.Load() + 400
		p.until("requests under way", func() bool { return served.Load() >= more || t.Failed() })
	}
	some()
	if s.open.Load() <= holds {
		t.Errorf("the server has no idle connections that could close")
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", "server "+other+"; keepalive_timeout 1h;")
	mustAPI(t, p.addr("api"), "POST", "/upstream/held", "server "+other+";")
	replied.Store(true)
	some()
	p.until("the idle connections to close", func() bool { return s.open.Load() == holds })
	quit.Store(true)
	all.Wait()
	if n := s.late.Load(); n != 0 {
		t.Errorf("%d requests reached the server that were sent after it was removed", n)
	}
	close(s.release)
	for range holds {
		if r := <-held; r.err != nil || r.body != "first,last" {
			t.Errorf("a request under way when its server was removed: %q, %v", r.body, r.err)
		}
	}
	p.until("the last connections to close", func() bool { return s.open.Load() == 0 })
}
