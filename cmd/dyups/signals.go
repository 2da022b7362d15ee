package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"dyups/engine"
	"dyups/upstream"
)

// catch begins to collect the signals that loop acts on. It comes before the pid file: who finds the file may signal.
func catch() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	return c
}

// loop serves signals until one of them ends the process: QUIT gracefully, TERM and INT at once.
func (s *server) loop() {
	var overdue <-chan time.Time // replaced configurations have had worker_shutdown_timeout
	for {
		var sig os.Signal
		select {
		case sig = <-s.caught:
		case <-overdue:
			overdue = nil
			s.engine.DropOld()
		}
		for sig == syscall.SIGHUP {
			s.log.logf(engine.Notice, "%s received, reconfiguring", describe(sig))
			was := s.conf
			sig = s.reloadUntil()
			if t := was.main.ShutdownTimeout; t > 0 && s.conf != was {
				overdue = time.After(t)
			}
		}
		switch sig {
		case nil: // no signal any more
		case syscall.SIGUSR1:
			s.reopen(sig)
		case syscall.SIGQUIT:
			s.log.logf(engine.Notice, "%s received, gracefully shutting down", describe(sig))
			s.quit()
			return
		case syscall.SIGTERM, syscall.SIGINT:
			s.log.logf(engine.Notice, "%s received, exiting", describe(sig))
			return
		default:
			s.log.logf(engine.Notice, "%s received, not supported, ignored", describe(sig))
		}
	}
}

func describe(sig os.Signal) string {
	names := map[os.Signal]string{
		syscall.SIGHUP: "SIGHUP", syscall.SIGQUIT: "SIGQUIT", syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT",
		syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGWINCH: "SIGWINCH",
	}
	return fmt.Sprintf("signal %d (%s)", sig, names[sig])
}

// reopen is USR1.
func (s *server) reopen(sig os.Signal) {
	s.log.logf(engine.Notice, "%s received, reopening logs", describe(sig))
	if err := errors.Join(s.log.reopen(), s.engine.Reopen()); err != nil {
		s.log.log(engine.Emerg, 0, err.Error())
	}
}

// quit waits until the requests in flight are done, worker_shutdown_timeout is over, or TERM or INT comes.
func (s *server) quit() {
	ctx, cancel := context.WithCancel(context.Background())
	if t := s.conf.main.ShutdownTimeout; t > 0 {
		ctx, cancel = context.WithTimeout(ctx, t)
	}
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.engine.Shutdown(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				s.log.logf(engine.Notice, "connections were still open: %v", err)
			}
			return
		case sig := <-s.caught:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				s.log.logf(engine.Notice, "%s received, exiting", describe(sig))
				cancel()
			}
		}
	}
}

// reloadUntil reloads while it listens for signals: reading a configuration may wait for name servers, stopping must
// not. It returns the signal that came in the meantime, nil if none.
func (s *server) reloadUntil() (next os.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.reload(ctx)
	}()
	for {
		select {
		case <-done:
			return next
		case sig := <-s.caught:
			switch sig {
			case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
				cancel()
				next = sig
			default:
				if next == nil || next == syscall.SIGHUP {
					next = sig
				}
			}
		}
	}
}

// reload reads everything again and publishes it, or logs why not and changes nothing. What becomes of upstreams says merge.
func (s *server) reload(ctx context.Context) {
	refuse := func(err error) {
		s.log.log(engine.Emerg, 0, err.Error())
		s.log.log(engine.Notice, 0, "the configuration in force stays")
	}
	c, err := s.loader.load(ctx)
	if err != nil {
		refuse(err)
		return
	}
	for _, w := range c.warnings {
		s.log.log(engine.Warn, 0, w)
	}
	m := newMerge(s.conf, c, s.optionsOf(func() *configuration { return c }))
	if _, _, err := m.news(s.store.Load()); err != nil {
		refuse(err)
		return
	}
	prepared, err := s.prepare(c)
	if err != nil {
		refuse(err)
		return
	}
	sinks, err := openTargets(c.main.logTargets(s.loader.opt.errorLog), func(msg string) { s.log.log(engine.Warn, 0, msg) })
	if err == nil {
		err = s.movePid(c.main)
	}
	if err != nil {
		closeSinks(sinks)
		prepared.Discard()
		refuse(err)
		return
	}
	s.log.use(sinks)
	s.engine.SetLogLevel(engine.Level(s.log.level.Load()))
	s.tellFixed(c.main)
	s.publish(c, m, prepared)
}

// publish makes a checked configuration the one in force. Requests routed by the old site must find its upstreams until
// the new site is there, and those routed by the new site must find theirs from the first one on; so the new upstreams
// are added first and what the files no longer have goes last.
func (s *server) publish(c *configuration, m *merge, prepared *engine.Prepared) {
	s.names.SetDefault(defaultResolver(c.site))
	s.alone(func() {
		changes, overruled, err := m.news(s.store.Load())
		if err != nil { // of a command that came after the check
			s.log.log(engine.Err, 0, err.Error())
		}
		s.apply(changes)
		m.tell(s.log, s.store.Load(), overruled)
	})
	s.current.Store(c)
	s.engine.Install(prepared, s.retired)
	s.admin.SetQueueBytes(c.site.Dyups.ShmZoneSize)
	s.alone(func() {
		t := s.store.Load()
		changes := m.rest(t)
		var lost []*upstream.Upstream
		for _, c := range changes {
			if up := t.Lookup([]byte(c.Name)); c.Spec == nil && up != nil {
				lost = append(lost, up)
			}
		}
		s.engine.Keep(lost)
		s.apply(changes)
	})
	s.conf = c
}

// alone runs f while no command writes to the table.
func (s *server) alone(f func()) {
	if err := s.admin.Alone(f); err != nil {
		s.log.log(engine.Err, 0, err.Error())
	}
}

// apply makes changes that nothing can be wrong with.
func (s *server) apply(changes []upstream.Change) {
	for i, err := range s.store.Apply(changes) {
		if err != nil {
			panic(fmt.Sprintf("BUG: checked upstream %q was refused: %v", changes[i].Name, err))
		}
	}
}

// movePid follows a pid directive that changed.
func (s *server) movePid(m *mainConf) error {
	if s.pid == "" || m.Pid == s.pid {
		return nil
	}
	if err := writePid(m.Pid); err != nil {
		return err
	}
	old := s.pid
	s.pid = m.Pid
	return removePid(old)
}

// tellFixed names what a reload cannot change, because the loops and the process are what they are.
func (s *server) tellFixed(m *mainConf) {
	was := s.conf.main
	for _, f := range []struct {
		name    string
		changed bool
	}{
		{"worker_processes", m.Loops != was.Loops},
		{"worker_connections", m.Connections != was.Connections},
		{"worker_rlimit_nofile", m.Nofile != was.Nofile},
		{"daemon", m.Daemon != was.Daemon},
		{"working_directory", m.Dir != was.Dir},
		{"user", (m.User == nil) != (was.User == nil) || m.User != nil && m.User.name != was.User.name},
		{"env", strings.Join(m.Env, "\n") != strings.Join(was.Env, "\n")},
	} {
		if f.changed {
			s.log.logf(engine.Warn, "%q has changed, which takes effect at the next start only", f.name)
		}
	}
}
