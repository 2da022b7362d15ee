package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// writePid puts the process id into the file at path, by rename: who sees the file sees all of it. Its appearance tells
// scripts that the sockets listen.
func writePid(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cannot write pid file %q: %w", path, reason(err))
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("cannot write pid file %q: %w", path, reason(err))
	}
	return nil
}

// readPid reads what writePid wrote.
func readPid(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("cannot read pid file %q: %w", path, reason(err))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("cannot use pid file %q: %q is no process id", path, text)
	}
	return pid, nil
}

// removePid removes the pid file if it is there. Where its folder belongs to somebody else, which is so when "user" gave
// up the privileges it was made with, it is emptied instead: nobody will signal a stranger by it.
func removePid(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if os.Truncate(path, 0) == nil {
		return fmt.Errorf("cannot remove pid file %q, emptied it: %w", path, reason(err))
	}
	return fmt.Errorf("cannot remove pid file %q: %w", path, reason(err))
}

// signals is what -s sends.
var signals = map[string]syscall.Signal{
	"stop": syscall.SIGTERM, "quit": syscall.SIGQUIT, "reopen": syscall.SIGUSR1, "reload": syscall.SIGHUP,
}

// sendSignal sends the signal that -s names to the process of the pid file.
func sendSignal(name, pidPath string) error {
	pid, err := readPid(pidPath)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, signals[name]); err != nil {
		return fmt.Errorf("cannot send signal %q to process %d of %q: %w", name, pid, pidPath, err)
	}
	return nil
}
