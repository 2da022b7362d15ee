package engine

import "math/bits"

// The wheel has wheelSlots slots of tick ns each. A conn sits in at most one slot, at or before its deadline; moving a
// deadline later is one store (the slot notices when it comes round), moving it earlier relinks. Deadlines beyond the
// horizon wait in the last slot and are put back: 10,000 idle connections cost that once in 16 s.
const (
	wheelSlots = 1024
	tickNs     = 16 << 20 // 16.8 ms
)

// wheel keeps the deadlines of one loop's conns. Only the loop touches it.
type wheel struct {
	slots [wheelSlots]*conn
	used  [wheelSlots / 64]uint64
	tick  int64   // the next tick to look at
	haste bool    // some deadline passed as it was set
	due   []*conn // scratch of drain
}

// set gives c a deadline in ns of the loop's clock.
func (w *wheel) set(c *conn, atNs int64) {
	c.deadline = atNs
	if c.slot >= 0 && c.slotTick*tickNs <= atNs {
		return
	}
	w.unlink(c)
	w.link(c)
}

// rush gives c a deadline that has passed: the run under way, or the next one, fires for it.
func (w *wheel) rush(c *conn) {
	w.haste = true
	w.set(c, 1)
}

// clear forgets the deadline; the link goes when the slot comes round.
func (w *wheel) clear(c *conn) { c.deadline = 0 }

func (w *wheel) link(c *conn) {
	// Round up: a slot is looked at when its tick is over, so that nothing fires early.
	t := c.deadline/tickNs + 1
	t = min(max(t, w.tick), w.tick+wheelSlots-1)
	i := int32(t & (wheelSlots - 1))
	c.slot, c.slotTick = i, t
	c.tprev, c.tnext = nil, w.slots[i]
	if c.tnext != nil {
		c.tnext.tprev = c
	}
	w.slots[i] = c
	w.used[i>>6] |= 1 << (i & 63)
}

func (w *wheel) unlink(c *conn) {
	if c.slot < 0 {
		return
	}
	if c.tprev != nil {
		c.tprev.tnext = c.tnext
	} else {
		w.slots[c.slot] = c.tnext
		if c.tnext == nil {
			w.used[c.slot>>6] &^= 1 << (c.slot & 63)
		}
	}
	if c.tnext != nil {
		c.tnext.tprev = c.tprev
	}
	c.tprev, c.tnext, c.slot = nil, nil, -1
}

// run calls fire for every conn whose deadline has passed at nowNs.
func (w *wheel) run(nowNs int64, fire func(*conn)) {
	last := nowNs / tickNs
	if last-w.tick >= wheelSlots { // the loop slept longer than the horizon: one round sees every slot
		w.tick = last - wheelSlots + 1
	}
	for w.tick <= last {
		w.tick++ // before firing: what is set from now on belongs to later slots
		w.drain(w.tick-1, nowNs, fire)
	}
	for w.haste { // firing may rush others
		w.haste = false
		w.drain(w.tick, nowNs, fire)
	}
}

// drain empties the list of a tick's slot: fires what is due, puts back what is not, drops what was cleared. The list is taken
// apart first: firing may close or rearm any conn, also one that is further down.
func (w *wheel) drain(tick, nowNs int64, fire func(*conn)) {
	i := tick & (wheelSlots - 1)
	if w.used[i>>6]&(1<<(i&63)) == 0 {
		return
	}
	c := w.slots[i]
	w.slots[i] = nil
	w.used[i>>6] &^= 1 << (i & 63)
	due := w.due[:0]
	for c != nil {
		next := c.tnext
		c.tprev, c.tnext, c.slot = nil, nil, -1
		switch {
		case c.deadline == 0:
		case c.deadline > nowNs:
			w.link(c)
		default:
			due = append(due, c)
		}
		c = next
	}
	for i, c := range due {
		due[i] = nil
		if c.deadline != 0 && c.deadline <= nowNs && c.fd >= 0 {
			c.deadline = 0
			fire(c)
		}
	}
	w.due = due[:0]
}

// next is the time in ns of the loop's clock at which run should be called, or -1 when no conn has a deadline.
func (w *wheel) next() int64 {
	if w.haste {
		return 0
	}
	start := w.tick & (wheelSlots - 1)
	for n := int64(0); n <= wheelSlots/64; n++ {
		word := (start>>6 + n) & (wheelSlots/64 - 1)
		m := w.used[word]
		if n == 0 {
			m &= ^uint64(0) << (start & 63)
		} else if n == wheelSlots/64 {
			m &= 1<<(start&63) - 1
		}
		if m != 0 {
			i := word<<6 + int64(bits.TrailingZeros64(m))
			return (w.tick + (i-start)&(wheelSlots-1)) * tickNs
		}
	}
	return -1
}
