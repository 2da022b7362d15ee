package engine

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestCoalescer walks through the rule: naps under load alone, and breaks between them that grow while little comes.
func TestCoalescer(t *testing.T) {
	var k coalescer
	turn := func(busy, events int) bool {
		slept := k.due(busy, 0)
		k.came(events)
		return slept
	}
	if turn(100, 10) {
		t.Error("a nap before the first event")
	}
	for i, c := range []struct {
		busy, events int // requests in progress before the wait, events that end it
		slept        bool
	}{
		{coalesceBusy - 1, 10, false}, // few requests
		{coalesceBusy, 10, true},
		{coalesceBusy, coalesceFew, true},
		{1000, coalesceFew + 1, true},
		{1000, 10, false}, // after a large turn
		{1000, 0, true},
		{1000, 10, false}, // woken by something else
	} {
		if got := turn(c.busy, c.events); got != c.slept {
			t.Errorf("step %d: slept %t", i, got)
		}
	}
	// A slow origin behind each of many requests: one event at a time.
	k = coalescer{last: 1}
	naps := 0
	for range 10000 {
		if turn(1000, 1) {
			naps++
		}
	}
	if naps < 10000/(coalesceSkip+1) || naps > 10000/(coalesceSkip+1)+8 {
		t.Errorf("%d of 10000 turns with naps in vain", naps)
	}
	// Load comes: the break ends, and from then on there is a nap in each turn.
	naps = 0
	for range 1000 {
		if turn(1000, 10) {
			naps++
		}
	}
	if naps < 1000-coalesceSkip {
		t.Errorf("%d naps in 1000 turns under load", naps)
	}
}

// TestCoalescerBulk: large bodies count twice, and where nothing else is in progress there is a nap for each event of them.
func TestCoalescerBulk(t *testing.T) {
	f := func(busy, bulk, events, want int) {
		t.Helper()
		k, naps := coalescer{last: 1}, 0
		for range 1000 {
			if k.due(busy, bulk) {
				naps++
			}
			k.came(events)
		}
		if naps != want {
			t.Errorf("%d naps for %d in progress, %d of them large", naps, busy, bulk)
		}
	}
	f(1, 1, 1, 1000)
	f(2, 2, 1, 1000)
	f(2, 1, 1, 0)
	f(8, 4, 2, 1000)
	f(8, 3, 2, 0)
}

// TestCoalesce asks from many connections at once, so that loops take naps, with the directive on and off.
func TestCoalesce(t *testing.T) {
	for _, on := range []string{"on", "off"} {
		t.Run(on, func(t *testing.T) {
			o := newCounting(t, "a")
			r := newRig(t, 2, "dyups_coalesce "+on+";"+fmt.Sprintf(proxyTo, o.addr))
			var wg sync.WaitGroup
			for range 4 * coalesceBusy {
				wg.Go(func() {
					tr := &http.Transport{}
					defer tr.CloseIdleConnections()
					for i := range 50 {
						req, _ := http.NewRequest("POST", "http://"+r.addr(0)+"/", strings.NewReader(strings.Repeat("x", i*100)))
						req.Host = "b"
						resp, err := tr.RoundTrip(req)
						if err != nil {
							t.Error(err)
							return
						}
						body, err := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						if resp.StatusCode != 200 || string(body) != "a" || err != nil {
							t.Errorf("%d %q %v", resp.StatusCode, body, err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
