package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
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

// counted is a backend that answers with its address.
func counted(t *testing.T) *accepts {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &accepts{Listener: ln}
	originOn(t, l, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok "+l.Addr().String()) })
	return l
}

// TestConnectionsSurvive: updates that keep a server keep its idle connections, whatever becomes of its parameters, its
// place, and its neighbours.
func TestConnectionsSurvive(t *testing.T) {
	one, two, guest := counted(t), counted(t), counted(t)
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
			if a := get(t, p.addr("proxy"), "a"); a.status != 200 || !strings.HasPrefix(a.body, "ok ") {
				t.Fatalf("after update %d: %d %q", i, a.status, a.body)
			}
		}
	}
	if n, m := one.n.Load(), two.n.Load(); n != 1 || m != 1 {
		t.Errorf("servers that stayed saw %d and %d connections, want 1 each: requests came one after another", n, m)
	}
}

// TestOneWeightOfHundred: a server's weight changes among a hundred. Nobody opens a new connection to one of the others,
// and of the keys that a consistent hash places none moves but to that server or away from it, and not many times its share.
func TestOneWeightOfHundred(t *testing.T) {
	const servers, keys = 100, 600
	var all []*accepts
	for range servers {
		all = append(all, counted(t))
	}
	body := func(weight int) string {
		var b strings.Builder
		b.WriteString("hash $arg_k consistent; keepalive 100;\n")
		for i, l := range all {
			fmt.Fprintf(&b, "server %s", l.Addr())
			if i == 7 {
				fmt.Fprintf(&b, " weight=%d", weight)
			}
			b.WriteString(";\n")
		}
		return b.String()
	}
	p := serve(t, "keepalive_requests 100000;\nupstream a {"+body(1)+"}\n"+edge)
	w := dial(t, p.addr("proxy"))
	place := func() (at []string) {
		t.Helper()
		for k := range keys {
			w.send(fmt.Sprintf("GET /?k=%d HTTP/1.1\r\nHost: a\r\n\r\n", k))
			a := w.receive("GET")
			if a.status != 200 {
				t.Fatalf("key %d: %d", k, a.status)
			}
			at = append(at, a.body)
		}
		return at
	}
	before := place()
	opened := make([]int64, servers)
	for i, l := range all {
		opened[i] = l.n.Load()
	}
	seven := "ok " + all[7].Addr().String()
	for _, weight := range []int{3, 1, 2, 1} {
		mustAPI(t, p.addr("api"), "POST", "/upstream/a", body(weight))
		moved := 0
		for k, at := range place() {
			if at == before[k] {
				continue
			}
			if moved++; at != seven && before[k] != seven {
				t.Errorf("weight %d: key %d moves from %s to %s", weight, k, before[k], at)
			}
		}
		if weight == 1 && moved > 0 {
			t.Errorf("%d keys have not come back", moved)
		}
		if share := keys * weight / (servers + weight); moved > 4*share+4 {
			t.Errorf("weight %d: %d of %d keys move", weight, moved, keys)
		}
	}
	for i, l := range all {
		if n := l.n.Load(); i != 7 && n != opened[i] && opened[i] > 0 {
			t.Errorf("server %d has %d connections, %d before", i, n, opened[i])
		}
	}
}
