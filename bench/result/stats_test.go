package result

import (
	"math"
	"testing"

	"dyups/bench/churn"
)

func TestSpread(t *testing.T) {
	f := func(in []float64, want Spread) {
		t.Helper()
		if got := SpreadOf(in); got != want {
			t.Fatalf("%v: got %+v, want %+v", in, got, want)
		}
	}
	f(nil, Spread{})
	f([]float64{3}, Spread{Median: 3, Min: 3, Max: 3})
	f([]float64{4, 1}, Spread{Median: 2.5, Min: 1, Max: 4})
	f([]float64{math.NaN(), 4, math.Inf(1), 1, math.Inf(-1)}, Spread{Median: 2.5, Min: 1, Max: 4})
	f([]float64{math.NaN()}, Spread{})
	f([]float64{math.MaxFloat64, math.MaxFloat64}, Spread{math.MaxFloat64, math.MaxFloat64, math.MaxFloat64})
	in := []float64{9, 1, 5}
	f(in, Spread{Median: 5, Min: 1, Max: 9})
	if in[0] != 9 {
		t.Fatal("the values were sorted in place")
	}
}

func TestRatios(t *testing.T) {
	f := func(over, under []float64, want Spread, wantOK bool) {
		t.Helper()
		if got, ok := ratiosOf(over, under); got != want || ok != wantOK {
			t.Fatalf("%v / %v: got %+v, %v, want %+v, %v", over, under, got, ok, want, wantOK)
		}
	}
	// The machine was slow in round 2 for both: the ratio does not see it.
	f([]float64{8, 80, 9}, []float64{10, 100, 10}, Spread{Median: 0.8, Min: 0.8, Max: 0.9}, true)
	f([]float64{1, 2}, []float64{0, 4}, Spread{Median: 0.5, Min: 0.5, Max: 0.5}, true)
	f([]float64{1, math.NaN()}, []float64{math.Inf(1), 4}, Spread{}, false)
	f([]float64{0}, []float64{0}, Spread{}, false)
	f([]float64{0}, []float64{4}, Spread{}, true)
	f(nil, nil, Spread{}, false)
}

// rounds makes a run of one figure, CPU time: contenders in the order given, a value for each round, below 0 for a round
// that is not there.
func rounds(contenders []string, cpu ...[]float64) *Run {
	r := &Run{Contenders: contenders}
	for i, name := range contenders {
		for round, v := range cpu[i] {
			if v >= 0 {
				r.Samples = append(r.Samples, Sample{Round: round + 1, Contender: name, CPUUs: v})
			}
		}
	}
	return r
}

func TestFinish(t *testing.T) {
	r := rounds([]string{"nginx", "dyups+churn", "dyups"}, []float64{10, 20, 40}, []float64{6, -1, 30}, []float64{5, 10, 10})
	r.Finish()
	if got, want := r.Results[0].Metrics["cpu_us"], (Spread{Median: 20, Min: 10, Max: 40}); r.Results[0].Contender != "nginx" || got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	f := func(i int, over, under string, want Spread) {
		t.Helper()
		got := r.Ratios[i]
		if got.Over != over || got.Under != under || got.Metrics["cpu_us"] != want {
			t.Fatalf("got %+v, want %s / %s %+v", got, over, under, want)
		}
	}
	f(0, "dyups+churn", "nginx", Spread{Median: 0.675, Min: 0.6, Max: 0.75}) // without round 2
	f(1, "dyups+churn", "dyups", Spread{Median: 2.1, Min: 1.2, Max: 3})      // though it is listed first
	f(2, "dyups", "nginx", Spread{Median: 0.5, Min: 0.25, Max: 0.5})
	f(3, "dyups", "dyups+churn", Spread{Median: (5.0/6 + 1.0/3) / 2, Min: 1.0 / 3, Max: 5.0 / 6})
	if len(r.Ratios) != 4 {
		t.Fatalf("got %d ratios", len(r.Ratios))
	}
	for _, key := range []string{"cpu_us_mb", "instructions", "updates_per_second"} {
		if _, ok := r.Results[0].Metrics[key]; ok {
			t.Errorf("there is %q without any such value", key)
		}
	}
	notes := len(r.Notes)
	r.Finish()
	if len(r.Notes) != notes || len(r.Ratios) != 4 || len(r.Results) != 3 {
		t.Error("the second time gave more than the first")
	}
}

// TestMetrics: which metrics a run has depends on what was measured.
func TestMetrics(t *testing.T) {
	f := func(key string, want bool, set func(s *Sample)) {
		t.Helper()
		r := rounds([]string{"a", "b"}, []float64{10}, []float64{10})
		set(&r.Samples[0])
		r.Finish()
		if _, got := r.Results[0].Metrics[key]; got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
	f("cpu_us_mb", false, func(s *Sample) { s.CPUPerMB = 10.0 * (1 << 20) / 1024 })
	f("cpu_us_mb", false, func(s *Sample) { s.CPUPerMB = 10.0 * (1 << 20) / 99_000 })
	f("cpu_us_mb", true, func(s *Sample) { s.CPUPerMB = 10.0 * (1 << 20) / 100_000 })
	f("cpu_us_mb", true, func(s *Sample) { s.CPUPerMB = 10 })
	f("instructions", true, func(s *Sample) { s.Instructions = 9000 })
	f("ack_p99_us", true, func(s *Sample) { s.Churn = &churn.Sample{P99us: 1} })
	f("updates_per_second", true, func(s *Sample) { s.Churn = &churn.Sample{P99us: 1} })
	f("errors", true, func(*Sample) {})
}

func TestAlike(t *testing.T) {
	f := func(over, under string, want bool) {
		t.Helper()
		if got := (&Ratio{Over: over, Under: under}).alike(); got != want {
			t.Errorf("%s / %s: got %v", over, under, got)
		}
	}
	f("dyups", "nginx", true)
	f("dyups+churn", "dyups", true)
	f("dyups+churn", "haproxy+churn", true)
	f("dyups+churn", "haproxy", false)
	f("dyups", "dyups-old", true)
	f("dyups+churn+2w", "dyups+churn", true)
}

func TestNumber(t *testing.T) {
	f := func(v float64, digits int, want string) {
		t.Helper()
		if got := number(v, digits); got != want {
			t.Errorf("%v, %d digits: got %q, want %q", v, digits, got, want)
		}
	}
	f(0, 3, "0")
	f(0.0123, 3, "0.012")
	f(0.81234, 3, "0.812")
	f(13.114, 4, "13.11")
	f(1312.4, 3, "1,312")
	f(55712345, 3, "55,712,345")
	f(-1234, 3, "-1,234")
	f(-0.0001, 3, "0.000")
	f(math.NaN(), 3, "–")
	f(math.Inf(1), 3, "–")
	c := func(s Spread, want string) {
		t.Helper()
		if got := cellOf(s, plain, 1).String(); got != want {
			t.Errorf("%+v: got %q, want %q", s, got, want)
		}
	}
	c(Spread{0.8, 0.75, 0.912}, "0.800 (0.750–0.912)")
	c(Spread{297, 2.01, 592}, "297 (2.0–592)") // of the least, something is left
	c(Spread{297, 0, 592}, "297 (0–592)")
	c(Spread{1, 1, 1}, "1.00")
	c(Spread{8.18, 8.179, 8.181}, "8.18")
	c(Spread{math.NaN(), math.Inf(-1), math.Inf(1)}, "–")
	d := func(us float64, want string) {
		t.Helper()
		if got := duration(us); got != want {
			t.Errorf("%v µs: got %q, want %q", us, got, want)
		}
	}
	d(0, "0 µs")
	d(12.3, "12.3 µs")
	d(999.4, "999 µs")
	d(999.6, "1.00 ms")
	d(12345, "12.3 ms")
	d(2e6, "2.00 s")
}
