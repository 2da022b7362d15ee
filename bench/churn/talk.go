package churn

import (
	"context"
	"errors"
	"fmt"
)

// Talk is what one client says to a proxy for its updates, known beforehand, so that a load generator can say it from its own loop.
// It travels as JSON.
type Talk struct {
	Network  string   `json:"network"` // "tcp4" or "unix"
	Addr     string   `json:"addr"`
	Greeting []byte   `json:"greeting"` // said first, and answered once; empty: nothing
	Prompt   string   `json:"prompt"`   // what ends an answer, which is empty but for white space; "": answers are HTTP's, with status 200
	Rate     float64  `json:"rate"`     // messages a second
	Messages [][]byte `json:"messages"` // each one an update with one answer; said in turn, from the first again after the last
}

// Rehearse has u, which only writes down what it would send, go through the updates of so many seconds, and back, and returns how
// many they are.
func Rehearse(ctx context.Context, u Updater, o Options, seconds float64) (n int, err error) {
	if err := o.Validate(); err != nil {
		return 0, err
	}
	if o.Rate <= 0 || o.clients() > 1 || o.Watch != nil {
		return 0, fmt.Errorf("cannot rehearse updates that are not at a rate, are from several clients, or are watched")
	}
	for k := 0; float64(n) <= o.Rate*seconds; k++ {
		w := newWork(&o, o.Upstreams[k%len(o.Upstreams)], 0)
		for range 2 { // there and back
			if err := w.step(ctx, u, &o); err != nil {
				return n, err
			}
			w.odd = !w.odd
			n++
		}
	}
	return n, nil
}

// Restore sets back what a Talk has left changed: its last update, if that has no counterpart, or all that it can have touched,
// if one has failed.
func Restore(ctx context.Context, u Updater, o Options, said *Sample) error {
	var errs []error
	last := int(said.Sent / 2)
	for k := range o.Upstreams[:min(last+1, len(o.Upstreams))] {
		w := newWork(&o, o.Upstreams[k], 0)
		w.unsure = said.Failed > 0
		w.odd = said.Sent%2 != 0 && k == last%len(o.Upstreams)
		errs = append(errs, w.restore(ctx, u, &o))
	}
	return errors.Join(errs...)
}
