package lb

// Query is what one pick depends on. It lives inside the caller's exchange, so a pick allocates nothing. One
// goroutine owns it; the zero Query is ready for the first pick of a request.
type Query struct {
	Key   []byte // hash key, or the client's address: 4 or 16 bytes, nil for a unix socket client
	NowNs int64  // monotonic, for fail_timeout
	Homes []int  // backups that the request's session is on: a pick that turns to the backups takes the first of them that may be used
	Tried Tried  // peers already tried for this request
}

// Picker gives the index of the next peer, or -1 when none may be used. Safe for concurrent use; no lock, no
// allocation. A pick takes a place (in-flight count) that the caller gives back with the owner's Done, and adds
// the peer to q.Tried, so that the next pick of the same request goes elsewhere.
type Picker interface {
	Pick(q *Query) int
}

// Method is a way of balancing. The zero Method is RoundRobin.
type Method uint8

// The methods, each named after the directive that selects it.
const (
	RoundRobin     Method = iota
	IPHash                // ip_hash: Query.Key is the client's address
	LeastConn             // least_conn
	Hash                  // hash KEY: Query.Key is the key's value
	ConsistentHash        // hash KEY consistent
	Random                // random
	RandomTwo             // random two [least_conn]
	RandomTwoTime         // random two least_time=header|last_byte: Options.LastByte
	LeastTime             // least_time header|last_byte [inflight]: Options.LastByte, Options.Inflight
	Maglev                // maglev KEY: Query.Key is the key's value
)

// Options are what some methods take besides the peers. The zero Options are nginx's defaults.
type Options struct {
	// BalanceFactor bounds the load of a peer under ConsistentHash, in percent of the average over the peers in use:
	// 125 for balance_factor=1.25. Below 101 there is no bound.
	BalanceFactor int
	LastByte      bool // LeastTime and RandomTwoTime go by the time to the last byte, not to the header
	Inflight      bool // LeastTime counts requests that are not yet answered; see Plan.CountsWaiting
}

// Peer is the frozen description of one peer. Numbers are taken as they are: a Weight below 1 counts as 1,
// MaxConns 0 means no bound, MaxFails 0 means that failures are not counted.
type Peer struct {
	Name          string // as written in the configuration; ConsistentHash places the peer by it
	Weight        int
	MaxConns      int
	MaxFails      int
	FailTimeoutNs int64
	SlowStartNs   int64 // time in which the weight rises after Live.Start or a recovery; 0: at once (nginx: slow_start)
	Backup        bool
	Down          bool
	Drain         bool // no method picks it, but Taker.Take does: it keeps the sessions that it has
}

// Plan is what can be computed from the peers alone: rotations and hash rings. It is immutable and safe for
// concurrent use; building it is the expensive part (see doc.go), so it is done where a command is parsed and not
// where a table is published.
type Plan struct {
	method    Method
	options   Options
	peers     []Peer
	tries     int
	primaries []uint32 // indices of all peers that are no backups, the ones that are down included
	primary   rotation
	backup    rotation
	weights   cumulative // of primaries, for the methods that have a line of weights
	points    *ketama    // ConsistentHash only
	table     *maglevTable
}

// NewPlan computes the plan of a method over peers, with the zero Options. The index of a peer in the slice is what
// Pick returns. The slice is kept and must not be written afterwards.
func NewPlan(m Method, peers []Peer) *Plan { return Options{}.NewPlan(m, peers) }

// NewPlan is NewPlan with options.
func (o Options) NewPlan(m Method, peers []Peer) *Plan {
	p := &Plan{method: m, options: o, peers: peers}
	p.primaries = where(peers, func(p *Peer) bool { return !p.Backup })
	up := where(peers, func(p *Peer) bool { return !p.Backup && p.inUse() })
	spare := where(peers, func(p *Peer) bool { return p.Backup && p.inUse() })
	p.tries = len(up) + len(spare)
	p.primary = newRotation(peers, up)
	p.backup = newRotation(peers, spare)
	for i := range peers {
		r := &p.primary
		if peers[i].Backup {
			r = &p.backup
		}
		r.all += clampWeight(peers[i].Weight)
	}
	switch m {
	case IPHash, Hash, Random, RandomTwo, RandomTwoTime:
		p.weights = newCumulative(peers, p.primaries)
	case ConsistentHash:
		p.points = newKetama(peers, p.primaries)
	case Maglev:
		p.table = newMaglev(peers, p.primaries)
	}
	return p
}

// inUse reports whether picks may give the peer: it is not marked down, and does not drain.
func (p *Peer) inUse() bool { return !p.Down && !p.Drain }

// where gives the indices of the peers for which is holds.
func where(peers []Peer, is func(*Peer) bool) []uint32 {
	n := 0
	for i := range peers {
		if is(&peers[i]) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	at := make([]uint32, 0, n)
	for i := range peers {
		if is(&peers[i]) {
			at = append(at, uint32(i))
		}
	}
	return at
}

// Tries is the number of peers that picks can give one request: those that are not marked down and do not drain, backups
// included. What a Taker takes on a peer that drains comes on top. It follows ngx_http_upstream_tries of nginx,
// ngx_http_upstream_round_robin.c, for which a peer that drains is one that is down.
func (p *Plan) Tries() int { return p.tries }

// CountsWaiting reports whether the caller has to call Live.Answered for every pick.
func (p *Plan) CountsWaiting() bool {
	return p.method == LeastTime && p.options.Inflight && len(p.peers) > 1
}

// Bind makes the plan's picker over the living parts of its peers: live[i] belongs to peer i. The cursor carries
// the position of the rotation and is to be shared with earlier and later pickers over the same lives; nil starts
// at the first peer. The slice is kept and must not be written afterwards. It panics when the number of lives is not the
// number of peers.
func (p *Plan) Bind(live []*Live, cur *Cursor) Picker {
	picker, _ := p.BindTaker(live, cur)
	return picker
}

// BindTaker is Bind with the Taker over the same peers.
func (p *Plan) BindTaker(live []*Live, cur *Cursor) (Picker, Taker) {
	if len(live) != len(p.peers) {
		panic("BUG: a plan is bound to as many lives as it has peers")
	}
	if cur == nil {
		cur = new(Cursor)
	}
	b := &balancer{plan: p, peers: make([]peer, len(live)), live: live}
	for i := range p.peers {
		b.peers[i].init(&p.peers[i], live[i])
		b.limited = b.limited || b.peers[i].maxConns != 0
		if !p.ramps() {
			b.peers[i].slowStart = 0
		} else if b.peers[i].slowStart > 0 {
			live[i].ensure() // a recovery is to be noted
		}
	}
	if len(b.peers) == 1 { // nowhere else to go: nginx never takes a lone peer out, nor lets it start slowly
		b.peers[0].maxFails, b.peers[0].slowStart = 0, 0
	}
	b.primary.init(&p.primary, b.peers, &cur.primary, &cur.total)
	b.backup = noGroup
	if len(p.backup.members) > 0 {
		b.backup = new(group)
		b.backup.init(&p.backup, b.peers, &cur.backup, &cur.total)
	}
	for i := range b.peers {
		if !p.bounded() || !b.primary.holds(i, b.peers[i].rank) {
			b.peers[i].live.uncount()
		}
		b.peers[i].leave(cur)
	}
	if p.weighs() {
		b.primary.weighs(p.method == LeastConn)
		b.backup.weighs(p.method == LeastConn)
	}
	return b.picker(cur), b
}

// weighs reports whether small groups go by nginx's weights of the moment: where the method has turns, or falls back to them.
func (p *Plan) weighs() bool {
	switch p.method {
	case RoundRobin, LeastConn, IPHash, Hash:
		return true
	case ConsistentHash:
		return !p.bounded()
	}
	return false
}

// bounded reports whether loads are bounded: of one peer to choose from they are not.
func (p *Plan) bounded() bool {
	return p.method == ConsistentHash && p.options.BalanceFactor > 100 && len(p.primaries) > 1
}

// ramps reports whether the method starts peers slowly: as in nginx, not those that go by a hash or by chance.
func (p *Plan) ramps() bool {
	return p.method == RoundRobin || p.method == LeastConn || p.method == LeastTime
}

// picker gives the view of b that is its method's.
func (b *balancer) picker(cur *Cursor) Picker {
	p := b.plan
	// One peer to choose from is round robin whatever the method: every method of nginx does the same.
	if len(p.peers) == 1 || len(p.primaries) < 2 && p.method != LeastConn && p.method != LeastTime {
		return (*roundRobin)(b)
	}
	switch p.method {
	case IPHash:
		return (*ipHash)(b)
	case LeastConn, LeastTime:
		b.primary.join(p.load(), p)
		b.backup.join(p.load(), p)
		return (*least)(b)
	case Hash:
		return (*hashed)(b)
	case ConsistentHash:
		b.primary.owners, b.primary.turns = p.points.owners, cur.turns(p.points.owners)
		if b.primary.small && len(b.primary.owners) > 0 { // picks go by weights from the first one on
			b.primary.weighing.Store(b.primary.newWeighing())
		}
		if p.bounded() {
			b.primary.sumUp(cur)
			return (*bounded)(b)
		}
		return (*consistent)(b)
	case Random:
		return (*random)(b)
	case RandomTwo, RandomTwoTime:
		b.load = p.load()
		return (*randomTwo)(b)
	case Maglev:
		return (*maglev)(b)
	}
	return (*roundRobin)(b)
}

// maxMisses is how many unusable peers a hash or a random draw may hit in one request before it falls back to
// round robin; nginx gives up after the same number in all its modules.
const maxMisses = 20

// balancer is a plan over living peers; the pickers are views of it, one type for each method.
type balancer struct {
	plan    *Plan
	peers   []peer
	live    []*Live // of peers, for try
	limited bool    // some peer has max_conns, is marked down or drains
	primary group
	backup  *group
	load    func(p *peer, nowNs int64) float64 // of the methods that compare loads
}

// roundRobin picks in smooth weighted order among the primaries, and among the backups when no primary may be
// used. Source: nginx, ngx_http_upstream_round_robin.c.
type roundRobin balancer

// Pick implements Picker.
func (b *roundRobin) Pick(q *Query) int {
	if i := b.primary.next(q); i >= 0 {
		return i
	}
	if i := (*balancer)(b).home(q); i >= 0 {
		return i
	}
	return b.backup.next(q)
}

// try takes a place on peer i for q unless the request has tried it or it may not be used now.
func (b *balancer) try(i int, q *Query) bool {
	g := &b.primary
	if q.Tried.Has(i) || g.aside.any() && g.aside.has(i) {
		return false
	}
	if l := b.live[i]; !b.limited && l.fails.Load() == 0 { // nearly always, without waiting for the peer's line
		l.occupy()
		q.Tried.add(i)
		return true
	}
	switch b.peers[i].take(q.NowNs) {
	case taken:
		g.took(&b.peers[i], q.NowNs)
		q.Tried.add(i)
		return true
	case out:
		g.setAside(i, q.NowNs)
	}
	return false
}

// miss counts one unusable peer and reports whether the request has used up its misses.
func (b *balancer) miss(q *Query) bool {
	q.Tried.misses++
	return q.Tried.misses > maxMisses
}
