package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const statRest = " S 7 100 100 0 -1 4194560 233 0 0 0 123 456 10 20 20 0 1 0 4711 12345 678 18446744073709551615"

func TestParseProcStat(t *testing.T) {
	f := func(text string, want procStat) {
		t.Helper()
		got, err := parseProcStat([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	want := procStat{pid: 42, parent: 7, user: 1330 * time.Millisecond, system: 4760 * time.Millisecond}
	f("42 (nginx)"+statRest+"\n", want)
	f("42 (a b)"+statRest, want)
	f("42 (x) R 1 (2)"+statRest, want)
	f("42 ()"+statRest, want)
}

func TestParseProcStatRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := parseProcStat([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got error %v, want one with %q", err, want)
		}
	}
	f("", "no name")
	f("42 nginx"+statRest, "no name")
	f("42 )(", "no name")
	f("42 (nginx) S 7", "fields")
	f("x (nginx)"+statRest, "invalid syntax")
	f("42 (nginx)"+strings.Replace(statRest, "123 456", "123 4x6", 1), "invalid syntax")
}

// FuzzParseProcStat: whatever a program calls itself, the numbers are found.
func FuzzParseProcStat(f *testing.F) {
	f.Add("nginx", int64(1), int64(2))
	f.Add(") S 1 2 (", int64(0), int64(99))
	f.Fuzz(func(t *testing.T, name string, user, system int64) {
		user, system = user&0xffffff, system&0xffffff
		text := fmt.Sprintf("42 (%s) S 7 1 1 0 -1 0 0 0 0 0 %d %d 0 0 20 0 1 0", name, user, system)
		got, err := parseProcStat([]byte(text))
		want := procStat{pid: 42, parent: 7, user: time.Duration(user) * tick, system: time.Duration(system) * tick}
		if err != nil || got != want {
			t.Fatalf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	})
}

func TestStatus(t *testing.T) {
	const text = "Name:\tnginx\nVmHWM:\t   18432 kB\nCpus_allowed_list:\t0\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n"
	f := func(key string, want int64) {
		t.Helper()
		if got := statusNumber([]byte(text), key); got != want {
			t.Fatalf("%s: got %d, want %d", key, got, want)
		}
	}
	f("VmHWM", 18432)
	f("voluntary_ctxt_switches", 17)
	f("nonvoluntary_ctxt_switches", 4)
	f("VmRSS", 0)
	f("Name", 0)
	if got := statusText([]byte(text), "Cpus_allowed_list"); got != "0" {
		t.Fatalf("got cores %q, want 0", got)
	}
	if got := infoText([]byte("processor\t: 0\nmodel name\t: Some CPU: fast\n"), "model name"); got != "Some CPU: fast" {
		t.Fatalf("got model %q", got)
	}
}

func TestParseCoreTime(t *testing.T) {
	const text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 100 10 20 400 5 1 2 30 50 0\ncpu10 1 1 1 1 1 1 1 1 1 1\nintr 5\n"
	got, err := parseCoreTime([]byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	// Guest time is part of user time and must not be added again.
	if want := (coreTime{busy: 133 * tick, idle: 405 * tick, steal: 30 * tick}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if _, err := parseCoreTime([]byte(text), 2); err == nil {
		t.Fatal("core 2 was found")
	}
	if _, err := parseCoreTime([]byte("cpu0 1 2 x 4 5 6 7 8\n"), 0); err == nil {
		t.Fatal("a wrong number was taken")
	}
}

func TestCoreUse(t *testing.T) {
	before := coreTime{busy: time.Second, idle: time.Second}
	after := coreTime{busy: 4 * time.Second, idle: 1500 * time.Millisecond, steal: 500 * time.Millisecond}
	if got, want := coreUse(before, after, 2*time.Second), (CoreUse{Busy: 0.75, Steal: 0.125, Foreign: 0.25}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	// Ticks are coarse: a process may seem to have used more than its core.
	if got := coreUse(before, after, 5*time.Second).Foreign; got != 0 {
		t.Fatalf("got foreign share %v, want 0", got)
	}
	if got := coreUse(after, after, 0); got != (CoreUse{}) {
		t.Fatalf("got %+v for no time", got)
	}
}

func TestBottleneck(t *testing.T) {
	f := func(proxy, load CoreUse, want string) {
		t.Helper()
		if got := bottleneck(proxy, load); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(CoreUse{Busy: 0.99}, CoreUse{Busy: 0.80}, "proxy")
	f(CoreUse{Busy: 0.80}, CoreUse{Busy: 0.99}, "load")
	f(CoreUse{Busy: 0.95}, CoreUse{Busy: 0.95}, "both")
	f(CoreUse{Busy: 0.94}, CoreUse{Busy: 0.10}, "neither")
	f(CoreUse{Busy: 0.50}, CoreUse{Busy: 0.80, Steal: 0.18}, "load")
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := treeUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.rssPeak < 1<<20 || u.switches == 0 {
		t.Fatalf("got %+v", u)
	}
	tree, err := processTree(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range tree {
		found = found || s.pid == os.Getpid()
	}
	if !found {
		t.Fatalf("this process is not in the tree of its parent: %+v", tree)
	}
	if _, err := processTree(-1); err == nil {
		t.Fatal("process -1 was found")
	}
}
