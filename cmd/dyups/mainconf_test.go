package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"dyups/codec/conf"
	"dyups/engine"
)

func parseMain(t *testing.T, text string) (*mainConf, error) {
	t.Helper()
	ds, err := conf.Parse("x.conf", []byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return newMainConf(ds, "/prefix/", conf.Pos{File: "x.conf", Line: 1, Col: 1})
}

func TestMainConf(t *testing.T) {
	f := func(text string, get func(m *mainConf) any, want any) {
		t.Helper()
		m, err := parseMain(t, text+"\nevents {}")
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := get(m); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	f("", func(m *mainConf) any { return []any{m.Daemon, m.Loops, m.Connections, m.Pid, m.PidGiven} }, []any{true, 1, 512, "/prefix/logs/dyups.pid", false})
	f("daemon off;", func(m *mainConf) any { return m.Daemon }, false)
	f("worker_processes 4;", func(m *mainConf) any { return m.Loops }, 4)
	f("worker_processes auto;", func(m *mainConf) any { return m.Loops }, runtime.NumCPU())
	f("worker_rlimit_nofile 1000; worker_rlimit_core 5m;", func(m *mainConf) any { return []any{m.Nofile, m.Core} }, []any{1000, 5 << 20})
	f("worker_shutdown_timeout 1m30s;", func(m *mainConf) any { return m.ShutdownTimeout }, 90*time.Second)
	f("pid run/x.pid;", func(m *mainConf) any { return m.Pid }, "/prefix/run/x.pid")
	f("pid /run/x.pid;", func(m *mainConf) any { return m.Pid }, "/run/x.pid")
	f("error_log e.log debug; error_log stderr; error_log /var/e.log crit;", func(m *mainConf) any { return m.ErrorLogs }, []logTarget{
		{path: "/prefix/e.log", level: engine.Debug, create: true, lenient: true}, {level: engine.Err}, {path: "/var/e.log", level: engine.Crit}})
	f("user root root;", func(m *mainConf) any { return []any{m.User.name, m.User.uid, m.User.gid} }, []any{"root", 0, 0})
	f("env A=b; env C; env D=e=f;", func(m *mainConf) any { return m.Env }, []string{"A=b", "D=e=f"})
	f("master_process on; pcre_jit on; worker_cpu_affinity 0001 0010; worker_priority -5; timer_resolution 100ms; lock_file x; thread_pool p threads=2;",
		func(m *mainConf) any { return m.Loops }, 1)
	m, err := parseMain(t, "events { worker_connections 100; use epoll; multi_accept on; accept_mutex off; accept_mutex_delay 5ms; debug_connection 127.0.0.1; }")
	if err != nil || m.Connections != 100 {
		t.Errorf("events: %+v, %v", m, err)
	}
}

func TestMainConfErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := parseMain(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	f("", `x.conf:1:1: no "events" section in configuration`)
	f("daemon maybe; events {}", `x.conf:1:8: invalid value "maybe"`)
	f("worker_processes 0; events {}", `it must be "auto" or a whole number from 1 to 512`)
	f("worker_processes two; events {}", `x.conf:1:18:`)
	f("events { worker_connections 0; }", "x.conf:1:29:")
	f("events { use kqueue; }", `"epoll", "poll" or "select"`)
	f("events { worker_processes 1; }", "is not allowed here")
	f("worker_connections 5; events {}", "x.conf:1:1:")
	f("load_module modules/x.so; events {}", "cannot load module")
	f("stream { } events {}", `"stream" directive is not supported`)
	f("mail { } events {}", `"mail" directive is not supported`)
	f("user no_such_user_here; events {}", "x.conf:1:6:")
	f("user root no_such_group_here; events {}", "x.conf:1:11:")
	f("error_log e.log loud; events {}", `"emerg", "alert"`)
	f("error_log syslog:server=1.2.3.4; events {}", `a file or "stderr"`)
	f("pid a; pid b; events {}", "is duplicate")
	f("events {} events {}", "is duplicate")
	f("http {} http {} events {}", "is duplicate")
}

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	if err := writePid(path); err != nil {
		t.Fatal(err)
	}
	if pid, err := readPid(path); err != nil || pid != os.Getpid() {
		t.Errorf("read %d, %v", pid, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := removePid(path); err != nil {
		t.Error(err)
	}
	if err := removePid(path); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	for _, text := range []string{"", "x", "-1", "0"} {
		os.WriteFile(path, []byte(text), 0o644)
		if pid, err := readPid(path); err == nil {
			t.Errorf("%q was read as %d", text, pid)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("something was left beside the pid file: %v", entries)
	}
}

func TestFindLiterals(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		ds, err := conf.Parse("x", []byte("server { location / { proxy_pass "+url+"; } }"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		findLiterals(ds, func(host string, port uint16, hasPort bool, pos conf.Pos) {
			got = fmt.Sprint(host, " ", port, " ", hasPort, " ", pos.Col)
		})
		if got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	f("http://backend", "backend 80 false 34")
	f("http://localhost:8080/path:1?a:b", "localhost 8080 true 34")
	f("HTTP://a.b?x", "a.b 80 false 34")
	f("http://127.0.0.1:80", "")
	f("http://[::1]:80/", "")
	f("http://unix:/path:/uri", "")
	f("http://$host", "")
	f("http://backend/$uri", "")
	f("https://backend", "")
	f("http://backend:x", "")
	f("http://", "")
}
