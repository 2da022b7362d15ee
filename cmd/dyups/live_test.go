package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Tests of changes while requests flow: reload, commands, backends that die.

// edge is a proxy by Host and an interface, beside the upstreams a test adds.
const edge = `
server { listen 127.0.0.1:{proxy}; location / { proxy_pass http://$host; } }
server { listen 127.0.0.1:{api}; location / { dyups_interface; } }
`

func upstreamBlock(name string, addrs ...string) string {
	return "upstream " + name + " { server " + strings.Join(addrs, "; server ") + "; }\n"
}

// wants makes the check of a load: status 200, and a body that the host may give.
func wants(bodies map[string][]string) func(host string, a answer) string {
	return func(host string, a answer) string {
		for _, b := range bodies[host] {
			if a.status == 200 && a.body == b {
				return ""
			}
		}
		return fmt.Sprintf("host %s: %d %q", host, a.status, a.body)
	}
}

// TestReloadUnderLoad reloads again and again, with upstreams, servers and a listener that come and go.
func TestReloadUnderLoad(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	p := serve(t, upstreamBlock("a", one)+upstreamBlock("b", two)+edge)
	l := startLoad(t, p.addr("proxy"), 8, []string{"a", "b"}, wants(map[string][]string{"a": {"one", "two"}, "b": {"one", "two"}}))
	for i := range 20 {
		text := globals + "http { access_log off;\n" + edge
		switch i % 4 {
		case 0:
			text += upstreamBlock("b", one) + upstreamBlock("a", two, one)
		case 1:
			text += upstreamBlock("a", one) + upstreamBlock("b", one, two) + upstreamBlock("c", one)
		case 2: // one more listener
			text += upstreamBlock("a", one) + upstreamBlock("b", two) + "server { listen 127.0.0.1:{more}; return 204; }\n"
		case 3: // names of the virtual server change hands
			text += upstreamBlock("a2", one) + upstreamBlock("b", two) +
				"server { listen 127.0.0.1:{proxy}; server_name a; location / { proxy_pass http://a2; } }\n"
		}
		p.write("dyups.conf", text+"}\n")
		p.reload()
		want := i%4 == 2
		c, err := net.Dial("tcp", p.addr("more"))
		if err == nil {
			c.Close()
		}
		if want != (err == nil) {
			t.Errorf("after reload %d the extra listener: %v", i, err)
		}
	}
	l.wellServed(t)
}

// TestRefusedReload: a configuration that is wrong changes nothing, and the log says where it is wrong.
func TestRefusedReload(t *testing.T) {
	one := named(t, "one")
	p := serve(t, upstreamBlock("a", one)+edge)
	p.mayComplain = true
	mustAPI(t, p.addr("api"), "POST", "/upstream/posted", "server "+one+";")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(text, wantLog string) {
		t.Helper()
		p.write("dyups.conf", globals+text)
		seen := strings.Count(p.errorLog(), wantLog)
		p.signal(syscall.SIGHUP)
		p.until("the complaint "+wantLog, func() bool { return strings.Count(p.errorLog(), wantLog) > seen })
		for host, want := range map[string]string{"a": "one", "posted": "one"} {
			if a := get(t, p.addr("proxy"), host); a.status != 200 || a.body != want {
				t.Errorf("after %q host %s: %d %q", text, host, a.status, a.body)
			}
		}
	}
	f("http {\n  servr { }\n}\n", "dyups.conf:7:3: unknown directive \"servr\"")
	f("http { server { listen 127.0.0.1:{proxy};\n", "dyups.conf:7:1: unexpected end of file")
	f("http { upstream a { server 127.0.0.1:99999; } }\n", "dyups.conf:6:28: invalid port")
	f("http { server { listen "+taken.Addr().String()+"; } }\n", taken.Addr().String())
	f("error_log /nonexistent/error.log;\nhttp { }\n", `cannot open error log "/nonexistent/error.log"`)

	// A good one afterwards is taken.
	p.write("dyups.conf", globals+"http { access_log off; "+upstreamBlock("b", one)+edge+"}\n")
	p.reload()
	if got := mustAPI(t, p.addr("api"), "GET", "/list", ""); got != "posted\nb\n" {
		t.Errorf("/list after a reload: %q", got)
	}
}

// TestUpdatesUnderLoad changes upstreams as fast as the interface answers; not one request may fail, and after the
// answer to a command no request may see what was before it.
func TestUpdatesUnderLoad(t *testing.T) {
	one, two, three := named(t, "one"), named(t, "two"), named(t, "three")
	p := serve(t, upstreamBlock("a", one)+upstreamBlock("b", one, two)+edge)
	l := startLoad(t, p.addr("proxy"), 8, []string{"a", "b"}, wants(map[string][]string{"a": {"one", "two", "three"}, "b": {"one", "two", "three"}}))
	api := p.addr("api")
	for i := range 300 {
		sole, body := one, "one"
		if i%2 == 1 {
			sole, body = two, "two"
		}
		mustAPI(t, api, "POST", "/upstream/a", "server "+sole+";")
		if a := get(t, p.addr("proxy"), "a"); a.body != body {
			t.Fatalf("after update %d: %q, want %q", i, a.body, body)
		}
		mustAPI(t, api, "POST", "/upstream/b", fmt.Sprintf("server %s weight=%d;server %s;ip_hash;keepalive 4;", three, i%5+1, sole))
		mustAPI(t, api, "POST", "/upstream/temp", "server "+three+" down; server "+sole+";")
		if a := get(t, p.addr("proxy"), "temp"); a.body != body {
			t.Fatalf("a new upstream in round %d: %d %q", i, a.status, a.body)
		}
		mustAPI(t, api, "DELETE", "/upstream/temp", "")
		if a := get(t, p.addr("proxy"), "temp"); a.status != 502 {
			t.Fatalf("a deleted upstream in round %d: %d %q", i, a.status, a.body)
		}
	}
	l.wellServed(t)
}

// TestInFlight: a request under way ends on the upstream it began with, whatever becomes of that.
func TestInFlight(t *testing.T) {
	arrived, release := make(chan bool, 8), make(chan bool)
	slow := origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first,")
		w.(http.Flusher).Flush()
		arrived <- true
		<-release
		io.WriteString(w, "last")
	})
	two := named(t, "two")
	p := serve(t, upstreamBlock("a", slow)+upstreamBlock("gone", slow)+edge)
	var waiting []*wire
	for _, host := range []string{"a", "gone", "a"} {
		w := dial(t, p.addr("proxy"))
		w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		<-arrived
		waiting = append(waiting, w)
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", "server "+two+";")
	mustAPI(t, p.addr("api"), "DELETE", "/upstream/gone", "")
	if a := get(t, p.addr("proxy"), "a"); a.body != "two" {
		t.Errorf("a new request: %q", a.body)
	}
	p.write("dyups.conf", globals+"http { access_log off; dyups_reload reset;\n"+edge+"}\n")
	p.signal(syscall.SIGHUP)
	p.until("the deletion by reload", func() bool { return api(t, p.addr("api"), "GET", "/list", "").status == 204 })
	close(release)
	for i, w := range waiting {
		if a := w.receive("GET"); a.status != 200 || a.body != "first,last" {
			t.Errorf("request %d in flight: %d %q", i, a.status, a.body)
		}
	}
	p.until("the end of the old configuration", func() bool { return strings.Contains(p.errorLog(), "exited with code 0") })
}

// TestKillBackend: one of two backends dies under load and comes back; no client notices.
func TestKillBackend(t *testing.T) {
	one := named(t, "one")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	var hits atomic.Int64
	handler := func(w http.ResponseWriter, _ *http.Request) { hits.Add(1); io.WriteString(w, "two") }
	srv := originOn(t, ln, handler)
	p := serve(t, "upstream a { server "+one+"; server "+addr+" max_fails=1 fail_timeout=1s; }\n"+edge)
	l := startLoad(t, p.addr("proxy"), 8, []string{"a"}, wants(map[string][]string{"a": {"one", "two"}}))
	for range 2 {
		before := hits.Load()
		p.until("requests to the backend", func() bool { return hits.Load() > before+20 })
		srv.Close()
		p.until("word of its death", func() bool { return strings.Contains(p.errorLog(), "connect() failed") })
		if ln, err = net.Listen("tcp", addr); err != nil {
			t.Fatal(err)
		}
		srv = originOn(t, ln, handler)
	}
	before := hits.Load()
	p.until("its return", func() bool { return hits.Load() > before+20 })
	l.wellServed(t)
}

// TestNoLiveUpstreams: with every backend gone the answer is 502, and the log says why in nginx's words.
func TestNoLiveUpstreams(t *testing.T) {
	p := serve(t, "upstream a { server 127.0.0.1:{dead1}; server 127.0.0.1:{dead2}; }\nupstream d { server 127.0.0.1:{dead1} down; }\n"+edge)
	for range 3 {
		if a := get(t, p.addr("proxy"), "a"); a.status != 502 {
			t.Errorf("all backends dead: %d", a.status)
		}
	}
	if a := get(t, p.addr("proxy"), "d"); a.status != 502 {
		t.Errorf("all backends down: %d", a.status)
	}
	const by = `, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://`
	for _, line := range []string{
		"no live upstreams while connecting to upstream" + by + `a/", host: "a"`,
		"no live upstreams while connecting to upstream" + by + `d/", host: "d"`,
		"upstream server temporarily disabled while connecting to upstream" + by + p.addr("dead1") + `/", host: "a"`,
	} {
		p.until("the log line "+line, func() bool { return strings.Contains(p.errorLog(), line) })
	}
}

// TestQuit: QUIT lets a request end, says so to its client, closes idle connections and takes no new ones.
func TestQuit(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	slow := origin(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-release
		io.WriteString(w, "done")
	})
	p := serve(t, upstreamBlock("a", slow)+edge)
	idle := dial(t, p.addr("api"))
	idle.send("GET /list HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.receive("GET")
	busy := dial(t, p.addr("proxy"))
	busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	p.signal(syscall.SIGQUIT)
	if rest := idle.all(); rest != "" {
		t.Errorf("an idle connection got %q", rest)
	}
	p.until("the listeners to close", func() bool {
		c, err := net.Dial("tcp", p.addr("proxy"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	if a := busy.receive("GET"); a.body != "done" || !a.closing {
		t.Errorf("the request in flight: %q, told that the connection closes: %v", a.body, a.closing)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if _, err := os.Stat(p.dir + "/pid"); err == nil {
		t.Error("the pid file is still there")
	}
}

// TestShutdownTimeout: worker_shutdown_timeout ends what does not end, after a reload and after QUIT.
func TestShutdownTimeout(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	slow := origin(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-release
	})
	defer close(release)
	p := prepare(t, "worker_shutdown_timeout 50ms;\n"+globals+"http { access_log off; "+upstreamBlock("a", slow)+edge+"}\n")
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	held := dial(t, p.addr("proxy"))
	held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	p.reload() // ends with the last request of the old configuration, which is this one
	if rest, err := io.ReadAll(held.r); len(rest) > 0 {
		t.Errorf("a request that was cut got %q, %v", rest, err)
	}
	w := dial(t, p.addr("proxy"))
	w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	p.signal(syscall.SIGQUIT)
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
