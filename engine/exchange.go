package engine

import (
	"net/netip"
	"time"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/lb"
	"dyups/upstream"
)

// phase is where an exchange stands.
//
//	   ┌────────────── internal redirect (error_page) ──────────────┐
//	   ▼                                                            │
//	route ──► body ──► pick ──► dial ──► await ──► relay ──► flush ──► discard ──► done
//	   │        ▲      ▲ ▲         │        │         │        ▲
//	   │        │      │ └─ retry ─┴────────┘         │        │
//	   │        │      └─► queue (waits for a server) ▼        │
//	   ├────► wait (a worker has it: local answer,  tunnel ───┤
//	   │             name look-up, body file)                 │
//	   └────► answer (a page of our own) ─────────────────────┘
type phase uint8

const (
	phRoute   phase = iota
	phBody          // reading the whole request body before going on
	phLocal         // answering ourselves, with the body read
	phPick          // choosing a server
	phQueue         // waiting for a server to have a place
	phDial          // connecting
	phAwait         // sending the request and waiting for the response head
	phRelay         // passing the response body on
	phTunnel        // bytes both ways after 101
	phWait          // a worker has something of ours; its post goes on
	phStream        // a local answer's body comes piece by piece from a worker
	phFlush         // answered; the client has not taken all of it yet
	phDiscard       // answered; the rest of the request body is read and dropped
	phDone
)

// exchange is one request and its answer: the one state machine. It belongs to its loop and is reused.
type exchange struct {
	l     *Loop
	c     *conn // the client
	site  *installed
	phase phase
	r     site.Request
	head  codec.RequestHead
	buf   []byte // the request head's bytes
	aux   []byte // evaluated values; scratch

	body   requestBody
	after  phase // where to go when the body is read
	action site.Action

	// Towards the backend.
	table    *upstream.Table // as of the present try: set in proxy and move
	up       *upstream.Upstream
	listed   bool // up is from table
	target   site.Target
	query    lb.Query
	addr     [16]byte
	cur      int // index of the server of this try, -1: none
	b        *conn
	waiter   *upstream.Waiter // in the queue of an upstream; nil: none
	waitsTo  int64            // when its time in that is up, on the loop's clock
	waits    bool             // the pick counts as waiting for its answer
	left     int              // tries left, this one included
	spare    int              // how many more proxy_next_upstream_tries allows than the upstream has servers for
	tries    int              // index of this try in r.Tries
	tryNs    int64            // start of this try
	firstNs  int64            // start of the first try
	asked    codec.Method     // the backend was asked with; proxy_method may make it another than the client's
	reused   bool             // b came from the pool
	begun    bool             // some byte of the request went out on b
	sent     bool             // all of it did
	fresh    bool             // the next dial must not take an idle conn
	round    bool             // the next try is the first since routing
	key      []byte           // the hash key
	broken   bool             // b cannot be kept: the request was not sent to its end
	unframed bool             // proxy_set_header says nothing of the body's length in place of our field: none is sent
	failure  error            // of the last write to b
	learns   bool             // the session of this try's answer is learned when that is over

	// The answer.
	resp       codec.ResponseHead
	respBuf    []byte
	sentHead   []byte
	dec        codec.Chunked
	kind       codec.Body
	remain     int64
	readSize   int   // what the next read of the body takes
	pipe       *pipe // with a spliced body
	upload     *pipe // with the request's, on its way to b
	noSplice   bool  // the rest of this body is copied
	bulk       bool  // a large body of it goes or went through a pipe
	rate       int64 // proxy_limit_rate, bytes a second; 0: none
	paced      bool  // the backend's timer ends a pause that the rate makes
	pace       pace  // of limit_rate, while the client's conn points to it
	chunked    bool  // towards the client
	trailing   bool  // the body is over, its trailer section is being read
	trailers   []codec.Field
	ownTrailer bool // fields of add_trailer follow the body
	headSent   bool
	keepConn   bool
	cut        bool // close the client without lingering: the answer could not be completed
	linger     bool
	extra      bool        // the backend sent more than its body: not to be kept
	kept       []keptField // of an answer with X-Accel-Redirect, and what was owed
	owed       []byte      // see oweCookie
	authFields []byte      // WWW-Authenticate lines for a 401

	upEnd, downEnd tunnelEnd // of a tunnel's client and backend

	lingerNs int64 // when the rest of an answered request's body is not waited for any more

	turn    int64 // loop turn in which moved bytes of the body were read
	moved   int
	job     *localJob
	gen     uint32 // grows with each request served: tells a late post that its request is over
	aborted bool   // the client went while a worker had something of ours
	cancel  func() // ends the look-up that the request waits for; nil: there is none

	localAddr func() netip.AddrPort
	clock     func() time.Time
}

func (l *Loop) newExchange(c *conn) *exchange {
	l.busy++
	var ex *exchange
	if n := len(l.exs); n > 0 {
		ex = l.exs[n-1]
		l.exs = l.exs[:n-1]
	} else {
		ex = &exchange{l: l, cur: -1}
		ex.localAddr = func() netip.AddrPort { return localAddr(ex.c.fd) }
		ex.clock = func() time.Time { return ex.l.now }
	}
	ex.c = c
	return ex
}

// exchangesKept bounds the free list; a burst's memory beyond it goes to the collector.
const exchangesKept = 1024

func (l *Loop) freeExchange(ex *exchange) {
	l.busy--
	ex.c = nil
	if len(l.exs) < exchangesKept {
		l.exs = append(l.exs, ex)
	}
}

// own copies the parsed head out of the loop's buffer and readies the request around it.
func (ex *exchange) own(consumed []byte) {
	ex.buf = append(ex.buf[:0], ex.head.Buf...)
	ex.head.Buf = ex.buf
	ex.begin()
	ex.r.RequestLength = int64(len(consumed))
	ex.body.begin(&ex.head)
}

// begin resets everything that belongs to one request.
func (ex *exchange) begin() {
	l, c := ex.l, ex.c
	ex.site = c.ls.inst
	ex.phase = phRoute
	ex.table, ex.up, ex.b, ex.cur = nil, nil, nil, -1
	ex.headSent, ex.keepConn, ex.cut, ex.linger, ex.aborted, ex.chunked = false, true, false, false, false, false
	ex.ownTrailer, ex.paced, ex.kept, ex.owed = false, false, nil, nil
	ex.authFields, ex.fresh = ex.authFields[:0], false
	ex.sentHead = ex.sentHead[:0]
	r := &ex.r
	r.Reset()
	r.Head = &ex.head
	r.Listen = c.ls.group
	r.Remote, r.RemoteUnix = c.remote, !c.remote.IsValid()
	r.LocalAddr, r.Now = ex.localAddr, ex.clock
	r.ConnSerial, r.ConnRequests = c.serial, c.requests
	r.ConnStart = l.base.Add(time.Duration(c.openedNs))
	r.Start = l.now
}

// run advances until it would block. After finish the exchange belongs to somebody else: nothing is touched any more.
func (ex *exchange) run() {
	for on := true; on; {
		switch ex.phase {
		case phRoute:
			on = ex.route()
		case phBody:
			on = ex.readBody()
		case phLocal:
			on = ex.local(ex.action)
		case phPick:
			on = ex.pick()
		case phDial:
			on = ex.dial()
		case phAwait:
			on = ex.await()
		case phRelay:
			on = ex.relay()
		case phTunnel:
			on = ex.tunnel()
		case phStream:
			on = ex.stream()
		case phFlush:
			on = ex.flush()
		case phDiscard:
			on = ex.discard()
		case phDone:
			ex.finish()
			return
		default: // phWait
			return
		}
	}
}

// to moves on to a phase.
func (ex *exchange) to(p phase) bool {
	ex.phase = p
	return true
}

func (ex *exchange) route() bool {
	if status := site.Begin(&ex.r); status != 0 {
		return ex.fail(status)
	}
	return ex.act(site.Route(&ex.r))
}

// act does what the site says.
func (ex *exchange) act(a site.Action) bool {
	switch a.Kind {
	case site.DoProxy:
		return ex.proxy()
	case site.DoLocal, site.DoReturn:
		return ex.local(a)
	case site.DoAuth:
		return ex.authenticate(a)
	case site.DoClose:
		ex.r.Status = 444
		ex.cut = true
		return ex.to(phDone)
	}
	ex.challenge(a.AuthRealm)
	if a.Why != "" {
		ex.l.eng.logRequest(Err, ex, a.Why)
	}
	return ex.fail(a.Status)
}

// clientTimeout is called when the client's deadline passed during the exchange.
func (ex *exchange) clientTimeout() {
	switch ex.phase {
	case phBody, phDiscard, phAwait: // of which the last waits for nothing but the body from its client
		if !ex.headSent {
			ex.r.Status = 408
		}
		ex.l.eng.logRequest(Info, ex, "client timed out (110: Connection timed out)")
		ex.cut = true
		ex.to(phDone)
		ex.run()
	case phQueue:
		ex.queueTimeout()
		ex.run()
	default:
		if ex.c.resting() { // it is time to send more
			ex.run()
			return
		}
		ex.abort("client timed out (110: Connection timed out)")
	}
}

// clientFailed is the outcome of a write to the client that failed.
func (ex *exchange) clientFailed(err error) bool {
	if !ex.headSent {
		ex.r.Status = 499
	}
	ex.l.eng.logRequest(Info, ex, "writev() failed ("+err.Error()+")")
	ex.cut = true
	return ex.to(phDone)
}

// flush waits until the client has taken the answer.
func (ex *exchange) flush() bool {
	c := ex.c
	if err := c.flush(); err != 0 {
		return ex.clientFailed(err)
	}
	if ex.pipe != nil {
		if err := ex.pipe.drain(c); err != 0 {
			return ex.clientFailed(err)
		}
	}
	if c.out.len() > 0 || ex.pipe != nil && ex.pipe.n > 0 {
		ex.clientBehind()
		return false
	}
	if ex.body.done || ex.cut {
		return ex.to(phDone)
	}
	if !ex.keepConn {
		ex.linger = true
		return ex.to(phDone)
	}
	ex.lingerNs = ex.l.nowNs + int64(ex.loc().LingeringTime)
	return ex.to(phDiscard)
}

// clientBehind arms send_timeout while output waits for the client: anew only when some of it has gone out, whatever else
// happens meanwhile.
func (ex *exchange) clientBehind() {
	c := ex.c
	switch {
	case c.resting():
		c.setTimeout(max(1, c.pace.wait(ex.l.nowNs)))
	case c.progress || c.deadline == 0:
		c.progress = false
		c.setTimeout(int64(ex.loc().SendTimeout))
	}
}

// loc is the location in force, or the server level, or the default server's before one is known.
func (ex *exchange) loc() *site.Location {
	switch {
	case ex.r.Loc != nil:
		return ex.r.Loc
	case ex.r.Server != nil:
		return ex.r.Server.Root
	}
	return ex.c.ls.group.Default.Root
}

// giveBack returns what the exchange holds outside itself: the backend, the place on the server, the body's file.
func (ex *exchange) giveBack() {
	ex.dropBackend()
	ex.dropPipe()
	if ex.bulk {
		ex.bulk = false
		ex.l.bulk--
	}
	ex.leaveQueue()
	if ex.cur >= 0 {
		ex.learnsLeft()
	}
	ex.leave(upstream.Neither)
	ex.body.end(ex)
	ex.table, ex.up = nil, nil
}

// leave gives the place on the current server back.
func (ex *exchange) leave(o upstream.Outcome) {
	if ex.cur < 0 {
		return
	}
	if ex.learns {
		ex.learn()
	}
	i := ex.cur
	ex.cur = -1
	t := ex.try()
	if t.ResponseNs < 0 {
		t.ResponseNs = ex.l.nowNs - ex.tryNs
	}
	if ex.up.Timed {
		ex.answeredBy(i, o)
	}
	if ex.up.Done(i, o, ex.l.nowNs) {
		ex.l.eng.logRequest(Warn, ex, "upstream server temporarily disabled while "+ex.doing())
	}
}

// doing is what the exchange has to do with its backend now, in the words of nginx's log.
func (ex *exchange) doing() string {
	switch {
	case !ex.begun:
		return "connecting to upstream"
	case !ex.sent && ex.phase == phAwait:
		return "sending request to upstream"
	case ex.phase == phAwait:
		return "reading response header from upstream"
	}
	return "reading upstream"
}

// finish ends the exchange: the log record, the conn's next state.
func (ex *exchange) finish() {
	l, c := ex.l, ex.c
	loc := ex.loc()
	ex.giveBack()
	ex.r.Complete = !ex.cut
	if ex.r.Status != 0 {
		l.logs.record(ex, loc)
	}
	keep, cut, linger := ex.keepConn && !ex.cut, ex.cut, ex.linger
	linger = linger || !keep && !cut && (c.in != nil || c.canRead)
	ex.query.Tried.Reset()
	c.pace = nil
	ex.gen++
	l.freeExchange(ex)
	if keep {
		c.nextRequest(loc.KeepaliveTimeout)
	} else {
		c.lingerBy = loc
		c.finish(linger && loc.LingeringClose != "off" || !cut && loc.LingeringClose == "always")
	}
}
