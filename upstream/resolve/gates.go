package resolve

import (
	"context"
	"strings"
	"sync"
)

// gates bounds the look-ups under way to each list of name servers, so that one whose servers are silent holds up only its own
// names. Lists come from configurations and commands, never from clients.
type gates struct {
	places int // to each list
	mu     sync.Mutex
	by     map[string]chan struct{}
}

// enter waits for a place at the servers of cfg until ctx is done; leave gives it back.
func (g *gates) enter(ctx context.Context, cfg *Config) (leave func(), ok bool) {
	key := strings.Join(cfg.Servers, " ")
	g.mu.Lock()
	gate := g.by[key]
	if gate == nil {
		if g.by == nil {
			g.by = map[string]chan struct{}{}
		}
		gate = make(chan struct{}, g.places)
		g.by[key] = gate
	}
	g.mu.Unlock()
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, true
	case <-ctx.Done():
		return nil, false
	}
}
