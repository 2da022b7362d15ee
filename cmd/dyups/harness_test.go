package main

import (
	"bytes"
	"fmt"
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

	ports "dyups/bench/proc"
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
	os.Setenv("GORACE", "exitcode=66 atexit_sleep_ms=0") // for the programs started: do not linger for a second at exit
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
	env         []string // added to the environment of the process
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

// freePort finds a port that nobody else is given while the tests run.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := ports.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
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

// serve runs dyups on a configuration (globals and an http block around the template) and waits until it serves. What env
// says is added to its environment.
func serve(t *testing.T, template string, env ...string) *proc {
	t.Helper()
	p := prepare(t, globals+"http {\naccess_log off;\n"+template+"\n}\n")
	p.env = env
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
	p.cmd.Env = append(os.Environ(), p.env...)
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
