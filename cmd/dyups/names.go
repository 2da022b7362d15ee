package main

import (
	"context"

	"dyups/codec/conf"
	"dyups/engine"
	"dyups/engine/site"
	"dyups/upstream"
	"dyups/upstream/resolve"
)

// resolverOf is a resolver directive as those who look names up take it.
func resolverOf(r *site.Resolver) *resolve.Config {
	return &resolve.Config{Servers: r.Addrs, Valid: r.Valid, IPv4: r.IPv4, IPv6: r.IPv6, Timeout: r.Timeout}
}

// defaultResolver is how a site has the names of upstreams looked up that have no resolver of their own: by that of the http
// block, else by the system's.
func defaultResolver(s *site.Site) *resolve.Config {
	if s.Resolver == nil {
		return &resolve.Config{Timeout: s.ResolverTimeout}
	}
	return resolverOf(s.Resolver)
}

// notice is the log of the rooms that know its levels by number only.
func (s *server) notice(level int, msg string) { s.log.log(engine.Level(level), 0, msg) }

// commandOptions are what a command's body needs to be checked. Names that are not known yet are looked up for a short time;
// what does not come of it comes later.
func (s *server) commandOptions() upstream.Options { return s.optionsOf(s.current.Load) }

// optionsOf are those of commands under a configuration.
func (s *server) optionsOf(current func() *configuration) upstream.Options {
	opt := upstreamOptions(context.Background(), current, &site.Env{Prefix: s.loader.root})
	opt.Look = func(names []upstream.Name) [][]upstream.Address {
		answers, _ := s.names.Look(context.Background(), nil, names)
		return answers
	}
	return opt
}

// resolveNames gives the upstreams of the files the first addresses of their "server NAME resolve" lines, all asked for at
// once. A name that cannot be looked up is a warning, for it is asked for again while dyups runs; with --strict-dns it is
// an error.
func (l *loader) resolveNames(ctx context.Context, c *configuration) error {
	var names []upstream.Name
	for _, u := range c.upstreams {
		names = append(names, u.Spec.Names()...)
	}
	if len(names) == 0 {
		return nil
	}
	answers, errs := l.names.Look(ctx, defaultResolver(c.site), names)
	for i, block := range c.site.Upstreams {
		spec := c.upstreams[i].Spec
		lines := spec.Lines()
		c.upstreams[i].Spec = spec.Resolved(func(i int) ([]upstream.Address, bool) { return answers[i], answers[i] != nil })
		servers := serverLines(block)
		for j, line := range lines {
			if errs[j] == nil {
				continue
			}
			name := servers[line].Args[0]
			if l.opt.strict {
				return conf.Errorf(name.Pos, "host not found in upstream %q: %v", name.Text, errs[j])
			}
			c.warnings = append(c.warnings, conf.Errorf(name.Pos,
				"host not found in upstream %q: %v; it is looked up again while dyups runs", name.Text, errs[j]).Error())
		}
		answers, errs = answers[len(lines):], errs[len(lines):]
	}
	return nil
}

// serverLines gives the server directives of an upstream block, as Spec.Lines counts them.
func serverLines(block *conf.Directive) (ds []*conf.Directive) {
	for _, d := range block.Block {
		if d.Name.Text == "server" {
			ds = append(ds, d)
		}
	}
	return ds
}
