package rival

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"

	"dyups/bench/churn"
)

// caddy is configured by JSON. Settings that are not plain, all from "JSON Config Structure" of Caddy's documentation:
//
//   - transport.compression false: otherwise Go's transport asks origins for gzip and unpacks it.
//   - keep_alive: idle connections to an origin are bounded by 32 otherwise (max_idle_conns_per_host), and each is closed
//     after two minutes.
//   - automatic_https, admin.config.persist: what concerns certificates and files of the user is off. There is no access log
//     without a "logs" object.
//   - GOGC=400 in the environment (package runtime), as the Go proxy has: the live heap is small, and collected less often.
//   - GOMAXPROCS follows the cores that the process may run on.
//
// An upstream exists in a route only. Routes are tried in order, which takes about a millisecond with 10,000 of them. Without
// ByHost the first one takes every request, and the others are only there.
type caddy struct{}

func (caddy) Name() string                { return "caddy" }
func (caddy) Install() string             { return "install the package caddy" }
func (caddy) Find(*Setup) (string, error) { return find("caddy") }
func (caddy) Version(path string) string  { return versionOf("caddy", path, "version") }

func (caddy) Start(_ context.Context, path string, s *Setup) (Proxy, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(s.API); err != nil {
		return nil, fmt.Errorf("cannot start caddy with interface address %q: %w", s.API, err)
	}
	conf, err := json.Marshal(caddyConfig(s))
	if err != nil {
		return nil, fmt.Errorf("cannot write the configuration of caddy: %w", err)
	}
	sample, rest := shown(s)
	text, err := json.MarshalIndent(caddyConfig(sample), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write the configuration of caddy: %w", err)
	}
	if err := write(s.Dir, "proxy.json", string(conf)); err != nil {
		return nil, err
	}
	i, err := prepare("caddy", path, s, string(text)+"\n"+rest, "run", "--config", filepath.Join(s.Dir, "proxy.json"))
	if err != nil {
		return nil, err
	}
	i.Setenv("GOGC", "400")
	i.Setenv("HOME", s.Dir) // where it keeps its own files
	i.Setenv("XDG_DATA_HOME", s.Dir)
	i.Setenv("XDG_CONFIG_HOME", s.Dir)
	if err := i.StartOn(cores(s)...); err != nil {
		return nil, err
	}
	return &caddyProxy{instance: i, conf: conf, turn: make(chan struct{}, 1)}, nil
}

// object is a part of the JSON configuration.
type object = map[string]any

func caddyConfig(s *Setup) object {
	var routes []object
	for i, u := range s.Upstreams {
		routes = append(routes, caddyRoute(s, u, s.ByHost || i > 0))
	}
	return object{
		"admin":   object{"listen": s.API, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps": object{"http": object{"servers": object{"s": object{
			"listen":          []string{s.Addr},
			"automatic_https": object{"disable": true},
			"idle_timeout":    "1h",
			"routes":          routes,
		}}}},
	}
}

// caddyRoute is one upstream; match: for requests to the host of its name alone.
func caddyRoute(s *Setup, u Upstream, match bool) object {
	keep := object{"enabled": false}
	if n := keepConns(s); n > 0 {
		keep = object{"enabled": true, "max_idle_conns_per_host": min(4*n, manyConns), "idle_timeout": "1h"}
	}
	route := object{
		"@id": u.Name,
		"handle": []object{{
			"handler":        "reverse_proxy",
			"upstreams":      caddyDials(u.Servers),
			"load_balancing": object{"selection_policy": object{"policy": "round_robin"}},
			"transport":      object{"protocol": "http", "compression": false, "versions": []string{"1.1"}, "keep_alive": keep},
		}},
	}
	if match {
		route["match"] = []object{{"host": []string{u.Name}}}
	}
	return route
}

// caddyDials is a list of servers: each as often as it weighs.
func caddyDials(servers []churn.Server) []object {
	var dials []object
	for _, s := range servers {
		for range s.Weight {
			dials = append(dials, object{"dial": s.Addr})
		}
	}
	return dials
}

// caddyProxy is a running Caddy.
type caddyProxy struct {
	*instance
	conf []byte
	turn chan struct{} // holds one element while an update is under way
}

// take waits for the caller's turn to send an update; it gives up when ctx ends.
func (p *caddyProxy) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *caddyProxy) leave() { <-p.turn }

// Reload loads the first configuration again. "must-revalidate" makes Caddy do so though it is the same
// (caddyserver.com/docs/api, "POST /load").
func (p *caddyProxy) Reload(ctx context.Context) error {
	if err := p.take(ctx); err != nil {
		return fmt.Errorf("cannot reload caddy: %w", err)
	}
	defer p.leave()
	w := newWire(p.setup.API, dialLine)
	defer w.close()
	const header = "Content-Type: application/json\r\nCache-Control: must-revalidate\r\n"
	if err := w.call("POST", "/load", header, p.conf); err != nil {
		return fmt.Errorf("cannot reload caddy: %w", err)
	}
	p.table.fill(p.setup.Upstreams)
	return nil
}

func (p *caddyProxy) Updater() (churn.Updater, error) {
	w := newWire(p.setup.API, dialLine)
	// Each change gives Caddy a new server for its interface. The old one's kept connections are closed and those that wait
	// to be accepted are reset, so a connection is good for one update, and updates come one after another.
	const header = "Content-Type: application/json\r\nConnection: close\r\n"
	send := func(ctx context.Context, method, target string, v any) error {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("cannot write an update for caddy: %w", err)
		}
		if err := p.take(ctx); err != nil {
			return err
		}
		defer p.leave()
		return w.call(method, target, header, body)
	}
	return &listUpdater{
		table: &p.table,
		put: func(ctx context.Context, name string, servers []churn.Server) error {
			return send(ctx, "PATCH", "/id/"+name+"/handle/0/upstreams", caddyDials(servers))
		},
		make: func(ctx context.Context, name string, servers []churn.Server) error {
			route := caddyRoute(&p.setup, Upstream{Name: name, Servers: servers}, true)
			return send(ctx, "POST", "/config/apps/http/servers/s/routes", route)
		},
		del: func(ctx context.Context, name string) error {
			if err := p.take(ctx); err != nil {
				return err
			}
			defer p.leave()
			return w.call("DELETE", "/id/"+name, header, nil)
		},
		end: w.Close,
	}, nil
}
