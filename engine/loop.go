package engine

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"dyups/upstream"
)

// Loop is one event loop: a goroutine locked to a thread, one epoll descriptor, and every conn, timer, buffer and idle
// pool made on it. Only that goroutine touches them; everybody else speaks to it by post.
type Loop struct {
	eng  *Engine
	id   int
	poll poller

	conns      []*conn // by descriptor
	open       int
	seq        int32
	again      []*conn // conns with more to do although no event is due
	changes    []*localJob
	closed     []*conn // in this turn
	spareConns []*conn // empty, to be used again
	spare      []*conn
	clients    connList
	full       bool // worker_connections reached: listeners rest until a conn goes

	wheel    wheel
	base     time.Time
	now      time.Time // read once each turn
	nowNs    int64     // now, since base
	activeNs int64     // when the last event came
	busy     int       // exchanges in progress

	rbuf   []byte   // headRoom, bulkRoom, tailRoom; every read of the loop goes here
	wbuf   []byte   // every head of the loop is written here
	bytes  bytePool // input that has to wait
	outbox outbox
	inbox  inbox
	naps   coalescer
	ring   *ring       // nil: there is none, every message is a call of its own
	spools bytePool    // request bodies on their way to and from files
	exs    []*exchange // free ones
	pipes  []*pipe     // empty ones
	piping int         // pipes that exchanges have
	bulk   int         // exchanges that have had one

	pools     map[*upstream.State]*idlePool
	lastIdle  *idlePool // the pool used last: most requests go to few servers
	implicit  map[string]*upstream.Upstream
	nextSweep int64
	swept     *upstream.Table // what the pools are bounded by; nil: not by one table

	listeners []*conn
	logs      logBatch
	date      dateCache

	posted   atomic.Pointer[note]
	sleeping atomic.Bool
	wake     int // eventfd
	jobs     []func()

	site     *installed // the site in force on this loop
	draining bool       // Shutdown: no new requests
	stopping bool
	done     chan struct{}
}

// note is one posted function.
type note struct {
	f    func()
	next *note
}

func newLoop(e *Engine, id int) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	efd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		p.close()
		return nil, fmt.Errorf("cannot create an eventfd: %w", errno)
	}
	l := &Loop{eng: e, id: id, poll: p, wake: int(efd), base: e.base, done: make(chan struct{}),
		rbuf: make([]byte, headRoom+bulkRoom+tailRoom), wbuf: make([]byte, 0, readRoom),
		bytes: bytePool{size: 4 << 10, most: bytePoolCap, keep: 256}, spools: bytePool{size: spoolRoom, most: spoolRoom, keep: 8},
		pools: map[*upstream.State]*idlePool{}, implicit: map[string]*upstream.Upstream{}}
	l.clock()
	l.wheel.tick = l.nowNs / tickNs
	w := &conn{loop: l, fd: l.wake, kind: kindWake, slot: -1}
	if err := l.register(w, evIn); err != nil {
		p.close()
		sysClose(l.wake)
		return nil, err
	}
	return l, nil
}

func (l *Loop) clock() {
	l.now = time.Now()
	l.nowNs = int64(l.now.Sub(l.base))
}

// register makes the loop the owner of c's descriptor.
func (l *Loop) register(c *conn, events uint32) error {
	l.seq++
	c.seq = l.seq
	for c.fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
		l.conns = l.conns[:cap(l.conns)]
	}
	if err := l.poll.add(c.fd, c.seq, events); err != nil {
		return fmt.Errorf("cannot watch descriptor %d: %w", c.fd, err)
	}
	l.conns[c.fd] = c
	l.open++
	return nil
}

// post hands f to the loop; any goroutine may call it. f runs on the loop's goroutine.
func (l *Loop) post(f func()) {
	push(&l.posted, f)
	if l.sleeping.Swap(false) {
		one := [8]byte{1}
		_, _ = syscall.Write(l.wake, one[:])
	}
}

// table is the table in force.
func (l *Loop) table() *upstream.Table { return l.eng.cfg.Store.Load() }

// run turns until stop. Each turn: what is ready, what was posted, what has more to do, what is overdue.
func (l *Loop) run() {
	runtime.LockOSThread()
	defer close(l.done)
	exactTimers()
	l.ring = newRing(outboxConns)
	for !l.stopping {
		var events []event
		if len(l.again)+len(l.changes) == 0 && l.posted.Load() == nil {
			events = l.sleep()
		} else {
			events = l.poll.wait(0) // does not enter the scheduler
		}
		l.naps.came(len(events))
		l.clock()
		if len(events) > 0 {
			l.activeNs = l.nowNs
		}
		l.outbox.on = len(events) > 1
		l.deal(events)
		l.sendOutbox()
		l.runChanges()
		l.runPosted() // sends answers of our own
		l.outbox.on = false
		l.sendOutbox()
		l.runAgain()
		l.wheel.run(l.nowNs, (*conn).timeout)
		if l.nowNs >= l.nextSweep {
			l.sweep()
		}
		l.logs.endTurn(l)
		if len(l.closed) > 0 {
			l.recycle()
		}
	}
	l.tearDown()
}

// deal deals with events, so many at a time as have room in the inbox.
func (l *Loop) deal(events []event) {
	for len(events) > 0 {
		some := events[:min(len(events), inboxConns)]
		events = events[len(some):]
		ahead := l.ring != nil && len(some) > 1
		if ahead {
			l.receive(some)
		}
		for i := range some {
			l.dispatch(&some[i])
		}
		if ahead {
			l.putAway()
		}
	}
}

// sleep blocks until an event, a post or the next deadline.
func (l *Loop) sleep() []event {
	ns := l.nextSweep
	if t := l.wheel.next(); t >= 0 && t < ns {
		ns = t
	}
	if t := l.logs.due; t > 0 && t < ns {
		ns = t
	}
	ms := max((ns-l.nowNs)/int64(time.Millisecond)+1, 1)
	dozes := l.eng.dozes && l.nowNs-l.activeNs < dozeNs
	if dozes && l.site.site.Dyups.Coalesce && l.naps.due(l.busy, l.bulk) {
		nap(coalesceNap)
	}
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	if l.posted.Load() != nil {
		return nil
	}
	if dozes {
		return l.poll.doze(min(int(ms), dozeStep))
	}
	return l.poll.wait(int(ms))
}

// A loop with nothing to do waits without telling the Go scheduler, dozeStep ms at a time, until nothing has come for
// dozeNs. Every block that the scheduler knows of keeps its monitor thread awake, which then interrupts the loop: at 24,000
// requests a second that took 6 % of the processor. The collector can still stop a dozing loop: its signal ends the system
// call. Long idle, the loop blocks in the ordinary way, so that a process with nothing to do really sleeps.
const (
	dozeStep = 10
	dozeNs   = int64(100 * time.Millisecond)
)

func (l *Loop) dispatch(ev *event) {
	fd := int(ev.Fd)
	if fd >= len(l.conns) {
		return
	}
	c := l.conns[fd]
	if c == nil || c.seq != ev.Pad {
		return // closed earlier in this turn
	}
	switch c.kind {
	case kindListener:
		l.accept(c)
		return
	case kindWake:
		var b [8]byte
		_, _ = syscall.Read(c.fd, b[:])
		return
	}
	if ev.Events&(evIn|evRDHup|evErr) != 0 {
		c.canRead = true
	}
	if ev.Events&(evRDHup|evErr) != 0 {
		c.rdHup = true
	}
	if ev.Events&evErr != 0 {
		c.dead = true
	}
	if ev.Events&(evOut|evErr) != 0 {
		c.canWrite = true
	}
	c.ready()
}

// ready lets a conn go on after its readiness changed.
func (c *conn) ready() {
	switch c.kind {
	case kindClient:
		c.clientReady()
	case kindBackend:
		c.backendReady()
	}
}

// goOn asks for another turn for c: it has more to do, but others come first.
func (l *Loop) goOn(c *conn) {
	if !c.queued && c.fd >= 0 {
		c.queued = true
		l.again = append(l.again, c)
	}
}

func (l *Loop) runAgain() {
	if len(l.again) == 0 {
		return
	}
	work := l.again
	l.again = l.spare[:0]
	for i, c := range work {
		work[i] = nil
		c.queued = false
		if c.fd >= 0 {
			c.ready()
		}
	}
	l.spare = work[:0]
}

func (l *Loop) runPosted() {
	if l.posted.Load() == nil {
		return
	}
	for n := takeAll(&l.posted); n != nil; n = n.next {
		n.f()
	}
	if len(l.jobs) > 0 {
		l.retryJobs()
	}
}

// submit runs job on a worker; a full pool makes it wait its turn on the loop, never the loop for it.
func (l *Loop) submit(job func()) {
	if len(l.jobs) > 0 || l.eng.workers.Submit(job) != nil {
		l.jobs = append(l.jobs, job)
	}
}

func (l *Loop) retryJobs() {
	for len(l.jobs) > 0 && l.eng.workers.Submit(l.jobs[0]) == nil {
		l.jobs[0] = nil
		l.jobs = l.jobs[1:]
	}
}

// sweep drops idle conns of servers that left the table, and those that an upstream which has changed would not keep, on the period
// of dyups_read_msg_timeout.
func (l *Loop) sweep() {
	period := int64(time.Second)
	if l.site != nil {
		period = max(int64(l.site.site.Dyups.ReadMsgTimeout), int64(10*time.Millisecond))
	}
	if l.full && l.clients.n < l.eng.cfg.Connections { // no descriptor was to be had
		l.release()
	}
	l.nextSweep = l.nowNs + period
	t := l.table()
	for _, p := range l.pools {
		if p.retired() {
			l.dropPool(p)
		} else if t != l.swept && p.up.Spec() != nil {
			if up := t.Lookup([]byte(p.up.Name)); up != nil && up != p.up {
				l.bound(p, up)
			}
		}
	}
	l.swept = t
	l.retryJobs()
}

// tearDown closes everything; the loop does not run again.
func (l *Loop) tearDown() {
	l.logs.flush(l)
	for _, c := range l.conns {
		if c == nil {
			continue
		}
		if c.ex != nil && c.kind == kindClient {
			c.ex.giveBack()
		}
		c.close()
	}
	for _, p := range l.pipes {
		p.close()
	}
	if l.ring != nil {
		l.ring.close()
	}
	l.poll.close()
}

// dateCache is the Date field's value, made once a second.
type dateCache struct {
	sec int64
	buf []byte
}

func (d *dateCache) get(now time.Time) []byte {
	if s := now.Unix(); s != d.sec {
		d.sec = s
		d.buf = now.UTC().AppendFormat(d.buf[:0], httpDate)
	}
	return d.buf
}
