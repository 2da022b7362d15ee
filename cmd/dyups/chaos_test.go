package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The chaos test breaks backends in every way at once, on a seed, while the upstream changes.
var chaosSeed = flag.Uint64("chaos.seed", 0, "seed of TestChaos; 0: another each time")

// fault is how a backend behaves.
type fault int32

const (
	well   fault = iota
	slow         // answers after a while
	hangs        // takes requests and says nothing
	resets       // half an answer, then a reset
	shuts        // takes connections and closes them
	garble       // what it says is no HTTP
	gone         // refuses connections
	faults
)

// patient is a backend whose behaviour changes.
type patient struct {
	addr   string
	fault  atomic.Int32
	served atomic.Int64 // answers begun that were meant to be whole
	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

func newPatient(t *testing.T) *patient {
	p := &patient{addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), conns: map[net.Conn]bool{}}
	p.open(t)
	t.Cleanup(func() { p.shut(); p.wg.Wait() })
	return p
}

// open listens, if it does not yet.
func (p *patient) open(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		return
	}
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Errorf("a backend cannot come back: %v", err)
		return
	}
	p.ln = ln
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.mu.Unlock()
			p.wg.Go(func() {
				p.serve(c)
				c.Close()
				p.mu.Lock()
				delete(p.conns, c)
				p.mu.Unlock()
			})
		}
	})
}

// shut closes the listener and every connection.
func (p *patient) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		p.ln.Close()
		p.ln = nil
	}
	for c := range p.conns {
		c.Close()
	}
}

// become changes the behaviour. What was under way goes on as it began, except that connections of one that is gone end, and
// so do those of one that hung.
func (p *patient) become(t *testing.T, f fault) {
	was := fault(p.fault.Swap(int32(f)))
	if f == gone || was == hangs {
		p.shut()
	}
	if f != gone {
		p.open(t)
	}
}

// rightBody is the answer to a path: the path, a body that goes by it, and a sum over both.
func rightBody(path string) string {
	text := path + " " + strings.Repeat(path, 400)
	return fmt.Sprintf("%s %08x", text, crc32.ChecksumIEEE([]byte(text)))
}

func (p *patient) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body := rightBody(req.URL.Path)
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		switch fault(p.fault.Load()) {
		case slow:
			time.Sleep(30 * time.Millisecond)
		case hangs:
			_, _ = io.Copy(io.Discard, r) // until somebody closes it
			return
		case resets:
			_, _ = io.WriteString(c, answer[:len(answer)/2])
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		case shuts, gone:
			return
		case garble:
			_, _ = io.WriteString(c, "220 mail.test ESMTP\r\n\r\n")
			return
		}
		p.served.Add(1)
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// outcomes are the requests of the chaos that did not get what they asked for, with what has to be in the log about each.
type outcomes struct {
	sync.Mutex
	right    int
	explain  map[string][]string // path: one of these has to be in a line that names it
	mistakes []string
}

var (
	why502 = []string{"connect() failed", "upstream prematurely closed connection", "recv() failed", "send() failed", "writev() failed",
		"no live upstreams", "upstream sent invalid header", "upstream timed out"}
	why504 = []string{"upstream timed out"}
	whyCut = []string{"upstream prematurely closed connection while reading upstream", "recv() failed", "upstream timed out"}
)

func (o *outcomes) wrong(format string, args ...any) {
	o.Lock()
	defer o.Unlock()
	o.mistakes = append(o.mistakes, fmt.Sprintf(format, args...))
}

// ask sends one request and judges what comes.
func (o *outcomes) ask(client *http.Client, addr, path string) {
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		o.wrong("%s: %v", path, err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	var why []string
	switch {
	case resp.StatusCode == 502:
		why = why502
	case resp.StatusCode == 504:
		why = why504
	case resp.StatusCode != 200:
		o.wrong("%s: status %d", path, resp.StatusCode)
		return
	case errors.Is(err, io.ErrUnexpectedEOF) && strings.HasPrefix(rightBody(path), string(body)): // cut, and right as far as it goes
		why = whyCut
	case err != nil || string(body) != rightBody(path):
		o.wrong("%s: %d bytes of a wrong answer, %v", path, len(body), err)
		return
	}
	o.Lock()
	defer o.Unlock()
	if why == nil {
		o.right++
	} else {
		o.explain[path] = why
	}
}

// unexplained gives the requests about which the log says nothing that explains what became of them.
func (o *outcomes) unexplained(log string) (paths []string) {
	said := map[string][]string{}
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, `request: "GET `); ok {
			path, _, _ := strings.Cut(rest, " ")
			said[path] = append(said[path], line)
		}
	}
	for path, why := range o.explain {
		if !slices.ContainsFunc(said[path], func(line string) bool {
			return slices.ContainsFunc(why, func(w string) bool { return strings.Contains(line, w) })
		}) {
			paths = append(paths, fmt.Sprintf("%s: want one of %q in the log, found %q", path, why, said[path]))
		}
	}
	return paths
}

// chaosBody is the definition of an upstream of some of the backends.
func chaosBody(ps []*patient, weight func(i int) int) string {
	var b strings.Builder
	for i, p := range ps {
		if w := weight(i); w > 0 {
			fmt.Fprintf(&b, "server %s weight=%d fail_timeout=1s;\n", p.addr, w)
		}
	}
	return b.String()
}

// TestChaos: 20 backends die, hang, refuse, reset, garble, slow down and come back, while servers are added, removed and
// reweighed. Every request gets a right answer, or one that is visibly none and that the log explains; in the end all is as if
// nothing had been.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	defer func() {
		if t.Failed() {
			t.Logf("repeat it with -chaos.seed=%d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	steps := 60
	if testing.Short() {
		steps = 20
	}
	ps := make([]*patient, 20)
	for i := range ps {
		ps[i] = newPatient(t)
	}
	all := func(int) int { return 1 }
	p := serve(t, "upstream u {\n"+chaosBody(ps, all)+`}
server { listen 127.0.0.1:{proxy}; proxy_connect_timeout 300ms; proxy_read_timeout 300ms; location / { proxy_pass http://u; } }
server { listen 127.0.0.1:{mark}; location / { proxy_pass http://$host; } }
server { listen 127.0.0.1:{api}; location / { dyups_interface; } }`)

	o := &outcomes{explain: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr, Timeout: patience}
			for i := 0; ctx.Err() == nil; i++ {
				o.ask(client, p.addr("proxy"), fmt.Sprintf("/c%d-%d", k, i))
			}
		})
	}
	for range steps {
		i, f := rng.IntN(len(ps)), fault(rng.IntN(int(faults)))
		ps[i].become(t, f)
		weights := make([]int, len(ps)) // half of them at least
		for i := range weights {
			weights[i] = max(0, rng.IntN(5)-1)
		}
		for range len(ps) / 2 {
			weights[rng.IntN(len(ps))] = 1 + rng.IntN(3)
		}
		if text := chaosBody(ps, func(i int) int { return weights[i] }); text != "" && rng.IntN(2) == 0 {
			mustAPI(t, p.addr("api"), "POST", "/upstream/u", text)
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	}
	for _, x := range ps {
		x.become(t, well)
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/u", chaosBody(ps, all))
	converge(t, p, ps)
	cancel()
	wg.Wait()

	for _, m := range o.mistakes[:min(10, len(o.mistakes))] {
		t.Error(m)
	}
	get(t, p.addr("mark"), "the.last.line")
	p.until("the log to be complete", func() bool { return strings.Contains(p.errorLog(), "resolve the.last.line") })
	for _, s := range o.unexplained(p.errorLog()) {
		t.Error(s)
	}
	even(t, p, ps)
	t.Logf("seed %d: %d right answers, %d that the log explains", seed, o.right, len(o.explain))
	if o.right == 0 || len(o.explain) == 0 && !testing.Short() {
		t.Error("there was no load, or no fault had an effect")
	}
}

// converge waits until every backend has served again and 200 requests in a row were right.
func converge(t *testing.T, p *proc, ps []*patient) {
	before := make([]int64, len(ps))
	for i, x := range ps {
		before[i] = x.served.Load()
	}
	p.until("all backends to serve again", func() bool {
		for i, x := range ps {
			if x.served.Load() == before[i] {
				return false
			}
		}
		return true
	})
	c := client(t, p.addr("proxy"))
	n := 0
	p.until("200 right answers in a row", func() bool {
		path := fmt.Sprintf("/n%d", rand.Int64())
		resp, err := c.Get("http://u" + path)
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(resp.Body); err == nil && (resp.StatusCode != 200 || string(body) != rightBody(path)) {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			resp.Body.Close()
		}
		if n++; err != nil {
			n = 0
		}
		return n == 200
	})
}

// even waits until every backend has its share again: of equal weights each one of 20 requests in turn.
func even(t *testing.T, p *proc, ps []*patient) {
	t.Helper()
	const rounds = 10
	var shares []int64
	p.until("even shares", func() bool {
		shares = shares[:0]
		before := make([]int64, len(ps))
		for i, x := range ps {
			before[i] = x.served.Load()
		}
		for range rounds * len(ps) {
			if a := get(t, p.addr("proxy"), "u"); a.status != 200 {
				t.Fatalf("status %d after the chaos", a.status)
			}
		}
		for i, x := range ps {
			shares = append(shares, x.served.Load()-before[i])
		}
		return slices.Min(shares) == rounds && slices.Max(shares) == rounds
	})
}
