package load

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"dyups/bench/churn"
	"dyups/bench/poll"
)

// talk sends updates from the loop of a run: one connection, one message at a time. The moments are fixed in advance; after a late
// answer the rest follow at once. A process of its own would share the core with the load: with its two switches for each update
// it took 12 to 15 % of it at 1,000 a second, more than the load core had to spare, so that throughput said little of the proxy.
type talk struct {
	r    *run
	spec *churn.Talk
	c    conn   // its answer is parsed as those to requests; state and starts are not used
	in   []byte // with a prompt: of an answer
	said int64  // updates
	sent int64  // when the one under way was, 0: none is
	over bool   // nothing more can be said
	hist *hdrhistogram.Histogram
	out  churn.Sample
}

// open connects, says the greeting and waits for its answer.
func (t *talk) open() error {
	fail := func(err error) error {
		return fmt.Errorf("cannot send updates to %s: %w", t.spec.Addr, err)
	}
	if len(t.spec.Messages) == 0 || t.spec.Rate <= 0 {
		return fail(fmt.Errorf("%d messages at %v a second", len(t.spec.Messages), t.spec.Rate))
	}
	var err error
	if t.c.fd, err = poll.Dial(t.spec.Network, t.spec.Addr, t.r.spec.Timeout); err != nil {
		t.c.fd = -1
		return fail(err)
	}
	if err = t.r.poller.Add(t.c.fd, t.c.tag, true, false); err != nil {
		return fail(err)
	}
	if len(t.spec.Greeting) == 0 {
		return nil
	}
	t.sent = t.r.now()
	t.say(t.spec.Greeting)
	var events []poll.Event
	for late := t.sent + int64(t.r.spec.Timeout); t.sent != 0 && !t.over; {
		if t.r.now() > late {
			return fail(fmt.Errorf("no answer to the greeting in %v", t.r.spec.Timeout))
		}
		if events, err = t.r.poller.Wait(events, time.Duration(scanEvery)); err != nil {
			return fail(err)
		}
		for _, e := range events {
			t.r.event(e)
		}
	}
	if t.out.Failed > 0 {
		return fail(fmt.Errorf("%s", t.out.Example))
	}
	t.hist.Reset()
	return nil
}

func (t *talk) close() {
	if t.c.fd >= 0 {
		unix.Close(t.c.fd)
		t.c.fd = -1
	}
}

// turn says what is due, if nothing is under way, and returns how long nothing will be.
func (t *talk) turn(began, now int64) int64 {
	if t.over || t.sent != 0 || now >= t.r.end {
		return math.MaxInt64
	}
	due := began + int64(float64(t.said)*float64(time.Second)/t.spec.Rate)
	if due > now {
		return due - now
	}
	m := t.spec.Messages[t.said%int64(len(t.spec.Messages))]
	t.said++
	t.out.At = append(t.out.At, float64(now-began)/1e9)
	t.sent = t.r.now()
	t.say(m)
	return math.MaxInt64
}

// say sends a message, which the socket has room for: everything before it was answered.
func (t *talk) say(m []byte) {
	n, errno := poll.Send(t.c.fd, m)
	switch {
	case errno != 0:
		t.fail(errno)
	case n < len(m):
		t.fail(fmt.Errorf("the socket took %d of %d bytes", n, len(m)))
	}
}

// fail is an update that failed, after which the state of the connection is not known.
func (t *talk) fail(err error) {
	t.over, t.sent = true, 0
	if t.out.Failed++; t.out.Example == "" {
		t.out.Example = err.Error()
	}
}

// read takes what has come of an answer.
func (t *talk) read() {
	for !t.over {
		n, errno := poll.Receive(t.c.fd, t.r.scratch)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
			continue
		case errno != 0:
			t.fail(errno)
			return
		case n == 0:
			t.fail(fmt.Errorf("the connection for updates ended"))
			return
		}
		if t.sent == 0 {
			t.fail(fmt.Errorf("%d bytes came that nobody asked for: %.60q", n, t.r.scratch[:n]))
			return
		}
		done, err := t.take(t.r.scratch[:n])
		switch {
		case err != nil:
			t.fail(err)
		case done:
			_ = t.hist.RecordValue(t.r.now() - t.sent)
			t.sent = 0
		}
		if n < len(t.r.scratch) {
			return
		}
	}
}

// take reads on in an answer; done: it has ended, and was the one wanted.
func (t *talk) take(p []byte) (done bool, err error) {
	if t.spec.Prompt != "" {
		t.in = append(t.in, p...)
		text, ok := bytes.CutSuffix(t.in, []byte(t.spec.Prompt))
		if !ok {
			return false, nil
		}
		t.in = t.in[:0]
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return false, fmt.Errorf("the answer to an update is %.200q", text)
		}
		return true, nil
	}
	for len(p) > 0 {
		n, end, ok := t.r.parse(&t.c, p)
		if !ok || end && (n < len(p) || t.c.answer.last) {
			return false, fmt.Errorf("cannot read the answer to an update, or use the connection after it: %.200q", p)
		}
		if p = p[n:]; !end {
			continue
		}
		a := &t.c.answer
		a.phase, a.length = inHead, 0
		if a.status != 200 {
			return false, fmt.Errorf("the answer to an update has status %d", a.status)
		}
		return true, nil
	}
	return false, nil
}

// ended tells whether nothing is under way, or nothing will come any more. An update that was said is waited for: a half-known
// state could not be set back.
func (t *talk) ended(now int64) bool {
	if t.sent != 0 && now-t.sent > int64(t.r.spec.Timeout) {
		t.fail(fmt.Errorf("no answer to an update in %v", t.r.spec.Timeout))
	}
	return t.sent == 0
}

// sample sums up a run that began at a time.
func (t *talk) sample(began int64) *churn.Sample {
	s := &t.out
	s.Clients, s.Sent = 1, t.said
	s.Sum(t.hist, time.Duration(t.r.end-began))
	return s
}
