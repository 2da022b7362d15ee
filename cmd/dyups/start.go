package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/valyala/fasthttp"

	"dyups/admin"
	"dyups/engine"
	"dyups/engine/site"
	"dyups/upstream"
	"dyups/upstream/health"
	"dyups/upstream/resolve"
)

// server is the running process: the rooms, joined. Only the main goroutine (and, during a reload, the one it waits for)
// touches its fields.
type server struct {
	loader   *loader
	stderr   io.Writer
	log      *errorLog
	store    *upstream.Store
	admin    *admin.Admin
	health   *health.Checker
	resolver *resolve.Resolver // of names in proxy_pass
	names    *resolve.Names    // of names in upstreams
	engine   *engine.Engine
	conf     *configuration                // in force
	current  atomic.Pointer[configuration] // conf, for commands, which come from any goroutine
	pid      string                        // the pid file that was written, "" if none
	caught   <-chan os.Signal
}

// start is the mode without -t and -s: check, bind, publish, and serve until told to stop.
func start(l *loader, stdout, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE) // a reader of our standard error that leaves must not take the proxy with it
	s := &server{loader: l, stderr: stderr, log: newErrorLog()}
	defer s.log.close()
	s.resolver = resolve.New(0)
	s.names = resolve.NewNames(s.resolver, s.notice)
	l.names = s.names
	c, err := l.load(context.Background())
	if err != nil {
		s.early(err)
		return 1
	}
	for _, w := range c.warnings {
		s.say(engine.Warn, w)
	}
	ready := readyPipe()
	if c.main.Daemon && ready == nil {
		return daemonise(stderr)
	}
	prepared, err := s.build(c)
	if err == nil {
		err = s.serve(c, prepared)
	}
	if err != nil {
		s.say(engine.Emerg, err.Error())
		s.stop()
		return 1
	}
	if l.opt.config == "" {
		printTour(stdout)
	}
	if err := s.detach(ready); err != nil {
		s.log.log(engine.Err, 0, fmt.Sprintf("cannot let go of the terminal: %v", err))
	}
	s.loop()
	s.stop()
	return 0
}

// say tells about something before or while starting: on standard error, and in the error log.
func (s *server) say(level engine.Level, msg string) {
	fmt.Fprintf(s.stderr, "dyups: [%s] %s\n", levelNames[level], msg)
	s.log.log(level, 0, msg)
}

// early reports an error that came before the configuration could name an error log.
func (s *server) early(err error) {
	t := earlyTarget(s.loader.root, s.loader.opt.errorLog)
	if t.path != "" { // else say writes to the same place
		s.log.setTargets([]logTarget{t}, func(string) {})
	}
	s.say(engine.Emerg, err.Error())
}

// build makes the rooms around a checked configuration. Every socket listens when it returns; nothing is served yet.
func (s *server) build(c *configuration) (*engine.Prepared, error) {
	m := c.main
	for _, e := range m.Env {
		name, value, _ := strings.Cut(e, "=")
		os.Setenv(name, value)
	}
	if err := s.openLogs(m); err != nil {
		return nil, err
	}
	s.limits(m)
	s.store = upstream.NewStore()
	var err error
	if s.health, err = health.New(s.store, s.notice); err != nil {
		return nil, err
	}
	s.current.Store(c)
	s.admin = admin.New(admin.Config{
		Store: s.store, Options: s.commandOptions(), Failures: s.names.Failures, QueueBytes: c.site.Dyups.ShmZoneSize, Log: s.notice,
	})
	s.names.SetDefault(defaultResolver(c.site))
	s.names.Follow(s.store, s.admin.Apply)
	if err := s.store.Replace(c.upstreams); err != nil {
		return nil, fmt.Errorf("cannot publish the upstreams: %w", err)
	}
	s.engine, err = engine.New(engine.Config{
		Loops: m.Loops, Connections: m.Connections, Store: s.store,
		Interface: s.mount, Admin: s.admin.Run, Resolve: s.resolve,
		Log: s.log.log, LogLevel: engine.Level(s.log.level.Load()), Version: version, Prefix: s.loader.root,
	})
	if err != nil {
		return nil, err
	}
	return s.prepare(c)
}

// serve tells the world where we are while the privileges for that are still there, gives them up, and starts the loops.
// Who connects as soon as the pid file is there waits in the backlog of a listening socket.
func (s *server) serve(c *configuration, prepared *engine.Prepared) error {
	s.caught = catch()
	err := s.writePid(c.main)
	if err == nil {
		err = s.become(c)
	}
	if dir := c.main.Dir; err == nil && dir != "" {
		if cderr := os.Chdir(dir); cderr != nil {
			err = fmt.Errorf("cannot use working_directory %q: %w", dir, reason(cderr))
		}
	}
	if err != nil {
		prepared.Discard()
		return err
	}
	tuneRuntime(c.main.Loops)
	s.engine.Install(prepared, s.retired)
	s.conf = c
	s.log.logf(engine.Notice, "dyups/%s started, at the level of nginx/%s, event loops: %d", version, nginxLevel, c.main.Loops)
	return nil
}

// openLogs opens the error log that the configuration, -e or the default names, and the one of -e in any case: nginx
// creates it before it reads the configuration, and scripts count on the file.
func (s *server) openLogs(m *mainConf) error {
	if e := s.loader.opt.errorLog; e != "" && e != "stderr" {
		if f, err := openLog(below(s.loader.root, e)); err != nil {
			fmt.Fprintf(s.stderr, "dyups: [warn] %v\n", err)
		} else {
			f.Close()
		}
	}
	return s.log.setTargets(m.logTargets(s.loader.opt.errorLog), func(msg string) {
		fmt.Fprintf(s.stderr, "dyups: [warn] %s\n", msg)
	})
}

// prepare binds the sockets and opens the access logs of a configuration.
func (s *server) prepare(c *configuration) (*engine.Prepared, error) {
	p, err := s.engine.Prepare(c.site)
	if err != nil {
		return nil, err
	}
	for _, l := range c.literals {
		p.Implicit(l.host, l.port, l.addrs)
	}
	return p, nil
}

// retired says, in the words of an nginx master about a worker, that the last request of a configuration which was
// replaced has ended; scripts wait for this line. It runs on a loop.
func (s *server) retired() {
	s.log.logf(engine.Notice, "worker process %d exited with code 0", os.Getpid())
}

// mount makes the handler of one location with dyups_interface or check_status. The one answer that the interface leaves to the server,
// it marks with a key of its own; here it becomes the engine's.
func (s *server) mount(l *site.Location) fasthttp.RequestHandler {
	if l.CheckStatus != "" {
		return s.health.Handler(s.store, l.CheckStatus)
	}
	h := s.admin.Handler(admin.HandlerOptions{
		Prefix: l.Prefix, DetailFull: l.DyupsDetailFull,
		Path: engine.RequestPath, HasBody: engine.RequestHasBody,
		OnWriter: engine.OnAdmin, Elsewhere: engine.RunOnWorker,
	})
	return func(ctx *fasthttp.RequestCtx) {
		h(ctx)
		if ctx.UserValue(admin.StockPageKey) != nil {
			ctx.SetUserValue(engine.StockPageKey, true)
		}
	}
}

// resolve looks up a name of proxy_pass that is no upstream, with the location's own resolver.
func (s *server) resolve(ctx context.Context, r *site.Resolver, host string) ([]netip.Addr, error) {
	if r == nil {
		return nil, fmt.Errorf("no resolver defined to resolve %s", host)
	}
	return s.resolver.Lookup(ctx, resolverOf(r), host)
}

// writePid writes the pid file. The built-in configuration has none; the default one is left out where its folder is
// missing, for it was not asked for.
func (s *server) writePid(m *mainConf) error {
	if s.loader.opt.config == "" {
		return nil
	}
	if !m.PidGiven {
		if _, err := os.Stat(filepath.Dir(m.Pid)); err != nil {
			s.say(engine.Warn, fmt.Sprintf("no pid file: the folder of the default one, %q, is missing; -s needs it or a pid directive", m.Pid))
			return nil
		}
	}
	if err := writePid(m.Pid); err != nil {
		return err
	}
	s.pid = m.Pid
	return nil
}

// stop ends what is left at once, in the order that loses nothing: no new requests, no new commands, then the logs.
func (s *server) stop() {
	if s.engine != nil {
		s.engine.Close()
	}
	s.names.Close() // while the commands it gives are still taken
	if s.admin != nil {
		s.admin.Close()
	}
	if s.health != nil {
		s.health.Close()
	}
	s.resolver.Close()
	if s.pid != "" {
		if err := removePid(s.pid); err != nil {
			s.log.log(engine.Warn, 0, err.Error())
		}
	}
	s.log.log(engine.Notice, 0, "exit")
	s.log.close()
}
