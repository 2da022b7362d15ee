package result

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dyups/bench/churn"
	"dyups/bench/load"
)

func TestNotes(t *testing.T) {
	// f changes the first of three rounds of contender "x"; want are parts of the notes in their order.
	f := func(set func(s *Sample), want ...string) {
		t.Helper()
		r := rounds([]string{"x", "y"}, []float64{1, 1, 1}, []float64{1})
		for i := range r.Samples {
			r.Samples[i].Bottleneck = "proxy"
			r.Samples[i].Load.Requests, r.Samples[i].Load.Latency.Count = 99, 100
		}
		set(&r.Samples[0])
		r.Finish()
		if len(r.Notes) != len(want) {
			t.Fatalf("got notes %q, want %q", r.Notes, want)
		}
		for i := range want {
			if !strings.Contains(r.Notes[i], want[i]) {
				t.Fatalf("got note %q, want %q", r.Notes[i], want[i])
			}
		}
	}
	const busy = "the load core was saturated with x (1 of 3 rounds): there requests/s is a lower bound"
	f(func(*Sample) {})
	f(func(s *Sample) { s.Bottleneck = "load" }, busy)
	f(func(s *Sample) { s.Bottleneck = "both" }, busy)
	f(func(s *Sample) { s.Bottleneck = "neither" }, "neither core was saturated with x (1 of 3 rounds)")
	f(func(s *Sample) { s.Bottleneck, s.Load.Rate = "neither", 1 }) // an open loop
	f(func(s *Sample) { s.Bottleneck, s.ProxyCore.Busy, s.LoadCore.Busy = "both", 1, 1 })

	f(func(s *Sample) {
		s.Load.Errors = map[string]int64{load.ErrStatus: 2, load.ErrRead: 1, load.ErrWrite: 0}
		s.Load.Example = "status 502"
	}, "x: 3 of 303 requests failed (read 1, status 2); the first: status 502")
	f(func(s *Sample) { s.Churn = &churn.Sample{Sent: 10} })
	f(func(s *Sample) { s.Churn = &churn.Sample{Sent: 10, Failed: 2, Example: "status 500"} },
		"x: 2 of 10 updates failed; the first: status 500")
	f(func(s *Sample) { s.Churn = &churn.Sample{Unsupported: "it has no interface"} }, "x: no updates of this kind: it has no interface")
	f(func(s *Sample) { s.Churn = &churn.Sample{Removals: 10} })
	f(func(s *Sample) { s.Churn = &churn.Sample{Removals: 10, Late: 1, LateMax: 3 * time.Millisecond} },
		"x: 1 of 10 removed servers were still reached by a request after the removal was acknowledged, by up to 3.00 ms")
	f(func(s *Sample) { s.Load.Behind = 999 * time.Microsecond })
	f(func(s *Sample) { s.Load.Behind = 5 * time.Millisecond }, "x: in 1 of 3 rounds the generator itself was late by up to 5.00 ms")
	f(func(s *Sample) { s.Load.Dropped = 7 }, "x: the rate was not kept, 7 requests were due and never sent")
	after := func(requests, after, count int64) func(s *Sample) {
		return func(s *Sample) {
			s.Load.Rate, s.Load.Requests, s.Load.After, s.Load.Latency.Count = 1, requests, after, count
		}
	}
	f(after(990, 10, 1000))
	f(after(1000, 20, 1000)) // 20 from the warm-up came instead
	f(after(980, 20, 1000), "x: in 1 of 3 rounds the rate was not kept: 20 of 1000 answers came after the end")
	f(func(s *Sample) { after(980, 20, 1000)(s); s.Load.Rate = 0 }) // a closed loop

	spread := func(a, b int64) func(s *Sample) {
		return func(s *Sample) { s.Even, s.Load.Origins = []string{"o0", "o1"}, map[string]int64{"o0": a, "o1": b} }
	}
	only := func(n int64, even ...string) func(s *Sample) {
		return func(s *Sample) { s.Even, s.Load.Origins = even, map[string]int64{"o0": n} }
	}
	f(spread(10_000, 10_500))
	f(spread(10_000, 14_000), "x: uneven spread over 2 origins of equal weight: o0 41.7 %, o1 58.3 %")
	f(spread(0, 1000), "x: uneven spread over 2 origins of equal weight: o0 0.0 %, o1 100.0 %")
	f(spread(3, 5)) // few requests: chance
	f(only(100_000, "o0", "o1"), "x: uneven spread over 2 origins of equal weight: o0 100.0 %, o1 0.0 %")
	f(only(10, "o0", "o1"), "x: uneven spread over 2 origins of equal weight: o0 100.0 %, o1 0.0 %")
	f(only(9, "o0", "o1"))
	f(only(100_000, "o0"))
	f(only(100_000)) // it answers itself, or origins fail
	f(only(0, "o0", "o1"))
	f(func(s *Sample) { spread(0, 1000)(s); s.Even = nil })
	f(func(s *Sample) { spread(0, 1000)(s); s.Events = []Event{{1, "origin o0: die for 1s"}} })
	f(func(s *Sample) { spread(0, 1000)(s); s.Churn = &churn.Sample{} })

	f(func(s *Sample) { s.LoadCore.Foreign, s.ProxyCore.Steal = 0.04, 0.05 })
	f(func(s *Sample) { s.LoadCore.Foreign, s.ProxyCore.Steal = 0.2, 0.06 },
		"disturbed: in 1 of 4 rounds other processes or the hypervisor took more than 5 % of a core "+
			"(worst: other processes 20 %, hypervisor 6 %)")
}

// TestNotesStay: what the runner noted stays, and comes first.
func TestNotesStay(t *testing.T) {
	r := rounds([]string{"x"}, []float64{1})
	r.Notes = []string{"rate: 100 requests/s"}
	r.Samples[0].Bottleneck = "load"
	r.Finish()
	if len(r.Notes) != 2 || !slices.Contains(r.Notes[:1], "rate: 100 requests/s") {
		t.Fatalf("got %q", r.Notes)
	}
}
