package engine

import "dyups/upstream"

// Requests that find no server wait in their upstream's queue, if it has one. They wait as the client's conn does for
// anything else, by the wheel and by posts: the loop goes on.

// queueLookNs is how often the first in a queue looks for a server though nothing woke it: time alone brings a server back from
// its failures.
const queueLookNs = int64(100e6)

// mayPick reports whether it is this request's turn to pick: always, unless others wait in the upstream's queue and it may do so, too.
func (ex *exchange) mayPick() bool {
	q, w := ex.up.Queue, ex.waiter
	if w != nil && w.Queue() != q { // its upstream was deleted, and came again
		ex.leaveQueue()
		w = nil
	}
	switch {
	case w != nil:
		return w.First()
	case q == nil || ex.query.Tried.Len() > 0: // a request that has failed elsewhere is not sent to the end
		return true
	}
	n := q.Waiting()
	return n == 0 || n > ex.up.QueueMax // it was lowered or taken away: who cannot wait must not fail for those who do
}

// queueing is what came of an attempt to wait.
type queueing uint8

const (
	queueNot  queueing = iota // there is no queue, or no room in it, or no time left
	queueLook                 // joined: a place may have been given back just before, so another look is due
	queueWait
)

// enqueue has the request wait for a server.
func (ex *exchange) enqueue() queueing {
	l, up := ex.l, ex.up
	if ex.waiter == nil {
		if up.QueueMax == 0 || ex.query.Tried.Len() > 0 {
			return queueNot
		}
		gen := ex.gen
		w := &upstream.Waiter{Wake: func() { l.post(func() { ex.queueTurn(gen) }) }}
		if !up.Queue.Join(w, up.QueueMax) {
			return queueNot
		}
		ex.waiter, ex.waitsTo = w, l.nowNs+int64(up.QueueTimeout)
		return queueLook
	}
	left := ex.waitsTo - l.nowNs
	if left <= 0 {
		return queueNot
	}
	ex.left = 0 // the next look is a first try: the table may be another
	ex.phase = phQueue
	ex.c.setTimeout(min(left, queueLookNs))
	return queueWait
}

// queueTurn has the request look for a server, if it still waits.
func (ex *exchange) queueTurn(gen uint32) {
	if ex.gen == gen && ex.phase == phQueue {
		ex.to(phPick)
		ex.run()
	}
}

// queueTimeout is called when the timer of a waiting request has run out: for another look, or for good.
func (ex *exchange) queueTimeout() { ex.to(phPick) }

// leaveQueue gives the place in the queue up.
func (ex *exchange) leaveQueue() {
	if ex.waiter == nil {
		return
	}
	ex.waiter.Leave()
	ex.waiter = nil
	ex.c.noTimeout()
}

// noServer is what the log says about a request for which there is none.
func (ex *exchange) noServer() string {
	switch {
	case ex.waiter != nil && !ex.listed:
		return "upstream was deleted while the request waited in its queue"
	case ex.waiter != nil:
		return "upstream queue timed out while connecting to upstream"
	case ex.up.QueueMax > 0 && ex.up.Queue.Waiting() >= ex.up.QueueMax:
		return "upstream queue is full while connecting to upstream"
	}
	return "no live upstreams while connecting to upstream"
}

// answerCame ends the time for which the pick counts as waiting.
func (ex *exchange) answerCame() {
	ex.waits = false
	ex.up.Answered(ex.cur, ex.query.NowNs)
}

// answeredBy tells the upstream how long server i took, for the methods that go by it.
func (ex *exchange) answeredBy(i int, o upstream.Outcome) {
	if ex.waits {
		ex.waits = false
		ex.up.Answered(i, ex.query.NowNs)
	}
	if t := ex.try(); o == upstream.OK && t.HeaderNs >= 0 && !ex.cut {
		last := t.ResponseNs
		if t.Status == 101 {
			last = -1 // the life of a tunnel says nothing about the server
		}
		ex.up.Observe(i, t.HeaderNs, last)
	}
}
