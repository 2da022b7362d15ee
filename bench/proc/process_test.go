package proc

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// launch starts a shell script and stops it with the test. The script's "ready" on standard output is waited for.
func launch(t *testing.T, script string, cpus ...int) (*Process, io.WriteCloser) {
	t.Helper()
	p, err := New("script", filepath.Join(t.TempDir(), "log"), "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.PipeInput()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.PipeOutput()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.Setenv("WORD", "ready")
	if err := p.StartOn(cpus...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v: %s", line, err, p.LogTail())
	}
	return p, in
}

// ownCPU is a core that this process may run on.
func ownCPU(t *testing.T) int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			return cpu
		}
	}
	t.Fatal("no core")
	return -1
}

func wait(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not end")
	}
}

func TestProcess(t *testing.T) {
	p, in := launch(t, "echo $WORD; echo one >&2; cat >/dev/null; echo two >&2; exit 3")
	if !p.Running() || p.State() != "running" || p.PID() == 0 {
		t.Fatalf("%v, %q, %d", p.Running(), p.State(), p.PID())
	}
	in.Close()
	wait(t, p)
	if p.Running() || p.State() != "exit status 3" {
		t.Fatalf("%v, %q", p.Running(), p.State())
	}
	if got := p.LogTail(); got != "one; two" {
		t.Fatalf("got log %q", got)
	}
	if err := p.Signal(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("got %v", err)
	}
	p.Stop()
}

func TestProcessStopsItsGroup(t *testing.T) {
	p, _ := launch(t, "trap '' TERM; (trap '' TERM; sleep 60) & echo $WORD; wait; sleep 60")
	tree, err := Tree(p.PID())
	if err != nil || len(tree) < 2 {
		t.Fatalf("got %v, %v", tree, err)
	}
	p.Stop()
	if got := p.State(); got != "signal: killed" {
		t.Fatalf("got %q", got)
	}
	for _, s := range tree {
		if err := syscall.Kill(s.PID, 0); err == nil && alive(s.PID) {
			t.Fatalf("process %d is left", s.PID)
		}
	}
}

// alive tells whether a process runs still; a killed orphan is a zombie until init has waited for it, and may be on its
// way there for a moment.
func alive(pid int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
		if err != nil || strings.HasPrefix(statusText(b, "State"), "Z") {
			return false
		}
	}
	return true
}

func TestProcessSignal(t *testing.T) {
	p, in := launch(t, "trap 'echo hup >&2; exit 0' HUP; echo $WORD; while :; do read x || exit 1; done")
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "\n") // a shell runs its trap between two commands
	wait(t, p)
	if got := p.LogTail(); got != "hup" {
		t.Fatalf("got log %q, %s", got, p.State())
	}
}

func TestProcessThatCannotStart(t *testing.T) {
	p, err := New("nothing", filepath.Join(t.TempDir(), "log"), "/nonexistent/program")
	if err != nil {
		t.Fatal(err)
	}
	if p.Running() || p.State() != "not started" || p.PID() != 0 {
		t.Fatalf("%v, %q, %d", p.Running(), p.State(), p.PID())
	}
	if err := p.Start(-1); err == nil || !strings.Contains(err.Error(), `cannot start "nothing"`) {
		t.Fatalf("got %v", err)
	}
	if err := p.Signal(syscall.SIGHUP); err == nil {
		t.Fatal("nothing was signalled")
	}
	p.Stop()
	if _, err := New("nothing", filepath.Join(t.TempDir(), "no", "log"), "/bin/sh"); err == nil {
		t.Fatal("a log file in no folder was opened")
	}
}

func TestPinned(t *testing.T) {
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := ownCPU(t)
	p, _ := launch(t, "echo $WORD; read x", cpu)
	if err := CheckPinned(p.PID(), cpu); err != nil {
		t.Fatal(err)
	}
	if err := CheckPinned(p.PID(), cpu, cpu+1); err != nil {
		t.Fatal(err)
	}
	if err := CheckPinned(p.PID(), cpu+1); err == nil || !strings.Contains(err.Error(), "may run on "+itoa(cpu)) {
		t.Fatalf("got %v", err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Fatalf("this thread's cores went from %v to %v, %v", before, after, err)
	}
	free, _ := launch(t, "echo $WORD; read x")
	if before.Count() > 1 {
		if err := CheckPinned(free.PID(), cpu); err == nil {
			t.Fatal("a process that is not pinned was taken for one that is")
		}
	}
}
