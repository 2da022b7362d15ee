package resolve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dyups/upstream"
)

// Config is one "resolver" directive together with its "resolver_timeout", 0 for DefaultTimeout and upstream.NoTimeout for
// none. It is only read.
type Config = upstream.Resolver

// DefaultTimeout bounds a look-up whose Config has no Timeout; it is nginx's default for resolver_timeout.
const DefaultTimeout = 30 * time.Second

// DefaultCacheNames is how many names a Resolver keeps unless New is told otherwise.
const DefaultCacheNames = 4096

// attemptTimeout is how long one server may stay silent before the next one is asked, too. nginx waits 5 s; a client that
// waits for its page is better served by a second try within the same breath.
const attemptTimeout = 2 * time.Second

// maxAsked bounds the exchanges for names that requests ask for which are under way to one list of name servers: what clients send
// must not use up the descriptors of the process, of which each takes two, and with silent servers 2*maxOpen. Others wait for their
// turn, as long as their time lasts.
const maxAsked = 256

// Codes of an Error beyond the response codes of DNS (RFC 1035 section 4.1.1).
const (
	codeFormat   = 1
	codeFailure  = 2
	codeNotFound = 3
	codeTimedOut = 110
)

// Error is a look-up that ended without an address. Its text is nginx's:
// "www.test could not be resolved (3: Host not found)".
type Error struct {
	Name string
	Code int // response code of the name server, or 110 for a timeout
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s could not be resolved (%d: %s)", e.Name, e.Code, codeText(e.Code))
}

// Timeout reports whether the look-up ran out of time.
func (e *Error) Timeout() bool { return e.Code == codeTimedOut }

func codeText(code int) string {
	switch code {
	case codeFormat:
		return "Format error"
	case codeFailure:
		return "Server failure"
	case codeNotFound:
		return "Host not found"
	case 4:
		return "Unimplemented"
	case 5:
		return "Operation refused"
	case codeTimedOut:
		return "Operation timed out"
	}
	return "Unknown error"
}

// ErrClosed is the error of a look-up on a Resolver that was closed.
var ErrClosed = errors.New("resolver is closed")

// Resolver looks names up and keeps what it learned. Make it with New. All methods may be called from any goroutine.
type Resolver struct {
	max     int              // names kept
	now     func() time.Time // the clock, for tests
	silence time.Duration    // attemptTimeout, but for tests
	gates   gates            // of Lookup

	life context.Context // ends with Close; parent of every exchange
	stop context.CancelFunc
	work sync.WaitGroup // exchanges under way

	mu      sync.Mutex // guards what is below; held for map operations only
	closed  bool
	cache   map[string]answer
	turns   map[string]int     // for each list of servers: which is asked first, the next time
	flights map[string]*flight // by flightKey
}

// answer is what is known about a name until expires.
type answer struct {
	addrs   []netip.Addr // not written again
	expires time.Time
}

// flight is one exchange that any number of callers wait for. answer and err are set before done is closed.
type flight struct {
	cancel  context.CancelFunc
	waiting int // callers who have not left before its end; guarded by Resolver.mu
	done    chan struct{}
	answer  answer
	err     error
}

// New makes a Resolver that keeps at most cacheNames names; 0 means DefaultCacheNames.
func New(cacheNames int) *Resolver {
	if cacheNames <= 0 {
		cacheNames = DefaultCacheNames
	}
	life, stop := context.WithCancel(context.Background())
	return &Resolver{
		max: cacheNames, now: time.Now, silence: attemptTimeout, gates: gates{places: maxAsked}, life: life, stop: stop,
		cache: map[string]answer{}, turns: map[string]int{}, flights: map[string]*flight{},
	}
}

// Close ends every look-up under way and waits for it. Later look-ups return ErrClosed.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.work.Wait()
}

// Lookup returns the addresses of host, at least one when err is nil: in the order of the answer for those who have waited for it,
// and turned by chance for those who find it in the cache, as nginx has it (ngx_resolver.c, ngx_resolver_export). The slice belongs to
// the caller. One trailing dot of host is ignored. It blocks for cfg.Timeout at most, or until ctx is done; a name
// without an address, an unreachable server and a timeout are an *Error.
func (r *Resolver) Lookup(ctx context.Context, cfg *Config, host string) ([]netip.Addr, error) {
	a, cached, err := r.find(ctx, cfg, host, &r.gates)
	first := 0
	if cached {
		first = rand.N(len(a.addrs))
	}
	return slices.Concat(a.addrs[first:], a.addrs[:first]), err
}

// lookup is Lookup with the time up to which the answer is good, and for callers who bound what they ask at once. Its addresses are
// shared: the caller must not write them.
func (r *Resolver) lookup(ctx context.Context, cfg *Config, host string) (answer, error) {
	a, _, err := r.find(ctx, cfg, host, nil)
	return a, err
}

// find is lookup with the gates that an exchange which it begins has to pass; nil: none. cached: there was an answer already.
func (r *Resolver) find(ctx context.Context, cfg *Config, host string, g *gates) (a answer, cached bool, err error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if len(cfg.Servers) == 0 || !cfg.IPv4 && !cfg.IPv6 {
		return answer{}, false, fmt.Errorf("cannot resolve %q: no name server or no address family is configured", host)
	}
	fqdn, ok := presentation(name)
	if !ok {
		return answer{}, false, &Error{host, codeNotFound}
	}
	key := cacheKey(cfg, name)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return answer{}, false, ErrClosed
	}
	if a, ok := r.cache[key]; ok && r.now().Before(a.expires) {
		r.mu.Unlock()
		return a, true, nil
	}
	f := r.flights[flightKey(cfg, key)]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		var ctx context.Context
		ctx, f.cancel = bounded(r.life, cfg)
		r.flights[flightKey(cfg, key)] = f
		r.work.Add(1)
		go r.fly(ctx, f, key, cfg, host, fqdn, g)
	}
	f.waiting++
	r.mu.Unlock()

	select {
	case <-f.done:
		return f.answer, false, f.err
	case <-ctx.Done():
		r.leave(f, key, cfg)
		return answer{}, false, ended(ctx, host)
	}
}

// leave takes off a flight one caller who could not wait. With the last of them a flight ends that nothing else bounds, and
// whoever comes later begins another one.
func (r *Resolver) leave(f *flight, key string, cfg *Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting == 0 && cfg.Timeout < 0 {
		f.cancel()
		r.land(f, key, cfg)
	}
}

// land takes a flight out of those under way, if it is one of them; the caller holds mu.
func (r *Resolver) land(f *flight, key string, cfg *Config) {
	if key := flightKey(cfg, key); r.flights[key] == f {
		delete(r.flights, key)
	}
}

// ended is the error of a look-up whose caller could not wait.
func ended(ctx context.Context, host string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{host, codeTimedOut}
	}
	return ctx.Err()
}

// fly runs the exchange of one flight, keeps its answer and wakes those who wait.
func (r *Resolver) fly(ctx context.Context, f *flight, key string, cfg *Config, host, fqdn string, g *gates) {
	defer r.work.Done()
	defer f.cancel()
	found, code := r.askWithin(ctx, cfg, fqdn, g)
	switch {
	case len(found.addrs) > 0:
		ttl := found.ttl
		if cfg.Valid > 0 {
			ttl = cfg.Valid
		}
		f.answer = answer{found.addrs, r.now().Add(ttl)}
	case r.life.Err() != nil:
		f.err = ErrClosed
	default:
		f.err = &Error{host, code}
	}
	r.mu.Lock()
	r.land(f, key, cfg)
	if f.err == nil {
		r.keep(key, f.answer)
	}
	r.mu.Unlock()
	close(f.done)
}

// askWithin is ask once g, if there is one, lets it through.
func (r *Resolver) askWithin(ctx context.Context, cfg *Config, fqdn string, g *gates) (found, int) {
	if g != nil {
		leave, ok := g.enter(ctx, cfg)
		if !ok {
			return found{}, codeTimedOut
		}
		defer leave()
	}
	return r.ask(ctx, cfg, fqdn)
}

// bounded is ctx for one look-up by cfg.
func bounded(ctx context.Context, cfg *Config) (context.Context, context.CancelFunc) {
	switch {
	case cfg.Timeout < 0:
		return context.WithCancel(ctx)
	case cfg.Timeout == 0:
		return context.WithTimeout(ctx, DefaultTimeout)
	}
	return context.WithTimeout(ctx, cfg.Timeout)
}

// turn gives the number of the server to ask first: of each list of servers one after the other, of the system's always
// the first.
func (r *Resolver) turn(cfg *Config) int {
	if cfg.System {
		return 0
	}
	servers := cfg.Servers
	key := strings.Join(servers, " ")
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.turns[key]
	r.turns[key] = (n + 1) % len(servers)
	return n
}

// keep stores an answer; the caller holds mu. A full cache first loses what is out of date, then any one name: names
// come from clients, so no order of use is worth defending.
func (r *Resolver) keep(key string, a answer) {
	if _, ok := r.cache[key]; !ok && len(r.cache) >= r.max {
		now := r.now()
		for k, old := range r.cache {
			if !now.Before(old.expires) {
				delete(r.cache, k)
			}
		}
		for k := range r.cache {
			if len(r.cache) < r.max {
				break
			}
			delete(r.cache, k)
		}
	}
	r.cache[key] = a
}

// flightKey tells apart exchanges for the same cacheKey that are not bounded alike.
func flightKey(cfg *Config, key string) string { return key + "\x00" + cfg.Timeout.String() }

// cacheKey tells apart what different resolver directives may answer differently.
func cacheKey(cfg *Config, name string) string {
	var b strings.Builder
	b.WriteString(name)
	for _, on := range []bool{cfg.IPv4, cfg.IPv6, cfg.System} {
		if on {
			b.WriteString("\x00+")
		} else {
			b.WriteString("\x00-")
		}
	}
	b.WriteString(cfg.Valid.String())
	for _, s := range cfg.Servers {
		b.WriteByte(0)
		b.WriteString(s)
	}
	return b.String()
}
