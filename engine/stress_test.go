package engine

import (
	"bufio"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyups/upstream"
)

var (
	stressSeed = flag.Uint64("stress.seed", 0, "seed of TestStress; 0: another each time")
	stressTime = flag.Duration("stress.time", 3*time.Second, "how long TestStress runs")
)

// Fields by which a request is known at the backend and its answer at the client.
const (
	tokField = "X-Tok" // the request's own token; its answer's body begins with it
	lenField = "X-Len" // bytes of its body
)

// stress is one run: many clients and three backends that misbehave at random, and an upstream that is replaced all the time.
// What is decided at random depends on seed and token alone; the order of events is the machine's.
type stress struct {
	t     *testing.T
	seed  uint64
	r     *rig
	right atomic.Int64 // answers by a backend, to the right client
	own   atomic.Int64 // answers of our own
}

func (s *stress) errorf(format string, args ...any) {
	s.t.Errorf("-stress.seed=%d: "+format, append([]any{s.seed}, args...)...)
}

// rand makes the choices for one name.
func (s *stress) rand(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

// backend starts an origin that does anything a server may do, and some things that it may not.
func (s *stress) backend(name string) string {
	return origin(s.t, func(c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil || !s.answer(c, req, s.rand(name+req.Header.Get(tokField))) {
				return
			}
		}
	})
}

// body reads a request's body: what comes to its end must be what the client sent, or nothing after a 413.
func (s *stress) body(req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	got, want := strconv.Itoa(len(body)), req.Header.Get(lenField)
	foreign := strings.Trim(string(body), "b") // of another request
	if foreign != "" || got != want && (len(body) > 0 || req.URL.Path != "/413") {
		s.errorf("%s %s %s: a body of %s bytes at the backend, sent were %s; %.60q", req.Header.Get(tokField), req.Method, req.URL.Path, got, want, foreign)
	}
}

// answer answers one request; false ends the connection.
func (s *stress) answer(c net.Conn, req *http.Request, rnd *rand.Rand) bool {
	tok, how := req.Header.Get(tokField), rnd.IntN(14)
	head := tokField + ": " + tok + "\r\n"
	send := func(format string, args ...any) bool {
		_, err := fmt.Fprintf(c, format, args...)
		return err == nil
	}
	if how > 2 {
		s.body(req)
	}
	if req.Method == "HEAD" {
		return send("HTTP/1.1 200 OK\r\n%sContent-Length: 99\r\n\r\n", head) && how > 3
	}
	whole := func(status int) bool {
		return send("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, head, len(tok), tok)
	}
	switch how {
	case 0: // nothing
		return false
	case 1: // an early answer, and gone
		whole(413)
		return false
	case 2: // an early answer
		ok := whole(200)
		s.body(req)
		return ok
	case 3:
		send("HTTP/1.1 200 OK\r\n%sContent-Le", head)
		return false
	case 4:
		send("HTTP/1.1 200 OK\r\n%sContent-Length: 300000\r\n\r\n%s", head, tok+strings.Repeat("x", 1000))
		return false
	case 5:
		return whole([]int{500, 503, 404, 502}[rnd.IntN(4)])
	case 6:
		ok := send("HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", head, len(tok), tok)
		for range rnd.IntN(20) {
			n := 1 + rnd.IntN(30000)
			ok = ok && send("%x\r\n%s\r\n", n, strings.Repeat("z", n))
		}
		return ok && send("0\r\n\r\n")
	case 7:
		send("HTTP/1.1 200 OK\r\n%s\r\n%s", head, tok)
		return false
	case 8: // more than its body: the connection must not be used again
		return send("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\n%s: stray\r\nContent-Length: 0\r\n\r\n", head, len(tok), tok, tokField)
	case 9: // too late, if proxy_read_timeout is short
		if rnd.IntN(4) == 0 {
			_, _ = c.Read(make([]byte, 1)) // until the engine gives up
			return false
		}
		return send("HTTP/1.1 103 Early Hints\r\n\r\n") && whole(200)
	}
	return whole(200)
}

// request makes a random request: its method, and head and body as they go on the wire.
func (s *stress) request(tok string, rnd *rand.Rand) (method, path, wire string) {
	path = []string{"/", "/stream", "/named", "/page", "/413", "/file"}[rnd.IntN(6)]
	method = []string{"GET", "PUT", "POST", "HEAD"}[rnd.IntN(4)]
	n := 0
	if method == "PUT" || method == "POST" {
		n = rnd.IntN(3) * rnd.IntN(150000)
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: b\r\n%s: %s\r\n%s: %d\r\n", method, path, tokField, tok, lenField, n)
	switch {
	case method == "GET" || method == "HEAD":
		return method, path, head + "\r\n"
	case rnd.IntN(2) == 0:
		return method, path, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, n, strings.Repeat("b", n))
	}
	var b strings.Builder
	b.WriteString(head + "Transfer-Encoding: chunked\r\n\r\n")
	for n > 0 {
		k := min(n, 1+rnd.IntN(20000))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", k, strings.Repeat("b", k))
		n -= k
	}
	return method, path, b.String() + "0\r\n\r\n"
}

// conn sends up to six requests over one connection; a random one of them may end it in one of several ways.
func (s *stress) conn(name string) {
	nc, err := net.Dial("tcp", s.r.addr(0))
	if err != nil {
		s.errorf("%v", err)
		return
	}
	_ = nc.SetDeadline(time.Now().Add(deadline))
	rnd, br := s.rand(name), bufio.NewReader(nc)
	var sends sync.WaitGroup
	defer sends.Wait()
	defer nc.Close()
	for k := range 6 {
		tok := fmt.Sprintf("%s-%d", name, k)
		method, path, wire := s.request(tok, rnd)
		end, piece := rnd.IntN(20), 100+rnd.IntN(50000)
		if end == 0 {
			wire = wire[:rnd.IntN(len(wire))]
		}
		sends.Wait()
		sends.Go(func() {
			var err error
			for rest := wire; err == nil && rest != ""; {
				n := min(len(rest), piece)
				_, err = io.WriteString(nc, rest[:n])
				rest = rest[n:]
			}
			if end == 1 && err == nil {
				_ = nc.(*net.TCPConn).CloseWrite()
			}
		})
		switch end {
		case 2:
			_ = nc.(*net.TCPConn).SetLinger(0)
			fallthrough
		case 0:
			if rnd.IntN(2) == 0 {
				sends.Wait()
			}
			return
		}
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || end == 3 {
			return
		}
		body, err := io.ReadAll(resp.Body)
		s.check(tok, method, path, resp, string(body), err)
		if err != nil || resp.Close {
			return
		}
	}
}

// check checks that an answer is the one to this request.
func (s *stress) check(tok, method, path string, resp *http.Response, body string, err error) {
	got := resp.Header.Get(tokField)
	switch {
	case got == "":
		s.own.Add(1)
		if path == "/file" && method == "GET" && resp.StatusCode == 200 && err == nil && body != strings.Repeat("f", stressFile) {
			s.errorf("%s: a file of %d bytes", tok, len(body))
		}
	case got != tok || method != "HEAD" && err == nil && !strings.HasPrefix(body, tok):
		s.errorf("%s %s %s got the answer to %s: %.60q", tok, method, path, got, body)
	default:
		s.right.Add(1)
	}
}

const stressFile = 600000

// TestStress runs everything against everything for some seconds and checks what must hold whatever happens: no answer
// reaches another client, no body another length, and at the end nothing is left, be it a place on a server, a client, a
// backend connection outside the pools, a temporary file.
func TestStress(t *testing.T) {
	t.Run("ring", func(t *testing.T) { testStress(t, (*rig).needRing) })
	t.Run("calls", func(t *testing.T) { testStress(t, (*rig).noRing) })
}

func testStress(t *testing.T, mode func(*rig)) {
	s := &stress{t: t, seed: *stressSeed}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("f", stressFile)), 0o644); err != nil {
		t.Fatal(err)
	}
	var servers []string
	for _, name := range []string{"x", "y", "z"} {
		servers = append(servers, "server "+s.backend(name)+" fail_timeout=0;")
	}
	r := newRig(t, 2, `upstream b { `+strings.Join(servers, " ")+` }
client_body_temp_path `+dir+`/body; dyups_read_msg_timeout 20ms;
server {
    listen 127.0.0.1:0; root `+dir+`; client_max_body_size 250k; client_body_buffer_size 1k; proxy_read_timeout 200ms;
    send_timeout 2s; client_body_timeout 2s; client_header_timeout 2s; keepalive_timeout 2s; lingering_timeout 1s;
    location / { proxy_pass http://b; proxy_next_upstream error timeout http_500 http_503 non_idempotent; }
    location /stream { proxy_pass http://b; proxy_request_buffering off; proxy_next_upstream error timeout http_500; }
    location /named { proxy_pass http://b; proxy_intercept_errors on; error_page 404 500 502 503 504 @again; }
    location /page { proxy_pass http://b; proxy_intercept_errors on; error_page 404 500 502 503 504 /error; }
    location /413 { proxy_pass http://b; client_max_body_size 1k; error_page 413 @again; }
    location /error { echo error; }
    location /file { }
    location @again { proxy_pass http://b; }
}`)
	s.r = r
	mode(r)
	states := map[*upstream.State]string{}
	stop := make(chan struct{})
	var updates, clients sync.WaitGroup
	updates.Go(func() {
		rnd := s.rand("updates")
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			for _, srv := range r.store.Load().Lookup([]byte("b")).Servers {
				states[srv.State] = srv.Label
			}
			select {
			case <-stop:
				tick.Stop()
				return
			default:
				r.update("b", []string{"", "least_conn;"}[rnd.IntN(2)]+strings.Join(servers[rnd.IntN(len(servers)):], " "))
			}
		}
	})
	enough := func() bool { return s.right.Load() >= 100 && s.own.Load() >= 100 } // to mean anything
	end := time.Now().Add(*stressTime)
	late := end.Add(2 * deadline) // a slow machine takes longer
	for w := range 60 {
		clients.Go(func() {
			for i := 0; (time.Now().Before(end) || !enough() && time.Now().Before(late)) && !t.Failed(); i++ {
				s.conn(fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	clients.Wait()
	close(stop)
	updates.Wait()
	t.Logf("%d answers by backends, %d of our own", s.right.Load(), s.own.Load())
	if !enough() {
		s.errorf("too few answers to mean anything")
	}
	s.settled(states, dir)
}

// settled waits until the engine holds nothing for anybody any more.
func (s *stress) settled(states map[*upstream.State]string, dir string) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("-stress.seed=%d", s.seed)
		}
	}()
	wait(s.t, "the clients to be gone", func() bool { return s.r.clients() == 0 })
	wait(s.t, "the places on the servers to be given back", func() bool {
		n := int64(0)
		for st := range states {
			n += max(st.InFlight(), -st.InFlight())
		}
		return n == 0
	})
	wait(s.t, "the body files to be closed", func() bool { return openFiles(s.t, dir) == 0 })
	if left, err := os.ReadDir(filepath.Join(dir, "body")); err != nil || len(left) > 0 {
		s.errorf("%d body files left, %v", len(left), err)
	}
	s.r.e.each(func(l *Loop) {
		open := 0
		for _, c := range l.conns {
			if c == nil {
				continue
			}
			open++
			if c.kind == kindBackend && (!c.idle || c.ex != nil || c.out.len() > 0) {
				s.errorf("loop %d: a backend connection to %s is left", l.id, c.server.Label)
			}
		}
		if open != l.open {
			s.errorf("loop %d: counted %d descriptors, has %d", l.id, l.open, open)
		}
	})
}
