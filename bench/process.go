package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a process may take to end after SIGTERM before its group is killed.
const stopGrace = 2 * time.Second

// process is a program that the run started: the leader of a process group of its own, so that a Ctrl-C on the terminal
// reaches the bench alone and stop reaches all that the program forked.
type process struct {
	name    string
	cmd     *exec.Cmd
	logFile string        // standard output and error, and for error messages
	output  *os.File      // the open logFile, closed at start
	done    chan struct{} // closed when the leader has been waited for
}

// newProcess prepares a program whose output goes to logFile.
func newProcess(name, logFile, path string, args ...string) (*process, error) {
	f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	// SIGTERM at the parent's death, not SIGKILL: nginx's master then ends its worker as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return &process{name: name, cmd: cmd, logFile: logFile, output: f, done: make(chan struct{})}, nil
}

// pipeOutput takes standard output out of the log. Unlike exec.Cmd.StdoutPipe the pipe is not closed by Wait, so the
// reader owns it.
func (p *process) pipeOutput() (io.ReadCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot open a pipe to %q: %w", p.name, err)
	}
	p.cmd.Stdout = w
	return r, nil
}

// start runs the program on one core. The child inherits the affinity of the thread that forks it: that thread takes
// the core for the moment of the fork and goes back to its own afterwards.
func (p *process) start(cpu int) error {
	defer p.output.Close()
	if w, ok := p.cmd.Stdout.(*os.File); ok && w != p.output {
		defer w.Close()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return fmt.Errorf("cannot read the cores of this thread: %w", err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("cannot pin %q to core %d: %w", p.name, cpu, err)
	}
	err := p.cmd.Start()
	if back := unix.SchedSetaffinity(0, &was); back != nil && err == nil {
		err = back
	}
	if err != nil {
		return fmt.Errorf("cannot start %q: %w", p.name, err)
	}
	go func() {
		p.cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.done)
	}()
	return nil
}

// running tells whether the leader has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop ends the whole group and waits for the leader: SIGTERM, then SIGKILL after stopGrace. It may be called twice.
func (p *process) stop() {
	if p.cmd.Process == nil {
		return
	}
	group := -p.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	late := time.NewTimer(stopGrace)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
	}
	// Also when the leader is gone: it may have left members of its group behind.
	syscall.Kill(group, syscall.SIGKILL)
	<-p.done
}

// logTail is the end of what the program wrote, for error messages.
func (p *process) logTail() string { return tail(p.logFile) }

// tail is the last kilobyte of a file, in one line.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(b) > 1024 {
		b = b[len(b)-1024:]
	}
	s := strings.Join(strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if s == "" {
		return "it wrote nothing"
	}
	return s
}
