package health

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"dyups/codec/conf"
	"dyups/upstream"
)

// byPath is a server whose status for a path a test sets; 200 for others.
type byPath struct {
	addr string
	mu   sync.Mutex
	of   map[string]int
}

func newByPath(t *testing.T) *byPath {
	b := &byPath{of: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(max(b.get(r.URL.Path), 200))
	}))
	t.Cleanup(srv.Close)
	b.addr = srv.Listener.Addr().String()
	return b
}

func (b *byPath) set(path string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of[path] = status
}

func (b *byPath) get(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[path]
}

// healthChecks are statements of checks of these paths.
func healthChecks(params string, paths ...string) (s string) {
	for _, p := range paths {
		s += "health_check interval=10ms uri=" + p + " " + params + "; "
	}
	return s
}

// TestSeveral: a server of which several checks are asked gets requests while all of them pass, whichever is added or taken away.
func TestSeveral(t *testing.T) {
	one, two := newByPath(t), newByPath(t)
	b := newBench(t)
	servers := "server " + one.addr + "; server " + two.addr + ";"
	set := func(paths ...string) { b.set("u", healthChecks("", paths...)+servers) }
	set("/a", "/b")
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("at first requests go to %q", got)
	}
	one.set("/b", 500)
	b.becomes("u", "1")
	one.set("/a", 500)
	b.until("the other check to fail", func() bool {
		return strings.Contains(b.log(), one.addr+" is unhealthy: it has failed 1 checks (http u/a)")
	})
	one.set("/b", 0)
	b.until("the one to pass", func() bool {
		return strings.Contains(b.log(), "server "+one.addr+" has passed 1 checks (http u/b), but not yet all that it has to")
	})
	if got := b.picks("u"); got != "1" {
		t.Errorf("while one of two checks fails requests go to %q", got)
	}
	set("/a", "/b", "/c") // one more, and it passes
	if got := b.picks("u"); got != "1" {
		t.Errorf("with a third check requests go to %q", got)
	}
	set("/b", "/c") // without the one that fails
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("without the check that fails requests go to %q", got)
	}
	if want := "server " + one.addr + ` of upstream "u" is healthy: what it has failed is not asked any more`; !strings.Contains(b.log(), want) {
		t.Errorf("no word of it: %s", b.log())
	}
	two.set("/c", 500)
	b.becomes("u", "0")
	set("/b")
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("with the check that passes requests go to %q", got)
	}
	set("/a", "/b")
	b.becomes("u", "1")
	one.set("/a", 0)
	b.becomes("u", "0 1")
	b.set("u", servers)
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	if n := len(b.c.of) + len(b.c.probers); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// TestSeveralMandatory: a new server has to pass those of its checks that are mandatory, and no others.
func TestSeveralMandatory(t *testing.T) {
	one := newByPath(t)
	one.set("/a", 500)
	b := newBench(t)
	must, may := healthChecks("mandatory", "/a"), healthChecks("fails=1000000", "/b")
	one.set("/b", 500)
	for i, checks := range []string{must + may, may + must} {
		name := fmt.Sprint("u", i)
		b.set(name, checks+"server "+one.addr+";")
		b.until("the one check to fail", func() bool { return strings.Count(b.log(), "/a), the last") > i })
		if got := b.picks(name); got != "" {
			t.Errorf("%q: requests go to %q", checks, got)
		}
	}
	one.set("/a", 0)
	b.becomes("u0", "0")
	b.becomes("u1", "0")
}

// TestSeveralPanic: for a panic a server is ill if one of its checks says so.
func TestSeveralPanic(t *testing.T) {
	one, two := newByPath(t), newByPath(t)
	b := newBench(t)
	b.set("u", healthChecks("", "/a", "/b")+"panic_threshold 60%; server "+one.addr+"; server "+two.addr+";")
	one.set("/a", 500)
	b.until("a panic", func() bool { return b.upstream("u").Panics() })
	one.set("/b", 500)
	b.until("both checks to fail", func() bool {
		return strings.Contains(b.log(), one.addr+" is unhealthy: it has failed 1 checks (http u/b)")
	})
	one.set("/a", 0)
	b.until("one to pass", func() bool { return strings.Contains(b.log(), "but not yet all") })
	if got := b.picks("u"); got != "0 1" || !b.upstream("u").Panics() {
		t.Errorf("requests go to %q", got)
	}
	one.set("/b", 0)
	b.until("no panic", func() bool { return !b.upstream("u").Panics() })
	two.set("/b", 500)
	b.until("a panic", func() bool { return b.upstream("u").Panics() })
	b.set("u", healthChecks("", "/a", "/b")+"panic_threshold 50%; server "+one.addr+"; server "+two.addr+";")
	if got := b.picks("u"); got != "0" {
		t.Errorf("with half of the servers required requests go to %q", got)
	}
}

// TestSeveralIll: a server that fails one check is ill, also while it has to pass another one yet; one that only has to is neither.
func TestSeveralIll(t *testing.T) {
	one, two := newByPath(t), newByPath(t)
	one.set("/b", 500)
	b := newBench(t)
	b.set("u", healthChecks("mandatory passes=1000000", "/a")+healthChecks("", "/b")+"panic_threshold 60%; server "+one.addr+"; server "+two.addr+";")
	b.until("a panic", func() bool { return b.upstream("u").Panics() })
	if got := b.picks("u"); got != "0" {
		t.Errorf("in a panic requests go to %q", got)
	}
}

// TestSeveralApart: what one check has found is nothing to another one of the same server, nor to other upstreams that share that one;
// only a check that takes the place of another takes over what that has found.
func TestSeveralApart(t *testing.T) {
	one := newByPath(t)
	one.set("/a", 500)
	b := newBench(t)
	server := "server " + one.addr + ";"
	b.set("u", healthChecks("", "/a")+server)
	b.becomes("u", "")
	const slow, slower = "health_check interval=1h uri=/b host=h; ", "health_check interval=2h passes=2 uri=/b host=h; "
	b.set("u", healthChecks("", "/a")+slow+server) // one more
	b.set("v", slow+server)
	if got := b.picks("v"); got != "0" {
		t.Errorf("of an upstream that shares the new check requests go to %q", got)
	}
	b.set("v", "")
	b.set("u", healthChecks("", "/a")+slower+server) // the other one changes
	one.set("/a", 0)
	b.becomes("u", "0")

	one.set("/a", 500)
	b.becomes("u", "")
	b.set("u", "health_check interval=1h uri=/a; "+slower+server) // the one that fails changes
	if got := b.picks("u"); got != "" {
		t.Errorf("after the check that failed has changed requests go to %q", got)
	}
	one.set("/c", 500)                                            // so that it does not pass before it is looked at
	b.set("u", "health_check interval=1h uri=/c; "+slower+server) // to another one altogether
	if got := b.picks("u"); got != "" {
		t.Errorf("after another check has taken its place requests go to %q", got)
	}
	b.set("u", slower+server)
	if got := b.picks("u"); got != "0" {
		t.Errorf("without it requests go to %q", got)
	}
}

// TestSeveralAtOnce: a change that ends a panic and what has failed bars nobody for a moment.
func TestSeveralAtOnce(t *testing.T) {
	one := newByPath(t)
	one.set("/a", 500)
	b := newBench(t)
	servers := strings.Repeat("server "+one.addr+"; ", 300)
	b.set("u", healthChecks("", "/b")+servers)
	states := b.upstream("u").Servers
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			for _, s := range states {
				if s.State.Barred() {
					n++
				}
			}
		}
	}()
	for range 5 {
		b.set("u", healthChecks("", "/a", "/b")+"panic_threshold 100%; "+servers)
		b.until("a panic", func() bool { return b.upstream("u").Panics() })
		b.set("u", healthChecks("", "/b")+servers)
	}
	close(stop)
	if n := <-done; n > 0 {
		t.Errorf("servers were seen barred %d times", n)
	}
}

// TestSeveralStress: whatever changed and failed before, in the end exactly those servers are barred that fail one of their checks,
// unless their upstream panics.
func TestSeveralStress(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	dice := rand.New(rand.NewPCG(seed, 0))
	b := newBench(t)
	backends := map[string]*byPath{}
	var addrs []string
	for range 3 {
		o := newByPath(t)
		backends[o.addr] = o
		addrs = append(addrs, o.addr)
	}
	paths := []string{"/a", "/b", "/c", "/d"}
	const upstreams = 4
	for range 400 {
		switch dice.IntN(5) {
		case 0:
			backends[addrs[dice.IntN(3)]].set(paths[dice.IntN(4)], []int{0, 500}[dice.IntN(2)])
			continue
		case 1:
			time.Sleep(time.Millisecond)
			continue
		}
		body := ""
		for range dice.IntN(5) {
			params := []string{"", "host=h", "host=h mandatory", "fails=2", "interval=7ms host=h"}[dice.IntN(5)]
			body += healthChecks(params, paths[dice.IntN(4)])
		}
		for range dice.IntN(4) {
			body += "server " + addrs[dice.IntN(3)] + []string{";", ";", " down;"}[dice.IntN(3)]
		}
		if !strings.Contains(body, "server ") {
			body = "" // deletes it
		} else if dice.IntN(3) == 0 {
			body += fmt.Sprintf("panic_threshold %d%%;", 1+dice.IntN(100))
		}
		name := fmt.Sprint("u", dice.IntN(upstreams))
		if body != "" || b.upstream(name) != nil {
			b.set(name, body)
		}
	}
	wrong := func() string {
		for i := range upstreams {
			u := b.upstream(fmt.Sprint("u", i))
			if u == nil {
				continue
			}
			ill := make([]bool, len(u.Servers))
			asked, well := 0, 0
			for k, s := range u.Servers {
				if !checked(u, s) {
					continue
				}
				for _, check := range u.Checks {
					ill[k] = ill[k] || backends[s.Label].get(check.URI) == 500
				}
				if asked++; !ill[k] {
					well++
				}
			}
			panics := well*100 < u.PanicBelow*asked
			for k, s := range u.Servers {
				if s.State.Barred() != (ill[k] && !panics) || u.Panics() != panics {
					return fmt.Sprintf("server %d of %s is barred: %v, ill: %v; panic: %v", k, u.AppendBody(nil), s.State.Barred(), ill[k], u.Panics())
				}
			}
		}
		return ""
	}
	for end := time.Now().Add(deadline); wrong() != ""; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("seed %d: %s", seed, wrong())
		}
	}
}

// TestSeveralMost: there is a bound, and a word about it.
func TestSeveralMost(t *testing.T) {
	body := "server 127.0.0.1:1;"
	for i := range upstream.MaxChecks {
		body += fmt.Sprintf("health_check uri=/%d; health_check uri=/%d;", i, i)
	}
	parse := func(body string, brief bool) error {
		ds, err := conf.Parse("t", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		_, err = upstream.ParseBlock("u", ds, &upstream.Options{Brief: brief})
		return err
	}
	if err := parse(body, false); err != nil {
		t.Error(err)
	}
	if err := parse(body, true); err != upstream.ErrLengthy {
		t.Errorf("in brief: %v", err)
	}
	const want = `"health_check" directive is one too many, an upstream has at most 32 different ones`
	if err := parse(body+"\nhealth_check uri=/x;", false); err == nil || err.Error() != "t:2:1: "+want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestSeveralRows: the status page has a row for each check.
func TestSeveralRows(t *testing.T) {
	one := newByPath(t)
	one.set("/b", 500)
	b := newBench(t)
	b.set("u", healthChecks("", "/a", "/b")+"server "+one.addr+";")
	b.becomes("u", "")
	rows := b.c.statuses(b.store.Load(), "")
	if len(rows) != 2 || rows[0].title != "http u/a" || !rows[0].up || rows[1].title != "http u/b" || rows[1].up || rows[1].index != 1 {
		t.Errorf("rows %+v", rows)
	}
}
