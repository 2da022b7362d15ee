package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package start the real binary on real sockets of the loopback address. TestMain builds it once.

// binary is the program under test.
var binary string

// patience bounds every wait. Nothing is expected to take that long; it is what a hang costs.
const patience = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dyups-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "dyups")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// proc is one running dyups.
type proc struct {
	t      *testing.T
	dir    string         // its prefix
	ports  map[string]int // by name, see expand
	cmd    *exec.Cmd
	stderr *safeBuffer
	exited chan struct{} // closed when the process is gone
	err    error         // of Wait, valid after exited
	// mayComplain: what it writes to standard error, and [alert] or worse in its log, is no failure of the test.
	mayComplain bool
}

// placeholder is {name} in a configuration template: a port of the loopback address that is free when the test starts,
// the same for the same name. {dir} is the prefix.
var placeholder = regexp.MustCompile(`\{[a-z][a-z0-9]*\}`)

// expand fills in a template.
func (p *proc) expand(template string) string {
	return placeholder.ReplaceAllStringFunc(template, func(name string) string {
		name = name[1 : len(name)-1]
		if name == "dir" {
			return p.dir
		}
		if p.ports[name] == 0 {
			p.ports[name] = freePort(p.t)
		}
		return strconv.Itoa(p.ports[name])
	})
}

// addr is the address of a named port.
func (p *proc) addr(name string) string { return "127.0.0.1:" + p.expand("{"+name+"}") }

// given is every port that freePort gave away: the kernel may hand out one twice before it is bound.
var given sync.Map

// freePort finds a port below the ephemeral range, so that no outgoing connection of a test in parallel takes it before
// it is bound.
func freePort(t *testing.T) int {
	t.Helper()
	for port := 20000 + os.Getpid()%4000; port < 32000; port++ {
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// prepare makes a prefix with the configuration in it; nothing runs yet.
func prepare(t *testing.T, template string) *proc {
	t.Helper()
	dir, err := os.MkdirTemp("", "dy") // short: unix socket paths end at 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &proc{t: t, dir: dir, ports: map[string]int{}}
	p.write("dyups.conf", template)
	return p
}

// write expands a template into a file below the prefix.
func (p *proc) write(name, template string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(p.expand(template)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// globals is the head of most templates.
const globals = `
daemon off;
pid {dir}/pid;
error_log {dir}/error.log info;
events { worker_connections 16384; }
`

// serve runs dyups on a configuration (globals and an http block around the template) and waits until it serves.
func serve(t *testing.T, template string) *proc {
	t.Helper()
	p := prepare(t, globals+"http {\naccess_log off;\n"+template+"\n}\n")
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	return p
}

// run starts the binary. It is stopped at the end of the test at the latest.
func (p *proc) run(args ...string) {
	p.t.Helper()
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir = p.dir
	p.stderr = &safeBuffer{}
	p.cmd.Stderr = p.stderr
	p.cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.exited = make(chan struct{})
	exited, cmd := p.exited, p.cmd
	go func() {
		p.err = cmd.Wait()
		close(exited)
	}()
	p.t.Cleanup(p.finish)
}

// waitReady waits for the pid file, which is what tells that the sockets listen.
func (p *proc) waitReady() {
	p.t.Helper()
	p.until("the pid file", func() bool {
		_, err := os.Stat(filepath.Join(p.dir, "pid"))
		return err == nil
	})
}

// until polls a condition until it holds, the process ends, or patience does.
func (p *proc) until(what string, cond func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-p.exited:
			if !cond() {
				p.t.Fatalf("dyups ended before %s: %v\n%s%s", what, p.err, p.stderr, p.errorLog())
			}
			return
		case <-deadline.C:
			p.t.Fatalf("waited too long for %s\n%s%s", what, p.stderr, p.errorLog())
		case <-tick.C:
		}
	}
}

// signal sends a signal to the process.
func (p *proc) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("cannot send %v: %v", sig, err)
	}
}

// wait waits for the process to end by itself and returns its exit status.
func (p *proc) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("dyups does not end\n%s%s", p.stderr, p.errorLog())
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process at once and checks that it left well.
func (p *proc) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Errorf("exit status %d after TERM\n%s", code, p.stderr)
	}
}

// finish is run for every process at the end of a test: end it, and look for what must never be there.
func (p *proc) finish() {
	select {
	case <-p.exited:
	default:
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(patience):
			p.cmd.Process.Kill()
			<-p.exited
			p.t.Errorf("dyups did not end on TERM")
		}
	}
	log, said := p.errorLog(), p.stderr.String()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "goroutine "} {
		if strings.Contains(said, bad) {
			p.t.Errorf("standard error has %q:\n%s", bad, said)
			return
		}
	}
	if p.mayComplain {
		return
	}
	for _, bad := range []string{"[alert]", "[emerg]", "BUG:"} {
		if strings.Contains(log, bad) {
			p.t.Errorf("the error log has %q:\n%s", bad, log)
			return
		}
	}
	if p.t.Failed() && log != "" {
		p.t.Logf("error log:\n%s", tail(log, 4000))
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// errorLog is what the error log holds now.
func (p *proc) errorLog() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "error.log"))
	return string(text)
}

// reload sends HUP and waits until the new configuration is in force and the old one gone.
func (p *proc) reload() {
	p.t.Helper()
	const mark = "exited with code 0"
	before := strings.Count(p.errorLog(), mark)
	p.signal(syscall.SIGHUP)
	p.until("the reload", func() bool { return strings.Count(p.errorLog(), mark) > before })
}

// rss is the resident memory of the process in bytes.
func (p *proc) rss() int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// safeBuffer collects output of the process while the test may read it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// answer is a response as it came.
type answer struct {
	status  int
	head    http.Header
	body    string
	closing bool // the response said that the connection closes
}

// wire is one client connection that speaks raw bytes.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatalf("cannot send %.60q: %v", text, err)
	}
}

// receive reads one response to a request with the given method.
func (w *wire) receive(method string) answer {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("cannot read the response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("cannot read the body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(body), resp.Close}
}

// all reads to the end of the connection.
func (w *wire) all() string {
	w.t.Helper()
	b, err := io.ReadAll(w.r)
	if err != nil {
		w.t.Fatalf("cannot read to the end: %v after %.200q", err, b)
	}
	return string(b)
}

// get asks for "/" of a host on a connection of its own.
func get(t *testing.T, addr, host string) answer {
	t.Helper()
	w := dial(t, addr)
	defer w.Close()
	w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	return w.receive("GET")
}

// api sends one command to the interface.
func api(t *testing.T, addr, method, path, body string) answer {
	t.Helper()
	w := dial(t, addr)
	defer w.Close()
	framing := ""
	if method == "POST" {
		framing = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	w.send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n%s", method, path, framing, body))
	return w.receive(method)
}

// mustAPI is api for a command that has to succeed.
func mustAPI(t *testing.T, addr, method, path, body string) string {
	t.Helper()
	a := api(t, addr, method, path, body)
	if a.status/100 != 2 {
		t.Fatalf("%s %s %q: %d %q", method, path, body, a.status, a.body)
	}
	return a.body
}

// origin serves a handler on a free loopback port and returns its address. It ends with the test, its connections too.
func origin(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	originOn(t, ln, h)
	return ln.Addr().String()
}

// originOn is origin on a listener of the caller's; the server is returned for tests that end it early.
func originOn(t *testing.T, ln net.Listener, h http.HandlerFunc) *http.Server {
	srv := &http.Server{Handler: h, ErrorLog: nil}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("origin: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	return srv
}

// named is an origin that answers its name.
func named(t *testing.T, name string) string {
	return origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
}

// client is an HTTP client with keep-alive that reaches addr whatever the URL's host is.
func client(t *testing.T, addr string) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 64,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// load runs n clients that ask for "/" of the hosts in turn until stop is called. Every answer goes through check; what it
// complains about, and every failed request, is collected.
type load struct {
	stop func() (requests int, complaints []string)
}

func startLoad(t *testing.T, addr string, n int, hosts []string, check func(host string, a answer) string) *load {
	t.Helper()
	var mu sync.Mutex
	var complaints []string
	requests := 0
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		c := client(t, addr)
		if i%4 == 3 { // every fourth client opens a connection for each request
			c.Transport.(*http.Transport).DisableKeepAlives = true
		}
		wg.Go(func() {
			for k := i; ; k++ {
				select {
				case <-quit:
					return
				default:
				}
				host := hosts[k%len(hosts)]
				complaint := ""
				if resp, err := c.Get("http://" + host + "/"); err != nil {
					complaint = err.Error()
				} else {
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil {
						complaint = err.Error()
					} else {
						complaint = check(host, answer{resp.StatusCode, resp.Header, string(body), resp.Close})
					}
				}
				mu.Lock()
				requests++
				if complaint != "" {
					complaints = append(complaints, complaint)
				}
				mu.Unlock()
			}
		})
	}
	return &load{stop: func() (int, []string) {
		close(quit)
		wg.Wait()
		return requests, complaints
	}}
}

// wellServed ends a load and fails the test on any complaint.
func (l *load) wellServed(t *testing.T) {
	t.Helper()
	n, complaints := l.stop()
	if len(complaints) > 0 {
		t.Errorf("%d of %d requests failed, the first ones: %q", len(complaints), n, complaints[:min(5, len(complaints))])
	}
	if n == 0 {
		t.Error("no request was made")
	}
	t.Logf("%d requests, %d failed", n, len(complaints))
}
