package engine

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestOnAdmin: what changes something runs where Config.Admin puts it, on a worker where that has no room or where the
// handler asks for it; listings always run on a worker.
func TestOnAdmin(t *testing.T) {
	var mu sync.Mutex
	full, jobs := false, 0
	queue := make(chan func(), 16)
	stop := make(chan struct{})
	t.Cleanup(func() { close(queue); <-stop })
	go func() {
		defer close(stop)
		for job := range queue {
			job()
		}
	}()
	adminFn = func(size int, job func()) bool {
		mu.Lock()
		defer mu.Unlock()
		if full {
			return false
		}
		jobs++
		queue <- job
		return true
	}
	iface = func(ctx *fasthttp.RequestCtx) {
		if OnAdmin(ctx) && strings.Contains(string(ctx.Request.Body()), "block") {
			ctx.Response.SetBodyString("dropped")
			RunOnWorker(ctx)
			return
		}
		fmt.Fprintf(ctx, "%s %s %v", ctx.Method(), ctx.Request.Body(), OnAdmin(ctx))
	}
	t.Cleanup(func() { adminFn, iface = nil, nil })
	r := newRig(t, 2, `server { listen 127.0.0.1:0; location / { dyups_interface; } }`)
	f := func(method, body, want string, wantJobs int) {
		t.Helper()
		mu.Lock()
		jobs = 0
		mu.Unlock()
		_, got := r.get(fmt.Sprintf("%s /upstream/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body))
		mu.Lock()
		defer mu.Unlock()
		if got != want || jobs != wantJobs {
			t.Errorf("%s %q: got %q and %d jobs, want %q and %d", method, body, got, jobs, want, wantJobs)
		}
	}
	f("POST", "a", "POST a true", 1)
	f("DELETE", "", "DELETE  true", 1)
	f("GET", "", "GET  false", 0)
	f("POST", "block", "POST block false", 1)
	mu.Lock()
	full = true
	mu.Unlock()
	f("POST", "a", "POST a false", 0)
}

// adminFn is Config.Admin of the rigs to come.
var adminFn func(size int, job func()) bool

// TestRemovedMeanwhile: a request that has a server but has not sent it anything goes by the table that is there when it does.
func TestRemovedMeanwhile(t *testing.T) {
	a, b := newCounting(t, "a"), newCounting(t, "b")
	r := newRig(t, 1, fmt.Sprintf(`upstream b { server %s; } server { listen 127.0.0.1:0; location / { proxy_pass http://b; } }`, a.addr))
	c := r.dial(0)
	c.send("POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n12")
	wait(t, "the body to be waited for", func() bool { return r.in(phBody) == 1 })
	r.update("b", "server "+b.addr+";")
	c.send("34")
	if _, body := c.read("POST"); strings.TrimSpace(body) != "b" {
		t.Errorf("the request reached %q, want the server of the table that is in force when its body is there", body)
	}

	// A listener whose backlog is full keeps the next one connecting.
	slow := fullListener(t)
	r.update("b", "server "+slow+";")
	c = r.dial(0)
	c.send("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
	wait(t, "a connect", func() bool { return r.in(phDial) == 1 })
	r.update("b", "server "+b.addr+";")
	r.e.each(func(l *Loop) { // as if the connection had come about now
		for k := l.clients.head; k != nil; k = k.next {
			if k.state == busy && k.ex.phase == phDial {
				k.ex.b.canWrite = true
				k.ex.run()
			}
		}
	})
	if _, body := c.read("GET"); strings.TrimSpace(body) != "b" {
		t.Errorf("the request reached %q, want the server that replaced the one it was connecting to", body)
	}
	if n := a.requests.Load(); n != 0 {
		t.Errorf("the removed server got %d requests", n)
	}
}

// fullListener is an address that takes no more connections and refuses none.
func fullListener(t testing.TB) string {
	t.Helper()
	fd, err := listenSocket("tcp", "127.0.0.1:0", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sysClose(fd) })
	addr := localAddr(fd).String()
	c, err := net.Dial("tcp", addr) // a backlog of 0 has room for one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return addr
}

// TestBlockingCommands: commands that wait, for names, keep nothing else waiting, however many they are.
func TestBlockingCommands(t *testing.T) {
	const many = workersMax + 10
	var held atomic.Int32
	leave := make(chan bool)
	adminFn = func(_ int, job func()) bool { go job(); return true }
	iface = func(ctx *fasthttp.RequestCtx) {
		if ctx.IsPost() && OnAdmin(ctx) {
			RunOnWorker(ctx)
			return
		}
		if ctx.IsPost() {
			held.Add(1)
			<-leave
		}
		ctx.SetBodyString("done")
	}
	t.Cleanup(func() { adminFn, iface = nil, nil })
	r := newRig(t, 2, `server { listen 127.0.0.1:0; location / { dyups_interface; } }`)
	var all []*client
	for range many {
		c := r.dial(0)
		c.send("POST /upstream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
		all = append(all, c)
	}
	wait(t, "the commands", func() bool { return held.Load() >= workersMax })
	if _, body := r.get("GET /list HTTP/1.1\r\nHost: a\r\n\r\n"); body != "done" {
		t.Errorf("the list is %q", body)
	}
	close(leave)
	for _, c := range all {
		c.want(200, "done")
	}
}

// TestChangesLast: a change is made on the loop when the answers of its turn are on their way.
func TestChangesLast(t *testing.T) {
	var r *rig
	var held atomic.Int64
	held.Store(-1)
	adminFn = func(_ int, job func()) bool {
		held.Store(int64(len(r.e.loops[0].outbox.conns)))
		job()
		return true
	}
	iface = func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("done") }
	t.Cleanup(func() { adminFn, iface = nil, nil })
	asked, answer, answered := make(chan bool, 2), make(chan bool), make(chan bool, 2)
	addr := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		asked <- true
		<-answer
		ok := plain(w, "ok")
		answered <- ok
		return ok
	})
	r = newRig(t, 1, `server { listen 127.0.0.1:0; location / { proxy_pass http://`+addr+`; } location /upstream { dyups_interface; } }`)
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	for _, k := range []*client{a, c} {
		k.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-asked
	}
	wait(t, "the clients", func() bool { return r.clients() == 3 })
	r.onLoop(func(*Loop, []*conn) { // it finds two answers and a change in its next turn
		close(answer)
		<-answered
		<-answered
		b.send("POST /upstream/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
	})
	for k, want := range map[*client]string{a: "ok", b: "done", c: "ok"} {
		if _, got := k.read("GET"); strings.TrimSpace(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if n := held.Load(); n != 0 {
		t.Errorf("%d conns had output that waited for the change", n)
	}
}
