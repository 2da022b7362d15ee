package rival

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"dyups/bench/churn"
)

// GoProxyFlag is the first argument with which the bench's own program becomes the proxy: it has to call ChildGoProxy then.
const GoProxyFlag = "-child-goproxy"

// goproxy is httputil.ReverseProxy, in a child process of the bench; see ChildGoProxy.
type goproxy struct{}

func (goproxy) Name() string    { return "goproxy" }
func (goproxy) Install() string { return "it is part of the bench" }

func (goproxy) Find(*Setup) (string, error) { return ownProgram() }

// ownProgram is the path of the bench's own program, which becomes what is part of it.
func ownProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the program of the bench: %w", err)
	}
	return path, nil
}

func (goproxy) Version(string) string { return "httputil.ReverseProxy, " + runtime.Version() }

// goProxyConfig travels to the child on standard input, as JSON.
type goProxyConfig struct {
	Addr      string     `json:"addr"`
	API       string     `json:"api"`
	ByHost    bool       `json:"by_host"`
	Upstreams []Upstream `json:"upstreams"`
}

// goProxyUpdate is the body of an update: without servers, the upstream is removed.
type goProxyUpdate struct {
	Name    string         `json:"name"`
	Servers []churn.Server `json:"servers"`
}

func (goproxy) Start(_ context.Context, path string, s *Setup) (Proxy, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	sample, rest := shown(s)
	text, err := json.MarshalIndent(goProxyConfig{s.Addr, s.API, s.ByHost, sample.Upstreams}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write the configuration of goproxy: %w", err)
	}
	i, err := prepare("goproxy", path, s, goProxySettings+string(text)+"\n"+rest, GoProxyFlag)
	if err != nil {
		return nil, err
	}
	in, err := i.PipeInput()
	if err != nil {
		return nil, err
	}
	if err := i.StartOn(cores(s)...); err != nil {
		return nil, err
	}
	// The pipe stays open: its end tells the child that this process is gone.
	if err := json.NewEncoder(in).Encode(goProxyConfig{s.Addr, s.API, s.ByHost, s.Upstreams}); err != nil {
		i.Stop()
		return nil, fmt.Errorf("cannot configure goproxy: %w: %s", err, i.Logs())
	}
	return &goProxy{i}, nil
}

// goProxy is the running one, seen from the bench.
type goProxy struct{ *instance }

func (p *goProxy) Reload(context.Context) error {
	return fmt.Errorf("goproxy has no configuration file: %w", churn.ErrUnsupported)
}

func (p *goProxy) Updater() (churn.Updater, error) {
	w := newWire(p.setup.API, dialLine)
	send := func(_ context.Context, name string, servers []churn.Server) error {
		body, err := json.Marshal(goProxyUpdate{name, servers})
		if err != nil {
			return fmt.Errorf("cannot write an update for goproxy: %w", err)
		}
		return w.call("POST", "/", "", body)
	}
	return &listUpdater{
		table: &p.table,
		put:   send,
		del:   func(ctx context.Context, name string) error { return send(ctx, name, nil) },
		end:   w.Close,
	}, nil
}
