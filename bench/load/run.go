package load

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"dyups/bench/churn"
	"dyups/bench/poll"
)

// run is one run under way. All of it belongs to one goroutine.
type run struct {
	spec   Spec
	addrs  []netip.AddrPort
	poller *poll.Poller
	base   time.Time // now counts from here
	offset int64     // poll.Now at base

	requests [][]byte // bytes to send, one for each host
	silent   []byte   // the one request of an idle connection
	next     int      // host of the next request
	batch    []byte   // Pipeline times the one request, nil with several hosts
	field    string   // Spec.OriginField in lower case
	accept   string   // with WebSocket: the right key
	sent     []byte   // a message, as sent
	echoed   []byte   // ... and as it comes back
	scratch  []byte

	conns  []conn
	talk   *talk   // nil: no updates
	free   []int32 // open loop: ready connections without a request
	source byte    // of the last connection, see connect

	// The clock of a run, all in nanoseconds since base.
	start, end int64 // of what is measured
	over       bool  // closed loop: nothing is sent any more, what is due is waited for
	interval   float64
	due        int64 // open loop: requests that are due, of which sentN were sent
	sentN      int64

	hist     *hdrhistogram.Histogram
	point    *hdrhistogram.Histogram
	pointEnd int64
	pointErr int64
	origins  []string
	byOrigin []int64
	byStatus map[int]int64
	result   Result
}

// now is the time since base in nanoseconds.
func (r *run) now() int64 { return int64(time.Since(r.base)) }

// Run does one run on the calling goroutine. It returns early, with an error, when ctx ends.
func Run(ctx context.Context, spec Spec) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRun(spec)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	stop := context.AfterFunc(ctx, r.poller.Wake)
	defer stop()
	fineTimers()
	if err := r.prepare(ctx); err != nil {
		return Result{}, err
	}
	if err := r.drive(ctx); err != nil {
		return Result{}, err
	}
	return r.finish()
}

// newRun checks a Spec, sets what it leaves open, and makes the bytes of requests.
func newRun(spec Spec) (*run, error) {
	if spec.Method == "" {
		spec.Method = "GET"
	}
	if spec.Path == "" {
		spec.Path = "/"
	}
	if spec.Host == "" {
		spec.Host = spec.Addr
	}
	spec.Pipeline = max(spec.Pipeline, 1)
	if spec.Interval <= 0 {
		spec.Interval = 100 * time.Millisecond
	}
	if spec.Timeout <= 0 {
		spec.Timeout = 10 * time.Second
	}
	if spec.WantStatus == 0 {
		spec.WantStatus = 200
	}
	var addrs []netip.AddrPort
	for _, a := range append([]string{spec.Addr}, spec.Spread...) {
		addr, err := netip.ParseAddrPort(a)
		if err != nil {
			return nil, fmt.Errorf("cannot send load to %q: %w", a, err)
		}
		addrs = append(addrs, addr)
	}
	if len(addrs) > 1 {
		addrs = addrs[1:]
	}
	switch {
	case spec.Connections < 1 || spec.Idle < 0 || spec.Rate < 0 || spec.Duration <= 0 || spec.WarmUp < 0 || spec.BodySize < 0 || spec.Hosts < 0:
		return nil, fmt.Errorf("cannot send load by %+v: connections and duration have to be above zero, nothing below", spec)
	case spec.Pipeline > 1 && (spec.Fresh || spec.Rate > 0 || spec.WebSocket):
		return nil, fmt.Errorf("cannot send load: a pipeline goes with a closed loop over kept HTTP connections alone")
	case int64(max(spec.Hosts, 1))*int64(spec.BodySize) > maxBodies:
		return nil, fmt.Errorf("cannot send load: bodies of %d bytes for %d hosts do not fit into memory", spec.BodySize, spec.Hosts)
	case spec.WebSocket && (spec.Fresh || spec.BodySize == 0):
		return nil, fmt.Errorf("cannot send load: WebSocket goes over kept connections, with a body size")
	}
	r := &run{spec: spec, addrs: addrs, scratch: make([]byte, 256<<10), hist: newHistogram(), point: newHistogram(),
		byStatus: make(map[int]int64), field: strings.ToLower(spec.OriginField), accept: wsAccept()}
	r.base, r.offset = time.Now(), poll.Now() // next to each other: what lies between them is an error of Result.Start
	r.result.Errors = make(map[string]int64)
	if spec.Rate > 0 {
		r.interval = float64(time.Second) / spec.Rate
	}
	r.makeRequests()
	var err error
	if r.poller, err = poll.New(); err != nil {
		return nil, err
	}
	r.conns = make([]conn, spec.Connections+spec.Idle)
	for i := range r.conns {
		c := &r.conns[i]
		c.tag, c.fd, c.idle = int32(i), -1, i >= spec.Connections
		c.starts = make([]int64, 0, spec.Pipeline)
	}
	if spec.Updates != nil {
		r.talk = &talk{r: r, spec: spec.Updates, c: conn{tag: int32(len(r.conns)), fd: -1}, hist: churn.NewHistogram()}
	}
	return r, nil
}

// close lets go of all sockets.
func (r *run) close() {
	for i := range r.conns {
		if r.conns[i].fd >= 0 {
			unix.Close(r.conns[i].fd)
		}
	}
	if r.talk != nil {
		r.talk.close()
	}
	r.poller.Close()
}

const (
	// opening bounds the connections that are opened at the same time before a run: fewer than nginx's backlog of 511.
	opening = 256
	// prepareTime bounds how long that may take in all.
	prepareTime = 60 * time.Second
)

// prepare opens all connections, takes the idle ones through their request and the WebSockets through their handshake.
func (r *run) prepare(ctx context.Context) error {
	if r.talk != nil {
		if err := r.talk.open(); err != nil {
			return err
		}
	}
	if r.spec.Fresh && r.spec.Idle == 0 {
		return nil // they are opened when they are needed
	}
	var events []poll.Event
	late := r.now() + int64(prepareTime)
	for opened, ready := 0, 0; ready < len(r.conns); {
		for ; opened < len(r.conns) && opened-ready < opening; opened++ {
			r.open(&r.conns[opened])
		}
		var err error
		if events, err = r.poller.Wait(events, 100*time.Millisecond); err != nil {
			return err
		}
		for _, e := range events {
			r.event(e)
		}
		r.scan(r.conns[:opened], r.now())
		ready = 0
		for i := range r.conns[:opened] {
			if r.conns[i].state == usable {
				ready++
			}
		}
		if r.result.Example != "" {
			return fmt.Errorf("cannot open connections to %s: %s", r.spec.Addr, r.result.Example)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.now() > late {
			return fmt.Errorf("cannot open %d connections to %s in %v: there are %d", len(r.conns), r.spec.Addr, prepareTime, ready)
		}
	}
	return nil
}

// scanEvery is how often connections are looked through for time-outs and for those to be opened again.
const scanEvery = int64(10 * time.Millisecond)

// drive is the run itself: warm-up, measured part, and the wait for the last answers.
func (r *run) drive(ctx context.Context) error {
	began := r.now()
	r.start = began + int64(r.spec.WarmUp)
	r.end = r.start + int64(r.spec.Duration)
	r.pointEnd = r.start + int64(r.spec.Interval)
	r.result.Start = r.start + r.offset
	for i := range r.spec.Connections {
		c := &r.conns[i]
		if c.state == closed {
			r.open(c)
		} else {
			r.begin(c, r.now())
		}
	}
	var events []poll.Event
	scan := began + scanEvery
	for {
		now := r.now()
		r.points(now)
		if r.spec.Rate > 0 {
			r.dispatch(began, now) // before the end is looked for: what was due until then is sent however late it is
		}
		if now >= r.end && r.ended(now) && (r.talk == nil || r.talk.ended(now)) {
			return nil
		}
		wait := scan - now
		if r.talk != nil {
			wait = min(wait, r.talk.turn(began, now))
		}
		if now < r.end {
			wait = min(wait, r.pointEnd-now, r.end-now)
			if r.spec.Rate > 0 {
				wait = min(wait, r.intended(began, r.due)-now)
			}
		}
		var err error
		if events, err = r.poller.Wait(events, time.Duration(max(wait, 0))); err != nil {
			return err
		}
		for _, e := range events {
			r.event(e)
		}
		if now = r.now(); now >= scan {
			scan = now + scanEvery
			r.scan(r.conns[:r.spec.Connections], now)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
}

// lastAnswers is how long a closed loop waits at its end for the answers that are due. Normally they come within a millisecond.
const lastAnswers = 2 * time.Second

// ended tells whether nothing is waited for any more.
func (r *run) ended(now int64) bool {
	patience := r.spec.Timeout
	if r.spec.Rate == 0 {
		r.over = true
		patience = lastAnswers
	}
	if now > r.end+int64(patience) {
		return true
	}
	if r.sentN < r.due {
		return false
	}
	for i := range r.spec.Connections {
		if c := &r.conns[i]; len(c.starts) > 0 || r.unopened(c) {
			return false
		}
	}
	return true
}

// unopened tells whether a closed loop waits for a connection that is being opened, or for its upgrade.
func (r *run) unopened(c *conn) bool {
	return r.spec.Rate == 0 && (c.state == connecting || c.state == upgrading)
}

// tick is the grain of intended times above 5,000 requests a second: what is due within a tick is sent at its begin. Waiting
// for each request alone would cost the load core more than sending it, a timer and a sleep for every one.
const tick = int64(200 * time.Microsecond)

// intended is when request n of an open loop is due.
func (r *run) intended(began, n int64) int64 {
	t := int64(float64(n) * r.interval)
	if r.interval < float64(tick) {
		t -= t % tick
	}
	return began + t
}

// dispatch sends what is due, as far as connections are free.
func (r *run) dispatch(began, now int64) {
	waited := r.sentN < r.due // for a connection
	for t := r.intended(began, r.due); t <= now && t < r.end; t = r.intended(began, r.due) {
		r.due++
	}
	for r.sentN < r.due && len(r.free) > 0 {
		c := &r.conns[r.free[len(r.free)-1]]
		r.free = r.free[:len(r.free)-1]
		if c.state != usable || len(c.starts) > 0 {
			continue
		}
		t := r.intended(began, r.sentN)
		r.sentN++
		if late := r.now() - t; !waited && t >= r.start && late > int64(r.result.Behind) {
			r.result.Behind = time.Duration(late)
		}
		r.request(c, t)
	}
}

// points closes the intervals of the series that are over.
func (r *run) points(now int64) {
	for r.pointEnd <= now && r.pointEnd <= r.end {
		p := Point{At: float64(r.pointEnd-int64(r.spec.Interval)-r.start) / 1e9, Requests: r.point.TotalCount(), Errors: r.pointErr}
		if p.Requests > 0 {
			p.P50, p.P99, p.Max = us(r.point.ValueAtQuantile(50)), us(r.point.ValueAtQuantile(99)), us(r.point.Max())
		}
		r.result.Series = append(r.result.Series, p)
		r.point.Reset()
		r.pointErr = 0
		r.pointEnd += int64(r.spec.Interval)
	}
}

// scan fails what takes too long and opens again what is closed.
func (r *run) scan(conns []conn, now int64) {
	for i := range conns {
		c := &conns[i]
		switch {
		case c.state == closed && now >= c.retry && !r.over:
			r.open(c)
		case c.state != closed && (len(c.starts) > 0 || c.state != usable) && now-c.since > int64(r.spec.Timeout):
			r.fail(c, ErrTimeout, fmt.Errorf("no complete answer in %v", r.spec.Timeout))
		}
	}
}

// counts tells whether something that began at a time and ended at another belongs to the measured part, though it may have
// ended after it.
func (r *run) counts(began, ended int64) bool {
	if r.spec.Rate > 0 {
		return began >= r.start && began < r.end
	}
	return ended >= r.start && began < r.end
}

// finish sums up.
func (r *run) finish() (Result, error) {
	s := &r.result
	s.Elapsed, s.Rate = r.spec.Duration, r.spec.Rate
	s.PerSecond = float64(s.Requests) / s.Elapsed.Seconds()
	for i := range r.spec.Connections {
		c := &r.conns[i]
		for _, began := range c.starts {
			if r.counts(began, r.end) {
				r.count(ErrTimeout, 1, "no complete answer before the end")
			}
		}
		if r.unopened(c) && len(c.starts) == 0 && r.counts(c.since, r.end) {
			r.count(ErrTimeout, 1, "no connection before the end")
		}
	}
	if r.spec.Rate > 0 {
		first, began := r.sentN, r.start-int64(r.spec.WarmUp)
		for first < r.due && r.intended(began, first) < r.start {
			first++
		}
		if s.Dropped = r.due - first; s.Dropped > 0 {
			r.count(ErrLate, s.Dropped, "requests found no free connection before the end")
		}
	}
	if r.talk != nil {
		s.Updates = r.talk.sample(r.start - int64(r.spec.WarmUp))
	}
	s.Status = maps.Clone(r.byStatus)
	s.Origins = make(map[string]int64)
	for i, name := range r.origins {
		if r.byOrigin[i] > 0 {
			s.Origins[name] = r.byOrigin[i]
		}
	}
	var err error
	s.Latency, err = latencyOf(r.hist)
	return *s, err
}

// originIndex numbers the origins by name.
func (r *run) originIndex(name []byte) int {
	for i, o := range r.origins {
		if string(name) == o {
			return i
		}
	}
	r.origins = append(r.origins, string(name))
	r.byOrigin = append(r.byOrigin, 0)
	return len(r.origins) - 1
}

// count adds errors.
func (r *run) count(kind string, n int64, example string) {
	r.result.Errors[kind] += n
	if r.result.Example == "" {
		r.result.Example = kind + ": " + example
	}
}
