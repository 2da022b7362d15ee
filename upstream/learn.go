package upstream

import (
	"crypto/sha256"
	"math"
	"strings"
	"sync"
	"time"

	"dyups/codec/conf"
)

// Learn is what "sticky learn" says: sessions are the backends' own, and what they are called is read from their answers.
type Learn struct {
	// Create and Lookup are what Compiler made of the variables: the first of Create that an answer has a value of begins a
	// session of that name, the first of Lookup that a request has a value of is the session it belongs to.
	Create, Lookup []any
	Header         bool // "header": a session is learned when its answer begins, not when it is over

	timeout time.Duration // how long a session lives without an answer
	most    int           // sessions
}

const (
	// sessionBytes is what a session takes in memory, at most; measured with 100,000 of them: 150 (TestSessionBytes).
	sessionBytes = 160
	// learnTimeout is nginx's default.
	learnTimeout = 10 * time.Minute
)

// learnParams are the parameters of "sticky learn", as errors list them.
var learnParams = []string{"create=$", "lookup=$", "zone=NAME:SIZE", "timeout=", "header"}

// stickyLearn reads "sticky learn create=$VARIABLE... lookup=$VARIABLE... zone=NAME:SIZE [timeout=TIME] [header]".
func (p *parsing) stickyLearn(s *Sticky, d *conf.Directive) (err error) {
	l := &Learn{timeout: learnTimeout}
	seen := map[string]bool{}
	for i := 1; i < len(d.Args); i++ {
		key, v, valued := d.Param(i)
		if seen[key] && (key == "zone" || key == "timeout") { // nginx, ngx_http_upstream_sticky_learn
			return conf.Errorf(d.Args[i].Pos, "parameter %q of \"sticky\" directive is duplicate", key)
		}
		seen[key] = true
		switch {
		case valued && key == "create":
			l.Create, err = p.variable(l.Create, v)
		case valued && key == "lookup":
			l.Lookup, err = p.variable(l.Lookup, v)
		case valued && key == "zone":
			l.most, err = sessionZone(v)
		case valued && key == "timeout":
			if l.timeout, err = v.Time(); err == nil && l.timeout == 0 {
				err = v.Invalid("a time above 0")
			}
		case !valued && key == "header":
			l.Header = true
		default:
			return d.BadParam(i, learnParams...)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case l.Create == nil:
		return d.Errorf("lacks \"create=\", the variable of an answer that names a new session")
	case l.Lookup == nil:
		return d.Errorf("lacks \"lookup=\", the variable of a request that names its session")
	case l.most == 0:
		return d.Errorf("lacks \"zone=\", the name and the size of the table of sessions")
	}
	s.Learn = l
	return nil
}

// variable appends what the Compiler makes of a parameter that has to be a variable.
func (p *parsing) variable(to []any, v conf.Value) ([]any, error) {
	if len(v.Text) < 2 || v.Text[0] != '$' {
		return nil, v.Invalid("a variable such as $cookie_session")
	}
	c, err := p.compile(conf.Word{Text: v.Text, Pos: v.Pos})
	return append(to, c), err
}

// sessionZone reads NAME:SIZE and gives how many sessions there is room for.
func sessionZone(v conf.Value) (int, error) {
	name, size, _ := strings.Cut(v.Text, ":")
	n, err := conf.Size(size)
	if name == "" || err != nil || n < minZone {
		return 0, v.Invalid("NAME:SIZE with a size of at least 32k, such as sessions:1m")
	}
	return int(min(n/sessionBytes, math.MaxInt32)), nil
}

// sessionTable is the table of "sticky learn": which server each session is on. It belongs to an upstream and outlives the tables in
// which that stands, whatever becomes of its servers: a session knows its server by Label, and by its route where that has moved to
// another address. It is bounded: one session more, and the one that was not used for the longest time is forgotten. Safe for concurrent
// use; a lock is held for a few instructions, and one in sixteen of the sessions goes by it. Names are kept as hashes.
type sessionTable struct {
	shards [16]sessionShard
}

type sessionShard struct {
	mu             sync.Mutex
	by             map[sessionKey]*session
	newest, oldest *session // in the order of their use
	_              [24]byte // one cache line
}

// sessionKey is half of a SHA-256 of the session's name, which anybody may choose.
type sessionKey [16]byte

type session struct {
	key          sessionKey
	label, route string // of its server; see Sticky.names
	usedNs       int64
	newer, older *session
}

// carry gives the table of an upstream that old is replaced by.
func (s *Sticky) carry(old *Upstream) *sessionTable {
	switch {
	case s == nil || s.Learn == nil:
		return nil
	case old != nil && old.sessions != nil:
		return old.sessions
	}
	return new(sessionTable)
}

// Session gives the servers that the session of a name is on at nowNs, as Sticky.Find does; nil: it is not known. Only for upstreams
// with "sticky learn". No allocation.
func (u *Upstream) Session(name []byte, nowNs int64) []int {
	if len(name) == 0 {
		return nil
	}
	sh, key := u.sessions.at(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.by[key]; e != nil && nowNs-e.usedNs <= int64(u.Sticky.Learn.timeout) {
		return u.Sticky.at(e)
	}
	return nil
}

// at gives the servers of a session: those of its address, but where they have not its route any more and others have, those. To nginx
// a server with a route is known by that alone (ngx_http_upstream_init_round_robin_sid).
func (s *Sticky) at(e *session) []int {
	at := s.server[e.label]
	if e.route == "" || len(at) > 0 && s.names[at[0]] == e.route {
		return at
	}
	if by := s.server[e.route]; by != nil {
		return by
	}
	return at
}

// Learned notes that server i answered at nowNs for the session of a name: it is there from then on, and used. Without create a
// session that is not known stays so. Only for upstreams with "sticky learn".
func (u *Upstream) Learned(name []byte, create bool, i int, nowNs int64) {
	l := u.Sticky.Learn
	sh, key := u.sessions.at(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for o := sh.oldest; o != nil && nowNs-o.usedNs > int64(l.timeout); o = sh.oldest {
		sh.forget(o)
	}
	e := sh.by[key]
	switch {
	case e != nil:
		sh.unlink(e)
	case !create:
		return
	default:
		for most := max(1, l.most/len(u.sessions.shards)); len(sh.by) >= most; {
			sh.forget(sh.oldest)
		}
		e = &session{key: key}
		if sh.by == nil {
			sh.by = make(map[sessionKey]*session)
		}
		sh.by[key] = e
	}
	e.label, e.route, e.usedNs = u.Servers[i].Label, u.Sticky.names[i], nowNs
	sh.link(e)
}

// at is where the session of a name stands.
func (s *sessionTable) at(name []byte) (*sessionShard, sessionKey) {
	sum := sha256.Sum256(name)
	key := sessionKey(sum[:])
	return &s.shards[int(sum[16])%len(s.shards)], key
}

// forget drops a session; the lock is held, as for all below.
func (sh *sessionShard) forget(e *session) {
	sh.unlink(e)
	delete(sh.by, e.key)
}

// link puts e at the new end.
func (sh *sessionShard) link(e *session) {
	e.older, e.newer = sh.newest, nil
	if sh.newest != nil {
		sh.newest.newer = e
	} else {
		sh.oldest = e
	}
	sh.newest = e
}

// unlink takes e out of the order.
func (sh *sessionShard) unlink(e *session) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		sh.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		sh.oldest = e.newer
	}
}
