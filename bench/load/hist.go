package load

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count nanoseconds, 1 µs to 100 s, with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(100*time.Second), 3)
}

// record adds a latency; what is beyond the range counts as its end.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), int64(100*time.Second)))
}

func us(ns int64) float64 { return float64(ns) / 1e3 }

// curvePoints is about how many points Latency.Curve has: they lie evenly in nines, -log10(1-q), from 0 to five nines.
const curvePoints = 100

// latencyOf sums a histogram up.
func latencyOf(h *hdrhistogram.Histogram) (Latency, error) {
	at := func(q float64) float64 { return us(h.ValueAtQuantile(q * 100)) }
	l := Latency{Count: h.TotalCount()}
	if l.Count == 0 {
		return l, nil
	}
	l.Mean = h.Mean() / 1e3
	l.P50, l.P90, l.P99, l.P999, l.P9999, l.Max = at(0.5), at(0.9), at(0.99), at(0.999), at(0.9999), us(h.Max())
	nines := min(5, math.Log10(float64(l.Count)))
	for i := range curvePoints {
		q := 1 - math.Pow(10, -nines*float64(i)/curvePoints)
		l.Curve = append(l.Curve, Quantile{Q: q, Us: at(q)})
	}
	l.Curve = append(l.Curve, Quantile{Q: 1, Us: l.Max})
	packed, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return l, fmt.Errorf("cannot pack a histogram: %w", err)
	}
	l.Packed = string(packed) // base64 already
	return l, nil
}

// Merge adds packed histograms up.
func Merge(all []Latency) (Latency, error) {
	sum := newHistogram()
	for _, l := range all {
		if l.Count == 0 {
			continue
		}
		h, err := hdrhistogram.Decode([]byte(l.Packed))
		if err != nil {
			return Latency{}, fmt.Errorf("cannot unpack a histogram: %w", err)
		}
		sum.Merge(h)
	}
	return latencyOf(sum)
}
