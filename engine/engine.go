package engine

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/ants/v2"
	"github.com/valyala/fasthttp"

	"dyups/engine/site"
	"dyups/upstream"
)

// Level is the level of an error log line, nginx's order: smaller is graver.
type Level uint8

// The levels.
const (
	Emerg Level = iota
	Alert
	Crit
	Err
	Warn
	Notice
	Info
	Debug
)

// Config is what an engine needs from the roof. All functions may be called from any goroutine.
type Config struct {
	Loops       int // number of event loops, at least 1
	Connections int // worker_connections: bound on client connections of one loop; 0: 512
	Store       *upstream.Store
	// Interface makes the handler of a location with dyups_interface or check_status; called once for each such location at Prepare.
	Interface func(l *site.Location) fasthttp.RequestHandler
	// Admin runs a request that changes something, of a location with dyups_interface, where all changes are made one after
	// the other and nothing may block: before it returns, on the calling loop, or later elsewhere. size is that of its body.
	// False: it has no room, a worker does it. Nil: always a worker.
	Admin func(size int, job func()) bool
	// Resolve looks up a host name at run time, until ctx is done; called on a goroutine of its own, never on a loop.
	Resolve func(ctx context.Context, r *site.Resolver, host string) ([]netip.Addr, error)
	// Log takes one error log message without time, level and line end; it must not block.
	Log func(level Level, conn uint64, msg string)
	// LogLevel is the least grave level that Log wants.
	LogLevel Level
	// Prefix is the folder below which an access_log path with variables stands when its value is relative.
	Prefix string
	// Version stands in the Server field after "dyups/".
	Version string
}

// workersMax bounds the goroutines that do what may block for a moment: local handlers, body files, passwords.
const workersMax = 256

// workersWait bounds how long Close waits for workers.
const workersWait = 5 * time.Second

// Engine runs the loops. Its methods are for the roof: one goroutine at a time.
type Engine struct {
	cfg        Config
	base       time.Time
	serverLine string
	serial     atomic.Uint64
	workers    *ants.Pool
	lookups    *ants.Pool      // wait for name servers; never more than there are clients
	life       context.Context // of look-ups; ends with Close
	end        context.CancelFunc
	logs       *logWriter
	loops      []*Loop
	started    bool
	dozes      bool // there are processors beside those that the loops hold while they doze
	current    *installed
	previous   *installed // whose place current took
	sockets    map[string]*socket
	lazy       lazyLogs
	level      atomic.Uint32 // the least grave level that is logged
}

// New makes an engine; nothing listens yet.
func New(cfg Config) (*Engine, error) {
	if cfg.Loops < 1 {
		return nil, fmt.Errorf("cannot run %d event loops: at least 1 is needed", cfg.Loops)
	}
	if cfg.Connections == 0 {
		cfg.Connections = 512
	}
	workers, err := ants.NewPool(workersMax, ants.WithNonblocking(true), ants.WithDisablePurge(false))
	if err != nil {
		return nil, fmt.Errorf("cannot make the worker pool: %w", err)
	}
	lookups, err := ants.NewPool(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot make the pool of look-ups: %w", err)
	}
	e := &Engine{cfg: cfg, base: upstream.Epoch(), workers: workers, lookups: lookups, sockets: map[string]*socket{},
		serverLine: "Server: dyups/" + cfg.Version + "\r\n"}
	e.life, e.end = context.WithCancel(context.Background())
	for i := range cfg.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	e.SetLogLevel(cfg.LogLevel)
	e.logs = newLogWriter(e)
	return e, nil
}

// each runs f on every loop and waits for all. Before the loops run it calls f here.
func (e *Engine) each(f func(*Loop)) {
	if !e.started {
		for _, l := range e.loops {
			f(l)
		}
		return
	}
	var wg sync.WaitGroup
	wg.Add(len(e.loops))
	for _, l := range e.loops {
		l.post(func() {
			defer wg.Done()
			f(l)
		})
	}
	wg.Wait()
}

// Reopen reopens the access logs (USR1).
func (e *Engine) Reopen() error {
	if e.current == nil {
		return nil
	}
	for _, f := range e.current.logs {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	e.lazy.mu.Lock()
	old := e.lazy.files
	e.lazy.files = nil
	e.lazy.mu.Unlock()
	closeAll(old)
	return nil
}

// Shutdown stops listening, closes idle connections, lets requests in flight end (QUIT), and returns when all are
// gone or ctx is done. Unix sockets are unlinked. Close has to follow.
func (e *Engine) Shutdown(ctx context.Context) error {
	if !e.started {
		return nil
	}
	for _, s := range e.sockets {
		s.unlink()
	}
	e.each(func(l *Loop) {
		l.draining = true
		for _, lc := range l.listeners {
			lc.close()
		}
		l.listeners = nil
		l.closeIdle()
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var open atomic.Int64
		e.each(func(l *Loop) { open.Add(int64(l.clients.n)) })
		if open.Load() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for %d connections: %w", open.Load(), ctx.Err())
		case <-tick.C:
		}
	}
}

// Close stops at once (TERM, INT). Pending access log records are written.
func (e *Engine) Close() {
	for _, s := range e.sockets {
		s.unlink()
	}
	for _, l := range e.loops {
		if !e.started {
			l.tearDown()
			continue
		}
		l.post(func() { l.stopping = true })
	}
	if e.started {
		for _, l := range e.loops {
			<-l.done
		}
	}
	e.logs.close()
	e.end()
	_ = e.lookups.ReleaseTimeout(workersWait)
	_ = e.workers.ReleaseTimeout(workersWait) // what removes temporary files is among them
}

// SetLogLevel changes the least grave level that Log wants (reload).
func (e *Engine) SetLogLevel(level Level) { e.level.Store(uint32(level)) }

// wants reports whether messages of a level go anywhere.
func (e *Engine) wants(level Level) bool { return uint32(level) <= e.level.Load() && e.cfg.Log != nil }

func (e *Engine) log(level Level, conn uint64, msg string) {
	if e.wants(level) {
		e.cfg.Log(level, conn, msg)
	}
}

func (e *Engine) logf(level Level, conn uint64, format string, args ...any) {
	if e.wants(level) {
		e.cfg.Log(level, conn, fmt.Sprintf(format, args...))
	}
}

// logRequest logs about one exchange, in nginx's words: what, client, server, request, upstream, host.
func (e *Engine) logRequest(level Level, ex *exchange, what string) {
	if !e.wants(level) {
		return
	}
	b := append([]byte(what), ", client: "...)
	if ex.r.RemoteUnix {
		b = append(b, "unix:"...)
	} else {
		b = append(b, ex.r.Remote.Addr().String()...)
	}
	b = append(b, ", server: "...)
	if ex.r.Server != nil {
		b = append(b, ex.r.Server.Name...)
	}
	h := &ex.head
	if len(h.Buf) > 0 {
		b = append(b, `, request: "`...)
		b = append(b, ex.r.RequestLine()...)
		b = append(b, '"')
	}
	if ex.up != nil && len(ex.r.Tries) > 0 {
		b = append(b, `, upstream: "http://`...)
		b = append(b, ex.r.Tries[len(ex.r.Tries)-1].Label...)
		b = append(b, ex.target.URI...)
		b = append(b, '"')
	}
	if h.HasHost {
		b = append(b, `, host: "`...)
		b = append(b, h.Host.In(h.Buf)...)
		b = append(b, '"')
	}
	e.cfg.Log(level, ex.c.serial, string(b))
}
