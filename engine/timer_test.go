package engine

import (
	"math/rand/v2"
	"testing"
)

// TestWheel arms, moves and clears deadlines at random and checks that each fires once, never early, and at most two
// ticks late.
func TestWheel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := &wheel{}
	conns := make([]*conn, 200)
	for i := range conns {
		conns[i] = &conn{slot: -1, fd: i}
	}
	var now int64
	fired := 0
	fire := func(c *conn) {
		fired++
		if c.serial == 0 {
			t.Fatalf("fired without a deadline")
		}
		if at := int64(c.serial); now < at || now > at+30*tickNs {
			t.Fatalf("fired at %d, deadline %d", now, at)
		}
		c.serial = 0
	}
	for range 20000 {
		c := conns[rnd.IntN(len(conns))]
		switch rnd.IntN(4) {
		case 0:
			w.clear(c)
			c.serial = 0
		default:
			at := now + rnd.Int64N(40_000_000_000) + 1
			c.serial = uint64(at)
			w.set(c, at)
		}
		now += rnd.Int64N(20 * tickNs)
		w.run(now, fire)
	}
	if fired < 1000 {
		t.Fatalf("only %d deadlines fired", fired)
	}
	for _, c := range conns { // nothing is left behind that is overdue
		if c.serial != 0 && int64(c.serial) < now-2*tickNs {
			t.Errorf("deadline %d missed at %d", c.serial, now)
		}
	}
}

// TestWheelRush: a deadline that has passed as it was set fires in the next run, or in the one that sets it, and leaves those of
// the same tick in place.
func TestWheelRush(t *testing.T) {
	for _, start := range []int64{1, tickNs / 2, 5 * tickNs, 1023*tickNs + 1, 777_777 * tickNs} {
		w := &wheel{tick: start / tickNs}
		a, b, late, not := &conn{slot: -1}, &conn{slot: -1}, &conn{slot: -1}, &conn{slot: -1}
		var fired []*conn
		fire := func(c *conn) {
			fired = append(fired, c)
			if c == a {
				w.rush(b)
			}
		}
		w.run(start, fire)
		w.set(late, start+1)
		w.rush(not)
		w.clear(not)
		w.set(a, start+500*tickNs)
		w.rush(a)
		if n := w.next(); n > start {
			t.Errorf("at %d: next %d", start, n)
		}
		w.run(start, fire)
		if len(fired) != 2 || fired[0] != a || fired[1] != b {
			t.Errorf("at %d: %d have fired, want 2", start, len(fired))
		}
		w.run(start+2*tickNs, fire)
		if len(fired) != 3 || fired[2] != late || w.next() != -1 {
			t.Errorf("at %d: %d have fired, want 3", start, len(fired))
		}
	}
}

func TestWheelNext(t *testing.T) {
	f := func(nowNs, atNs int64) {
		t.Helper()
		w := &wheel{tick: nowNs / tickNs}
		c := &conn{slot: -1}
		if n := w.next(); n != -1 {
			t.Fatalf("empty wheel: next %d", n)
		}
		w.set(c, atNs)
		n := w.next()
		if far := nowNs + wheelSlots*tickNs; n > atNs+2*tickNs || n < atNs && n < far-2*tickNs {
			t.Errorf("now %d deadline %d: next %d", nowNs, atNs, n)
		}
		w.unlink(c)
		if n := w.next(); n != -1 {
			t.Fatalf("unlinked: next %d", n)
		}
	}
	for _, now := range []int64{0, 5 * tickNs, 1023 * tickNs, 1024 * tickNs, 777_777 * tickNs} {
		for _, d := range []int64{1, tickNs, 64 * tickNs, 1000 * tickNs, 5000 * tickNs} {
			f(now, now+d)
		}
	}
}

func TestPending(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var p pending
	var want []byte
	next := byte(0)
	for range 5000 {
		if rnd.IntN(2) == 0 {
			b := make([]byte, rnd.IntN(9000))
			for i := range b {
				b[i] = next
				next++
			}
			p.add(b)
			want = append(want, b...)
			clear(b) // add must have copied
		}
		if p.len() != len(want) {
			t.Fatalf("len %d, want %d", p.len(), len(want))
		}
		if p.len() > 0 {
			got := p.first()
			if len(got) == 0 || string(got) != string(want[:len(got)]) {
				t.Fatalf("first differs (%d bytes)", len(got))
			}
			n := 1 + rnd.IntN(len(got))
			p.take(n)
			want = want[n:]
		}
	}
}
