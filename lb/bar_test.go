package lb

import (
	"encoding/binary"
	"testing"
)

// TestBar: no method picks a peer that is barred, whatever its failures; all of them pick it again afterwards.
func TestBar(t *testing.T) {
	for m := RoundRobin; m <= Maglev; m++ {
		weights := "1 2 3 1 2 3"
		if m == LeastTime || m == RandomTwoTime { // idle ones go by weight alone
			weights = "1 1 1 1 1 1"
		}
		b := newBed(m, weights)
		seen := func() (got [6]int) {
			for n := range 600 {
				b.now += 1e6
				b.q.Key = binary.BigEndian.AppendUint32(b.q.Key[:0], uint32(n)*2654435761)
				if i := b.pick(); i >= 0 {
					got[i]++
					b.done(i, true)
				} else {
					return [6]int{}
				}
			}
			return got
		}
		f := func(bar string) {
			t.Helper()
			for i := range b.live {
				if bar[i] == 'x' {
					b.live[i].Bar()
				} else {
					b.live[i].Unbar(b.now)
				}
			}
			none := bar == "xxxxxx"
			for i, n := range seen() {
				if b.live[i].Barred() != (bar[i] == 'x') || (n > 0) == (bar[i] == 'x') && !none || none && n > 0 {
					t.Errorf("method %d, barred %s: %d picks of peer %d", m, bar, n, i)
				}
			}
		}
		f("......")
		f("x.x.x.")
		f(".xxxxx")
		f("xxxxxx")
		f("......")
		b.live[0].Fail(b.now, 1)
		f("x.....") // and failed besides
		b.live[0].Forget()
		if b.live[0].Fails() != 0 || !b.live[0].Barred() {
			t.Errorf("method %d: forgetting failures ends a bar", m)
		}
		f("......")
	}
	lone := newBed(RoundRobin, "1")
	lone.live[0].Bar()
	if i := lone.pick(); i != -1 {
		t.Errorf("picked %d, the only one, which is barred", i)
	}
	lone.live[0].Unbar(lone.now)
	if i := lone.pick(); i != 0 {
		t.Errorf("picked %d, not the only one", i)
	}
}
