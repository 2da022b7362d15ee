package origin

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestFaultAt(t *testing.T) {
	faults := []Fault{
		{Kind: "die", After: 10, Every: 100, For: 5},
		{Kind: "hang", After: 12, For: 20},
		{Kind: "reset", After: 1000, Every: 10, For: 10}, // without a break
	}
	f := func(at time.Duration, kind string, next time.Duration) {
		t.Helper()
		if k, n := faultAt(faults, at); k != kind || n != next {
			t.Fatalf("at %d: got %q until %d, want %q until %d", at, k, n, kind, next)
		}
	}
	f(0, "", 10)
	f(9, "", 10)
	f(10, "die", 12)
	f(12, "die", 15)
	f(14, "die", 15)
	f(15, "hang", 32)
	f(31, "hang", 32)
	f(32, "", 110)
	f(110, "die", 115)
	f(115, "", 210)
	f(995, "", 1000)
	f(1000, "reset", 1010)
	f(1010, "die", 1015)
	f(1015, "reset", 1020)
	faults = faults[1:2]
	f(12, "hang", 32)
	f(32, "", never)
	faults = nil
	f(5, "", never)
}

// TestDraw compares the drawn delays with their distributions: mean and two quantiles of 200,000.
func TestDraw(t *testing.T) {
	const n, mean = 200_000, time.Millisecond
	f := func(d Delay, wantMean, want10, want90 float64) {
		t.Helper()
		d.Mean, d.Seed = mean, 7
		drawn := make([]time.Duration, n)
		x := newDelayer(d)
		sum := 0.0
		for i := range drawn {
			drawn[i] = x.draw()
			sum += float64(drawn[i])
		}
		if again := newDelayer(d); again.draw() != drawn[0] || again.draw() != drawn[1] {
			t.Fatal("the same seed drew something else")
		}
		slices.Sort(drawn)
		check := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 0.02*float64(mean)+0.02*want || drawn[0] < 0 {
				t.Fatalf("%+v: %s is %v, want %v", d, what, time.Duration(got), time.Duration(want))
			}
		}
		check("the mean", sum/n, wantMean*float64(mean))
		check("the 10th percentile", float64(drawn[n/10]), want10*float64(mean))
		check("the 90th percentile", float64(drawn[n*9/10]), want90*float64(mean))
	}
	f(Delay{}, 0, 0, 0)
	f(Delay{Kind: "fixed"}, 1, 1, 1)
	f(Delay{Kind: "uniform"}, 1, 0.2, 1.8)
	f(Delay{Kind: "exponential"}, 1, -math.Log(0.9), -math.Log(0.1))
	// A standard normal variable has its 90th percentile at 1.2816.
	f(Delay{Kind: "lognormal", Sigma: 0.5}, math.Exp(0.125), math.Exp(-0.5*1.2816), math.Exp(0.5*1.2816))
	f(Delay{Kind: "lognormal"}, 1, 1, 1)
	if a, b := newDelayer(Delay{Kind: "exponential", Mean: mean, Seed: 1}), newDelayer(Delay{Kind: "exponential", Mean: mean, Seed: 2}); a.draw() == b.draw() {
		t.Fatal("two seeds drew the same")
	}
}

func TestTimers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h timers
	var want []time.Duration
	for range 2000 {
		if len(h) > 0 && random.IntN(3) == 0 {
			slices.Sort(want)
			if got := h.pop(); got.at != want[0] || got.slot != int32(got.at) {
				t.Fatalf("got %+v, want %d", got, want[0])
			}
			want = want[1:]
			continue
		}
		at := time.Duration(random.IntN(500))
		h.push(timer{at: at, slot: int32(at)})
		want = append(want, at)
	}
	for slices.Sort(want); len(want) > 0; want = want[1:] {
		if got := h.pop(); got.at != want[0] {
			t.Fatalf("got %+v, want %d", got, want[0])
		}
	}
	if len(h) != 0 {
		t.Fatalf("%d are left", len(h))
	}
}
