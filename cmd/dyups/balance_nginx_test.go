package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The differential test of balancing: nginx and dyups read the same upstreams, get the same requests one after the other, and have
// to send them to the same servers, all tries included.
//
// Where a server fails, nginx lowers its weight for a while, so that the order of the others may differ (package lb); there it is
// compared how often each server is tried, to one request more or less, and exactly for those that fail. With requests that stay
// open the first of each server have to come in the same order; then servers that are equally loaded, or the ones that are left
// when others are full, may take turns in another: compared are the loads after each request under least_conn, and in the end, when
// every server is full, with max_conns.

// balanced is one generated upstream.
type balanced struct {
	name, block string
	counts      bool // compare how often, not in which order
	held        bool // requests stay open, so that max_conns and loads matter
	servers     int
}

// generateUpstreams makes n upstreams of live and dead addresses.
func generateUpstreams(rng *rand.Rand, n int, live, dead []string) []balanced {
	all := make([]balanced, n)
	for i := range all {
		u := &all[i]
		u.name = fmt.Sprintf("u%d", i)
		servers := append([]string{}, live...)
		rng.Shuffle(len(servers), func(a, b int) { servers[a], servers[b] = servers[b], servers[a] })
		servers = servers[:2+rng.IntN(len(servers)-2)]
		weighted := func(s string) string {
			if w := rng.IntN(6); w > 1 {
				s += fmt.Sprintf(" weight=%d", w)
			}
			return s
		}
		method, lines := "", []string{}
		add := func(s string) { lines = append(lines, "server "+s+";") }
		switch i % 8 {
		case 0: // round robin, one down
			for k, s := range servers {
				if s = weighted(s); k == 1 && len(servers) > 2 {
					s += " down"
				}
				add(s)
			}
		case 1, 2, 3:
			method = [...]string{"ip_hash;", "hash $arg_k;", "hash $arg_k consistent;"}[i%8-1]
			for k, s := range servers {
				if s = weighted(s); k == 2 {
					s += " down"
				}
				add(s)
			}
		case 4: // loads
			method, u.held = "least_conn;", true
			for _, s := range servers {
				add(s)
			}
		case 5: // one that fails
			u.counts = true
			for _, s := range servers {
				add(s)
			}
			add(fmt.Sprintf("%s max_fails=%d fail_timeout=1h", dead[rng.IntN(len(dead))], 1+rng.IntN(3)))
		case 6: // backups, of which two take over
			add(dead[0] + " down")
			add(dead[1] + " down")
			for _, s := range servers {
				add(weighted(s) + " backup")
			}
		case 7: // bounds
			u.held = true
			for _, s := range servers {
				add(fmt.Sprintf("%s max_conns=%d", s, 1+rng.IntN(3)))
			}
		}
		u.servers = len(lines)
		u.block = fmt.Sprintf("upstream %s { %s zone %s 64k; %s }\n", u.name, method, u.name, strings.Join(lines, " "))
	}
	return all
}

// asked is one request of the sequence.
type asked struct{ key, client string }

func generateRequests(rng *rand.Rand, n int) []asked {
	all := make([]asked, n)
	for i := range all {
		all[i].key = fmt.Sprintf("k%d", rng.IntN(1000))
		if all[i].client = fmt.Sprintf("%d.%d.%d.%d", 1+rng.IntN(220), rng.IntN(256), rng.IntN(256), rng.IntN(256)); i%4 == 3 {
			all[i].client = fmt.Sprintf("2001:db8:%x::%x", rng.IntN(1<<16), rng.IntN(1<<16))
		}
	}
	return all
}

// sequence sends the requests one after the other and gives the servers of each, as $upstream_addr lists them.
func sequence(t *testing.T, p *proc, host string, requests []asked) (addrs []string) {
	t.Helper()
	w := dial(t, p.addr("proxy"))
	defer w.Close()
	for _, q := range requests {
		w.send("GET /?k=" + q.key + " HTTP/1.1\r\nHost: " + host + "\r\nX-Real-IP: " + q.client + "\r\n\r\n")
		a := w.receive("GET")
		addrs = append(addrs, fmt.Sprintf("%s (%d)", a.head.Get("X-Addr"), a.status))
	}
	return addrs
}

// heldSequence sends requests that stay open and gives the server that each arrived at, or the status of the answer that came
// instead; then it lets all go.
func heldSequence(t *testing.T, p *proc, host string, n int, came <-chan string, leave chan<- bool) (addrs []string) {
	t.Helper()
	open := 0
	for range n {
		w := dial(t, p.addr("proxy"))
		defer w.Close()
		w.send("GET /hold HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		refused := make(chan string, 1)
		answered := make(chan bool)
		go func() {
			defer close(answered)
			if _, err := w.r.Peek(12); err == nil {
				line, _ := w.r.Peek(12)
				refused <- string(line)
			}
		}()
		select {
		case a := <-came:
			addrs = append(addrs, a)
			open++
		case s := <-refused:
			addrs = append(addrs, s)
		case <-time.After(patience):
			t.Fatalf("%s: a request arrives nowhere", host)
		}
		defer func() { <-answered }()
	}
	for range open {
		leave <- true
	}
	return addrs
}

func TestBalanceAgainstNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx"
	}
	if _, err := os.Stat(nginx); err != nil {
		t.Skip("nginx is not installed")
	}
	came, leave := make(chan string, 100), make(chan bool, 100)
	var live, dead []string
	for i := range 8 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", 10+i))
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		originOn(t, ln, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				came <- addr
				select {
				case <-leave:
				case <-time.After(patience):
				}
			}
		})
		live = append(live, addr)
		dead = append(dead, fmt.Sprintf("127.0.0.%d:%d", 30+i, freePort(t)))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	upstreams := generateUpstreams(rng, 50, live, dead)
	requests := generateRequests(rng, 40)

	text := strings.Replace(globals, "\n", "\nuser root;\n", 1)
	if os.Geteuid() != 0 {
		text = globals
	}
	text += "http { access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; keepalive_requests 100000;\n"
	for _, u := range upstreams {
		text += u.block
	}
	text += `server { listen 127.0.0.1:{proxy}; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;
	location / { proxy_pass http://$host; add_header X-Addr $upstream_addr always; } } }`
	start := func(bin string) *proc {
		p := prepare(t, text)
		p.mayComplain = true
		p.runBinary(bin, "-p", p.dir, "-c", filepath.Join(p.dir, "dyups.conf"), "-e", "error.log")
		p.waitReady()
		return p
	}
	theirs, ours := start(nginx), start(binary)
	for _, u := range upstreams {
		var want, got []string
		if u.held {
			n := 3*len(live) + 2 // no upstream takes more
			want, got = heldSequence(t, theirs, u.name, n, came, leave), heldSequence(t, ours, u.name, n, came, leave)
			compareLoads(t, u, want, got)
			continue
		}
		want, got = sequence(t, theirs, u.name, requests), sequence(t, ours, u.name, requests)
		if u.counts {
			compareCounts(t, u, want, got, dead)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%srequest %d of key %q, client %s: nginx %s, dyups %s", u.block, i, requests[i].key, requests[i].client, want[i], got[i])
				break
			}
		}
	}
}

// compareLoads compares where requests went that stayed open.
func compareLoads(t *testing.T, u balanced, want, got []string) {
	t.Helper()
	loads := func(all []string) string {
		n := map[string]int{}
		for _, a := range all {
			n[a]++
		}
		var list []string
		for a, k := range n {
			if strings.Contains(u.block, "least_conn") {
				a = "" // equals may take turns
			}
			list = append(list, fmt.Sprintf("%s %d", a, k))
		}
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	for i := range want {
		switch {
		case i < u.servers && want[i] != got[i]:
			t.Errorf("%srequest %d: nginx %s, dyups %s", u.block, i, want[i], got[i])
			return
		case strings.Contains(u.block, "least_conn") || i == len(want)-1:
			if w, g := loads(want[:i+1]), loads(got[:i+1]); w != g {
				t.Errorf("%sloads after request %d: nginx %s, dyups %s", u.block, i, w, g)
				return
			}
		}
	}
}

// compareCounts compares how often each server was tried.
func compareCounts(t *testing.T, u balanced, want, got []string, dead []string) {
	t.Helper()
	count := func(all []string) map[string]int {
		n := map[string]int{}
		for _, line := range all {
			addrs, status, _ := strings.Cut(line, " (")
			for a := range strings.SplitSeq(addrs, ", ") {
				n[a]++
			}
			n[status]++
		}
		return n
	}
	w, g := count(want), count(got)
	for a := range w {
		slack := 1
		for _, d := range dead {
			if a == d {
				slack = 0
			}
		}
		if d := w[a] - g[a]; d < -slack || d > slack {
			t.Errorf("%s%s is tried %d times by nginx, %d times by dyups", u.block, a, w[a], g[a])
		}
	}
	for a := range g {
		if _, ok := w[a]; !ok {
			t.Errorf("%s%s is tried %d times by dyups, never by nginx", u.block, a, g[a])
		}
	}
}
