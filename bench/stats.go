package bench

import (
	"slices"
	"time"
)

// Spread is the middle and the range of one figure over the rounds. The zero value is that of no rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf sums up values, in any order; it leaves them as they are.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// ratiosOf divides pairwise what was measured in the same round, then sums up: what the machine did to both in one round
// cancels out. A pair without a value below the line is left out. Both slices are of one length.
func ratiosOf(over, under []float64) Spread {
	var r []float64
	for i := range over {
		if under[i] != 0 {
			r = append(r, over[i]/under[i])
		}
	}
	return spreadOf(r)
}

// quantile is the smallest of sorted values that at least the share q of them do not exceed (nearest rank); 0 for none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	n := float64(len(sorted)) * q
	i := int(n)
	if float64(i) == n {
		i--
	}
	return sorted[min(max(i, 0), len(sorted)-1)]
}
