package main

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Requests that fail at one server while the table changes: the next try goes by the table in force.

// fickle is a server that answers its first requests and takes the next one to hang up when the test says so.
type fickle struct {
	*accepts
	arrived, release chan struct{}
}

func newFickle(t *testing.T, answers int) *fickle {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fickle{&accepts{Listener: ln}, make(chan struct{}), make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for n := 0; ; n++ {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if n == answers {
						close(f.arrived)
						select {
						case <-f.release:
						case <-time.After(patience):
						}
						return
					}
					_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfickle"))
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return f
}

func TestRetryByTheTableInForce(t *testing.T) {
	gone := countedOrigin(t, 0) // removed while the first try is under way
	f := func(name, before, after string, answers int, want string) {
		t.Run(name, func(t *testing.T) {
			bad, good := newFickle(t, answers), named(t, "good")
			fill := strings.NewReplacer("BAD", bad.Addr().String(), "GONE", gone.Addr().String(), "GOOD", good).Replace
			p := serve(t, "upstream a { "+fill(before)+" }\n"+edge)
			p.mayComplain = true // of what it is made to fail
			for range answers {
				if a := get(t, p.addr("proxy"), "a"); a.body != "fickle" {
					t.Fatalf("at first: %d %q", a.status, a.body)
				}
			}
			w := dial(t, p.addr("proxy"))
			w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			select {
			case <-bad.arrived:
			case <-time.After(patience):
				t.Fatal("the request did not arrive")
			}
			if after == "" {
				mustAPI(t, p.addr("api"), "DELETE", "/upstream/a", "")
			} else {
				mustAPI(t, p.addr("api"), "POST", "/upstream/a", fill(after))
			}
			close(bad.release)
			if a := w.receive("GET"); a.status != 200 && want != "" || a.status != 502 && want == "" || want != "" && a.body != want {
				t.Errorf("%d %q, want %q", a.status, a.body, want)
			}
			if n := gone.n.Load(); n != 0 {
				t.Errorf("%d connections to a server that was removed", n)
			}
			if n := bad.n.Load(); n != 1 {
				t.Errorf("%d connections to the server that failed", n)
			}
		})
	}
	const closed = "server BAD; server GONE;"
	f("another in its place", closed, "server BAD; server GOOD;", 0, "good")
	f("others in front", closed, "server GOOD; server BAD down; server GOOD weight=2;", 0, "good")
	f("all others", closed, "server GOOD;", 0, "good")
	f("by another method", closed, "hash $uri consistent; server GOOD; server BAD;", 0, "good")
	f("none", closed, "server BAD;", 0, "")
	f("deleted", closed, "", 0, "")
	// A connection that was kept may be at its end for no fault of its server, which gets the request again: not when it has left.
	f("alone", "server BAD;", "server GOOD;", 1, "good")
	f("alone, deleted", "server BAD;", "", 1, "")
}

// TestProxyHostForgotten: $proxy_host and $proxy_port are those of the location that proxies, and nobody's after an internal
// redirect away from it, whose target may still name them.
func TestProxyHostForgotten(t *testing.T) {
	p := serve(t, `
upstream u { server 127.0.0.1:1; }
server { listen 127.0.0.1:{proxy}; server_name path;
  error_page 502 =200 /e?$proxy_host;
  location / { proxy_pass http://u; }
  location = /e { return 200 "$args [$proxy_host:$proxy_port]"; } }
server { listen 127.0.0.1:{proxy}; server_name named;
  error_page 502 =200 @e;
  location / { proxy_pass http://u; }
  location @e { return 200 "[$proxy_host:$proxy_port]"; } }`)
	for host, want := range map[string]string{"path": "u [:]", "named": "[:]"} {
		if got := p.get(host); got != want {
			t.Errorf("%s answers %q, want %q", host, got, want)
		}
	}
}
