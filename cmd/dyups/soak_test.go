package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakChanges is a million in "make soak".
var soakChanges = flag.Int("soak.changes", 20_000, "how many changes TestSoak makes")

const (
	soakClients = 4
	soakBatch   = 50      // changes that a client sends before it reads the answers
	soakGrowth  = 6 << 20 // bytes of resident memory between the middle of the storm and its end
	soakSlack   = 64      // descriptors more or less: idle connections come and go
	soakFew     = 8       // goroutines more or less: workers come and go, checks are under way
)

// storm posts changes of all kinds on one connection: of a client's own upstreams, so that it knows what is there.
type storm struct {
	w       *wire
	name    string
	servers []string
	n       int
}

// change gives the next change as a request.
func (s *storm) change() string {
	method, path, body := "POST", "/upstream/"+s.name, ""
	switch s.n % 5 {
	case 0: // replaced
		body = fmt.Sprintf("server %s; server %s; keepalive 8;", s.servers[0], s.servers[1])
	case 1: // reweighed
		body = fmt.Sprintf("server %s weight=%d; server %s; least_conn;", s.servers[0], 2+s.n%7, s.servers[1])
	case 2: // one more, and a ring
		body = fmt.Sprintf("hash $uri consistent; server %s; server %s; server %s;", s.servers[0], s.servers[1], s.servers[2])
	case 3: // a new one, whose server is asked for as long as it is there
		path = fmt.Sprintf("/upstream/%s-%d", s.name, s.n)
		body = "server " + s.servers[s.n%3] + " max_conns=100; queue 10; check interval=1000 type=tcp;"
	case 4: // and away
		method, path = "DELETE", fmt.Sprintf("/upstream/%s-%d", s.name, s.n-1)
	}
	s.n++
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
}

// run sends n changes, many at a time, and wants each acknowledged.
func (s *storm) run(n int) error {
	for n > 0 {
		batch := min(n, soakBatch)
		n -= batch
		var b strings.Builder
		for range batch {
			b.WriteString(s.change())
		}
		s.w.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(s.w, b.String()); err != nil {
			return err
		}
		for range batch {
			resp, err := http.ReadResponse(s.w.r, nil)
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err
			}
			if resp.StatusCode != 200 {
				return fmt.Errorf("change %d of %s: status %d", s.n, s.name, resp.StatusCode)
			}
		}
	}
	return nil
}

// usage is what a process holds.
type usage struct {
	rss              int64
	threads, descrip int
	goroutines       int
}

// goroutines is how many the process says that it has.
func (p *proc) goroutines() int {
	p.t.Helper()
	var v struct{ Goroutines int }
	if err := json.Unmarshal([]byte(mustAPI(p.t, p.addr("api"), "GET", "/status", "")), &v); err != nil || v.Goroutines == 0 {
		p.t.Fatalf("goroutines %d: %v", v.Goroutines, err)
	}
	return v.Goroutines
}

func (p *proc) usage() (u usage) {
	p.t.Helper()
	u.rss = p.rss()
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		p.t.Fatal(err)
	}
	u.descrip = len(fds)
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		p.t.Fatal(err)
	}
	u.threads = len(tasks)
	u.goroutines = p.goroutines()
	return u
}

// TestSoak: a storm of changes under load leaves the process as it was: memory, descriptors, goroutines and threads do not grow from the
// first part of it to the end, no request fails, and the table holds what the last changes say.
func TestSoak(t *testing.T) {
	changes := *soakChanges
	servers := []string{named(t, "one"), named(t, "two"), named(t, "three")}
	p := serve(t, "dyups_read_msg_timeout 50ms; keepalive_requests 1000000000;\n"+upstreamBlock("steady", servers...)+edge, noSlack)
	hosts := []string{"steady"}
	bodies := map[string][]string{"steady": {"one", "two", "three"}}
	storms := make([]*storm, soakClients)
	for i := range storms {
		s := &storm{w: dial(t, p.addr("api")), name: fmt.Sprintf("u%d", i), servers: servers}
		s.w.r = bufio.NewReaderSize(s.w.Conn, 64<<10)
		storms[i] = s
		if err := s.run(1); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, s.name)
		bodies[s.name] = bodies["steady"]
	}
	l := startLoad(t, p.addr("proxy"), 2, hosts, wants(bodies))
	part := func(n int) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, len(storms))
		for i, s := range storms {
			wg.Go(func() { errs[i] = s.run(n / len(storms)) })
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	part(changes / 4)
	before := p.usage()
	part(changes / 2)
	middle := p.usage()
	part(changes / 4)
	after := p.usage()
	l.wellServed(t)
	t.Logf("after %d, %d and %d changes: resident %d, %d and %d KiB, %d, %d and %d descriptors, %d, %d and %d threads, %d, %d and %d goroutines",
		changes/4, changes*3/4, changes, before.rss>>10, middle.rss>>10, after.rss>>10,
		before.descrip, middle.descrip, after.descrip, before.threads, middle.threads, after.threads,
		before.goroutines, middle.goroutines, after.goroutines)
	if grown := min(middle.rss, after.rss) - before.rss; grown > soakGrowth && !raceEnabled {
		t.Errorf("resident memory grew by %d KiB", grown>>10)
	}
	if d := after.descrip - before.descrip; d > soakSlack {
		t.Errorf("%d more descriptors", d)
	}
	p.until("goroutines to be as few as before", func() bool { return p.goroutines() <= before.goroutines+soakFew })
	if d := after.threads - before.threads; d > 8 {
		t.Errorf("%d more threads", d)
	}
	list := strings.Fields(mustAPI(t, p.addr("api"), "GET", "/list", ""))
	if len(list) > 1+2*len(storms) {
		t.Errorf("%d upstreams are left: %q", len(list), list)
	}
}
