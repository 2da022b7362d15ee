package proc

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const statRest = " S 7 100 100 0 -1 4194560 233 0 0 0 123 456 10 20 20 0 1 0 4711 12345 678 18446744073709551615"

func TestParseStat(t *testing.T) {
	f := func(text string, want Stat) {
		t.Helper()
		got, err := parseStat([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	want := Stat{PID: 42, Parent: 7, User: 1330 * time.Millisecond, System: 4760 * time.Millisecond}
	f("42 (nginx)"+statRest+"\n", want)
	f("42 (a b)"+statRest, want)
	f("42 (x) R 1 (2)"+statRest, want)
	f("42 ()"+statRest, want)
}

func TestParseStatRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := parseStat([]byte(text))
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

// FuzzParseStat: whatever a program calls itself, the numbers are found.
func FuzzParseStat(f *testing.F) {
	f.Add("nginx", int64(1), int64(2))
	f.Add(") S 1 2 (", int64(0), int64(99))
	f.Fuzz(func(t *testing.T, name string, user, system int64) {
		user, system = user&0xffffff, system&0xffffff
		text := fmt.Sprintf("42 (%s) S 7 1 1 0 -1 0 0 0 0 0 %d %d 0 0 20 0 1 0", name, user, system)
		got, err := parseStat([]byte(text))
		want := Stat{PID: 42, Parent: 7, User: time.Duration(user) * tick, System: time.Duration(system) * tick}
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
}

func TestParseCoreTime(t *testing.T) {
	const text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 100 10 20 400 5 1 2 30 50 0\ncpu10 1 1 1 1 1 1 1 1 1 1\nintr 5\n"
	got, err := parseCoreTime([]byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	// Guest time is part of user time and must not be added again.
	if want := (CoreTime{Busy: 133 * tick, Idle: 405 * tick, Steal: 30 * tick}); got != want {
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
	before := CoreTime{Busy: time.Second, Idle: time.Second}
	after := CoreTime{Busy: 4 * time.Second, Idle: 1500 * time.Millisecond, Steal: 500 * time.Millisecond}
	if got, want := UseOf(before, after, 2*time.Second), (CoreUse{Busy: 0.75, Steal: 0.125, Foreign: 0.25}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	// Ticks are coarse: a process may seem to have used more than its core.
	if got := UseOf(before, after, 5*time.Second).Foreign; got != 0 {
		t.Fatalf("got foreign share %v, want 0", got)
	}
	if got := UseOf(after, after, 0); got != (CoreUse{}) {
		t.Fatalf("got %+v for no time", got)
	}
}

func TestBottleneck(t *testing.T) {
	f := func(proxy, load CoreUse, want string) {
		t.Helper()
		if got := Bottleneck(proxy, load); got != want {
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
	u, err := TreeUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.RSSPeak < 1<<20 || u.Switches == 0 {
		t.Fatalf("got %+v", u)
	}
	tree, err := Tree(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range tree {
		found = found || s.PID == os.Getpid()
	}
	if !found {
		t.Fatalf("this process is not in the tree of its Parent: %+v", tree)
	}
	if _, err := Tree(-1); err == nil {
		t.Fatal("process -1 was found")
	}
}

func TestRSS(t *testing.T) {
	p, _ := launch(t, "echo $WORD; sleep 60")
	// The tree's memory by two ways. A process may come to it between them, but not for ever.
	f := func(root int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			got, err := RSS(root)
			if err != nil {
				t.Fatal(err)
			}
			u, err := TreeUsage(root)
			if err != nil {
				t.Fatal(err)
			}
			if u.RSS > u.RSSPeak {
				t.Fatalf("%d resident, peak %d", u.RSS, u.RSSPeak)
			}
			if got >= u.RSS/2 && got <= 2*u.RSS {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("got %d, want about %d", got, u.RSS)
			}
		}
	}
	f(p.PID())
	f(os.Getpid())
	if _, err := RSS(-1); err == nil {
		t.Fatal("process -1 was found")
	}
}

func TestResetPeaks(t *testing.T) {
	p, _ := launch(t, "echo $WORD; read x")
	before, err := TreeUsage(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	ResetPeaks(p.PID())
	after, err := TreeUsage(p.PID())
	if err != nil || after.RSSPeak > before.RSSPeak || after.RSSPeak < after.RSS {
		t.Fatalf("the peak went from %+v to %+v, %v", before, after, err)
	}
}

func BenchmarkRSS(b *testing.B) {
	for b.Loop() {
		if _, err := RSS(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
