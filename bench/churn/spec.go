package churn

import (
	"context"
	"time"
)

// Updater changes the upstreams of one running proxy by that proxy's own means: REST, a runtime socket, a reload. A
// method returns when the proxy has acknowledged. Not for concurrent use; each client has its own. An operation the proxy
// cannot do returns ErrUnsupported, wrapped with what it lacks.
type Updater interface {
	// Replace makes servers the whole list of an upstream.
	Replace(ctx context.Context, upstream string, servers []Server) error
	// Reweigh, Add and Remove change one server of an upstream.
	Reweigh(ctx context.Context, upstream string, server Server) error
	Add(ctx context.Context, upstream string, server Server) error
	Remove(ctx context.Context, upstream, addr string) error
	// Create and Delete make and remove a whole upstream.
	Create(ctx context.Context, upstream string, servers []Server) error
	Delete(ctx context.Context, upstream string) error
	Close() error
}

// Server is one server of an upstream.
type Server struct {
	Addr   string
	Weight int // 1 and above
}

// Script is a kind of change, done again and again.
type Script string

// Scripts. Each leaves the upstreams as it found them after an even number of steps.
const (
	Reweigh Script = "reweigh" // the weight of one server goes from 1 to 2 and back
	Servers Script = "servers" // one server is added, then removed
	Replace Script = "replace" // the whole list, in another order with another weight, and back
	Whole   Script = "whole"   // an upstream is created, then deleted
)

// Sample is what the clients that send updates saw in one round.
type Sample struct {
	Script    Script        `json:"script"`
	Clients   int           `json:"clients"`
	Sent      int64         `json:"sent"`
	Failed    int64         `json:"failed"`
	Example   string        `json:"example"`    // the first failure, "" without
	PerSecond float64       `json:"per_second"` // updates acknowledged a second
	P50us     float64       `json:"p50_us"`     // from sending an update to its acknowledgement
	P90us     float64       `json:"p90_us"`
	P99us     float64       `json:"p99_us"`
	MaxUs     float64       `json:"max_us"`
	At        []float64     `json:"at"`       // for a plot: when updates were sent, seconds since the round's start; thinned out to 2000 at most
	Removals  int64         `json:"removals"` // servers removed whose last request was looked at afterwards
	Late      int64         `json:"late"`     // of these, the ones that a request still reached after the acknowledgement
	LateMax   time.Duration `json:"late_max"` // the longest such time

	Unsupported string `json:"unsupported,omitempty"` // what the proxy lacks for the script; "" otherwise
}
