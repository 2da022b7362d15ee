package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"dyups/codec/conf"
	"dyups/engine/site"
	"dyups/upstream"
	"dyups/upstream/resolve"
)

// defaultConf is what runs without -c.
//
//go:embed default.conf
var defaultConf []byte

// embeddedName stands for the file name of defaultConf in messages.
const embeddedName = "default.conf (built in)"

// lookupTimeout bounds the look-up of one host name of an upstream block.
const lookupTimeout = 5 * time.Second

// configuration is everything that one reading of the files says, checked. It is not written again.
type configuration struct {
	main      *mainConf
	site      *site.Site
	checks    *checkSet
	upstreams []upstream.Change // in file order
	literals  []literal         // host names in proxy_pass that are no upstream of the file
	files     []conf.File       // for -T
	warnings  []string
}

// loader reads a configuration as often as asked: at start, at each reload, for -t.
type loader struct {
	opt   *options
	root  string // the prefix
	names *resolve.Names
}

// name is the configuration file as an absolute path.
func (l *loader) name() string {
	if l.opt.config == "" {
		return embeddedName
	}
	return below(l.root, l.opt.config)
}

// read parses the files and applies the main context, no more: it is what -s needs.
func (l *loader) read() (*configuration, error) {
	globals, err := conf.Parse("command line", []byte(l.opt.globals))
	if err != nil {
		return nil, fmt.Errorf("cannot use option -g: %w", err)
	}
	cfg := new(conf.Config)
	end := conf.Pos{File: l.name(), Line: 1, Col: 1}
	if l.opt.config == "" {
		cfg.Files = []conf.File{{Name: embeddedName, Text: defaultConf}}
		cfg.Directives, err = conf.Parse(embeddedName, defaultConf)
	} else {
		cfg, err = conf.Load(l.name())
	}
	if err != nil {
		return nil, err
	}
	if n := len(cfg.Directives); n > 0 {
		end = cfg.Directives[n-1].End
	}
	m, err := newMainConf(append(globals, cfg.Directives...), l.root, end)
	if err != nil {
		return nil, err
	}
	return &configuration{main: m, files: cfg.Files}, nil
}

// load reads and checks everything, so that what it returns can be published. ctx bounds look-ups of host names.
func (l *loader) load(ctx context.Context) (*configuration, error) {
	c, err := l.read()
	if err != nil {
		return nil, err
	}
	env := &site.Env{
		Prefix:  l.root,
		ConfDir: filepath.Dir(l.name()) + "/",
		Warn: func(pos conf.Pos, msg string) {
			c.warnings = append(c.warnings, conf.Errorf(pos, "%s", msg).Error())
		},
	}
	if l.opt.config == "" {
		env.ConfDir = l.root
	}
	var block []*conf.Directive
	if c.main.http != nil {
		block = c.main.http.Block
	}
	if c.site, err = site.New(block, env); err != nil {
		return nil, err
	}
	if c.checks, err = newCheckSet(c.site); err != nil {
		return nil, err
	}
	opt := upstreamOptions(ctx, func() *configuration { return c }, env)
	seen := map[string]conf.Pos{}
	for _, d := range c.site.Upstreams {
		name := d.Args[0].Text
		key := upstream.Key(name)
		if at, ok := seen[key]; ok {
			return nil, conf.Errorf(d.Args[0].Pos, "duplicate upstream %q, the first is at %s", name, at.From(d.Args[0].Pos))
		}
		seen[key] = d.Args[0].Pos
		opt.End = d.End
		spec, err := upstream.ParseBlock(name, d.Block, &opt)
		if err != nil {
			return nil, placed(d, err)
		}
		c.upstreams = append(c.upstreams, upstream.Change{Name: name, Spec: spec, Source: sourceFile})
	}
	for _, h := range c.site.HealthChecks {
		if _, ok := seen[upstream.Key(h.Upstream)]; !ok {
			env.Warn(h.Directive.Name.Pos, fmt.Sprintf("upstream %q of \"health_check\" is not in the files; it is checked once a command defines it", h.Upstream))
		}
	}
	if err := l.resolveNames(ctx, c); err != nil {
		return nil, err
	}
	if err := c.resolveLiterals(ctx, block, seen); err != nil {
		return nil, err
	}
	return c, nil
}

// placed gives err the place of d unless it has one.
func placed(d *conf.Directive, err error) error {
	var ce *conf.Error
	if errors.As(err, &ce) && ce.Pos.Line > 0 {
		return err
	}
	return d.Errorf("%v", err)
}

// upstreamOptions are what an upstream block needs to be checked, from a file or from a command. A key of "hash" may use
// the variables of the configuration that current gives, a check its match blocks; env looks up the names of name servers.
func upstreamOptions(ctx context.Context, current func() *configuration, env *site.Env) upstream.Options {
	return upstream.Options{
		Compile:   func(text string) (any, error) { return current().site.Compile(text) },
		Match:     func(name string) (string, bool) { return current().checks.text(name) },
		Inherited: func(name string) []*upstream.Check { return current().checks.checks(name) },
		Resolve:   func(host string) ([]netip.Addr, error) { return lookupHost(ctx, host) },
		Resolver: func(d *conf.Directive) (*upstream.Resolver, error) {
			r, err := site.ParseResolver(d, env)
			if err != nil {
				return nil, err
			}
			return resolverOf(r), nil
		},
	}
}

// lookupHost asks the resolver of the system.
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		var de *net.DNSError
		if errors.As(err, &de) {
			return nil, fmt.Errorf("cannot look up %q: %s", host, de.Err)
		}
		return nil, fmt.Errorf("cannot look up %q: %w", host, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// reason drops the operation and path from a file error where the message has them already.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
