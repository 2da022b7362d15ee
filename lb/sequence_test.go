package lb

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSequences: whatever the method and whatever came before, a pick gives a peer that may be used and was not tried, and
// none only when there is none; places are counted right, also by the picker that takes over.
func TestSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies[rapid.IntRange(0, len(policies)-1).Draw(t, "policy")]
		weight := rapid.SampledFrom([]int{0, 1, 1, 2, 7, 65535, 1 << 40})
		b := &bed{now: 1e18}
		for range rapid.IntRange(1, 6).Draw(t, "peers") {
			b.peers = append(b.peers, Peer{
				Name:          rapid.SampledFrom([]string{"a:1", "b:2", "c", "unix:/d"}).Draw(t, "name"),
				Weight:        weight.Draw(t, "weight"),
				MaxConns:      rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "max_conns"),
				MaxFails:      rapid.IntRange(0, 2).Draw(t, "max_fails"),
				SlowStartNs:   rapid.SampledFrom([]int64{0, 0, 5e9}).Draw(t, "slow_start"),
				FailTimeoutNs: 10e9,
				Backup:        rapid.IntRange(0, 3).Draw(t, "backup") == 0,
				Down:          rapid.IntRange(0, 5).Draw(t, "down") == 0,
				Drain:         rapid.IntRange(0, 5).Draw(t, "drain") == 0,
			})
			b.live = append(b.live, new(Live))
		}
		plan := p.o.NewPlan(p.m, b.peers)
		var taker Taker
		b.Picker, taker = plan.BindTaker(b.live, &b.cur)
		usable := func(i int, take bool) bool {
			d, l := &b.peers[i], b.live[i]
			maxFails := d.MaxFails
			if len(b.peers) == 1 {
				maxFails = 0
			}
			return !d.Down && (take || !d.Drain) && !l.Barred() && !l.Out(b.now, maxFails, 10e9) &&
				(d.MaxConns == 0 || l.InFlight() < int64(d.MaxConns)) && !b.q.Tried.Has(i)
		}
		places := make([]int64, len(b.peers))
		type place struct {
			i     int
			start int64
		}
		var held []place
		took := func(i int) {
			places[i]++
			held = append(held, place{i, b.now})
		}
		peer := rapid.IntRange(0, len(b.peers)-1)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 12).Draw(t, "op"); op {
			case 0, 1, 2, 3, 4:
				if op < 4 {
					b.q.Tried.Reset()
					b.q.Key = rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "key")
				}
				may := make([]bool, len(b.peers))
				any := false
				for i := range may {
					may[i] = usable(i, false)
					any = any || may[i]
				}
				i := b.again()
				if any != (i >= 0) || any && !may[i] {
					t.Fatalf("%s, %+v: picked %d of %v", p.name, b.peers, i, may)
				}
				if i >= 0 {
					took(i)
				}
			case 5:
				i := peer.Draw(t, "take")
				b.q.Tried.Reset()
				b.q.NowNs = b.now
				may := usable(i, true)
				if taker.Take(i, &b.q) != may {
					t.Fatalf("%s, %+v: peer %d may be taken: %v", p.name, b.peers, i, may)
				}
				if may {
					took(i)
				}
			case 6, 7, 8:
				if len(held) > 0 {
					k := rapid.IntRange(0, len(held)-1).Draw(t, "ends")
					h := held[k]
					held = append(held[:k], held[k+1:]...)
					places[h.i]--
					if plan.CountsWaiting() {
						b.live[h.i].Answered(h.start)
					}
					b.live[h.i].Observe(1e6*int64(k), 2e6)
					b.done(h.i, op != 8)
				}
			case 9:
				b.now += rapid.SampledFrom([]int64{1, 1e6, 1e9, 11e9}).Draw(t, "time")
			case 10:
				b.live[peer.Draw(t, "bar")].Bar()
			case 11:
				b.live[peer.Draw(t, "unbar")].Unbar(b.now)
			case 12:
				b.Picker, taker = plan.BindTaker(b.live, &b.cur)
			}
			for i, l := range b.live {
				if l.InFlight() != places[i] {
					t.Fatalf("%s, %+v: %d places on peer %d, want %d", p.name, b.peers, l.InFlight(), i, places[i])
				}
			}
		}
	})
}
