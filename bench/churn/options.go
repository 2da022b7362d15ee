package churn

import (
	"errors"
	"fmt"
	"time"
)

// ErrUnsupported is returned, wrapped with what is lacking, for an operation that a proxy cannot do.
var ErrUnsupported = errors.New("not supported")

// Upstream is a named list of servers.
type Upstream struct {
	Name    string
	Servers []Server
}

// Options is one run. All fields are read only.
type Options struct {
	Rate      float64    // updates a second, of all clients together; 0: as fast as they are acknowledged
	Clients   int        // that send at the same time, each one update after another; 0 is 1
	Script    Script     //
	Upstreams []Upstream // as the proxy has them; they are taken in turn, and set back at the end
	Spare     Server     // for the script Servers: in none of the upstreams, added and removed again

	// Watch tells when the last request arrived at a server: CLOCK_REALTIME in nanoseconds, 0 for never. nil: nobody looks
	// whether removed servers are still reached. It is called by one goroutine at a time.
	Watch func(addr string) (lastNs int64, err error)
}

const (
	watchHold  = 5 * time.Millisecond   // from a removal's acknowledgement to the look at its last request, at least
	watchEvery = 100 * time.Millisecond // from one look to the next, at least, where watchHold would hold up the rate
	maxAt      = 2000                   // points of Sample.At
)

// Validate checks the options on their own. A script that needs more servers than an upstream has is an error.
func (o *Options) Validate() error {
	switch o.Script {
	case Reweigh, Servers, Replace, Whole:
	default:
		return fmt.Errorf("cannot run updates by script %q: there is %s, %s, %s, %s", o.Script, Reweigh, Servers, Replace, Whole)
	}
	if o.Rate < 0 || o.Clients < 0 {
		return fmt.Errorf("cannot run %v updates a second from %d clients", o.Rate, o.Clients)
	}
	if len(o.Upstreams) == 0 {
		return fmt.Errorf("cannot run updates without upstreams")
	}
	for _, u := range o.Upstreams {
		if len(u.Servers) == 0 {
			return fmt.Errorf("cannot update upstream %q: it has no servers", u.Name)
		}
		for _, s := range u.Servers {
			if o.Script == Servers && s.Addr == o.Spare.Addr {
				return fmt.Errorf("cannot add server %q to upstream %q: it is there already", s.Addr, u.Name)
			}
		}
	}
	if o.Script == Servers && (o.Spare.Addr == "" || o.Spare.Weight < 1) {
		return fmt.Errorf("cannot add server %q with weight %d", o.Spare.Addr, o.Spare.Weight)
	}
	return nil
}

// clients is how many clients the script has work for. A server that is added must not be in the same upstream twice;
// see doc.go for removals that are watched.
func (o *Options) clients() int {
	n := max(o.Clients, 1)
	if o.Script == Servers {
		n = min(n, len(o.Upstreams))
		if o.Watch != nil {
			n = 1
		}
	}
	return n
}

// betweenLooks is the time from one look at a removed server to the next, at least; 0: every removal is looked at, because
// the next update is not due before watchHold is over, twice over.
func (o *Options) betweenLooks() time.Duration {
	if o.Rate > 0 && o.Rate <= float64(time.Second)/float64(2*watchHold) {
		return 0
	}
	return watchEvery
}
