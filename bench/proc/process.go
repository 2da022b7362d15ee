package proc

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

// Process is a program that the run started: the leader of a process group of its own, so that a Ctrl-C on the terminal
// reaches the bench alone and Stop reaches all that the program forked. It is set up by one goroutine; once started, its
// methods are safe for concurrent use.
type Process struct {
	name    string
	cmd     *exec.Cmd
	logFile string        // standard output and error, and for error messages
	output  *os.File      // the open logFile, closed at start
	done    chan struct{} // closed when the leader has been waited for
}

// New prepares a program whose output is appended to logFile. Nothing runs before Start, which also closes the file: a
// process that is made is to be started.
func New(name, logFile, path string, args ...string) (*Process, error) {
	f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	// SIGTERM at the parent's death, not SIGKILL: nginx's master then ends its worker as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return &Process{name: name, cmd: cmd, logFile: logFile, output: f, done: make(chan struct{})}, nil
}

// Setenv sets a variable in the environment that the program inherits. Call it before Start.
func (p *Process) Setenv(key, value string) { p.cmd.Env = append(p.cmd.Environ(), key+"="+value) }

// Dir sets the folder that the program starts in. Call it before Start.
func (p *Process) Dir(dir string) { p.cmd.Dir = dir }

// PipeInput gives the writing end of the program's standard input, which is /dev/null otherwise. It is closed at the
// latest when the program ends. Call it before Start.
func (p *Process) PipeInput() (io.WriteCloser, error) {
	w, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot open a pipe to %q: %w", p.name, err)
	}
	return w, nil
}

// PipeOutput takes standard output out of the log. Unlike exec.Cmd.StdoutPipe the pipe is not closed by the program's
// end, so that nothing is lost; the reader closes it, also after a failed Start. Call it before Start.
func (p *Process) PipeOutput() (io.ReadCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot open a pipe from %q: %w", p.name, err)
	}
	p.cmd.Stdout = w
	return r, nil
}

// Start runs the program on one core; below zero it may run on all that this process may.
func (p *Process) Start(cpu int) error {
	if cpu < 0 {
		return p.StartOn()
	}
	return p.StartOn(cpu)
}

// StartOn runs the program on the cores given; without any it is not pinned. The child inherits the affinity of the
// thread that forks it: that thread takes the cores for the moment of the fork and goes back to its own afterwards.
func (p *Process) StartOn(cpus ...int) error {
	defer p.output.Close()
	if w, ok := p.cmd.Stdout.(*os.File); ok && w != p.output {
		defer w.Close()
	}
	// Pdeathsig follows the thread that forks, not the process. This one is not thrown away: it is unlocked unchanged.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was unix.CPUSet
	if len(cpus) > 0 {
		if err := unix.SchedGetaffinity(0, &was); err != nil {
			return fmt.Errorf("cannot read the cores of this thread: %w", err)
		}
		set := cpuSet(cpus)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("cannot pin %q to cores %v: %w", p.name, cpus, err)
		}
	}
	err := p.cmd.Start()
	started := err == nil
	if len(cpus) > 0 {
		if back := unix.SchedSetaffinity(0, &was); back != nil && err == nil {
			err = back
		}
	}
	if started {
		go func() {
			p.cmd.Wait() // how it ended is in cmd.ProcessState
			close(p.done)
		}()
	}
	if err != nil {
		if started {
			p.Stop()
		}
		return fmt.Errorf("cannot start %q: %w", p.name, err)
	}
	return nil
}

func cpuSet(cpus []int) unix.CPUSet {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return set
}

// PID is the leader's process id, 0 before Start.
func (p *Process) PID() int {
	if p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Running tells whether the leader was started and has not ended yet.
func (p *Process) Running() bool {
	if p.cmd.Process == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when the leader has ended. It never is for a process that was not started.
func (p *Process) Done() <-chan struct{} { return p.done }

// State says in words how the leader is: "not started", "running", "exit status 1", "signal: killed".
func (p *Process) State() string {
	if p.cmd.Process == nil {
		return "not started"
	}
	if p.Running() {
		return "running"
	}
	return p.cmd.ProcessState.String()
}

// Signal sends a signal to the leader alone. After its end the error is os.ErrProcessDone, wrapped.
func (p *Process) Signal(sig os.Signal) error {
	if p.cmd.Process == nil {
		return fmt.Errorf("cannot signal %q: not started", p.name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("cannot signal %q: %w", p.name, err)
	}
	return nil
}

// Stop ends the whole group and waits for the leader: SIGTERM, then SIGKILL after two seconds. It may be called twice.
func (p *Process) Stop() {
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

// LogTail is the end of what the program wrote, in one line, for error messages.
func (p *Process) LogTail() string { return Tail(p.logFile) }

// Tail is the last kilobyte of a file in one line, or in words why there is none.
func Tail(file string) string {
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
