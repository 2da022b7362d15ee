package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// command runs the binary to its end.
func command(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestBroken checks broken configurations against what is to be said of them, by -t and by a start, which must leave no
// pid file. Accept new texts with -rewrite.
func TestBroken(t *testing.T) {
	dir, err := filepath.Abs("testdata/broken")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.conf"))
	if len(files) < 10 {
		t.Fatalf("%d broken files, want 10 at least", len(files))
	}
	place := regexp.MustCompile(`^dyups: \[emerg\] [a-z_]+\.conf:\d+:\d+: .+\n`)
	var got strings.Builder
	for _, file := range files {
		_, said, code := command(t, dir, "-t", "-p", dir, "-c", filepath.Base(file))
		said = strings.ReplaceAll(said, dir+"/", "")
		if code != 1 {
			t.Errorf("%s: exit status %d, want 1", filepath.Base(file), code)
		}
		if !place.MatchString(said) {
			t.Errorf("%s: no FILE:LINE:COLUMN in %q", filepath.Base(file), said)
		}
		got.WriteString(said)
		tmp := t.TempDir()
		pid := filepath.Join(tmp, "pid")
		args := []string{"-p", tmp, "-c", file}
		if filepath.Base(file) != "duplicate.conf" {
			args = append(args, "-g", "daemon off; pid "+pid+";")
			if strings.HasPrefix(filepath.Base(file), "missing_semi") {
				args[len(args)-1] = "pid " + pid + ";"
			}
		}
		if _, said, code := command(t, tmp, args...); code != 1 || !strings.Contains(said, "[emerg]") {
			t.Errorf("%s: started with exit status %d: %s", filepath.Base(file), code, said)
		}
		if _, err := os.Stat(pid); err == nil {
			t.Errorf("%s: a pid file was left", filepath.Base(file))
		}
	}
	golden := "testdata/broken.golden"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := os.ReadFile(golden)
	if got.String() != string(want) {
		t.Errorf("what is said of broken files has changed:\n got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestOptions(t *testing.T) {
	f := func(args string, want string) {
		t.Helper()
		o, err := parseOptions(strings.Fields(args))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = strings.TrimPrefix(fmt.Sprintf("%+v", *o), "{config: prefix: errorLog: globals: signal: help:false version:false build:false test:false dump:false quiet:false}")
		}
		if !strings.Contains(got, want) {
			t.Errorf("options %q: %s, want %s", args, got, want)
		}
	}
	f("", "")
	f("-tq", "test:true dump:false quiet:true")
	f("-qT", "test:true dump:true quiet:true")
	f("-p/path -c x.conf", "config:x.conf prefix:/path")
	f("-tp /path", "prefix:/path errorLog: globals: signal: help:false version:false build:false test:true")
	f("-s reload", "signal:reload")
	f("-squit", "signal:quit")
	f("-s restart", `invalid option: "-s restart"`)
	f("-e stderr -gpid", "errorLog:stderr globals:pid")
	f("-?", "help:true")
	f("--help", "help:true")
	f("-V", "build:true")
	f("-x", `invalid option: "x"`)
	f("conf", `invalid option: "conf"`)
	f("-c", `option "-c" requires a file name`)
	f("-s", `option "-s" requires a signal name`)
}

func TestVersionAndHelp(t *testing.T) {
	f := func(option string, want ...string) {
		t.Helper()
		_, said, code := command(t, "", option)
		if code != 0 {
			t.Errorf("%s: exit status %d", option, code)
		}
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("%s says %q, want %q in it", option, said, w)
			}
		}
	}
	f("-v", "nginx version: nginx/1.26.3\n", "dyups version: dyups/0.1.0\n")
	f("-V", "nginx version: nginx/1.26.3\n", "dyups version: dyups/0.1.0\n", "--with-http_realip_module",
		"--without-http_gzip_module", "--without-http-cache", "--without-http_tunnel_module")
	f("-h", "Usage: dyups", "-s signal", "Examples:")
	_, said, _ := command(t, "", "-V")
	for _, wrong := range []string{"=dynamic", "--with-http_ssl", "--with-debug", "--with-stream", "OpenSSL", "SNI",
		"--without-http_proxy", "--without-http_rewrite", "--without-http_access", "--without-http_auth_basic",
		"--without-http_upstream_hash", "--without-http_upstream_ip_hash", "--without-http_upstream_least_conn_module",
		"--without-http_upstream_random", "--without-http_upstream_sticky", "--without-http_upstream_keepalive", "--without-http_upstream_zone"} {
		if strings.Contains(said, wrong) {
			t.Errorf("-V has %q", wrong)
		}
	}
	if _, said, code := command(t, "", "-z"); code != 1 || !strings.Contains(said, "invalid option") {
		t.Errorf("-z: %d %q", code, said)
	}
}

// TestConfigTest: -t and -T of a good configuration bind nothing, open nothing, leave nothing behind.
func TestConfigTest(t *testing.T) {
	p := prepare(t, globals+"include part/*.conf;\n")
	os.Mkdir(filepath.Join(p.dir, "part"), 0o755)
	p.write("part/b.conf", "http { access_log logs/a.log; server { listen 127.0.0.1:1; include part/c.inc; } }\n")
	p.write("part/c.inc", "return 204; # no line end")
	_, said, code := command(t, p.dir, "-t", "-c", "dyups.conf")
	want := fmt.Sprintf("dyups: the configuration file %[1]s syntax is ok\ndyups: configuration file %[1]s test is successful\n", p.dir+"/dyups.conf")
	if code != 0 || said != want {
		t.Errorf("-t: %d %q, want %q", code, said, want)
	}
	if out, said, code := command(t, p.dir, "-tq", "-c", "dyups.conf"); code != 0 || said != "" || out != "" {
		t.Errorf("-tq: %d %q %q", code, out, said)
	}
	out, _, code := command(t, p.dir, "-T", "-p", p.dir+"/", "-c", "dyups.conf", "-e", "error.log")
	dump := ""
	for _, name := range []string{"dyups.conf", "part/b.conf", "part/c.inc"} {
		text, _ := os.ReadFile(filepath.Join(p.dir, name))
		dump += "# configuration file " + filepath.Join(p.dir, name) + ":\n" + string(text) + "\n"
	}
	if code != 0 || out != dump {
		t.Errorf("-T: %d %q, want %q", code, out, dump)
	}
	if entries, _ := os.ReadDir(p.dir); len(entries) != 2 {
		t.Errorf("-t left something behind: %v", entries)
	}
	if _, said, code := command(t, p.dir, "-t", "-c", "missing.conf"); code != 1 || !strings.Contains(said, `cannot read configuration file`) ||
		!strings.Contains(said, "configuration file "+p.dir+"/missing.conf test failed") {
		t.Errorf("-t of a missing file: %d %q", code, said)
	}
	if _, said, code := command(t, p.dir, "-t", "-c", "dyups.conf", "-g", "usr x;"); code != 1 || !strings.Contains(said, "command line:1:1") {
		t.Errorf("-t with a wrong -g: %d %q", code, said)
	}
	if _, said, code := command(t, p.dir, "-t"); code != 0 || !strings.Contains(said, "default.conf (built in)") {
		t.Errorf("-t of the built-in configuration: %d %q", code, said)
	}
}

// TestSignalOption runs through -s: reload, reopen, quit, and stop, with the pid file at each step.
func TestSignalOption(t *testing.T) {
	p := prepare(t, globals+"http { access_log {dir}/access.log; server { listen 127.0.0.1:{web}; return 200 one; } }\n")
	send := func(name string) {
		t.Helper()
		if _, said, code := command(t, p.dir, "-s", name, "-c", "dyups.conf"); code != 0 || said != "" {
			t.Fatalf("-s %s: %d %q", name, code, said)
		}
	}
	if _, said, code := command(t, p.dir, "-s", "reload", "-c", "dyups.conf"); code != 1 || !strings.Contains(said, "cannot read pid file") {
		t.Errorf("-s without a process: %d %q", code, said)
	}
	for _, last := range []string{"quit", "stop"} {
		p.write("dyups.conf", globals+"http { access_log {dir}/access.log; server { listen 127.0.0.1:{web}; return 200 one; } }\n")
		p.run("-p", p.dir, "-c", "dyups.conf")
		p.waitReady()
		pid, _ := os.ReadFile(p.dir + "/pid")
		if string(pid) != strconv.Itoa(p.cmd.Process.Pid)+"\n" {
			t.Errorf("pid file %q, want %d and a line end", pid, p.cmd.Process.Pid)
		}
		if a := get(t, p.addr("web"), "x"); a.body != "one" {
			t.Errorf("before the reload: %q", a.body)
		}
		p.write("dyups.conf", globals+"http { access_log {dir}/access.log; server { listen 127.0.0.1:{web}; return 200 two; } }\n")
		send("reload")
		p.until("the new answer", func() bool { return get(t, p.addr("web"), "x").body == "two" })
		for _, log := range []string{"error.log", "access.log"} {
			if err := os.Rename(filepath.Join(p.dir, log), filepath.Join(p.dir, log+".1")); err != nil {
				t.Error(err)
			}
		}
		send("reopen")
		p.until("the new logs", func() bool {
			_, err1 := os.Stat(p.dir + "/error.log")
			_, err2 := os.Stat(p.dir + "/access.log")
			return err1 == nil && err2 == nil
		})
		get(t, p.addr("web"), "x")
		p.until("a line in the new access log", func() bool {
			text, _ := os.ReadFile(p.dir + "/access.log")
			return len(text) > 0
		})
		send(last)
		if code := p.wait(); code != 0 {
			t.Errorf("exit status %d after -s %s", code, last)
		}
		if _, err := os.Stat(p.dir + "/pid"); err == nil {
			t.Errorf("the pid file is there after -s %s", last)
		}
	}
}

// TestLogFolders: a missing folder of the default error log is no obstacle and is not made; a relative one is made; one
// that was written out in full has to be there.
func TestLogFolders(t *testing.T) {
	http := "http { access_log off; server { listen 127.0.0.1:{web}; return 204; } }\n"
	f := func(head string, args []string, wantSaid, wantFile string) {
		t.Helper()
		if !strings.Contains(head, "pid ") {
			head += " pid {dir}/pid;"
		}
		p := prepare(t, head+" daemon off; events { }\n"+http)
		p.run(append(args, "-p", p.dir, "-c", p.dir+"/dyups.conf")...)
		if strings.HasPrefix(wantSaid, "FAIL") {
			if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), wantSaid[5:]) {
				t.Errorf("%s: exit status %d, %q", head, code, p.stderr)
			}
			if _, err := os.Stat(p.dir + "/pid"); err == nil {
				t.Errorf("%s: a pid file was left", head)
			}
			return
		}
		p.waitReady()
		if a := get(t, p.addr("web"), "x"); a.status != 204 {
			t.Errorf("%s: %d", head, a.status)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "logs")); (err == nil) != strings.HasPrefix(wantFile, "logs/") {
			t.Errorf("%s: folder logs: %v", head, err)
		}
		if _, err := os.Stat(filepath.Join(p.dir, wantFile)); wantFile != "" && err != nil {
			t.Errorf("%s: %v", head, err)
		}
		p.stop() // only then is all there that was said
		if said := p.stderr.String(); !strings.Contains(said, wantSaid) || wantSaid == "" && said != "" {
			t.Errorf("%s: said %q, want %q", head, said, wantSaid)
		}
	}
	f("", nil, "the error log goes to standard error", "")
	f("", []string{"-e", "e.log"}, "", "e.log")
	f("", []string{"-e", "none/e.log"}, "the error log goes to standard error", "")
	f("error_log logs/error.log debug;", nil, "", "logs/error.log")
	f("error_log logs/error.log debug; error_log stderr info;", nil, "[notice]", "logs/error.log")
	f("error_log e2.log;", []string{"-e", "e1.log"}, "", "e1.log")
	f("error_log dyups.conf/x/error.log;", nil, "the error log goes to standard error", "")
	f("error_log /nonexistent/error.log;", nil, "FAIL cannot open error log \"/nonexistent/error.log\"", "")
	f("pid /nonexistent/pid;", nil, "FAIL cannot write pid file \"/nonexistent/pid\"", "")
}

// TestClosedStderr: a start with standard error closed, as a test suite of nginx does it.
func TestClosedStderr(t *testing.T) {
	p := prepare(t, globals+"http { access_log off; server { listen 127.0.0.1:{web}; return 204; } }\n")
	cmd := exec.Command("/bin/sh", "-c", `exec "$@" 2>&-`, "sh", binary, "-p", p.dir, "-c", "dyups.conf", "-e", "error.log")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.stderr, p.exited = cmd, &safeBuffer{}, make(chan struct{})
	go func() { p.err = cmd.Wait(); close(p.exited) }()
	t.Cleanup(p.finish)
	p.waitReady()
	if a := get(t, p.addr("web"), "x"); a.status != 204 {
		t.Errorf("status %d", a.status)
	}
	p.stop()
}

// TestDaemon: with "daemon on" the command returns when the daemon serves, and the daemon lives on in its own session.
func TestDaemon(t *testing.T) {
	p := prepare(t, "pid {dir}/pid; error_log {dir}/error.log info; events { }\nhttp { access_log off; server { listen 127.0.0.1:{web}; return 204; } }\n")
	_, said, code := command(t, p.dir, "-p", p.dir, "-c", "dyups.conf")
	if code != 0 || said != "" {
		t.Fatalf("exit status %d, %q", code, said)
	}
	pid, err := readPid(p.dir + "/pid")
	if err != nil {
		t.Fatalf("the command returned before the pid file was there: %v", err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if a := get(t, p.addr("web"), "x"); a.status != 204 {
		t.Errorf("status %d", a.status)
	}
	if sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0); int(sid) != pid {
		t.Errorf("the daemon is in session %d, want its own, %d", sid, pid)
	}
	// A second one cannot bind the port: the command says so and fails.
	p.write("second.conf", "pid {dir}/second.pid; error_log {dir}/second.log; events { }\nhttp { access_log off; server { listen 127.0.0.1:{web}; return 204; } }\n")
	_, said, code = command(t, p.dir, "-p", p.dir, "-c", "second.conf")
	if code != 1 || !strings.Contains(said, "address already in use") {
		t.Errorf("a second daemon on the same port: exit status %d, %q", code, said)
	}
	if _, err := os.Stat(p.dir + "/second.pid"); err == nil {
		t.Error("it left a pid file")
	}
	if _, said, code := command(t, p.dir, "-p", p.dir, "-c", "dyups.conf", "-s", "quit"); code != 0 {
		t.Errorf("-s quit: %d %q", code, said)
	}
	p.exited = make(chan struct{}) // it is not our child: its pid file tells
	p.stderr = &safeBuffer{}
	p.until("the daemon to end", func() bool { _, err := os.Stat(p.dir + "/pid"); return err != nil })
}

// TestBuiltIn: without -c the built-in configuration says what listens where; it is checked, not run, because its ports
// are fixed ones.
func TestBuiltIn(t *testing.T) {
	l := &loader{opt: &options{}, root: "/"}
	c, err := l.read()
	if err != nil {
		t.Fatal(err)
	}
	if c.main.Daemon || len(c.main.ErrorLogs) != 1 || c.main.ErrorLogs[0].path != "" {
		t.Errorf("it goes into the background or logs into a file: %+v", c.main)
	}
	for line := range strings.SplitSeq(string(defaultConf), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "listen" && !strings.HasPrefix(f[1], "127.0.0.1:") {
			t.Errorf("it listens beyond this machine: %s", line)
		}
	}
	var b bytes.Buffer
	printTour(&b)
	if n := strings.Count(b.String(), "\n  curl "); n != 3 {
		t.Errorf("%d lines to try, want 3", n)
	}
}

// TestUser: "user" gives up root after everything that needs it is done.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	p := prepare(t, "user nobody nogroup;\n"+globals+"http { access_log {dir}/access.log; server { listen 127.0.0.1:{web}; return 200 one; } }\n")
	if err := os.Chmod(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, said, code := command(t, p.dir, "-t", "-c", "dyups.conf"); code != 0 {
		t.Skipf("no such user here: %s", said)
	}
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	if a := get(t, p.addr("web"), "x"); a.body != "one" {
		t.Errorf("status %d, %q", a.status, a.body)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.SplitSeq(string(status), "\n") {
		if f := strings.Fields(line); len(f) == 5 && (f[0] == "Uid:" || f[0] == "Gid:") && slices.Contains(f[1:], "0") {
			t.Errorf("privileges are left: %s", line)
		}
	}
	p.signal(syscall.SIGUSR1) // the files belong to the new user
	p.reload()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	// The folder is still root's, so the pid file cannot go; it says nothing any more.
	if pid, err := readPid(p.dir + "/pid"); err == nil {
		t.Errorf("the pid file still names process %d", pid)
	}
}
