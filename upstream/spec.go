package upstream

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
)

// Spec is a checked upstream definition, not yet built: all that a table needs except the states of its servers.
// It is immutable, and may be applied under several names and more than once. Make one with ParseBlock.
type Spec struct {
	servers   []ServerSpec // one for each address
	lines     []line       // one for each server directive
	method    lb.Method
	options   lb.Options
	key       string // of hash
	hashKey   any    // what the Compiler made of key
	keepalive keepalive
	zone      []string // arguments of zone
	queue     queueSpec
	sticky    *Sticky
	checks    []*Check // several health_checks, or one check
	panic     int      // of panic_threshold, percent; 0: none
	inherited bool     // checks are those of Options.Inherited
	plan      *lb.Plan

	resolver        *Resolver // of resolver, which names servers for the names of lines; nil: that of the http block
	resolverArgs    []string
	resolverTimeout time.Duration // 0: that of the http block; NoTimeout: none
}

// brief reports whether the plan is soon computed.
func (s *Spec) brief() bool {
	const steps = 16 << 10 // of a few nanoseconds each
	switch s.method {
	case lb.ConsistentHash, lb.Maglev:
		return false
	}
	if s.sticky != nil && len(s.servers) > 16 { // a hash of a microsecond each
		return false
	}
	sum := 0
	for i := range s.servers {
		w := s.servers[i].Weight
		if w > steps {
			return false
		}
		sum += w
	}
	return sum*len(s.servers) <= steps
}

// line is one server directive: n servers from first on, more than one when its name has several addresses. With named
// they are looked up while dyups runs, and there may be none.
type line struct {
	first, n int
	named    *named
}

// keepalive is what the keepalive directives say.
type keepalive struct {
	conns    int
	local    bool // listed, and means nothing
	requests int
	time     time.Duration
	timeout  time.Duration
}

// defaultKeepalive is nginx's since 1.29.7 (ngx_http_upstream_keepalive_module.c): idle connections are kept unless
// "keepalive 0" says otherwise.
var defaultKeepalive = keepalive{conns: 32, requests: 1000, time: time.Hour, timeout: time.Minute}

// Change is one command: the whole definition of an upstream, or its removal.
type Change struct {
	Name   string // any bytes; compared without regard to ASCII case
	Spec   *Spec  // nil: delete
	Source string // who asked: for logs and views
	// If makes the change depend on the present definition: unless the upstream is made of this very Spec, the change is
	// refused with ErrChanged. For sources that derive a definition from the one they saw. nil: whatever there is. Replace
	// does not look at it.
	If *Spec
}

// Compiler compiles the KEY of "hash KEY" (with variables); set once at start by the roof.
type Compiler func(text string) (any, error)

// ResolveFunc looks up a host name when a Spec is built (never on a loop, never under a lock).
type ResolveFunc func(host string) ([]netip.Addr, error)

// Options of ParseBlock. The zero Options know no host names, and keep the text of a hash key as its compiled form.
type Options struct {
	Compile Compiler
	Resolve ResolveFunc
	// Resolver reads a "resolver" directive of the block. nil: the directive is refused.
	Resolver func(*conf.Directive) (*Resolver, error)
	// Look gives the first addresses of the block's "server NAME resolve" lines, one list for each name and in the order of
	// Canonical; nil for one that is not known, which is no error. It may block, for a bounded time. nil: nothing is known.
	Look func([]Name) [][]Address
	// Match gives the text of a match block; Inherited the checks of an upstream whose block has none. They may be nil.
	Match     func(name string) (text string, ok bool)
	Inherited func(name string) []*Check
	// End is where an error about something missing points when the block is empty; otherwise that is the end of the
	// block's last directive.
	End conf.Pos
	// Brief has ParseBlock give up with ErrLengthy on what takes more than some ten microseconds, such as a name that has to
	// be looked up: for callers that others wait for.
	Brief bool
}

// ErrLengthy is the error of ParseBlock when Options.Brief says that there is no time for the block.
var ErrLengthy = errors.New("cannot read upstream block at once")

// methodNames are the directives of the methods, as Upstream.Method gives them.
var methodNames = [...]string{
	lb.RoundRobin: "", lb.IPHash: "ip_hash", lb.LeastConn: "least_conn", lb.Hash: "hash",
	lb.ConsistentHash: "hash", lb.Random: "random", lb.RandomTwo: "random", lb.RandomTwoTime: "random",
	lb.LeastTime: "least_time", lb.Maglev: "maglev",
}

// finish computes the balancing plan, the last step of making a Spec.
func (s *Spec) finish() {
	peers := make([]lb.Peer, len(s.servers))
	for i := range s.servers {
		peers[i] = s.servers[i].peer()
	}
	s.plan = s.options.NewPlan(s.method, peers)
	s.sticky = s.sticky.over(s.servers)
}

// timed reports whether the method goes by response times.
func (s *Spec) timed() bool { return s.method == lb.LeastTime || s.method == lb.RandomTwoTime }

// build makes the upstream of the spec under a name. States, cursor and place in the order are taken over from old,
// the upstream of that name in the table before; nil: there is none. The states that old had and the new one does
// not are appended to retired. A server that comes to an upstream which was there before, or was marked down in it, begins slowly,
// if it is told to. isNew is called for each such server; it may be nil.
func (s *Spec) build(c *Change, old *Upstream, retired []*State, isNew func(*Upstream, *Server)) (*Upstream, []*State) {
	u := &Upstream{
		Name: c.Name, Source: c.Source, Method: methodNames[s.method], HashKey: s.hashKey, NeedsAddr: s.method == lb.IPHash,
		Keepalive: s.keepalive.conns, KeepaliveRequests: s.keepalive.requests,
		KeepaliveTime: s.keepalive.time, KeepaliveTimeout: s.keepalive.timeout,
		QueueMax: s.queue.max, QueueTimeout: s.queue.timeout, Sticky: s.sticky, Checks: s.checks, Timed: s.timed(), LastByte: s.options.LastByte,
		Servers: make([]*Server, len(s.servers)), spec: s, key: keyOf([]byte(c.Name)),
	}
	servers := make([]Server, len(s.servers))
	for i := range servers {
		servers[i].ServerSpec = &s.servers[i]
		u.Servers[i] = &servers[i]
	}
	var down map[*State]bool
	if old != nil {
		u.cursor, u.seq = old.cursor, old.seq
		n := len(retired)
		retired = carry(old.Servers, u.Servers, retired)
		for _, st := range retired[n:] {
			st.live.Leave()
		}
		down = markedDown(old.Servers)
	} else {
		u.cursor = new(lb.Cursor)
	}
	for _, sv := range u.Servers {
		switch {
		case sv.State == nil:
			sv.State = new(State)
		case sv.Down || !down[sv.State]:
			continue
		}
		if old != nil && sv.SlowStart > 0 {
			sv.State.live.Start(NowNs())
		}
		if isNew != nil {
			isNew(u, sv)
		}
	}
	if s.panic > 0 {
		u.PanicBelow, u.panics = s.panic, new(atomic.Bool)
		if old != nil && old.panics != nil {
			u.panics = old.panics
		}
	}
	u.Queue = s.queue.carry(old)
	u.sessions = s.sticky.carry(old)
	u.bind(s.plan)
	return u, retired
}

// markedDown gives the states of the servers that are marked down; nil: none is.
func markedDown(servers []*Server) (down map[*State]bool) {
	for _, s := range servers {
		if s.Down {
			if down == nil {
				down = map[*State]bool{}
			}
			down[s.State] = true
		}
	}
	return down
}

// carry gives the states of old servers to the new servers with the same address, in order where an address stands
// several times, and appends the states that are left over to retired.
func carry(old, now []*Server, retired []*State) []*State {
	same := 0 // most updates keep the front of the list
	for same < min(len(old), len(now)) && old[same].Label == now[same].Label {
		now[same].State = old[same].State
		same++
	}
	old, now = old[same:], now[same:]
	if len(old) == 0 {
		return retired
	}
	left := make(map[string][]*State, len(old))
	for _, s := range old {
		left[s.Label] = append(left[s.Label], s.State)
	}
	for _, s := range now {
		if q := left[s.Label]; len(q) > 0 {
			s.State, left[s.Label] = q[0], q[1:]
		}
	}
	for _, s := range old { // in order, so that what happens is the same every time
		if q := left[s.Label]; len(q) > 0 && q[0] == s.State {
			retired = append(retired, s.State)
			left[s.Label] = q[1:]
		}
	}
	return retired
}
