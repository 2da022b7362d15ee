package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyups/upstream"
)

// gate is a backend that answers a request with its path once the test lets it.
type gate struct {
	addr  string
	came  chan string // paths, as requests arrive
	leave chan bool   // one for each answer
}

func newGate(t *testing.T) *gate {
	g := &gate{came: make(chan string, 100), leave: make(chan bool, 100)}
	g.addr = httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		g.came <- req.URL.Path
		select {
		case <-g.leave:
		case <-time.After(deadline):
			return false
		}
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path)
		return err == nil
	})
	return g
}

// next gives the path of the next request that arrives.
func (g *gate) next(t *testing.T) string {
	t.Helper()
	select {
	case p := <-g.came:
		return p
	case <-time.After(deadline):
		t.Fatal("no request arrives")
		return ""
	}
}

const queueConf = `upstream u { server %s max_conns=1; %s }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }`

// waiting waits until n requests are in the queue of u.
func (r *rig) waiting(n int) {
	r.t.Helper()
	wait(r.t, fmt.Sprintf("%d requests in the queue", n), func() bool {
		q := r.store.Load().Lookup([]byte("u")).Queue
		return q != nil && q.Waiting() == n
	})
}

// ask sends a request for a path over a connection of its own.
func (r *rig) ask(path string) *client {
	c := r.dial(0)
	c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
	return c
}

func (c *client) want(status int, body string) {
	c.t.Helper()
	if resp, got := c.read("GET"); resp.StatusCode != status || status == 200 && got != body {
		c.t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, status, body)
	}
}

// TestQueueOrder: requests wait for the one place in the order in which they came, on whatever loop; one too many is refused,
// one that leaves is not missed.
func TestQueueOrder(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 2, fmt.Sprintf(queueConf, g.addr, "queue 4;"))
	first := r.ask("/0")
	if p := g.next(t); p != "/0" {
		t.Fatalf("%s arrives", p)
	}
	var cs []*client
	for i := 1; i <= 4; i++ {
		cs = append(cs, r.ask(fmt.Sprintf("/%d", i)))
		r.waiting(i)
	}
	r.ask("/5").want(502, "")
	if !r.logged("upstream queue is full while connecting to upstream") {
		t.Error("the log does not say that the queue is full")
	}
	_ = cs[1].Close() // leaves
	r.waiting(3)
	g.leave <- true
	first.want(200, "/0")
	for _, i := range []int{1, 3, 4} {
		path := fmt.Sprintf("/%d", i)
		if p := g.next(t); p != path {
			t.Fatalf("%s arrives, not %s", p, path)
		}
		g.leave <- true
		cs[i-1].want(200, path)
	}
	r.waiting(0)
	late := r.ask("/6")
	g.leave <- true
	late.want(200, "/6")
}

// TestQueueTimeout: who has waited too long gets 502, and does not stand in the way of others.
func TestQueueTimeout(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 1, fmt.Sprintf(queueConf, g.addr, "queue 4 timeout=300ms;"))
	first := r.ask("/0")
	g.next(t)
	a, b := r.ask("/1"), r.ask("/2")
	a.want(502, "")
	b.want(502, "")
	if !r.logged("upstream queue timed out while connecting to upstream") {
		t.Error("the log does not say that the time was up")
	}
	g.leave <- true
	first.want(200, "/0")
	r.waiting(0)
}

// TestQueueUpdates: a server that is added, or a bound that is raised, is for those who wait; they keep their turn when the
// upstream is replaced, also when it is to have no queue any more, and get 502 when it is deleted.
func TestQueueUpdates(t *testing.T) {
	g, h := newGate(t), newGate(t)
	r := newRig(t, 2, fmt.Sprintf(queueConf, g.addr, "queue 4;"))
	first := r.ask("/0")
	g.next(t)
	a := r.ask("/1")
	r.waiting(1)
	b := r.ask("/2")
	r.waiting(2)
	r.update("u", "server "+g.addr+" max_conns=1; server "+h.addr+" max_conns=1;")
	if p := h.next(t); p != "/1" {
		t.Fatalf("%s goes to the new server", p)
	}
	r.waiting(1)
	r.ask("/3").want(502, "") // no queue for those who come now
	r.update("u", "server "+g.addr+" max_conns=2; queue 4;")
	if p := g.next(t); p != "/2" {
		t.Fatalf("%s takes the new place", p)
	}
	c := r.ask("/4")
	r.waiting(1)
	if errs := r.store.Apply([]upstream.Change{{Name: "u"}}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	c.want(502, "")
	g.leave <- true
	g.leave <- true
	h.leave <- true
	first.want(200, "/0")
	a.want(200, "/1")
	b.want(200, "/2")
}

// TestQueueShortened: a request that cannot wait, since the queue was taken away or is longer than it may be now, does not fail because
// others still do.
func TestQueueShortened(t *testing.T) {
	a := newCounting(t, "a")
	r := newRig(t, 1, fmt.Sprintf(queueConf, a.addr, "queue 4;"))
	q := r.store.Load().Lookup([]byte("u")).Queue
	for range 2 { // they are slow to take their turn
		w := &upstream.Waiter{Wake: func() {}}
		if !q.Join(w, 4) {
			t.Fatal("there is no room in the queue")
		}
		defer w.Leave()
	}
	r.update("u", "server "+a.addr+";")
	r.ask("/").want(200, "a")
	r.update("u", "server "+a.addr+"; queue 1;")
	r.ask("/").want(200, "a")
	r.update("u", "server "+a.addr+"; queue 3 timeout=100ms;")
	r.ask("/").want(502, "") // its turn does not come
}

// TestQueueDeleted: who waits in the queue of an upstream that is deleted was promised one of its servers, and gets none
// that has the same name in DNS: it is answered at once, also by an error_page that has a queue of its own. Who comes later goes by
// DNS.
func TestQueueDeleted(t *testing.T) {
	g, dns := newGate(t), newGate(t)
	_, port, _ := net.SplitHostPort(dns.addr)
	r := newRig(t, 2, `resolver 127.0.0.1:1; upstream local.test { server `+g.addr+` max_conns=1; queue 4; }
upstream v { server `+g.addr+`; queue 4; }
server { listen 127.0.0.1:0; set $name local.test;
	location / { proxy_pass http://$name; }
	location /page { proxy_pass http://$name; error_page 502 = /sorry; }
	location /sorry { proxy_pass http://v; }
	location /late { proxy_pass http://$name:`+port+`; } }`)
	queued := func(n int) {
		t.Helper()
		wait(t, fmt.Sprintf("%d requests in the queue", n), func() bool {
			return r.store.Load().Lookup([]byte("local.test")).Queue.Waiting() == n
		})
	}
	first := r.ask("/0")
	g.next(t)
	var cs []*client
	for i, path := range []string{"/1", "/2", "/page"} {
		cs = append(cs, r.ask(path))
		queued(i + 1)
	}
	q := r.store.Load().Lookup([]byte("local.test")).Queue
	if errs := r.store.Apply([]upstream.Change{{Name: "local.test"}}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	cs[0].want(502, "")
	cs[1].want(502, "")
	if p := g.next(t); p != "/sorry" {
		t.Errorf("%s arrives, not the error page", p)
	}
	g.leave <- true
	g.leave <- true
	cs[2].want(200, "/sorry")
	first.want(200, "/0")
	if !r.logged("upstream was deleted while the request waited in its queue") {
		t.Error("the log does not say that the upstream was deleted")
	}
	if r.logged("local.test could not") || r.logged("connecting to upstream") {
		t.Error("a request that waited went on by DNS")
	}
	if n := q.Waiting(); n != 0 {
		t.Errorf("%d requests are left in the queue", n)
	}
	late := r.ask("/late")
	if p := dns.next(t); p != "/late" {
		t.Errorf("%s arrives", p)
	}
	dns.leave <- true
	late.want(200, "/late")
}

// TestQueueRecovery: time alone ends a failure, and those who wait notice.
func TestQueueRecovery(t *testing.T) {
	var failed atomic.Bool
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		if failed.CompareAndSwap(false, true) {
			return false
		}
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+` fail_timeout=1s; server 127.0.0.1:1 down; queue 4; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }`)
	r.ask("/0").want(502, "")
	r.ask("/1").want(200, "ok")
	if r.logged("no live upstreams") {
		t.Error("the second request did not wait")
	}
}

// TestLeastTime: the times that least_time goes by are those of the servers, and nothing is left waiting.
func TestLeastTime(t *testing.T) {
	slow := func(head, body time.Duration) string {
		return httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
			time.Sleep(head)
			_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
			time.Sleep(body)
			_, _ = io.WriteString(w, "x")
			return err == nil
		})
	}
	lateHead, lateBody := slow(100*time.Millisecond, 0), slow(0, 200*time.Millisecond)
	f := func(method string) {
		t.Helper()
		r := newRig(t, 1, `upstream u { `+method+` server `+lateHead+`; server `+lateBody+`; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }`)
		u := r.store.Load().Lookup([]byte("u"))
		known := func() (n int) {
			for _, s := range u.Servers {
				if _, last := s.State.Times(); last > 0 && s.State.InFlight() == 0 {
					n++
				}
			}
			return n
		}
		wait(t, "the times of both servers", func() bool { // as many requests as that takes: equals are chosen by chance
			r.ask("/").want(200, "x")
			return known() == 2
		})
		head0, last0 := u.Servers[0].State.Times()
		head1, last1 := u.Servers[1].State.Times()
		if head0 < 100 || last0 < 100 || last1 < 200 || head1 >= last1 {
			t.Errorf("%s: header and last byte after %d and %d ms, %d and %d ms", method, head0, last0, head1, last1)
		}
	}
	f("least_time header;")
	f("least_time header inflight;")
	f("least_time last_byte;")
	f("least_time last_byte inflight;")
	f("random two least_time=header;")
}

// TestQueueStorm: many clients on few places, while the upstream changes: each request is answered, no bound is passed, nobody
// is left behind.
func TestQueueStorm(t *testing.T) {
	var now, most atomic.Int32
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		runtime.Gosched()
		now.Add(-1)
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	})
	r := newRig(t, 2, fmt.Sprintf(queueConf, addr, "queue 1000;"))
	var wg sync.WaitGroup
	for range 40 {
		c := r.dial(0)
		wg.Go(func() {
			for range 20 {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Error(err)
					return
				}
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("%v, %v", resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
	for i := range 50 {
		r.update("u", fmt.Sprintf("server %s max_conns=%d; queue 1000;", addr, 1+i%2))
	}
	wg.Wait()
	r.waiting(0)
	if most.Load() > 2 {
		t.Errorf("%d requests at once on two places", most.Load())
	}
	wait(t, "all places to be given back, the last one after its answer", func() bool {
		return r.store.Load().Lookup([]byte("u")).Servers[0].State.InFlight() == 0
	})
}

// TestQueueAfterRedirect: the wait takes nothing away from what $upstream_addr says of a request that was redirected before.
func TestQueueAfterRedirect(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 1, `upstream u { server `+g.addr+` max_conns=1; queue 4; }
server { listen 127.0.0.1:0; add_header X-Addr $upstream_addr;
	location / { proxy_pass http://127.0.0.1:1; error_page 502 = /held; }
	location /held { proxy_pass http://u; } }`)
	first := r.ask("/held")
	g.next(t)
	second := r.ask("/")
	r.waiting(1)
	g.leave <- true
	first.want(200, "/held")
	g.next(t)
	g.leave <- true
	resp, _ := second.read("GET")
	if got, want := resp.Header.Get("X-Addr"), "127.0.0.1:1 : "+g.addr; got != want {
		t.Errorf("tried %q, want %q", got, want)
	}
}

// TestQueueLeftBody: a client that leaves while its request waits gives its place up, also when its body is to be streamed and so
// nobody reads it yet.
func TestQueueLeftBody(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 1, `upstream u { server `+g.addr+` max_conns=1; queue 2; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; proxy_request_buffering off; } }`)
	first := r.ask("/0")
	g.next(t)
	for range 3 {
		c := r.dial(0)
		c.send("POST /left HTTP/1.1\r\nHost: u\r\nContent-Length: 10\r\n\r\nabc")
		r.waiting(1)
		c.Close()
		r.waiting(0)
	}
	g.leave <- true
	first.want(200, "/0")
}

// TestLeftAtOnce: a request whose client is gone when it is read goes to no backend, and waits in no queue and for no name.
func TestLeftAtOnce(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 1, `upstream u { server `+g.addr+` max_conns=1; queue 2; }
server { listen 127.0.0.1:0; resolver 127.0.0.1; location / { proxy_pass http://$host; } }`)
	leave := func(host string) {
		t.Helper()
		r.mu.Lock()
		r.lines = nil
		r.mu.Unlock()
		hold := make(chan bool)
		r.e.loops[0].post(func() { <-hold })
		c := r.dial(0) // taken by the kernel
		c.send("GET /left HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		c.Close()
		close(hold)
		wait(t, "the log of "+host, func() bool { return r.logged("client prematurely closed connection") })
	}
	leave("u")
	leave("silent.test")
	first := r.dial(0)
	first.send("GET /0 HTTP/1.1\r\nHost: u\r\n\r\n")
	if p := g.next(t); p != "/0" {
		t.Fatalf("%s arrives", p)
	}
	leave("u")
	r.waiting(0)
	g.leave <- true
	first.want(200, "/0")
	if n := len(g.came); n != 0 {
		t.Errorf("%d requests of clients that had left arrive", n)
	}
}

// TestIgnoreAbort: with proxy_ignore_client_abort a request goes on without its client, which is answered if it only ended its side.
func TestIgnoreAbort(t *testing.T) {
	g := newGate(t)
	r := newRig(t, 1, `upstream u { server `+g.addr+` max_conns=1; queue 2; }
server { listen 127.0.0.1:0; proxy_ignore_client_abort on; location / { proxy_pass http://u; } }`)
	first := r.ask("/0")
	if p := g.next(t); p != "/0" {
		t.Fatalf("%s arrives", p)
	}
	second := r.ask("/1")
	r.waiting(1)
	third := r.ask("/2")
	r.waiting(2)
	for _, c := range []*client{first, second} {
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}
	_ = third.Conn.(*net.TCPConn).SetLinger(0)
	third.Close()
	wait(t, "the ends of the clients to be seen", func() bool { return r.count(func(c *conn) bool { return c.rdHup }) == 3 })
	for _, want := range []string{"/1", "/2"} {
		g.leave <- true
		if p := g.next(t); p != want {
			t.Fatalf("%s arrives, want %s", p, want)
		}
	}
	first.want(200, "/0")
	second.want(200, "/1")
	g.leave <- true
	wait(t, "the clients to be gone", func() bool { return r.clients() == 0 })
}
