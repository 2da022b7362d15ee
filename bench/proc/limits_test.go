package proc

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWarnings(t *testing.T) {
	good := func() limits {
		return limits{somaxconn: 4096, synBacklog: 1024, timeWaitReuse: 2, timestamps: 1, portFirst: 32768, portLast: 60999,
			files: 1 << 20, loopbackMTU: 65536}
	}
	f := func(change func(l *limits), want ...string) {
		t.Helper()
		l := good()
		change(&l)
		got := l.warnings()
		if len(got) != len(want) {
			t.Fatalf("got %q, want %d warnings", got, len(want))
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Fatalf("got %q, want %q in it", got[i], want[i])
			}
		}
	}
	f(func(l *limits) {})
	f(func(l *limits) { l.somaxconn = 128 }, "somaxconn = 128")
	f(func(l *limits) { l.synBacklog = 128 }, "syn_backlog = 128")
	f(func(l *limits) { l.portLast = 32768 + 20_499 }, "20500 ports, too few for 20000 new")
	f(func(l *limits) { l.portLast = 32768 + 4_999 }, "for 10000 idle", "for 20000 new")
	f(func(l *limits) { l.timeWaitReuse = 0 }, "28232 ports allow 470 new")
	f(func(l *limits) { l.timestamps = 0 }, "tcp_timestamps = 0")
	f(func(l *limits) { l.congestion = "bbr" }, "= bbr paces")
	f(func(l *limits) { l.files = 1024 }, "1024 open files")
	f(func(l *limits) { l.files = 20_000 })
	f(func(l *limits) { l.loopbackMTU = 1500 }, "MTU of 1500")
	f(func(l *limits) { l.governors = []string{"powersave"} }, `"powersave"`)
	f(func(l *limits) { l.governors = []string{"performance"} })
	f(func(l *limits) {
		*l = limits{somaxconn: -1, synBacklog: -1, timeWaitReuse: -1, timestamps: -1, portFirst: -1, portLast: -1, loopbackMTU: -1, files: 1 << 20}
	})
}

func TestCheckLimits(t *testing.T) {
	settings, _ := CheckLimits()
	all := strings.Join(settings, "\n")
	for _, name := range []string{"somaxconn", "ip_local_port_range", "tcp_max_syn_backlog", "tcp_tw_reuse", "tcp_congestion_control", "open files", "MTU", "governor"} {
		if !strings.Contains(all, name) {
			t.Fatalf("%s is not in %q", name, settings)
		}
	}
	if strings.Contains(all, "loopback MTU = unknown") {
		t.Fatalf("the tests use loopback, and it was not found: %q", settings)
	}
}

func TestRaiseFileLimit(t *testing.T) {
	var was, now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := RaiseFileLimit(16); err != nil {
		t.Fatal(err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || now.Cur != was.Max {
		t.Fatalf("got %+v, %v", now, err)
	}
	if was.Max < 1<<62 {
		if err := RaiseFileLimit(was.Max + 1); err == nil {
			t.Fatal("more than the hard limit was allowed")
		}
	}
}
