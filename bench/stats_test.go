package bench

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	f := func(in []float64, want Spread) {
		t.Helper()
		if got := spreadOf(in); got != want {
			t.Fatalf("%v: got %+v, want %+v", in, got, want)
		}
	}
	f(nil, Spread{})
	f([]float64{3}, Spread{Median: 3, Min: 3, Max: 3})
	f([]float64{4, 1}, Spread{Median: 2.5, Min: 1, Max: 4})
	in := []float64{9, 1, 5}
	f(in, Spread{Median: 5, Min: 1, Max: 9})
	if in[0] != 9 {
		t.Fatal("the values were sorted in place")
	}
}

func TestRatios(t *testing.T) {
	f := func(over, under []float64, want Spread) {
		t.Helper()
		if got := ratiosOf(over, under); got != want {
			t.Fatalf("%v / %v: got %+v, want %+v", over, under, got, want)
		}
	}
	// The machine was slow in round 2 for both: the ratio does not see it.
	f([]float64{8, 80, 9}, []float64{10, 100, 10}, Spread{Median: 0.8, Min: 0.8, Max: 0.9})
	f([]float64{1, 2}, []float64{0, 4}, Spread{Median: 0.5, Min: 0.5, Max: 0.5})
	f(nil, nil, Spread{})
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	f := func(in []time.Duration, q float64, want time.Duration) {
		t.Helper()
		if got := quantile(in, q); got != want {
			t.Fatalf("quantile %v: got %d, want %d", q, got, want)
		}
	}
	f(nil, 0.5, 0)
	f(hundred[:1], 0.99, 1)
	f(hundred, 0, 1)
	f(hundred, 0.5, 50)
	f(hundred, 0.99, 99)
	f(hundred, 0.995, 100)
	f(hundred, 1, 100)
}
