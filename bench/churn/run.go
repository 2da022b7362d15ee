package churn

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// Run changes upstreams until ctx ends, with clients that open makes, and sets the upstreams back. It returns when the last
// update has been acknowledged or has failed. Options that Validate refuses, and clients that cannot be made, are failures
// in the sample; an operation that the proxy cannot do ends the run and is in Sample.Unsupported.
func Run(ctx context.Context, open func() (Updater, error), opt Options) Sample {
	total := Sample{Script: opt.Script, At: []float64{}}
	if err := opt.Validate(); err != nil {
		total.fail(err)
		return total
	}
	n := opt.clients()
	// A client may wait for an answer without telling the Go scheduler, and holds one of its processors meanwhile.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), n+2)))
	clients := make([]*client, 0, n)
	for i := range n {
		u, err := open()
		if err != nil {
			total.fail(err)
			break
		}
		clients = append(clients, newClient(&opt, u, i, n))
	}
	total.Clients = len(clients)
	start := time.Now()
	if len(clients) == n {
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { c.run(ctx, start) })
		}
		wg.Wait()
	}
	elapsed := time.Since(start)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(c.finish)
	}
	wg.Wait()
	hist := NewHistogram()
	for _, c := range clients {
		total.add(&c.sample)
		hist.Merge(c.hist)
	}
	slices.Sort(total.At)
	total.Sum(hist, elapsed)
	return total
}

// Sum writes times of acknowledgement, and what follows from them, into the sample, and thins its moments out.
func (s *Sample) Sum(hist *hdrhistogram.Histogram, elapsed time.Duration) {
	s.At = thin(s.At)
	s.PerSecond = float64(hist.TotalCount()) / elapsed.Seconds()
	micros := func(q float64) float64 { return float64(hist.ValueAtQuantile(q)) / 1e3 }
	s.P50us, s.P90us, s.P99us, s.MaxUs = micros(50), micros(90), micros(99), float64(hist.Max())/1e3
}

// NewHistogram holds acknowledgement times in nanoseconds, to 100 s with three significant digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(100*time.Second), 3) }

// fail counts a failure and keeps the first one as the example. What a proxy cannot do is no failure.
func (s *Sample) fail(err error) {
	if errors.Is(err, ErrUnsupported) {
		s.Unsupported = err.Error()
		return
	}
	if s.Failed++; s.Example == "" {
		s.Example = err.Error()
	}
}

// add adds the counts of one client.
func (s *Sample) add(c *Sample) {
	s.Sent += c.Sent
	s.Failed += c.Failed
	s.Removals += c.Removals
	s.Late += c.Late
	s.LateMax = max(s.LateMax, c.LateMax)
	s.At = append(s.At, c.At...)
	if s.Example == "" {
		s.Example = c.Example
	}
	if s.Unsupported == "" {
		s.Unsupported = c.Unsupported
	}
}

// thin leaves out all but every second, third … point, so that maxAt at most remain.
func thin(at []float64) []float64 {
	every := (len(at) + maxAt - 1) / maxAt
	if every <= 1 {
		return at
	}
	kept := at[:0]
	for i := 0; i < len(at); i += every {
		kept = append(kept, at[i])
	}
	return kept
}

// client is one of several that send updates at the same time. Its own goroutine owns it.
type client struct {
	opt     *Options
	updater Updater
	first   int // number of its first update among those of all clients
	stride  int // the number of clients
	works   []work
	touched int // works that were begun
	next    int
	sample  Sample
	hist    *hdrhistogram.Histogram
	every   int64 // of its updates, only so many-th are in sample.At

	removedNs int64 // when the last removal was acknowledged, CLOCK_REALTIME; 0: nothing to look at
	looked    time.Time
}

// newClient gives client i of n its share of the upstreams. When there are more clients than upstreams, some share one:
// their updates undo each other, which does no harm to the scripts that are allowed to.
func newClient(o *Options, u Updater, i, n int) *client {
	c := &client{opt: o, updater: u, first: i, stride: n, hist: NewHistogram(), every: 1}
	for k := i % len(o.Upstreams); k < len(o.Upstreams); k += n {
		c.works = append(c.works, newWork(o, o.Upstreams[k], i))
		if o.Script == Whole {
			break
		}
	}
	return c
}

// run sends updates until ctx ends.
func (c *client) run(ctx context.Context, start time.Time) {
	for ctx.Err() == nil && c.sample.Unsupported == "" {
		if c.opt.Rate > 0 {
			k := float64(c.first) + float64(c.sample.Sent)*float64(c.stride)
			if !sleepUntil(ctx, start.Add(time.Duration(k/c.opt.Rate*1e9))) {
				return
			}
		}
		w := &c.works[c.next]
		c.touched = max(c.touched, c.next+1)
		if c.removedNs != 0 && !c.look(ctx) {
			return
		}
		c.step(ctx, w, start)
		if !w.odd { // a change and its undoing follow each other
			c.next = (c.next + 1) % len(c.works)
		}
	}
}

// step does one update and notes what came of it.
func (c *client) step(ctx context.Context, w *work, start time.Time) {
	sent := time.Now()
	err := w.step(ctx, c.updater, c.opt)
	took := time.Since(sent)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return // not sent
	}
	c.note(sent.Sub(start))
	if err != nil {
		c.sample.fail(err)
		w.unsure = true
		if err = w.restore(context.WithoutCancel(ctx), c.updater, c.opt); err != nil {
			c.sample.fail(err)
		}
		w.odd = false
		return
	}
	_ = c.hist.RecordValue(min(int64(took), int64(100*time.Second)))
	if w.odd && c.opt.Script == Servers && c.opt.Watch != nil {
		c.removedNs = time.Now().UnixNano()
	}
	w.odd = !w.odd
}

// note counts an update sent at a time since the run's start. When the list of times gets long, every second one is
// dropped and from then on every second one kept.
func (c *client) note(at time.Duration) {
	if c.sample.Sent%c.every == 0 {
		if len(c.sample.At) == 2*maxAt {
			for i := range maxAt {
				c.sample.At[i] = c.sample.At[2*i]
			}
			c.sample.At = c.sample.At[:maxAt]
			c.every *= 2
		}
		if c.sample.Sent%c.every == 0 {
			c.sample.At = append(c.sample.At, at.Seconds())
		}
	}
	c.sample.Sent++
}

// look asks when the removed server was last reached, if it is time to; see doc.go. It returns false when ctx ended while
// it waited: the question is left to finish then.
func (c *client) look(ctx context.Context) bool {
	if time.Since(c.looked) < c.opt.betweenLooks() {
		c.removedNs = 0
		return true
	}
	if !sleepUntil(ctx, time.Unix(0, c.removedNs).Add(watchHold)) {
		return false
	}
	c.ask()
	return true
}

// ask compares the last removal's acknowledgement with the last request that reached the server.
func (c *client) ask() {
	last, err := c.opt.Watch(c.opt.Spare.Addr)
	if err != nil {
		c.sample.fail(err)
	} else {
		c.sample.Removals++
		if late := time.Duration(last - c.removedNs); late > 0 {
			c.sample.Late++
			c.sample.LateMax = max(c.sample.LateMax, late)
		}
	}
	c.removedNs = 0
	c.looked = time.Now()
}

// finish sets the client's upstreams back, looks at the last removal, and closes the updater. Where several clients
// worked on one upstream, its state says nothing about the next step of each, and the first of them puts the list back.
func (c *client) finish() {
	ctx := context.Background()
	shared := c.opt.Script != Whole && c.stride > len(c.opt.Upstreams)
	works := c.works[:c.touched]
	if shared {
		works = c.works // others may have begun one that this client has not
	}
	for i := range works {
		w := &works[i]
		var err error
		switch {
		case c.sample.Unsupported != "":
		case !shared:
			err = w.restore(ctx, c.updater, c.opt)
		case c.first < len(c.opt.Upstreams):
			err = c.updater.Replace(ctx, w.name, w.servers)
		}
		if err != nil {
			c.sample.fail(err)
		}
	}
	if c.removedNs != 0 {
		c.look(ctx)
	}
	if err := c.updater.Close(); err != nil {
		c.sample.fail(err)
	}
}

// sleepUntil waits for a moment; it returns false when ctx ended before. See doc.go for the last two milliseconds.
func sleepUntil(ctx context.Context, t time.Time) bool {
	if wait := time.Until(t); wait > 2*time.Millisecond {
		timer := time.NewTimer(wait - time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	for wait := time.Until(t); wait > 0; wait = time.Until(t) {
		nap(wait)
	}
	return ctx.Err() == nil
}

// nap sleeps, two milliseconds at most or until a signal. The Go scheduler is not told: of calls that it knows to take long its
// monitor thread makes work, which the load pays for.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(min(d, 2*time.Millisecond)))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
