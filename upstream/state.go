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

// Bar leaves the server out of all picks until Unbar, whatever its failures: for an active check that it has not passed.
// Requests in flight go on.
func (s *State) Bar() { s.live.Bar() }

// Unbar ends Bar at nowNs (see NowNs) and begins the server's slow start. It does nothing if the server is not barred.
func (s *State) Unbar(nowNs int64) { s.live.Unbar(nowNs) }

// Barred reports whether Bar is in force.
func (s *State) Barred() bool { return s.live.Barred() }

// Times gives the average times to the response header and to the last byte, in milliseconds; 0: none is known. They are
// kept for the methods that go by them (Upstream.Timed).
func (s *State) Times() (headerMs, lastByteMs int) { return s.live.Times() }
