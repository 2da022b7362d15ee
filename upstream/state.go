package upstream

import (
	"sync/atomic"

	"dyups/lb"
)

// State is the living part of a server: places taken, failures, and whether the server is still in the table. There
// is exactly one for each (upstream, address, how many lines before have the same address), from the change that
// brings the server to the change that takes it away, whatever happens to its parameters in between; a server that
// returns gets a new one. So its pointer identifies the server, for a pool of idle connections for instance. Written
// by any goroutine, atomics only. The zero State is an idle server that has never failed.
type State struct {
	live    lb.Live
	retired atomic.Bool
	_       [24]byte // one cache line: neighbours are written by other loops
}

// Retired reports whether the server left the table (its idle connections should go). It never turns back.
func (s *State) Retired() bool { return s.retired.Load() }

// InFlight is the number of requests that hold a place on the server.
func (s *State) InFlight() int64 { return s.live.InFlight() }

// Fails is the number of failures that count towards max_fails at present.
func (s *State) Fails() int64 { return s.live.Fails() }
