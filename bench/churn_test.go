package bench

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

// serveAPI runs a stand-in for the interface until the test ends.
func serveAPI(t *testing.T, h fasthttp.RequestHandler) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &fasthttp.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestUpdater(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var bodies []string
	conns := make(map[uint64]bool)
	addr := serveAPI(t, func(rc *fasthttp.RequestCtx) {
		mu.Lock()
		defer mu.Unlock()
		if string(rc.Method()) != "POST" || string(rc.Path()) != "/upstream/b" {
			t.Errorf("got %s %s", rc.Method(), rc.Path())
		}
		bodies = append(bodies, string(rc.PostBody()))
		conns[rc.ConnID()] = true
		switch len(bodies) {
		case 3:
			rc.Error("refused", 400)
		case 6:
			cancel()
		}
	})
	s := newUpdater(addr, "b", [2]string{"first", "second"}).run(ctx, 100000)
	if s.Sent != 6 || s.Failed != 1 || !strings.Contains(s.FirstFailure, "status 400") || !strings.Contains(s.FirstFailure, "refused") {
		t.Fatalf("got %+v", s)
	}
	// In turn, and at the end what the configuration says.
	if got, want := strings.Join(bodies, " "), "second first second first second first first"; got != want {
		t.Fatalf("got bodies %q, want %q", got, want)
	}
	if len(conns) != 1 {
		t.Fatalf("used %d connections, want 1", len(conns))
	}
	if s.PerSecond <= 0 || s.P50us <= 0 || s.P99us < s.P50us || s.MaxUs < s.P99us {
		t.Fatalf("got times %+v", s)
	}
}

func TestUpdaterUnreachable(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Sends nothing but the last update, which fails.
	if s := newUpdater(addr, "b", [2]string{}).run(ctx, 10); s.Sent != 0 || s.Failed != 1 {
		t.Fatalf("got %+v", s)
	}
}
