package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"dyups/codec/conf"
)

// defaultQueueTimeout is nginx's.
const defaultQueueTimeout = time.Minute

// queueSpec is what the queue directive says; max 0: there is none.
type queueSpec struct {
	max     int
	timeout time.Duration
}

// queue reads "queue NUMBER [timeout=TIME]".
func (p *parsing) queue(d *conf.Directive) (err error) {
	q := queueSpec{timeout: defaultQueueTimeout}
	if q.max, err = d.Int(0, 1, math.MaxInt32); err != nil {
		return err
	}
	if len(d.Args) > 1 {
		key, v, valued := d.Param(1)
		if !valued || key != "timeout" {
			return d.BadParam(1, "timeout=")
		}
		if q.timeout, err = v.Time(); err != nil {
			return err
		}
	}
	p.spec.queue = q
	return nil
}

// carry gives the queue of an upstream that old is replaced by. It is the same one, so that nobody loses their turn; also
// where there is to be none any more, until those who wait have had theirs.
func (q queueSpec) carry(old *Upstream) *Queue {
	switch {
	case old != nil && old.Queue != nil:
		return old.Queue
	case q.max > 0:
		return new(Queue)
	}
	return nil
}

// Queue is the requests of an upstream that wait because no server may be used now, in order. It outlives the tables in
// which the upstream stands. Who gives a place back wakes the first in it; that one picks, and when it has got a server and
// leaves, the next is woken, which may find another place free. Safe for concurrent use; its lock is held for a few
// instructions, and only while somebody waits. The zero Queue is empty.
type Queue struct {
	waiting     atomic.Int32
	mu          sync.Mutex
	first, last *Waiter
}

// Waiter is a place in a Queue. It may be used again once it has left.
type Waiter struct {
	Wake       func() // tells its owner to pick, from any goroutine; must return at once
	queue      *Queue
	prev, next *Waiter
	told       bool // woken, and has not looked since
}

// Waiting is the number of requests in the queue.
func (q *Queue) Waiting() int { return int(q.waiting.Load()) }

// Join puts w at the end of the queue unless most are there. The caller has to look for a server once more after it has joined:
// a place that was given back just before woke nobody.
func (q *Queue) Join(w *Waiter, most int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(q.waiting.Load()) >= most {
		return false
	}
	q.waiting.Add(1)
	w.queue, w.prev, w.next, w.told = q, q.last, nil, false
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	return true
}

// Queue is where w waits; nil: nowhere.
func (w *Waiter) Queue() *Queue { return w.queue }

// First reports whether w is the first in its queue, the one that may pick. It is to be called before each of its picks: what
// happens from then on wakes it again.
func (w *Waiter) First() bool {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	w.told = false
	return q.first == w
}

// Leave takes w out of its queue, and wakes the one that is first then, if w was.
func (w *Waiter) Leave() {
	q := w.queue
	q.mu.Lock()
	next := w.next
	if next != nil {
		next.prev = w.prev
	} else {
		q.last = w.prev
	}
	if w.prev != nil {
		w.prev.next, next = next, nil
	} else {
		q.first = next
	}
	w.queue, w.prev, w.next = nil, nil, nil
	q.waiting.Add(-1)
	wake := next.tell()
	q.mu.Unlock()
	if wake {
		next.Wake()
	}
}

// Wake has the first in the queue, if there is one, look for a server. A nil Queue is empty.
func (q *Queue) Wake() {
	if q == nil || q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	w := q.first
	wake := w.tell()
	q.mu.Unlock()
	if wake {
		w.Wake()
	}
}

// tell notes that w is being woken and reports whether it was not before; the queue's lock is held. w may be nil.
func (w *Waiter) tell() bool {
	if w == nil || w.told {
		return false
	}
	w.told = true
	return true
}
