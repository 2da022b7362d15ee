package health

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
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
		b.mu.Lock()
		status := b.of[r.URL.Path]
		b.mu.Unlock()
		w.WriteHeader(max(status, 200))
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
		return strings.Contains(b.log(), one.addr+" is unhealthy: it has failed 1 checks (http /a)")
	})
	one.set("/b", 0)
	b.until("the one to pass", func() bool {
		return strings.Contains(b.log(), "server "+one.addr+" is healthy again by one check, not by all: it has passed 1 checks (http /b)")
	})
	if got := b.picks("u"); got != "1" {
		t.Errorf("while one of two checks fails requests go to %q", got)
	}
	set("/a", "/b", "/c") // one more, and it passes
	if got := b.picks("u"); got != "1" {
		t.Errorf("with a third check requests go to %q", got)
	}
	b.until("it to pass", func() bool {
		return strings.Contains(b.log(), one.addr+" is healthy again by one check, not by all: it has passed 1 checks (http /c)")
	})
	set("/b", "/c") // without the one that fails
	if got := b.picks("u"); got != "0 1" {
		t.Errorf("without the check that fails requests go to %q", got)
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
		b.until("the one check to fail", func() bool { return strings.Count(b.log(), "(http /a), the last") == 1 })
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
		return strings.Contains(b.log(), one.addr+" is unhealthy: it has failed 1 checks (http /b)")
	})
	one.set("/a", 0)
	b.until("one to pass", func() bool { return strings.Contains(b.log(), "by one check, not by all") })
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

// TestSeveralRows: the status page has a row for each check.
func TestSeveralRows(t *testing.T) {
	one := newByPath(t)
	one.set("/b", 500)
	b := newBench(t)
	b.set("u", healthChecks("", "/a", "/b")+"server "+one.addr+";")
	b.becomes("u", "")
	rows := b.c.statuses(b.store.Load(), "")
	if len(rows) != 2 || rows[0].uri != "/a" || !rows[0].up || rows[1].uri != "/b" || rows[1].up || rows[1].index != 1 {
		t.Errorf("rows %+v", rows)
	}
}
