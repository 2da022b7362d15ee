package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"dyups/engine"
)

// limits raises the bounds on open files and core size. The number of open files goes as high as the system lets it, or
// to worker_rlimit_nofile; what fails is told and lived with, as nginx does.
func (s *server) limits(m *mainConf) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		want := syscall.Rlimit{Cur: files.Max, Max: files.Max}
		if m.Nofile > 0 {
			n := uint64(m.Nofile)
			want = syscall.Rlimit{Cur: n, Max: max(n, files.Max)}
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
			s.say(engine.Warn, fmt.Sprintf("cannot set worker_rlimit_nofile to %d, the limit is %d: %v", want.Cur, files.Cur, err))
		}
	}
	if m.HasCore {
		core := syscall.Rlimit{Cur: uint64(m.Core), Max: uint64(m.Core)}
		if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &core); err != nil {
			s.say(engine.Warn, fmt.Sprintf("cannot set worker_rlimit_core to %d: %v", m.Core, err))
		}
	}
}

// become gives up the privileges of root for those of the user that the configuration names, if it does, and for good.
// Files that have to be written later go along: logs (USR1 opens them again), the pid file, folders of request bodies.
func (s *server) become(c *configuration) error {
	a := c.main.User
	if a == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		s.say(engine.Warn, `the "user" directive makes sense only with super-user privileges, ignored`)
		return nil
	}
	s.log.own(a.uid, a.gid)
	own := slices.Clone(c.site.Logs)
	if s.pid != "" {
		own = append(own, s.pid)
	}
	for _, l := range c.site.Locations {
		if l.BodyTempPath != "" && !slices.Contains(own, l.BodyTempPath) {
			os.Mkdir(l.BodyTempPath, 0o700) // there already, or told when a body needs it
			own = append(own, l.BodyTempPath)
		}
	}
	for _, path := range own {
		os.Chown(path, a.uid, a.gid) // what fails here is told when the file is needed
	}
	err := syscall.Setgroups(a.groups)
	if err == nil {
		err = syscall.Setgid(a.gid)
	}
	if err == nil {
		err = syscall.Setuid(a.uid)
	}
	if err != nil {
		return fmt.Errorf("cannot become user %q: %w", a.name, err)
	}
	return nil
}

// gcPercent trades memory for fewer collections. The proxied path allocates nothing, so the heap is small and what fills
// it are commands and local answers; at Go's default of 100 a heap of a few megabytes is collected far too often. Beyond 200
// the memory that is touched for the first time costs as much as is saved, above all in a virtual machine: with 10,000
// upstreams, 16 clients made 39,600, 37,200 and 34,100 updates a second with 400, 200 and 100, in 323, 203 and 139 MiB, and
// an update beside 40,000 requests a second cost 89 µs with 400 and 53 with 100 (medians of 4 and 5 rounds).
const gcPercent = 200

// tuneRuntime fits the Go runtime to the given number of event loops. Each loop locks a thread and holds a processor of
// the scheduler while it runs, so at least one more is needed for the workers, the writer of commands and the collector.
// GOGC and GOMAXPROCS in the environment win.
func tuneRuntime(loops int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.NumCPU(), loops+1))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// readyEnv names, in a daemon's environment, the descriptor on which it tells its parent that it serves.
const readyEnv = "DYUPS_READY_FD"

// readyFD is that descriptor: the first of exec.Cmd.ExtraFiles.
const readyFD = 3

// readyPipe is the daemon's end of the pipe to the process that started it, nil if this process is no daemon.
func readyPipe() *os.File {
	if os.Getenv(readyEnv) != fmt.Sprint(readyFD) {
		return nil
	}
	os.Unsetenv(readyEnv)
	syscall.CloseOnExec(readyFD)
	return os.NewFile(readyFD, "ready")
}

// daemonise starts this program again in a session of its own and waits until it serves. Go cannot fork a running
// program; the daemon reads its configuration afresh and binds the sockets itself, so there is nothing to hand over.
func daemonise(stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintf(stderr, "dyups: [emerg] cannot go into the background: %v\n", err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", readyEnv, readyFD))
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	w.Close()
	word, _ := io.ReadAll(r) // ends when the daemon says so, or dies
	if string(word) != "ready" {
		cmd.Wait() // it has said why
		return 1
	}
	return 0
}

// detach tells the waiting parent that this daemon serves, and lets go of the terminal. Standard error is kept where the
// error log uses it.
func (s *server) detach(ready *os.File) error {
	if ready == nil {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	err = errors.Join(syscall.Dup3(int(null.Fd()), 0, 0), syscall.Dup3(int(null.Fd()), 1, 0))
	if !s.logsToStderr() {
		err = errors.Join(err, syscall.Dup3(int(null.Fd()), 2, 0))
	}
	if _, werr := io.WriteString(ready, "ready"); werr != nil {
		err = errors.Join(err, werr)
	}
	return errors.Join(err, ready.Close())
}

// logsToStderr reports whether an error log of the configuration in force goes to standard error.
func (s *server) logsToStderr() bool {
	for _, t := range s.conf.main.logTargets(s.loader.opt.errorLog) {
		if t.path == "" {
			return true
		}
	}
	return false
}
