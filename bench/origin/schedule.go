package origin

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is later than any time on the loop's clock.
const never = time.Duration(math.MaxInt64)

// faultAt tells which fault is on at a time of the fault clock, "" for none, and when that may next change.
func faultAt(faults []Fault, at time.Duration) (kind string, next time.Duration) {
	next = never
	for i := range faults {
		f := &faults[i]
		if at < f.After {
			next = min(next, f.After)
			continue
		}
		start := f.After
		if f.Every > 0 {
			start += (at - f.After) / f.Every * f.Every
			next = min(next, start+f.Every)
		}
		if at < start+f.For {
			next = min(next, start+f.For)
			if kind == "" {
				kind = f.Kind
			}
		}
	}
	return kind, next
}

// delayer draws the delays of one origin.
type delayer struct {
	delay Delay
	rand  *rand.Rand
}

func newDelayer(d Delay) delayer {
	return delayer{delay: d, rand: rand.New(rand.NewPCG(d.Seed, 0))}
}

// draw is the delay of the next request, zero or above.
func (d *delayer) draw() time.Duration {
	mean := float64(d.delay.Mean)
	switch d.delay.Kind {
	case "fixed":
		return d.delay.Mean
	case "uniform":
		mean *= 2 * d.rand.Float64()
	case "exponential":
		mean *= d.rand.ExpFloat64()
	case "lognormal":
		mean *= math.Exp(d.delay.Sigma * d.rand.NormFloat64())
	default:
		return 0
	}
	return time.Duration(min(mean, float64(time.Hour)))
}

// timer is one entry of timers. For a connection gen tells whether the slot still holds the one it was set for.
type timer struct {
	at   time.Duration // on the loop's clock
	slot int32         // of a connection, or below zero ^i for the fault clock of origin i
	gen  uint32
}

// timers is a binary heap, the earliest first. The zero value is empty.
type timers []timer

func (h *timers) push(t timer) {
	*h = append(*h, t)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if a[up].at <= a[i].at {
			break
		}
		a[up], a[i] = a[i], a[up]
		i = up
	}
}

// pop takes the earliest entry out of a heap that is not empty.
func (h *timers) pop() timer {
	a := *h
	first, n := a[0], len(a)-1
	a[0] = a[n]
	a = a[:n]
	*h = a
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			break
		}
		if down+1 < n && a[down+1].at < a[down].at {
			down++
		}
		if a[i].at <= a[down].at {
			break
		}
		a[i], a[down] = a[down], a[i]
		i = down
	}
	return first
}
