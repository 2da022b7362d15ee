package engine

import (
	"fmt"
	"testing"
)

// TestReloadTable: a request that began before a reload goes by what the table has when a server is picked for it, as any other, also
// where nothing else of the table has changed. An upstream that the reload takes away is still there for it, and for no other.
func TestReloadTable(t *testing.T) {
	a, b := newCounting(t, "a"), newCounting(t, "b")
	const http = `upstream u { server %s; } %s
server { listen 127.0.0.1:%d; location / { proxy_pass http://$arg_u; } }`
	v, w := fmt.Sprintf("upstream v { server %s; }", a.addr), fmt.Sprintf("upstream w { server %s; }", a.addr)
	r := newRig(t, 1, fmt.Sprintf(http, a.addr, v+w, 0))
	half := func(up string) *client {
		c := r.dial(0)
		c.send("POST /?u=" + up + " HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
		return c
	}
	changed, lost, later := half("u"), half("v"), half("w")
	wait(t, "three bodies to be waited for", func() bool { return r.in(phBody) == 3 })
	r.load(fmt.Sprintf(http, a.addr, w, 0))
	r.update("u", "server "+b.addr+";")
	changed.send("def")
	changed.want(200, "b")
	lost.send("def")
	lost.want(200, "a")
	r.load(fmt.Sprintf(http, b.addr, "", 0))
	later.send("def") // it began two reloads ago
	later.want(200, "a")
	later.send("GET /?u=w HTTP/1.1\r\nHost: x\r\n\r\n")
	later.want(502, "")
}

// TestReloadQueue: who waited in a queue before a reload looks for a server among those that there are after a later change, and holds
// up nobody.
func TestReloadQueue(t *testing.T) {
	g, b := newGate(t), newCounting(t, "b")
	http := fmt.Sprintf(queueConf, g.addr, "queue 4;")
	r := newRig(t, 1, http)
	first := r.ask("/0")
	g.next(t)
	waits := r.ask("/1")
	r.waiting(1)
	r.load(http)
	r.update("u", "server "+g.addr+" max_conns=1; server "+b.addr+"; queue 4;")
	r.ask("/2").want(200, "b")
	waits.want(200, "b")
	g.leave <- true
	first.want(200, "/0")
}
