package rival

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dyups/bench/churn"
	"dyups/bench/origin"
	"dyups/bench/proc"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// TestMain lets the test's program be the child of goproxy, or that of bare.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		child := map[string]func() error{
			GoProxyFlag:      func() error { return ChildGoProxy(os.Stdin) },
			origin.ChildFlag: func() error { return origin.Child(os.Stdin, os.Stdout) },
		}[os.Args[1]]
		if child != nil {
			if err := child(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	code := m.Run()
	if dyupsDir != "" {
		os.RemoveAll(dyupsDir)
	}
	os.Exit(code)
}

// dyupsDir holds the binary under test, once it was built.
var dyupsDir string

// buildDyups builds the binary the first time it is needed.
var buildDyups = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rival-")
	if err != nil {
		return "", err
	}
	dyupsDir = dir
	path := filepath.Join(dir, "dyups")
	if out, err := exec.Command("go", "build", "-o", path, "dyups/cmd/dyups").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

const originField = "X-Origin"

// testOrigin is a server that names itself and counts.
type testOrigin struct {
	*httptest.Server
	name     string
	requests atomic.Int64
}

func newOrigin(t testing.TB, name string) *testOrigin {
	o := &testOrigin{name: name}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		w.Header().Set(originField, name)
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != max(0, r.ContentLength) {
			http.Error(w, "the body is incomplete", http.StatusBadRequest)
			return
		}
		if r.Header.Get("Upgrade") != "" {
			echo(w)
			return
		}
		fmt.Fprint(w, "hello\n")
	}))
	t.Cleanup(o.Close)
	return o
}

// echo accepts an upgrade and sends back what comes, whatever the protocol.
func echo(w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") // of the key in RFC 6455 §1.3, which HAProxy checks
	io.Copy(c, rw.Reader)
}

func (o *testOrigin) at(weight int) churn.Server {
	return churn.Server{Addr: o.Listener.Addr().String(), Weight: weight}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start starts a program, or skips the test where it is missing, and waits until it accepts connections.
func start(t testing.TB, prog Program, s Setup) Proxy {
	t.Helper()
	s.Dir, s.Addr, s.API, s.CPU = t.TempDir(), freeAddr(t), freeAddr(t), core(t)
	if prog.Name() == "dyups" {
		var err error
		if s.Binary, err = buildDyups(); err != nil {
			t.Fatal(err)
		}
	}
	path, err := prog.Find(&s)
	if err != nil {
		t.Skipf("%s is missing: %v; %s", prog.Name(), err, prog.Install())
	}
	if v := prog.Version(path); !strings.ContainsAny(v, "0123456789") {
		t.Fatalf("got version %q", v)
	}
	p, err := prog.Start(t.Context(), path, &s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if err := Await(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := proc.CheckPinned(p.PID(), cores(&s)...); err != nil {
		t.Fatal(err)
	}
	return p
}

// core is the first one that the test may run on.
func core(t testing.TB) int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for i := range 1024 {
		if set.IsSet(i) {
			return i
		}
	}
	t.Fatal("no core to run on")
	return 0
}

// counts sends requests for a host and counts them by origin; what is not status 200 counts under its status.
func counts(t *testing.T, p Proxy, host string, n int) map[string]int {
	t.Helper()
	client := &fasthttp.HostClient{Addr: p.Addr(), MaxConns: 1}
	defer client.CloseIdleConnections()
	seen := make(map[string]int)
	var req fasthttp.Request
	var resp fasthttp.Response
	for range n {
		req.SetRequestURI("http://" + host + "/small")
		if err := client.DoTimeout(&req, &resp, 10*time.Second); err != nil {
			t.Fatalf("a request to %s failed: %v: %s", host, err, p.Logs())
		}
		if resp.StatusCode() != 200 {
			seen[fmt.Sprint(resp.StatusCode())]++
			continue
		}
		seen[string(resp.Header.Peek(originField))]++
	}
	return seen
}

// TestPrograms carries out every update of every program and looks at its effect on the requests that follow.
func TestPrograms(t *testing.T) {
	for _, prog := range All() {
		t.Run(prog.Name(), func(t *testing.T) {
			t.Parallel()
			a, b, c := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "c")
			p := start(t, prog, Setup{ByHost: true, Upstreams: []Upstream{
				{Name: "u0", Servers: []churn.Server{a.at(1), b.at(1)}}, {Name: "u1", Servers: []churn.Server{c.at(1)}}}})
			check := Check{Path: "/small", Length: 6, Hosts: []string{"u0", "u1", "u0:80"}, Field: originField, Origins: []string{"a", "b"}}
			if err := CheckAnswers(t.Context(), p, check); err != nil {
				t.Fatal(err)
			}
			check.Length = 7
			if err := CheckAnswers(t.Context(), p, check); err == nil {
				t.Fatal("answers of a wrong length were accepted")
			}
			if s := p.Settings(); !strings.Contains(s, a.at(1).Addr) || !strings.Contains(s, p.Addr()) {
				t.Fatalf("got settings without addresses:\n%s", s)
			}
			testUpload(t, p)
			testUpgrade(t, p)
			testUpdates(t, p, a, b, c)
			testRehearsed(t, p, a, b)
			testReload(t, p, a)
			testStop(t, p)
		})
	}
}

// TestBare makes sure that every update is answered, by nobody but the bare loop itself.
func TestBare(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	p := start(t, bare{}, Setup{Upstreams: []Upstream{{Name: "u0", Servers: []churn.Server{a.at(1)}}}})
	if _, ok := p.(Itself); !ok {
		t.Error("it does not say that it answers itself")
	}
	if got := counts(t, p, "u0", 10); got["bare"] != 10 {
		t.Errorf("got answers from %v", got)
	}
	u, err := p.Updater()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, err := range []error{
		u.Add(t.Context(), "u0", b.at(1)), u.Reweigh(t.Context(), "u0", b.at(3)), u.Remove(t.Context(), "u0", a.at(1).Addr),
		u.Replace(t.Context(), "u0", []churn.Server{a.at(1)}), u.Create(t.Context(), "u1", []churn.Server{b.at(1)}), u.Delete(t.Context(), "u1"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := p.Reload(t.Context()); !errors.Is(err, churn.ErrUnsupported) {
		t.Errorf("Reload: %v", err)
	}
	testStop(t, p)
}

// testUpload sends a body of a megabyte and one byte: nginx refuses it by default.
func testUpload(t *testing.T, p Proxy) {
	t.Helper()
	client := &fasthttp.HostClient{Addr: p.Addr()}
	defer client.CloseIdleConnections()
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetMethod("POST")
	req.SetRequestURI("http://u0/small")
	req.SetBody(make([]byte, 1<<20+1))
	if err := client.DoTimeout(&req, &resp, 10*time.Second); err != nil || resp.StatusCode() != 200 {
		t.Fatalf("an upload got status %d, %v: %s", resp.StatusCode(), err, p.Logs())
	}
}

// testUpgrade switches protocols, as a WebSocket does, and wants bytes back.
func testUpgrade(t *testing.T, p Proxy) {
	t.Helper()
	c, err := net.Dial("tcp4", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: u0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("an upgrade got %+v, %v: %s", resp, err, p.Logs())
	}
	got := make([]byte, 4)
	fmt.Fprint(c, "ping")
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "ping" {
		t.Fatalf("after an upgrade got %q, %v", got, err)
	}
}

// testRehearsed says to a proxy what a rehearsal has written down, and wants the effect of the real update.
func testRehearsed(t *testing.T, p Proxy, a, b *testOrigin) {
	t.Helper()
	o := churn.Options{Rate: 10, Script: churn.Reweigh, Upstreams: []Upstream{{Name: "u0", Servers: []churn.Server{a.at(1), b.at(1)}}}}
	talk, err := Rehearse(t.Context(), p, o, 0.35)
	if errors.Is(err, churn.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(talk.Messages) != 4 || talk.Rate != 10 || bytes.Equal(talk.Messages[0], talk.Messages[1]) || !bytes.Equal(talk.Messages[0], talk.Messages[2]) {
		t.Fatalf("got %q", talk.Messages)
	}
	c, err := net.Dial(talk.Network, talk.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 4096)
	for _, m := range [][]byte{talk.Greeting, talk.Messages[0]} {
		if len(m) == 0 {
			continue
		}
		if _, err := c.Write(m); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(answer)
		if err != nil || talk.Prompt != "" && string(answer[:n]) != talk.Prompt || talk.Prompt == "" && !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 ")) {
			t.Fatalf("%q was answered with %q, %v", m, answer[:n], err)
		}
	}
	if seen := counts(t, p, "u0", 24); seen["a"] <= seen["b"] || seen["b"] == 0 {
		t.Fatalf("24 requests after the update went to %v", seen)
	}
	u, err := p.Updater()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := churn.Restore(t.Context(), u, o, &churn.Sample{Sent: 1}); err != nil {
		t.Fatal(err)
	}
	if seen := counts(t, p, "u0", 24); seen["a"] != seen["b"] {
		t.Fatalf("24 requests after it was undone went to %v", seen)
	}
}

func testUpdates(t *testing.T, p Proxy, a, b, c *testOrigin) {
	t.Helper()
	u, err := p.Updater()
	if errors.Is(err, churn.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ctx := t.Context()
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, p.Logs())
		}
	}
	want := func(host string, ok func(seen map[string]int) bool) {
		t.Helper()
		if seen := counts(t, p, host, 24); !ok(seen) {
			t.Fatalf("24 requests to %s went to %v", host, seen)
		}
	}
	done(u.Reweigh(ctx, "u0", b.at(2)))
	want("u0", func(n map[string]int) bool { return n["b"] > n["a"] && n["a"] > 0 && n["a"]+n["b"] == 24 })
	done(u.Reweigh(ctx, "u0", b.at(1)))
	done(u.Add(ctx, "u0", c.at(1)))
	want("u0", func(n map[string]int) bool { return n["a"] > 0 && n["b"] > 0 && n["c"] > 0 })
	done(u.Remove(ctx, "u0", b.at(1).Addr))
	was := b.requests.Load()
	want("u0", func(n map[string]int) bool { return n["a"] > 0 && n["b"] == 0 && n["c"] > 0 })
	if got := b.requests.Load(); got != was {
		t.Fatalf("%d requests reached a server that was removed", got-was)
	}
	done(u.Replace(ctx, "u0", []churn.Server{b.at(1)}))
	want("u0", func(n map[string]int) bool { return n["b"] == 24 })
	want("u1", func(n map[string]int) bool { return n["c"] == 24 })
	done(u.Replace(ctx, "u0", []churn.Server{b.at(1), a.at(2)}))
	want("u0", func(n map[string]int) bool { return n["a"] > n["b"] && n["b"] > 0 })
	if u.Remove(ctx, "u0", "127.0.0.1:1") == nil {
		t.Fatal("a server that is not there was removed")
	}
	err = u.Create(ctx, "new", []churn.Server{c.at(1)})
	if !errors.Is(err, churn.ErrUnsupported) {
		done(err)
		want("new", func(n map[string]int) bool { return n["c"] == 24 })
		done(u.Delete(ctx, "new"))
		want("new", func(n map[string]int) bool { return n["c"] == 0 })
	}
	done(u.Replace(ctx, "u0", []churn.Server{a.at(1), b.at(1)}))
}

func testReload(t *testing.T, p Proxy, a *testOrigin) {
	t.Helper()
	err := p.Reload(t.Context())
	if errors.Is(err, churn.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if seen := counts(t, p, "u0", 24); seen["a"] == 0 || seen["b"] == 0 || seen["a"]+seen["b"] != 24 {
		t.Fatalf("after a reload 24 requests went to %v", seen)
	}
	if u, err := p.Updater(); err == nil { // updates reach what serves after the reload
		defer u.Close()
		if err := u.Add(t.Context(), "u1", a.at(1)); err != nil {
			t.Fatal(err)
		}
		if seen := counts(t, p, "u1", 24); seen["a"] == 0 || seen["c"] == 0 {
			t.Fatalf("after a reload and an update 24 requests went to %v", seen)
		}
	}
}

// testStop stops the proxy and makes sure that nothing of it is left.
func testStop(t *testing.T, p Proxy) {
	t.Helper()
	tree, err := proc.Tree(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if p.Running() {
		t.Fatal("it runs after it was stopped")
	}
	late := time.Now().Add(5 * time.Second)
	for _, s := range tree {
		for syscall.Kill(s.PID, 0) == nil {
			if time.Now().After(late) {
				t.Fatalf("process %d is left", s.PID)
			}
			time.Sleep(time.Millisecond)
		}
	}
	p.Stop()
}

// TestFirstUpstream: without ByHost the Host field says nothing, and updates of other upstreams change nothing.
func TestFirstUpstream(t *testing.T) {
	for _, prog := range All() {
		t.Run(prog.Name(), func(t *testing.T) {
			t.Parallel()
			a, b := newOrigin(t, "a"), newOrigin(t, "b")
			var ups []Upstream
			for i := range 10 {
				ups = append(ups, Upstream{Name: fmt.Sprintf("u%d", i), Servers: []churn.Server{b.at(1)}})
			}
			ups[0].Servers = []churn.Server{a.at(1)}
			p := start(t, prog, Setup{Upstreams: ups})
			err := CheckAnswers(t.Context(), p, Check{Path: "/small", Length: 6, Hosts: []string{"u5"}, Field: originField, Origins: []string{"a"}})
			if err != nil {
				t.Fatal(err)
			}
			if u, err := p.Updater(); err == nil {
				defer u.Close()
				if err := u.Reweigh(t.Context(), "u5", b.at(2)); err != nil {
					t.Fatal(err)
				}
			}
			if n := counts(t, p, p.Addr(), 4)["a"]; n != 4 || b.requests.Load() != 0 {
				t.Fatalf("%d of 4 requests went to the first upstream, %d elsewhere", n, b.requests.Load())
			}
			if s := p.Settings(); !strings.Contains(s, "7 further upstreams") {
				t.Fatalf("got settings that do not tell how many upstreams there are:\n%s", s)
			}
		})
	}
}

// TestWorkers: with two workers updates reach both.
func TestWorkers(t *testing.T) {
	if core(t) != 0 || runtime.NumCPU() < 2 {
		t.Skip("two cores are missing")
	}
	for _, prog := range All() {
		t.Run(prog.Name(), func(t *testing.T) {
			t.Parallel()
			a, b := newOrigin(t, "a"), newOrigin(t, "b")
			p := start(t, prog, Setup{Workers: 2, Upstreams: []Upstream{{Name: "u0", Servers: []churn.Server{a.at(1)}}}})
			want := func(name string) {
				t.Helper()
				for range 8 { // connections, so that either worker has some
					if seen := counts(t, p, "u0", 4); seen[name] != 4 {
						t.Fatalf("4 requests went to %v, want %q", seen, name)
					}
				}
			}
			want("a")
			u, err := p.Updater()
			if err != nil {
				return
			}
			defer u.Close()
			if err := u.Replace(t.Context(), "u0", []churn.Server{b.at(1)}); err != nil {
				t.Fatal(err)
			}
			want("b")
		})
	}
}

// TestSameFile: nginx and dyups get the same bytes but for what is their own.
func TestSameFile(t *testing.T) {
	s := Setup{Addr: "127.0.0.1:1", API: "127.0.0.1:2", Workers: 1,
		Upstreams: []Upstream{{Name: "u0", Servers: []churn.Server{{Addr: "127.0.0.1:3", Weight: 2}}}}}
	read := func(own string) string {
		s.Dir = t.TempDir()
		if _, _, err := writeNginx(&s, own); err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, name := range []string{"proxy.conf", upstreamsFile} {
			b, err := os.ReadFile(filepath.Join(s.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all += string(b)
		}
		return all
	}
	if a, b := read(nginxOwn), read(dyupsOwn); a != b || !strings.Contains(a, "server 127.0.0.1:3 weight=2;") {
		t.Fatalf("got\n%s\nand\n%s", a, b)
	}
}

func TestByName(t *testing.T) {
	for _, want := range All() {
		if got, err := ByName(want.Name()); err != nil || got.Name() != want.Name() {
			t.Fatalf("got %v, %v for %q", got, err, want.Name())
		}
	}
	if _, err := ByName("envoy"); err == nil || !strings.Contains(err.Error(), "nginx-reload") {
		t.Fatalf("got error %v, want the known names", err)
	}
}

func TestKeepConns(t *testing.T) {
	f := func(upstreams, servers int, byHost bool, ok func(n int) bool) {
		t.Helper()
		s := Setup{ByHost: byHost}
		for range upstreams {
			s.Upstreams = append(s.Upstreams, Upstream{Servers: make([]churn.Server, servers)})
		}
		if n := keepConns(&s); !ok(n) {
			t.Fatalf("%d connections are kept for each server of %d upstreams of %d", n, upstreams, servers)
		}
	}
	f(1, 2, false, func(n int) bool { return n == 1024 })
	f(10000, 10, false, func(n int) bool { return n == 64 })
	f(10, 2, true, func(n int) bool { return n > 0 && 20*n <= fileLimit()/5 })
	f(fileLimit(), 1, true, func(n int) bool { return n == 0 })
}

// TestAwaitEnds: a program that ends at once is told with what it wrote.
func TestAwaitEnds(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := Setup{Dir: t.TempDir(), Addr: "127.0.0.1:99999", API: taken.Addr().String(), CPU: -1,
		Upstreams: []Upstream{{Name: "u0", Servers: []churn.Server{{Addr: "127.0.0.1:1", Weight: 1}}}}}
	path, err := goproxy{}.Find(&s)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goproxy{}.Start(t.Context(), path, &s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if err := Await(t.Context(), p); err == nil || !strings.Contains(err.Error(), "cannot listen") {
		t.Fatalf("got error %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	f := func(prog Program, s Setup, want string) {
		t.Helper()
		s.Dir = t.TempDir()
		if _, err := prog.Start(context.Background(), "/nonexistent", &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: got error %v, want one with %q", prog.Name(), err, want)
		}
	}
	one := []Upstream{{Name: "u0", Servers: []churn.Server{{Addr: "127.0.0.1:1", Weight: 1}}}}
	for _, prog := range All() {
		f(prog, Setup{Addr: "127.0.0.1:1", API: "127.0.0.1:2"}, "without upstreams")
		f(prog, Setup{Upstreams: one, API: "127.0.0.1:2"}, "without an address")
		f(prog, Setup{Upstreams: []Upstream{{Name: "x"}}, Addr: "127.0.0.1:1", API: "127.0.0.1:2"}, `"x"`)
		f(prog, Setup{Upstreams: one, Addr: "127.0.0.1:1", API: "127.0.0.1:2"}, "nonexistent")
	}
}
