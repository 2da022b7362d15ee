package rival

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	"dyups/bench/churn"
	"dyups/bench/origin"
)

// bare is no proxy: an origin on the proxies' core that answers requests and updates at once and itself. What it takes for an
// update is what the machine takes, to wake the one side and then the other: the floor under every figure of that kind.
type bare struct{}

// Itself is implemented by a Proxy that answers requests itself, so that none of the origins is ever reached through it.
type Itself interface{ AnswersItself() }

func (bare) Name() string    { return "bare" }
func (bare) Install() string { return "it is part of the bench" }

func (bare) Find(*Setup) (string, error) { return ownProgram() }

func (bare) Version(string) string { return "an origin of the bench, " + runtime.Version() }

func (bare) Start(_ context.Context, _ string, s *Setup) (Proxy, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	p, err := origin.Start(s.CPU, filepath.Join(s.Dir, "output.log"), origin.Spec{Origins: []origin.Server{{Name: "bare"}}})
	if err != nil {
		return nil, err
	}
	b := &bareProxy{Process: p}
	b.table.fill(s.Upstreams)
	return b, nil
}

// bareProxy is the running one. It listens where the system let it.
type bareProxy struct {
	*origin.Process
	table table
}

func (p *bareProxy) AnswersItself()   {}
func (p *bareProxy) Addr() string     { return p.Addrs()[0] }
func (p *bareProxy) Settings() string { return "# no proxy: answers requests and updates itself\n" }

func (p *bareProxy) Reload(context.Context) error {
	return fmt.Errorf("bare has no configuration: %w", churn.ErrUnsupported)
}

func (p *bareProxy) Updater() (churn.Updater, error) {
	w := newWire(p.Addr(), dialLine)
	return &listUpdater{
		table: &p.table,
		put: func(_ context.Context, _ string, servers []churn.Server) error {
			w.body = appendServers(w.body[:0], servers, "")
			return w.call("POST", "/small", "", w.body)
		},
		del: func(context.Context, string) error { return w.call("GET", "/small", "", nil) },
		end: w.Close,
	}, nil
}
