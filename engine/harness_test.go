package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"dyups/codec/conf"
	"dyups/engine/site"
	"dyups/upstream"
)

// deadline bounds every wait of a test.
const deadline = 20 * time.Second

// patient is a connection on which each read, with what is written after it, and each write has the deadline to itself, however many
// there are: all together they take long on a busy machine.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	_ = p.SetDeadline(time.Now().Add(deadline))
	return p.Conn.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.SetWriteDeadline(time.Now().Add(deadline))
	return p.Conn.Write(b)
}

// iface answers locations with dyups_interface.
var iface fasthttp.RequestHandler

// resolving is the number of look-ups of silent.test, which ends with its context only.
var resolving atomic.Int64

// rig is an engine on free ports with what a test needs around it.
type rig struct {
	t     testing.TB
	e     *Engine
	store *upstream.Store
	mu    sync.Mutex
	lines []string // error log
}

// newRig starts an engine on the inside of an http block. Addresses to listen on are 127.0.0.1:0, in order r.addr(0), ...
func newRig(t testing.TB, loops int, http string) *rig {
	t.Helper()
	r := &rig{t: t, store: upstream.NewStore()}
	e, err := New(Config{Loops: loops, Connections: 20000, Store: r.store, LogLevel: Debug, Version: "test",
		Log: func(level Level, conn uint64, msg string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, msg)
		},
		Interface: func(*site.Location) fasthttp.RequestHandler { return iface }, Admin: adminFn,
		Resolve: func(ctx context.Context, _ *site.Resolver, host string) ([]netip.Addr, error) {
			if host == "local.test" {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			if host == "silent.test" {
				resolving.Add(1)
				<-ctx.Done()
				resolving.Add(-1)
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s could not be resolved (3: Host not found)", host)
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.e = e
	t.Cleanup(e.Close)
	t.Cleanup(r.countsBusy)
	r.load(http)
	return r
}

// countsBusy checks at the end of a test that the loops which still run know how many exchanges are in progress.
func (r *rig) countsBusy() {
	for _, l := range r.e.loops {
		wait(r.t, "Loop.busy to be the number of exchanges", func() bool {
			differ := make(chan int, 1)
			l.post(func() {
				n := l.busy
				for _, c := range l.conns {
					if c != nil && c.kind == kindClient && c.ex != nil {
						n--
					}
				}
				differ <- n
			})
			select {
			case n := <-differ:
				return n == 0
			case <-l.done:
				return true
			}
		})
	}
}

// load installs a site, as start and reload do.
func (r *rig) load(http string) {
	r.t.Helper()
	ds, err := conf.Parse("test.conf", []byte("access_log off;\n"+http))
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := site.New(ds, &site.Env{Prefix: r.t.TempDir() + "/", ConfDir: r.t.TempDir(), AnyPort: true, Warn: func(conf.Pos, string) {}})
	if err != nil {
		r.t.Fatal(err)
	}
	var all []upstream.Change
	for _, d := range s.Upstreams {
		all = append(all, r.spec(d.Args[0].Text, d.Block))
	}
	p, err := r.e.Prepare(s)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, err := range r.store.Apply(all) { // in the order that reload keeps: add, install, take away
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.e.Install(p, nil)
	var lost []*upstream.Upstream
	r.store.Load().All(func(u *upstream.Upstream) bool {
		if !slices.ContainsFunc(all, func(c upstream.Change) bool { return upstream.Key(c.Name) == u.Key() }) {
			lost = append(lost, u)
		}
		return true
	})
	r.e.Keep(lost)
	if err := r.store.Replace(all); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) spec(name string, ds []*conf.Directive) upstream.Change {
	r.t.Helper()
	spec, err := upstream.ParseBlock(name, ds, &upstream.Options{
		Compile: func(text string) (any, error) { return site.Compile(text) }})
	if err != nil {
		r.t.Fatal(err)
	}
	return upstream.Change{Name: name, Spec: spec}
}

// update replaces an upstream, as a POST does.
func (r *rig) update(name, body string) {
	r.t.Helper()
	ds, err := conf.Parse("", []byte(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, err := range r.store.Apply([]upstream.Change{r.spec(name, ds)}) {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) addr(i int) string {
	_, a, _ := strings.Cut(r.e.Addrs()[i], " ")
	return a
}

func (r *rig) logged(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if strings.Contains(l, text) {
			return true
		}
	}
	return false
}

// wait polls until ok, or fails the test.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// narrow leaves the sockets to backends little room for output, and those of clients enough for what does not go out, so that
// it is read at once.
func (r *rig) narrow(room int) {
	r.e.each(func(l *Loop) {
		for _, c := range l.conns {
			switch {
			case c != nil && c.kind == kindBackend:
				_ = syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, room)
			case c != nil && c.kind == kindClient:
				_ = syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1<<20)
			}
		}
	})
}

// client is one raw connection to the engine.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (r *rig) dial(i int) *client {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr(i))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &client{r.t, c, bufio.NewReader(patient{c})}
}

func (c *client) Write(b []byte) (int, error) { return patient{c.Conn}.Write(b) }

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// read reads one response with its body.
func (c *client) read(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// all reads until the end of the connection.
func (c *client) all() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// get sends a request over a connection of its own and returns status and body.
func (r *rig) get(head string) (int, string) {
	r.t.Helper()
	c := r.dial(0)
	c.send(head)
	resp, body := c.read(strings.Fields(head)[0])
	_ = c.Close()
	return resp.StatusCode, body
}

// origin is a backend that runs serve for every connection.
func origin(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(deadline)) // until it reads
				serve(c, bufio.NewReader(patient{c}))
			}()
		}
	}()
	return ln.Addr().String()
}

// httpOrigin is a backend that answers each request of a connection through answer, which writes raw bytes; false ends
// the connection.
func httpOrigin(t testing.TB, answer func(w net.Conn, req *http.Request, body string) bool) string {
	t.Helper()
	return origin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil || !answer(c, req, string(body)) {
				return
			}
		}
	})
}
