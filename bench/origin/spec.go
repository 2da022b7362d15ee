package origin

import (
	"fmt"
	"time"
)

// Field is the header field in which an origin names itself, so that the spread can be checked from the client's side.
const Field = "X-Origin"

// Spec is a set of origins in one process. It travels as JSON.
type Spec struct {
	Origins []Server `json:"origins"`
	Stamp   bool     `json:"stamp"` // note when the last request of each origin arrived at its socket (costs a little)
}

// Server is one origin: one listening socket on a free loopback port.
type Server struct {
	Name   string  `json:"name"`
	Delay  Delay   `json:"delay"`
	Faults []Fault `json:"faults"`
}

// Delay is how long an origin waits before it answers. Messages of a WebSocket are not delayed, its handshake is.
type Delay struct {
	Kind  string        `json:"kind"` // "" none; "fixed": Mean; "uniform": 0 to 2·Mean; "exponential"; "lognormal": median Mean, Sigma
	Mean  time.Duration `json:"mean"`
	Sigma float64       `json:"sigma"`
	Seed  uint64        `json:"seed"` // of the random numbers: the same seed, the same delays
}

// Fault is something an origin does wrong on a schedule: from After on, again every Every (0: once), for For each time.
// The clock starts when the process is told to start it (Process.Begin), so that every round sees the same faults. A
// request that fell into a hang is not answered later either: its connection stays silent until the client closes it, or
// until Process.End does. Of several faults at the same time the first in the list counts. A WebSocket message counts as
// a request here.
type Fault struct {
	Kind  string        `json:"kind"` // "die": the listening socket and all connections close, and it refuses until For is over; "hang": it accepts and reads but does not answer; "reset": each request in that time ends in a TCP reset, half of them in the midst of the answer
	After time.Duration `json:"after"`
	Every time.Duration `json:"every"`
	For   time.Duration `json:"for"`
}

// Seen is what one origin has seen so far.
type Seen struct {
	Name        string `json:"name"`
	Requests    int64  `json:"requests"`    // heads read, WebSocket handshakes too, their messages not
	Connections int64  `json:"connections"` // accepted, in all
	Open        int64  `json:"open"`        // connections open now
	Last        int64  `json:"last"`        // arrival of the last request at the socket, CLOCK_REALTIME in ns, with Spec.Stamp; 0: none
	Source      string `json:"source"`      // of Last: SourceSocket, SourceRead, or "" without one
}

// Where Seen.Last comes from.
const (
	SourceSocket = "socket" // the kernel's stamp of the segment that completed the request's head
	SourceRead   = "read"   // the clock after reading it, because the kernel gave no stamp
)

// What an origin answers, by path (a query is ignored): "/small" 6 bytes; "/1k", "/100k", "/1m", "/64m" as many bytes, in general
// "/N" with an optional k or m, up to 1g; "/ws" a WebSocket echo after an upgrade. Every method is answered alike, request bodies (with
// Content-Length or chunked) are read and dropped. "/chunked/N": the same with chunked framing.

// Kinds of faults.
const (
	faultDie   = "die"
	faultHang  = "hang"
	faultReset = "reset"
)

// Validate tells what of a Spec cannot be done.
func (s *Spec) Validate() error {
	if len(s.Origins) == 0 {
		return fmt.Errorf("cannot serve: no origins")
	}
	names := make(map[string]bool)
	for i := range s.Origins {
		o := &s.Origins[i]
		if !fieldValue(o.Name) || names[o.Name] {
			return fmt.Errorf("cannot serve origin %q: its name has to be unique, and fit for a header field", o.Name)
		}
		names[o.Name] = true
		switch o.Delay.Kind {
		case "", "fixed", "uniform", "exponential", "lognormal":
		default:
			return fmt.Errorf("cannot serve origin %q: unknown kind of delay %q", o.Name, o.Delay.Kind)
		}
		if o.Delay.Mean < 0 || o.Delay.Sigma < 0 {
			return fmt.Errorf("cannot serve origin %q: negative delay", o.Name)
		}
		for _, f := range o.Faults {
			switch f.Kind {
			case faultDie, faultHang, faultReset:
			default:
				return fmt.Errorf("cannot serve origin %q: unknown kind of fault %q", o.Name, f.Kind)
			}
			if f.After < 0 || f.Every < 0 || f.For <= 0 {
				return fmt.Errorf("cannot serve origin %q: a fault %q needs a time above zero", o.Name, f.Kind)
			}
		}
	}
	return nil
}

// fieldValue tells whether a name can stand in a header field as it is.
func fieldValue(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}
