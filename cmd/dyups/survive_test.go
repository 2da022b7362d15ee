package main

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
)

// accepts is a listener that counts what it accepted.
type accepts struct {
	net.Listener
	n atomic.Int64
}

func (l *accepts) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// TestConnectionsSurvive: updates that keep a server keep its idle connections, whatever becomes of its parameters, its
// place, and its neighbours.
func TestConnectionsSurvive(t *testing.T) {
	one, two, guest := countedOrigin(t, 1), countedOrigin(t, 2), countedOrigin(t, 3)
	addr := func(l *accepts) string { return l.Addr().String() }
	p := serve(t, "dyups_read_msg_timeout 10ms;\n"+upstreamBlock("a", addr(one), addr(two))+edge)
	for i := range 200 {
		body := fmt.Sprintf("server %s weight=%d; server %s max_conns=%d; keepalive %d;", addr(one), 1+i%3, addr(two), 100+i, 8+i%8)
		switch i % 4 {
		case 1:
			body = fmt.Sprintf("least_conn; server %s fail_timeout=%ds; server %s;", addr(two), 1+i, addr(one))
		case 2:
			body = fmt.Sprintf("server %s; server %s; server %s;", addr(one), addr(guest), addr(two))
		}
		mustAPI(t, p.addr("api"), "POST", "/upstream/a", body)
		for range 3 {
			if a := get(t, p.addr("proxy"), "a"); a.status != 200 {
				t.Fatalf("after update %d: %d %q", i, a.status, a.body)
			}
		}
	}
	if n, m := one.n.Load(), two.n.Load(); n != 1 || m != 1 {
		t.Errorf("servers that stayed saw %d and %d connections, want 1 each: requests came one after another", n, m)
	}
}
