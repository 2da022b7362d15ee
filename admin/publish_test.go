package admin

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"dyups/codec/conf"
	"dyups/upstream"
)

func newAdmin(t testing.TB, queueBytes int64) (*Admin, *upstream.Store) {
	t.Helper()
	s := upstream.NewStore()
	a := New(Config{Store: s, Options: testOptions(), QueueBytes: queueBytes})
	t.Cleanup(a.Close)
	return a, s
}

// call runs one request through h; body "-" means none at all.
func call(h fasthttp.RequestHandler, method, uri, body string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(uri)
	if body != "-" {
		ctx.Request.Header.SetContentLength(len(body))
		ctx.Request.SetBodyString(body)
	}
	h(ctx)
	return ctx
}

// servers gives the listing of one upstream in the table, "" if it has none.
func servers(s *upstream.Store, name string) string {
	if u := s.Load().Lookup([]byte(name)); u != nil {
		return string(u.AppendServers(nil))
	}
	return ""
}

// TestConcurrent has 16 clients change names of their own and one they share. A success has to be in the table that is
// loaded next, whatever the others do.
func TestConcurrent(t *testing.T) {
	a, s := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			mine := fmt.Sprintf("own%d", g)
			for i := range 60 {
				body := fmt.Sprintf("server 127.0.0.1:%d;", 1+g*100+i)
				want := func(method, uri, body string, status int, text string) {
					ctx := call(h, method, uri, body)
					if ctx.Response.StatusCode() != status || string(ctx.Response.Body()) != text {
						t.Errorf("%s %s: %d %q", method, uri, ctx.Response.StatusCode(), ctx.Response.Body())
					}
				}
				want("POST", "/upstream/"+mine, body, 200, "success")
				if got, list := servers(s, mine), strings.TrimSuffix(body, ";")+"\n"; got != list {
					t.Errorf("after success %q holds %q, want %q", mine, got, list)
				}
				want("GET", "/upstream/"+mine, "-", 200, strings.TrimSuffix(body, ";")+"\n")
				want("POST", "/upstream/"+mine, "server 127.0.0.1:bad;", 400,
					string(call(h, "POST", "/upstream/other", "server 127.0.0.1:bad;").Response.Body()))
				call(h, "POST", "/upstream/shared", body)
				call(h, "DELETE", "/upstream/shared", "-")
				call(h, "GET", "/detail", "-")
				want("DELETE", "/upstream/"+mine, "-", 200, "success")
				if got := servers(s, mine); got != "" {
					t.Errorf("after deletion %q holds %q", mine, got)
				}
			}
		})
	}
	wg.Wait()
	if n := s.Load().Len(); n > 1 {
		t.Errorf("%d upstreams left, want shared at most", n)
	}
}

// gate blocks the writer in a watcher until opened.
type gate struct {
	entered, open chan struct{}
}

func newGate(s *upstream.Store) *gate {
	g := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	var once sync.Once
	s.Watch(func(_, _ *upstream.Table) {
		once.Do(func() { close(g.entered) })
		<-g.open
	})
	return g
}

// replace makes changes the whole table, in its turn.
func replace(a *Admin, changes []upstream.Change) (err error) {
	if closed := a.Alone(func() { err = a.store.Replace(changes) }); closed != nil {
		return closed
	}
	return err
}

// waitQueued returns when n commands are in the queue, behind what the writer has taken.
func waitQueued(a *Admin, n int) {
	for {
		a.mu.Lock()
		have := len(a.queue)
		a.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

func TestQueueFull(t *testing.T) {
	const body = "server 127.0.0.1:80;"
	size := int64(len("n0") + len(body))
	a, s := newAdmin(t, 3*size)
	h := a.Handler(HandlerOptions{})
	g := newGate(s)
	results := make(chan string, 4)
	post := func(name string) {
		ctx := call(h, "POST", "/upstream/"+name, body)
		results <- fmt.Sprint(name, " ", ctx.Response.StatusCode(), " ", string(ctx.Response.Body()))
	}
	go post("n0")
	<-g.entered
	go post("n1")
	go post("n2")
	waitQueued(a, 2)

	full := func(method, uri, body string) {
		t.Helper()
		gen := s.Load().Generation()
		ctx := call(h, method, uri, body)
		if ctx.Response.StatusCode() != 409 || string(ctx.Response.Body()) != "wait and try again\n" {
			t.Errorf("%s %s with a full queue: %d %q", method, uri, ctx.Response.StatusCode(), ctx.Response.Body())
		}
		if s.Load().Generation() != gen {
			t.Errorf("%s %s with a full queue changed the table", method, uri)
		}
	}
	full("POST", "/upstream/n3", body)
	full("DELETE", "/upstream/n0", "-")
	if got := call(h, "POST", "/upstream/n3", "bad").Response.StatusCode(); got != 400 {
		t.Errorf("bad body with a full queue: %d, want 400", got)
	}
	if got := call(h, "GET", "/list", "-").Response.StatusCode(); got != 200 {
		t.Errorf("GET /list with a full queue: %d, want 200", got)
	}
	a.SetQueueBytes(4 * size)
	go post("n3")
	waitQueued(a, 3)
	full("POST", "/upstream/n4", body)

	close(g.open)
	for range 4 {
		if r := <-results; !strings.HasSuffix(r, " 200 success") {
			t.Errorf("queued command: %s", r)
		}
	}
	if n := s.Load().Len(); n != 4 {
		t.Errorf("%d upstreams, want 4", n)
	}
	if got := call(h, "DELETE", "/upstream/n0", "-").Response.StatusCode(); got != 200 {
		t.Errorf("the bound was not given back: DELETE answers %d", got)
	}
}

// TestApply: changes of the process itself take their turn among the commands, need no room, and keep their condition.
func TestApply(t *testing.T) {
	a, s := newAdmin(t, 44)
	spec := func(body string) *upstream.Spec {
		t.Helper()
		sp, err := check("x", []byte(body), &a.opt, conf.Parse)
		if err != nil {
			t.Fatal(err)
		}
		return sp
	}
	first := spec("server 127.0.0.1:1;")
	if err := a.Apply(upstream.Change{Name: "x", Spec: first}); err != nil {
		t.Fatal(err)
	}
	g := newGate(s)
	results := make(chan error, 3)
	go func() { results <- a.Update("x", []byte("server 127.0.0.1:2;")) }()
	<-g.entered
	go func() { results <- a.Update("y", []byte("server 127.0.0.1:20000;")) }() // fills the queue
	waitQueued(a, 1)
	refused := make(chan error, 1)
	go func() { refused <- a.Apply(upstream.Change{Name: "x", Spec: spec("server 127.0.0.1:9;"), If: first}) }()
	waitQueued(a, 2)
	go func() { results <- a.Apply(upstream.Change{Name: "z", Spec: first}) }()
	waitQueued(a, 3)
	close(g.open)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-refused; err != upstream.ErrChanged {
		t.Errorf("a change of an older definition: %v", err)
	}
	if got := servers(s, "x") + servers(s, "z"); got != "server 127.0.0.1:2\nserver 127.0.0.1:1\n" {
		t.Errorf("the table has %q", got)
	}
	a.Close()
	if err := a.Apply(upstream.Change{Name: "x", Spec: first}); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

// TestBatch puts several changes of one name into one batch: each has its own result, in order.
func TestBatch(t *testing.T) {
	a, s := newAdmin(t, 0)
	g := newGate(s)
	first := make(chan error, 1)
	go func() { first <- a.Update("first", []byte("server 127.0.0.1;")) }()
	<-g.entered

	var results []chan error
	queue := func(f func() error) {
		c := make(chan error, 1)
		results = append(results, c)
		go func() { c <- f() }()
		waitQueued(a, len(results))
	}
	post := func(name, addr string) func() error {
		return func() error { return a.Update(name, []byte("server "+addr+";")) }
	}
	del := func(name string) func() error { return func() error { return a.Delete(name) } }
	queue(del("x"))
	queue(post("x", "127.0.0.1:1"))
	queue(post("X", "127.0.0.1:2"))
	queue(del("x"))
	queue(del("x"))
	queue(post("y", "127.0.0.1:3"))
	queue(func() error { return replace(a, staticUpstreams(t, "http { upstream z { server 127.0.0.1:4; } }")) })
	queue(del("y"))
	queue(post("x", "127.0.0.1:5"))
	queue(post("x", "127.0.0.1:6"))
	close(g.open)

	if err := <-first; err != nil {
		t.Errorf("first: %v", err)
	}
	missing := map[int]bool{0: true, 4: true, 7: true}
	for i, c := range results {
		if err := <-c; errors.Is(err, upstream.ErrNotFound) != missing[i] || err != nil && !missing[i] {
			t.Errorf("change %d: %v", i, err)
		}
	}
	var names []string
	s.Load().All(func(u *upstream.Upstream) bool {
		names = append(names, u.Name)
		return true
	})
	if got := strings.Join(names, " "); got != "z x" {
		t.Errorf("upstreams %q, want \"z x\"", got)
	}
	if got := servers(s, "x"); got != "server 127.0.0.1:6\n" {
		t.Errorf("x holds %q", got)
	}
}

// TestNoGoroutineLeft: changes leave no goroutine behind, whoever makes them.
func TestNoGoroutineLeft(t *testing.T) {
	a, _ := newAdmin(t, 0)
	storm := func(n int) {
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				for i := range n {
					name := fmt.Sprintf("u%d", k)
					if err := a.Update(name, []byte(fmt.Sprintf("server 127.0.0.1:%d; queue 5;", 1+i%100))); err != nil {
						t.Error(err)
					}
					if i%10 == 9 {
						if err := a.Delete(name); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
	}
	storm(10)
	before := runtime.NumGoroutine()
	storm(1000)
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestClose(t *testing.T) {
	a, s := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{})
	g := newGate(s)
	results := make(chan error, 2)
	go func() { results <- a.Update("a", []byte("server 127.0.0.1;")) }()
	<-g.entered
	go func() { results <- a.Update("b", []byte("server 127.0.0.1;")) }()
	waitQueued(a, 1)
	closed := make(chan struct{})
	go func() { a.Close(); close(closed) }()
	close(g.open)
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("command queued before Close: %v", err)
		}
	}
	<-closed
	a.Close()
	if err := a.Alone(func() { t.Error("Alone ran after Close") }); !errors.Is(err, ErrClosed) {
		t.Errorf("Alone after Close: %v", err)
	}
	gen := s.Load().Generation()
	ctx := call(h, "POST", "/upstream/c", "server 127.0.0.1;")
	if ctx.Response.StatusCode() != 500 || s.Load().Generation() != gen {
		t.Errorf("POST after Close: %d, generation %d then %d", ctx.Response.StatusCode(), gen, s.Load().Generation())
	}
	if got := string(call(h, "GET", "/list", "-").Response.Body()); got != "a\nb\n" {
		t.Errorf("GET /list after Close: %q", got)
	}
}

// fill makes n upstreams of two servers.
func fill(b *testing.B, a *Admin, n int) {
	b.Helper()
	for i := range n {
		if err := a.Update(fmt.Sprintf("u%d", i), []byte("server 127.0.0.1:1;server 127.0.0.1:2;")); err != nil {
			b.Fatal(err)
		}
	}
}

const benchUpstreams = 1000

// BenchmarkUpdate is one client posting through the handler, each POST answered before the next.
func BenchmarkUpdate(b *testing.B) {
	a, _ := newAdmin(b, 0)
	fill(b, a, benchUpstreams)
	p := newPoster(a)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.post(b, i)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkUpdateHere is the same on a loop, where nobody else is at it, with lists of two and of ten servers.
func BenchmarkUpdateHere(b *testing.B) {
	for _, servers := range []int{2, 10} {
		b.Run(fmt.Sprint(servers), func(b *testing.B) {
			a, _ := newAdmin(b, 0)
			fill(b, a, benchUpstreams)
			p := newPoster(a)
			p.h = a.Handler(HandlerOptions{OnWriter: func(*fasthttp.RequestCtx) bool { return true }})
			for i := 3; i <= servers; i++ {
				p.body += fmt.Sprintf("server 127.0.0.1:%d;", i)
			}
			b.ReportAllocs()
			i := 0
			post := func() { p.post(b, i) }
			for ; b.Loop(); i++ {
				if !a.Run(len(p.body), post) {
					b.Fatal("closed")
				}
			}
		})
	}
}

// BenchmarkUpdateParallel is that many clients at once, each waiting for its own answer.
func BenchmarkUpdateParallel(b *testing.B) {
	for _, clients := range []int{4, 16, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			a, _ := newAdmin(b, 0)
			fill(b, a, benchUpstreams)
			b.ReportAllocs()
			b.SetParallelism(max(1, clients/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				p := newPoster(a)
				for i := 0; pb.Next(); i++ {
					p.post(b, i)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// poster is one client with its request kept.
type poster struct {
	h    fasthttp.RequestHandler
	ctx  fasthttp.RequestCtx
	uri  [benchUpstreams]string
	body string
}

func newPoster(a *Admin) *poster {
	p := &poster{h: a.Handler(HandlerOptions{}), body: "server 127.0.0.1:1 weight=2;server 127.0.0.1:2;"}
	for i := range p.uri {
		p.uri[i] = fmt.Sprintf("/upstream/u%d", i)
	}
	p.ctx.Request.Header.SetMethod("POST")
	return p
}

func (p *poster) post(b *testing.B, i int) {
	p.ctx.Request.SetRequestURI(p.uri[i*7%benchUpstreams])
	p.ctx.Request.SetBodyString(p.body)
	p.ctx.Response.Reset()
	p.h(&p.ctx)
	if p.ctx.Response.StatusCode() != 200 {
		b.Error(p.ctx.Response.StatusCode(), string(p.ctx.Response.Body()))
	}
}

// TestRun: what runs by way of Run is a command among the others, in its turn, and publishes by itself what is soon done;
// what is not, look-ups above all, is asked for elsewhere and changes nothing.
func TestRun(t *testing.T) {
	s := upstream.NewStore()
	opt := testOptions()
	opt.Resolve = func(string) ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.9")}, nil }
	a := New(Config{Store: s, Options: opt, QueueBytes: 20000})
	t.Cleanup(a.Close)
	elsewhere := 0
	onWriter := true
	h := a.Handler(HandlerOptions{
		OnWriter:  func(*fasthttp.RequestCtx) bool { return onWriter },
		Elsewhere: func(*fasthttp.RequestCtx) { elsewhere++ },
	})
	run := func(method, uri, body string) (ctx *fasthttp.RequestCtx) {
		t.Helper()
		done := make(chan struct{})
		if !a.Run(len(body), func() { ctx = call(h, method, uri, body); close(done) }) {
			t.Fatalf("%s %s: no room", method, uri)
		}
		<-done
		return ctx
	}
	f := func(method, uri, body string, status int, text, listed string, wantElsewhere int) {
		t.Helper()
		elsewhere = 0
		ctx := run(method, uri, body)
		if got := ctx.Response.StatusCode(); got != status || !strings.HasPrefix(string(ctx.Response.Body()), text) || elsewhere != wantElsewhere {
			t.Errorf("%s %s %q: got %d %q and %d elsewhere, want %d %q and %d", method, uri, body, got, ctx.Response.Body(), elsewhere, status, text, wantElsewhere)
		}
		if got := servers(s, "x"); got != listed {
			t.Errorf("%s %s %q: the table has %q, want %q", method, uri, body, got, listed)
		}
	}
	f("POST", "/upstream/x", "server 127.0.0.1:1;", 200, "success", "server 127.0.0.1:1\n", 0)
	f("POST", "/upstream/x", "server name.test:1;", 200, "", "server 127.0.0.1:1\n", 1)
	f("POST", "/upstream/x", "server 127.0.0.1:1; server 127.0.0.1:2 weight=60000;", 200, "", "server 127.0.0.1:1\n", 1)
	f("POST", "/upstream/x", "server name.test:1 resolve;", 200, "", "server 127.0.0.1:1\n", 1)
	f("POST", "/upstream/x", "server 127.0.0.1:1; server name.test:1 bad;", 400, `add server failed: 1:40: `, "server 127.0.0.1:1\n", 0)
	f("POST", "/upstream/x", "#"+strings.Repeat(" ", maxNow)+"\nserver 127.0.0.1:2;", 200, "success", "server 127.0.0.1:2\n", 0)
	f("POST", "/upstream/x", "server 127.0.0.1:1\n", 200, "success", "server 127.0.0.1:1\n", 0)
	f("POST", "/upstream/x", "server 127.0.0.1:2; bad;", 400, `add server failed: 1:21: `, "server 127.0.0.1:1\n", 0)
	f("DELETE", "/upstream/y", "-", 404, "not found uptream", "server 127.0.0.1:1\n", 0)
	f("DELETE", "/upstream/x", "-", 200, "success", "", 0)
	onWriter = false
	if ctx := call(h, "POST", "/upstream/x", "server name.test:1;"); ctx.Response.StatusCode() != 200 || servers(s, "x") != "server 127.0.0.9:1\n" {
		t.Errorf("elsewhere: got %d %q, the table has %q", ctx.Response.StatusCode(), ctx.Response.Body(), servers(s, "x"))
	}

	// What is small runs before Run returns, unless another command is under way.
	atOnce, behind := false, make(chan struct{})
	a.Run(1, func() {
		atOnce = true
		if !a.Run(1, func() { close(behind) }) {
			t.Error("no room in an empty queue")
		}
		select {
		case <-behind:
			t.Error("two jobs ran at the same time")
		default:
		}
	})
	if !atOnce {
		t.Error("a small job was queued although nothing else was under way")
	}
	<-behind
	for room := false; !room; runtime.Gosched() { // which it gives back after it has run
		a.mu.Lock()
		room = a.bytes == 0
		a.mu.Unlock()
	}

	// What waits holds room until it has run, in the order in which it came.
	entered, hold, order := make(chan struct{}), make(chan struct{}), make(chan int, 3)
	if !a.Run(12000, func() { close(entered); <-hold; order <- 1 }) || !a.Run(8000, func() { order <- 2 }) {
		t.Fatal("no room in an empty queue")
	}
	<-entered
	if a.Run(1, func() {}) {
		t.Error("a job was taken beyond the bound")
	}
	close(hold)
	if first, second := <-order, <-order; first != 1 || second != 2 {
		t.Errorf("got %d, %d", first, second)
	}
	a.Close()
	if a.Run(1, func() {}) {
		t.Error("a job was taken after Close")
	}
}
