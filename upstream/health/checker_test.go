package health

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
	"dyups/upstream"
)

const deadline = 20 * time.Second

// bench is a store with a Checker and its log.
type bench struct {
	t     *testing.T
	store *upstream.Store
	c     *Checker
	mu    sync.Mutex
	lines []string
	match string // inside of the match block of any name; "" instead of one: there is none
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, store: upstream.NewStore()}
	c, err := New(b.store, func(_ int, msg string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lines = append(b.lines, msg)
	})
	if err != nil {
		t.Fatal(err)
	}
	b.c = c
	t.Cleanup(c.Close)
	return b
}

// set defines an upstream; an empty body deletes it.
func (b *bench) set(name, body string) {
	b.t.Helper()
	change := upstream.Change{Name: name}
	if body != "" {
		ds, err := conf.Parse("", []byte(body))
		if err != nil {
			b.t.Fatal(err)
		}
		if change.Spec, err = upstream.ParseBlock(name, ds, &upstream.Options{Match: func(string) (string, bool) { return b.match, b.match != "" }}); err != nil {
			b.t.Fatal(err)
		}
	}
	if errs := b.store.Apply([]upstream.Change{change}); errs[0] != nil {
		b.t.Fatal(errs[0])
	}
}

func (b *bench) upstream(name string) *upstream.Upstream { return b.store.Load().Lookup([]byte(name)) }

// picks gives the servers that get requests, by index.
func (b *bench) picks(name string) string {
	u := b.upstream(name)
	seen := make([]byte, len(u.Servers))
	for range 20 {
		q := lb.Query{NowNs: upstream.NowNs()}
		if i := u.Pick(&q); i >= 0 {
			seen[i] = 1
			u.Done(i, upstream.Neither, q.NowNs)
		}
	}
	var out []string
	for i, s := range seen {
		if s != 0 {
			out = append(out, fmt.Sprint(i))
		}
	}
	return strings.Join(out, " ")
}

// becomes waits until exactly these servers get requests.
func (b *bench) becomes(name, want string) {
	b.t.Helper()
	b.until(fmt.Sprintf("requests of %s to go to %q", name, want), func() bool { return b.picks(name) == want })
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("waited in vain for %s; log: %q", what, b.lines)
		}
	}
}

// log is what was logged so far, a line each.
func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// backend is a server whose status a test sets; 0 hangs up.
type backend struct {
	addr          string
	status        atomic.Int64
	asked, opened atomic.Int64
	open          atomic.Int64 // connections
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.status.Store(200)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		s := int(b.status.Load())
		if s == 0 {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
			return
		}
		w.WriteHeader(s)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.opened.Add(1)
			b.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.open.Add(-1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	b.addr = srv.Listener.Addr().String()
	return b
}

const quick = "check interval=10 rise=2 fall=3 timeout=5000 type=http"

// TestRiseAndFall: a server that fails is barred after fall checks and comes back after rise, with a word about both.
func TestRiseAndFall(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	b := newBench(t)
	b.set("u", quick+" default_down=false; server "+one.addr+"; server "+two.addr+";")
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("at first requests go to %q", got)
	}
	one.status.Store(500)
	b.becomes("u", "1")
	if why := b.upstream("u").Why(0, upstream.NowNs()); why != "unhealthy" {
		t.Errorf("it is %q", why)
	}
	two.status.Store(0)
	b.becomes("u", "")
	one.status.Store(302)
	b.becomes("u", "0")
	two.status.Store(200)
	b.becomes("u", "0 1")
	log := b.log()
	for _, want := range []string{
		"server " + one.addr + " is unhealthy: it has failed 3 checks (http), the last: status 500",
		"server " + one.addr + " is healthy: it has passed 2 checks (http)",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// TestDefaultDown: a new server gets nothing before it has passed; one that stays is not checked anew by an update, and one that
// is known already is as it is known.
func TestDefaultDown(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	one.status.Store(500) // so that it does not pass before it is looked at
	two.status.Store(404)
	b := newBench(t)
	b.set("u", quick+"; server "+one.addr+";")
	if got := b.picks("u"); got != "" {
		t.Errorf("before its first check requests go to %q", got)
	}
	one.status.Store(200)
	b.becomes("u", "0")
	b.set("u", quick+"; server "+two.addr+"; server "+one.addr+" weight=3;")
	if got := b.picks("u"); got != "1" {
		t.Errorf("after an update requests go to %q", got)
	}
	b.set("v", quick+"; server "+one.addr+"; server "+two.addr+";")
	if got := b.picks("v"); got != "0" {
		t.Errorf("requests of another upstream with the same servers go to %q", got)
	}
	two.status.Store(200)
	b.becomes("u", "0 1")
	b.becomes("v", "0 1")
	two.status.Store(500)
	b.becomes("u", "1")
	b.becomes("v", "0")
	b.set("u", "server "+one.addr+"; server "+two.addr+";") // no check any more
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("without a check requests go to %q", got)
	}
}

// TestDownIsOver: a server that is marked down is not asked, so nothing is known of it when it is no more.
func TestDownIsOver(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	b := newBench(t)
	b.set("u", quick+"; server "+one.addr+"; server "+two.addr+";")
	b.becomes("u", "0 1")
	b.set("u", quick+"; server "+one.addr+"; server "+two.addr+" down;")
	two.status.Store(500)
	b.set("u", quick+"; server "+one.addr+"; server "+two.addr+";")
	if got := b.picks("u"); got != "0" {
		t.Errorf("before its first check requests go to %q", got)
	}
	before := two.asked.Load()
	b.until("checks of it", func() bool { return two.asked.Load() > before+3 })
	if got := b.picks("u"); got != "0" {
		t.Errorf("while it fails requests go to %q", got)
	}
	b.set("u", quick+"; server "+one.addr+"; server "+two.addr+";")
	two.status.Store(200)
	b.becomes("u", "0 1")

	up := strings.Replace(quick, "http", "http default_down=false", 1)
	b.set("v", up+"; server "+one.addr+" down; server "+two.addr+";")
	b.set("v", up+"; server "+one.addr+"; server "+two.addr+";")
	if got := b.picks("v"); got != "0 1" {
		t.Errorf("with default_down=false requests go to %q", got)
	}
}

// TestShared: servers of many upstreams are asked by one prober, which ends with the last of them.
func TestShared(t *testing.T) {
	one := newBackend(t)
	b := newBench(t)
	probers := func() int {
		b.c.mu.Lock()
		defer b.c.mu.Unlock()
		return len(b.c.probers)
	}
	for i := range 50 {
		b.set(fmt.Sprint("u", i), quick+" default_down=false; server "+one.addr+"; server "+one.addr+" backup;")
	}
	b.set("other", "check interval=10 rise=1 fall=1 timeout=5000 type=tcp default_down=false; server "+one.addr+";")
	if n := probers(); n != 2 {
		t.Errorf("%d probers, want 2", n)
	}
	for i := range 50 {
		if i != 7 {
			b.set(fmt.Sprint("u", i), "")
		}
	}
	b.set("other", "")
	if n := probers(); n != 1 {
		t.Errorf("%d probers, want 1", n)
	}
	before := one.asked.Load()
	b.until("further checks", func() bool { return one.asked.Load() > before+3 })
	b.set("u7", "server "+one.addr+" down;")
	if n := probers(); n != 0 || len(b.c.of) != 0 {
		t.Errorf("%d probers and %d states are left", n, len(b.c.of))
	}
}

// TestSharedHealthCheck: a health_check asks for the upstream's name, so that of each upstream is another one; with one Host they are
// one, whatever else of it is only written differently.
func TestSharedHealthCheck(t *testing.T) {
	one := newBackend(t)
	f := func(params string, want int) {
		t.Helper()
		b := newBench(t)
		for i := range 20 {
			also := ""
			if i%2 == 1 {
				also = " mandatory persistent"
			}
			b.set(fmt.Sprint("u", i), "health_check interval=20ms passes=1 mandatory "+params+also+"; server "+one.addr+";")
		}
		b.c.mu.Lock()
		n := len(b.c.probers)
		b.c.mu.Unlock()
		if n != want {
			t.Errorf("%q: %d probers for one server, want %d", params, n, want)
		}
		b.until("all to be up", func() bool {
			for i := range 20 {
				if b.upstream(fmt.Sprint("u", i)).Servers[0].State.Barred() {
					return false
				}
			}
			return true
		})
	}
	f("", 20)
	f("host=www.test", 1)
	f("type=tcp", 1)
}

// TestTypes: a connection is enough for tcp, ssl_hello wants TLS, http wants HTTP; another port may be asked.
func TestTypes(t *testing.T) {
	mute := answering(t, "no HTTP, nor TLS\n")
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := newBackend(t)
	_, port, _ := net.SplitHostPort(plain.addr)
	b := newBench(t)
	f := func(check, server string, up bool) {
		t.Helper()
		b.set("u", "check interval=10 rise=1 fall=1 timeout=5000 default_down="+fmt.Sprint(up)+" "+check+"; server "+server+"; server 127.0.0.1:1 down;")
		u := b.upstream("u")
		at := targetOf(u.Servers[0], u.Checks[0])
		b.until(check+" of "+server, func() bool {
			b.c.mu.Lock()
			defer b.c.mu.Unlock()
			p := b.c.probers[at]
			return p.rises+p.falls > 1 && p.up.Load() == (p.rises > 0)
		})
		if got := b.picks("u") == "0"; got != up {
			t.Errorf("%s of %s: well %v, want %v", check, server, got, up)
		}
	}
	f("type=tcp", mute, true)
	f("type=http", mute, false)
	f("type=ssl_hello", mute, false)
	f("type=ssl_hello", secure.Listener.Addr().String(), true)
	f("type=http", plain.addr, true)
	f("type=tcp", "127.0.0.1:1", false)
	f("type=http port="+port, "127.0.0.1:1", true)
}

// TestHanging: servers that take connections and say nothing do not keep others from being asked.
func TestHanging(t *testing.T) {
	const hanging = 2 * leastWorkers
	if workers() <= hanging {
		t.Skipf("%d descriptors are too few", 4*workers())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // its backlog takes them
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	one := newBackend(t)
	b := newBench(t)
	for i := range hanging { // each of them another check
		b.set(fmt.Sprint("h", i), fmt.Sprintf("check interval=10 rise=%d fall=1 timeout=600000 type=http; server %s;", i+1, ln.Addr()))
	}
	b.until("all of them to hang", func() bool { return b.c.pool.Running() >= hanging })
	b.set("u", quick+"; server "+one.addr+";")
	b.becomes("u", "0")
	one.status.Store(500)
	b.becomes("u", "")
}

// TestStops: checks that begin and end all the time leave neither connections nor probes behind.
func TestStops(t *testing.T) {
	one := newBackend(t)
	b := newBench(t)
	body := strings.Replace(quick, "interval=10", "interval=1", 1) + `; check_keepalive_requests 100; check_http_send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"; server ` + one.addr + ";"
	for range 100 {
		b.set("u", body)
		before := one.asked.Load()
		b.until("a check", func() bool { return one.asked.Load() > before })
		b.set("u", "")
	}
	b.until("the end of all connections", func() bool { return one.open.Load() == 0 })
}

// TestFirstProbes: servers that come together are not asked together, their first probes are spread over the time there is for them.
func TestFirstProbes(t *testing.T) {
	f := func(check string, interval, span time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const servers, parts = 400, 10
			began := time.Now()
			var mu sync.Mutex
			var at []time.Duration // of verdicts
			store := upstream.NewStore()
			c, err := New(store, func(int, string) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(began))
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			body, none := check+";", t.TempDir()
			for i := range servers {
				body += fmt.Sprintf(" server unix:%s/%d;", none, i) // not there, which a probe knows at once
			}
			ds, err := conf.Parse("", []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			spec, err := upstream.ParseBlock("u", ds, nil)
			if err != nil {
				t.Fatal(err)
			}
			if errs := store.Apply([]upstream.Change{{Name: "u", Spec: spec}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
			time.Sleep(span + interval/2)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(at) != servers {
				t.Fatalf("%s: %d of %d servers were asked", check, len(at), servers)
			}
			var in [parts]int
			for _, d := range at {
				if d > span {
					t.Fatalf("%s: one was asked after %v, want %v at most", check, d, span)
				}
				in[min(int(d*parts/span), parts-1)]++
			}
			for i, k := range in {
				if k < servers/parts/4 || k > servers/parts*2 {
					t.Errorf("%s: %d of %d servers were asked in tenth %d: %v", check, k, servers, i, in)
				}
			}
		})
	}
	f("health_check interval=5s type=tcp", 5*time.Second, 500*time.Millisecond)
	f("health_check interval=1m type=tcp mandatory", time.Minute, time.Second)
	f("check interval=3000 fall=1", 3*time.Second, 300*time.Millisecond)
}
