package upstream

import (
	"net/netip"
	"sync/atomic"
	"time"

	"dyups/lb"
)

// ServerSpec is what one address of a server line is told to be; immutable, and shared by all servers that are made of it.
type ServerSpec struct {
	Addr        netip.AddrPort // zero for a unix socket
	Label       string         // what $upstream_addr and listings show: "127.0.0.1:8088", "[::1]:80", "unix:/path"
	Name        string         // as written; with service=, the target of the SRV record
	Weight      int
	MaxConns    int // 0: no bound
	MaxFails    int // 0: failures are not counted
	FailTimeout time.Duration
	SlowStart   time.Duration // time in which the weight rises after a recovery or when the server is new; 0: at once
	Backup      bool
	Down        bool
	Drain       bool   // gets no new sessions, and no requests but those of sessions that it has
	Resolve     bool   // as written: the address is looked up while dyups runs, if Name is no address
	Route       string // what "sticky route" knows the server by; "": nothing
	Service     string // of service=
}

// Unix is the path of the server's socket, "" where it has an address.
func (s *ServerSpec) Unix() string {
	if s.Addr.IsValid() {
		return ""
	}
	return s.Label[len("unix:"):]
}

// Server is one frozen peer of an upstream. Only what State points to is written after a table with it is published.
type Server struct {
	*ServerSpec
	State *State
}

// Upstream is one frozen upstream. Its exported fields must not be written once it is in a table; Pick, Done and
// Untry may be called from any goroutine.
type Upstream struct {
	Name    string    // as last written
	Servers []*Server // index = what Pick returns
	Method  string    // directive of the method; "" for weighted round robin
	// HashKey is what Compiler made of the KEY of "hash KEY", nil otherwise. NeedsAddr: picks want the client's address.
	HashKey   any
	NeedsAddr bool
	// Timed: Observe is wanted after each try that succeeds. Waiting: Answered is wanted once for every pick, when the
	// response header has come, or with LastByte at its end, or when the try ends before that.
	Timed, Waiting, LastByte bool
	Sticky                   *Sticky // nil: no sessions
	// Checks are what servers are asked. One that fails any of them gets no requests. Empty: they are not asked.
	Checks []*Check
	// PanicBelow is panic_threshold: with less than that many percent of the servers healthy, by active checks, all get requests.
	PanicBelow int // 0: never
	// Requests that find no server wait in Queue, QueueMax of them at most and for QueueTimeout. 0: they do not wait, but some
	// may still be in Queue, which is nil where none ever did.
	Queue        *Queue
	QueueMax     int
	QueueTimeout time.Duration
	// Idle connections kept to this upstream by each loop, and their bounds.
	Keepalive         int // 0: none kept
	KeepaliveRequests int
	KeepaliveTime     time.Duration
	KeepaliveTimeout  time.Duration
	Source            string // of the change that made it
	picker            lb.Picker
	taker             lb.Taker
	sessions          *sessionTable // of "sticky learn", carried over updates; nil: none
	cursor            *lb.Cursor    // carried over updates
	panics            *atomic.Bool  // carried over updates; nil: PanicBelow is 0
	tries             int
	spec              *Spec
	key               nameKey
	seq               uint64 // order of creation within the table
}

// Outcome says how a try ended.
type Outcome uint8

const (
	OK      Outcome = iota // the server did its part
	Failed                 // counts towards max_fails
	Neither                // no failure, and no answer whose times count (client left; http_404 as next_upstream reason)
)

// Pick picks a server for a request and takes a place on it, which Done gives back; -1: no live upstream. The pick
// is added to q.Tried, and servers in q.Tried are not picked. No lock; no allocation but for a rare rebuilding of
// the rotation after failures.
func (u *Upstream) Pick(q *lb.Query) int { return u.picker.Pick(q) }

// Done gives the place back and records the outcome (passive health: max_fails, fail_timeout, as nginx, for which all that is no
// failure proves the server well: a 404, and a client that did not wait). nowNs is on the clock of Query.NowNs. It reports whether
// this outcome took the server out ("upstream server temporarily disabled"): never for the only server of an upstream. A server that
// left the table meanwhile is no exception.
func (u *Upstream) Done(i int, o Outcome, nowNs int64) (disabled bool) {
	s := u.Servers[i]
	l := &s.State.live
	switch {
	case len(u.Servers) == 1:
		l.Forget()
	case o == Failed:
		disabled = l.Fail(nowNs, s.MaxFails)
	default:
		l.Succeed()
	}
	l.Release()
	u.Queue.Wake()
	return disabled
}

// Observe records the times from the start of a try on server i to the response header and to the last byte, below 0 where
// one is not known, for the methods that go by them (Timed). Only tries that succeeded count.
func (u *Upstream) Observe(i int, headerNs, lastByteNs int64) {
	u.Servers[i].State.live.Observe(headerNs, lastByteNs)
}

// Answered ends the time for which the pick of server i at startNs (lb.Query.NowNs) counts as waiting: see Waiting.
func (u *Upstream) Answered(i int, startNs int64) { u.Servers[i].State.live.Answered(startNs) }

// Panics reports whether requests go to servers that fail their checks, because too few pass (PanicBelow).
func (u *Upstream) Panics() bool { return u.panics != nil && u.panics.Load() }

// SetPanics is for who checks the servers, and decides.
func (u *Upstream) SetPanics(yes bool) { u.panics.Store(yes) }

// Untry takes server i out of the tried set, so that one more try on it is possible (stale keep-alive connection).
func (u *Upstream) Untry(q *lb.Query, i int) { q.Tried.Remove(i) }

// Tries is the number of tries a request may make at most: the servers that are not marked down and do not drain, backups
// included, as nginx counts them (ngx_http_upstream_tries). Those that Take makes at servers that drain come on top.
func (u *Upstream) Tries() int { return u.tries }

// Single makes an upstream outside every table, for proxy_pass to an address or to resolved names. It balances in
// turn and is owned by the caller: nothing retires its states. Servers with no Weight get what nginx gives an implicit
// upstream: weight=1 max_fails=1 fail_timeout=10s. As in nginx no idle
// connections are kept; the caller may set the Keepalive fields before anyone else sees the upstream.
func Single(name string, servers ...ServerSpec) *Upstream {
	u := &Upstream{Name: name, Servers: make([]*Server, len(servers)), cursor: new(lb.Cursor), key: keyOf([]byte(name))}
	peers := make([]lb.Peer, len(servers))
	for i := range servers {
		s := &servers[i]
		if s.Weight == 0 {
			s.Weight, s.MaxFails, s.FailTimeout = 1, 1, 10*time.Second
		}
		u.Servers[i] = &Server{s, new(State)}
		peers[i] = s.peer()
	}
	u.bind(lb.NewPlan(lb.RoundRobin, peers))
	return u
}

// peer is what the balancer has to know about the server.
func (s *ServerSpec) peer() lb.Peer {
	return lb.Peer{
		Name: s.Name, Weight: s.Weight, MaxConns: s.MaxConns, MaxFails: s.MaxFails,
		FailTimeoutNs: int64(s.FailTimeout), SlowStartNs: int64(s.SlowStart), Backup: s.Backup, Down: s.Down, Drain: s.Drain,
	}
}

// bind makes the picker over the servers' states.
func (u *Upstream) bind(plan *lb.Plan) {
	live := make([]*lb.Live, len(u.Servers))
	for i, s := range u.Servers {
		live[i] = &s.State.live
	}
	u.picker, u.taker = plan.BindTaker(live, u.cursor)
	u.tries = plan.Tries()
	u.Waiting = plan.CountsWaiting()
}
