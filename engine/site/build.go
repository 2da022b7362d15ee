package site

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"dyups/codec/conf"
)

// Env is what New needs from outside.
type Env struct {
	Prefix  string // -p, absolute with trailing slash: logs, root, temp paths
	ConfDir string // folder of the configuration file: auth_basic_user_file
	// LookupHost resolves the names in listen and set_real_ip_from at load; nil: the system's resolver.
	LookupHost func(host string) ([]netip.Addr, error)
	Warn       func(pos conf.Pos, msg string) // nil: warnings are dropped
	// AnyPort accepts port 0 in listen: the system chooses one (tests). In a configuration file it is an error, as in nginx.
	AnyPort bool
}

// builder holds what is known while one site is compiled.
type builder struct {
	env     *Env
	site    *Site
	scope   *scope
	listens map[string]*listenGroup
	formats map[string]*Value
	unnamed map[string]conf.Pos // upstream names, lower case
}

// level is one block while it is compiled: http, server, location, if or limit_except. A level begins as a copy of
// the one around it, which is nginx's inheritance: single settings are overwritten, lists begin anew with the first
// directive of their kind (fresh).
type level struct {
	b      *builder
	ctx    conf.Context
	loc    *Location
	srv    *serverDraft
	proxy  proxyDraft
	script *[]*op // where set, if, return, rewrite and break go
	own    map[string]bool
	health []*conf.Directive // health_check
	blocks []func() error    // nested blocks, compiled when everything else at this level is known

	resolverTimeout time.Duration
}

// serverDraft is a server while it is compiled; on the http level it collects what servers inherit.
type serverDraft struct {
	srv     *Server
	pos     conf.Pos
	names   []serverName
	listens []listenSpec
}

// fresh reports whether a list directive stands for the first time at this level.
func (l *level) fresh(kind string) bool {
	if l.own[kind] {
		return false
	}
	if l.own == nil {
		l.own = map[string]bool{}
	}
	l.own[kind] = true
	return true
}

// child begins a nested level.
func (l *level) child(ctx conf.Context) *level {
	loc := *l.loc
	c := &level{b: l.b, ctx: ctx, loc: &loc, srv: l.srv, proxy: l.proxy, resolverTimeout: l.resolverTimeout}
	c.proxy.pass = nil
	c.script = &loc.script
	loc.script, loc.routes, loc.limit, loc.Handler = nil, nil, nil, nil
	return c
}

// apply runs the directives of a block, then its nested blocks.
func (l *level) apply(ds []*conf.Directive) error {
	if err := table.Apply(l.ctx, l, ds); err != nil {
		return err
	}
	if err := l.settle(); err != nil {
		return err
	}
	for _, f := range l.blocks {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// New compiles the inside of an http block. The directives must stay unchanged until it returns. An error is a
// *conf.Error with its place.
func New(ds []*conf.Directive, env *Env) (*Site, error) {
	sc := newScope()
	b := &builder{
		env: env, scope: sc, site: &Site{scope: sc, Dyups: defaultDyups},
		listens: map[string]*listenGroup{}, formats: map[string]*Value{}, unnamed: map[string]conf.Pos{},
	}
	if err := b.logFormats(ds); err != nil {
		return nil, err
	}
	top := &level{b: b, ctx: conf.HTTP, loc: b.defaultLocation(), srv: &serverDraft{srv: defaultServer()}, proxy: defaultProxy(),
		resolverTimeout: defaultResolverTimeout}
	top.script = &top.loc.script
	if err := top.apply(ds); err != nil {
		return nil, err
	}
	b.site.Resolver, b.site.ResolverTimeout = top.loc.Resolver, top.resolverTimeout
	if err := sc.link(); err != nil {
		return nil, err
	}
	for _, g := range b.listens {
		g.settle()
		g.l.vars = sc.slots
	}
	b.collectLogs()
	return b.site, nil
}

// collectLogs lists every distinct plain access log path.
func (b *builder) collectLogs() {
	seen := map[string]bool{}
	for _, l := range b.site.Locations {
		for _, a := range l.AccessLogs {
			if a.Path != "" && !seen[a.Path] {
				seen[a.Path] = true
				b.site.Logs = append(b.site.Logs, a.Path)
			}
		}
	}
}

func (b *builder) warn(pos conf.Pos, msg string) {
	if b.env.Warn != nil {
		b.env.Warn(pos, msg)
	}
}

// below makes a path absolute below the prefix, without touching what is absolute already.
func (b *builder) below(path string) string { return below(b.env.Prefix, path) }

func below(dir, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	if dir != "" && !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	return dir + path
}

// value compiles a word.
func (l *level) value(w conf.Word) (*Value, error) { return l.b.scope.value(w) }

// pathValue compiles a word that names a path: one that begins with neither "/" nor a variable is below dir.
func (l *level) pathValue(w conf.Word, dir string) (*Value, error) {
	if !strings.HasPrefix(w.Text, "$") {
		w.Text = below(dir, w.Text)
	}
	return l.value(w)
}

// confDir is the folder that password files are relative to.
func (b *builder) confDir() string {
	if b.env.ConfDir != "" {
		return filepath.Clean(b.env.ConfDir)
	}
	return b.env.Prefix
}

// upstreamBlock notes an upstream block for the roof.
func upstreamBlock(l *level, d *conf.Directive) error {
	key := strings.ToLower(d.Args[0].Text)
	if at, ok := l.b.unnamed[key]; ok {
		return conf.Errorf(d.Args[0].Pos, "duplicate upstream %q, the first is at %s", d.Args[0].Text, at.From(d.Args[0].Pos))
	}
	l.b.unnamed[key] = d.Args[0].Pos
	l.b.site.Upstreams = append(l.b.site.Upstreams, d)
	return nil
}

// rule is a row of the directive table of this package.
type rule = conf.Rule[*level]

// Where directives may stand. inIf adds the inside of an if.
const (
	inHTTP   = conf.HTTP
	inServer = conf.HTTP | conf.Server
	inLoc    = conf.HTTP | conf.Server | conf.Location
)

// table is every directive of http, server, location, if and limit_except.
var table *conf.Table[*level]

func init() { // the rules reach table through nested blocks: a plain initialiser would refer to itself
	var all []rule
	for _, rs := range [][]rule{httpRules(), serverRules(), locationRules(), accessRules(), proxyRules(), rewriteRules()} {
		all = append(all, rs...)
	}
	table = conf.NewTable(all...)
}

// Directives gives the directives of this room, with the contexts that each may stand in. The map is the caller's.
func Directives() map[string]conf.Context { return table.Names() }

// Elsewhere tells this room about directives of others, so that it tells those that are not allowed in a place from unknown ones.
// It is for the time before the first New.
func Elsewhere(names map[string]conf.Context) { table.Elsewhere(names) }

// onOff and size make the rules of single settings.
func onOff(name string, in conf.Context, at func(*level) *bool) rule {
	return rule{Name: name, In: in, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
		*at(l), err = d.OnOff()
		return err
	}}
}

func size(name string, in conf.Context, at func(*level) *int64) rule {
	return rule{Name: name, In: in, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
		*at(l), err = d.Size(0)
		return err
	}}
}

// ignored is a directive that is checked by its number of arguments only and has no effect here.
func ignored(name string, in conf.Context, min, max int) rule {
	return rule{Name: name, In: in, Min: min, Max: max, Set: func(*level, *conf.Directive) error { return nil }}
}
