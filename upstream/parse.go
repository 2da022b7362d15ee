package upstream

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
)

// parsing is what the directives of one block write to.
type parsing struct {
	spec *Spec
	opt  *Options
	// checked: there is a check directive; without it the check_* directives mean nothing.
	checked bool
	long    bool // Options.Brief, and a name was to be looked up

	name     string   // of the upstream
	health   []*Check // of health_check
	healthAt *conf.Directive
}

// Rules is the table of the directives of an upstream block.
var Rules = conf.NewTable(
	conf.Rule[*parsing]{Name: "server", In: conf.Upstream, Min: 1, Max: -1, Many: true, Set: (*parsing).server},
	conf.Rule[*parsing]{Name: "ip_hash", In: conf.Upstream, Many: true, Set: method(lb.IPHash)},
	conf.Rule[*parsing]{Name: "least_conn", In: conf.Upstream, Many: true, Set: method(lb.LeastConn)},
	conf.Rule[*parsing]{Name: "hash", In: conf.Upstream, Min: 1, Max: 3, Many: true, Set: (*parsing).hash},
	conf.Rule[*parsing]{Name: "random", In: conf.Upstream, Max: 2, Many: true, Set: (*parsing).random},
	conf.Rule[*parsing]{Name: "least_time", In: conf.Upstream, Min: 1, Max: 2, Many: true, Set: (*parsing).leastTime},
	conf.Rule[*parsing]{Name: "maglev", In: conf.Upstream, Min: 1, Max: 1, Many: true, Set: (*parsing).maglev},
	conf.Rule[*parsing]{Name: "queue", In: conf.Upstream, Min: 1, Max: 2, Set: (*parsing).queue},
	conf.Rule[*parsing]{Name: "check", In: conf.Upstream, Min: 1, Max: -1, Set: (*parsing).check},
	conf.Rule[*parsing]{Name: "check_http_send", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).checkSend},
	conf.Rule[*parsing]{Name: "check_http_expect_alive", In: conf.Upstream, Min: 1, Max: -1, Set: (*parsing).checkAlive},
	conf.Rule[*parsing]{Name: "check_keepalive_requests", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).checkKeepalive},
	conf.Rule[*parsing]{Name: "health_check", In: conf.Upstream, Max: -1, Many: true, Set: (*parsing).healthCheck},
	conf.Rule[*parsing]{Name: "panic_threshold", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).panicThreshold},
	conf.Rule[*parsing]{Name: "sticky", In: conf.Upstream, Min: 2, Max: -1, Set: (*parsing).sticky},
	conf.Rule[*parsing]{Name: "keepalive", In: conf.Upstream, Min: 1, Max: 2, Set: (*parsing).keepalive},
	conf.Rule[*parsing]{Name: "keepalive_requests", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).keepaliveRequests},
	conf.Rule[*parsing]{Name: "keepalive_time", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).keepaliveTime},
	conf.Rule[*parsing]{Name: "keepalive_timeout", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).keepaliveTimeout},
	conf.Rule[*parsing]{Name: "resolver", In: conf.Upstream, Min: 1, Max: -1, Set: (*parsing).resolver},
	conf.Rule[*parsing]{Name: "resolver_timeout", In: conf.Upstream, Min: 1, Max: 1, Set: (*parsing).resolverTimeout},
	conf.Rule[*parsing]{Name: "zone", In: conf.Upstream, Min: 1, Max: 2, Many: true, Set: (*parsing).zone},

	conf.Rule[*parsing]{Name: "state", In: conf.Upstream, Instead: `write the servers here; "POST /upstream/NAME" changes them while ` +
		`dyups runs, and "GET /detail" prints them as text that can be posted or put here`},
	// NGINX Plus, before 1.5.7.
	conf.Rule[*parsing]{Name: "sticky_cookie_insert", In: conf.Upstream, Instead: `write "sticky cookie NAME"`},
	// Tengine, and modules of others.
	conf.Rule[*parsing]{Name: "consistent_hash", In: conf.Upstream, Instead: `write "hash KEY consistent" or "maglev KEY"`},
	conf.Rule[*parsing]{Name: "session_sticky", In: conf.Upstream, Instead: `write "sticky cookie NAME" or "sticky learn"`},
	conf.Rule[*parsing]{Name: "jvm_route", In: conf.Upstream, Instead: `write "sticky route", with "route=" at each server`},
	conf.Rule[*parsing]{Name: "fair", In: conf.Upstream, Instead: `write "least_conn" or "least_time header"`},
)

// ParseBlock checks the inside of an upstream block (from a file or a command body) and returns its Spec. It looks
// host names up, so it may block, and must not be called on a loop or under a lock. name is for errors, and for what opt knows by it. Errors
// are *conf.Error with the place, what was found and what is allowed. opt may be nil. Safe for concurrent use.
func ParseBlock(name string, ds []*conf.Directive, opt *Options) (*Spec, error) {
	if opt == nil {
		opt = &Options{}
	}
	p := &parsing{spec: &Spec{keepalive: defaultKeepalive}, opt: opt, name: name}
	p.spec.servers, p.spec.lines = make([]ServerSpec, 0, len(ds)), make([]line, 0, len(ds)) // nearly all of them are servers
	err := Rules.Apply(conf.Upstream, p, ds)
	switch {
	case p.long:
		return nil, ErrLengthy
	case err != nil:
		return nil, err
	}
	s := p.spec
	if err := p.settleChecks(); err != nil {
		return nil, err
	}
	if !s.hasPrimary() {
		found := "no server directive"
		if len(s.lines) > 0 {
			found = "backup servers only"
		}
		return nil, conf.Errorf(blockEnd(name, ds, opt), "no servers in upstream %q: found %s, at least one server that is not a backup is needed", name, found)
	}
	if err := p.lookNames(); err != nil {
		return nil, err
	}
	if opt.Brief && !s.brief() {
		return nil, ErrLengthy
	}
	s.finish()
	return s, nil
}

// blockEnd is where something is missing.
func blockEnd(name string, ds []*conf.Directive, opt *Options) conf.Pos {
	switch {
	case len(ds) > 0:
		return ds[len(ds)-1].End
	case opt.End != conf.Pos{}:
		return opt.End
	}
	return conf.Pos{File: name, Line: 1, Col: 1}
}

// serverParams are the parameters of server, as errors list them.
var serverParams = []string{"weight=", "max_conns=", "max_fails=", "fail_timeout=", "slow_start=", "backup", "down", "drain", "route=",
	"resolve", "service="}

// server reads "server ADDRESS [parameters]". A parameter that is repeated counts as last written; so do down and drain, which are
// one state of nginx's (ngx_http_upstream_server).
func (p *parsing) server(d *conf.Directive) error {
	s := ServerSpec{Name: d.Args[0].Text, Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	for i := 1; i < len(d.Args); i++ {
		if err := p.serverParam(&s, d, i); err != nil {
			return err
		}
	}
	to, err := parsePlace(s.Name)
	if err != nil {
		return conf.Errorf(d.Args[0].Pos, "%v", err)
	}
	if err := checkService(&s, to, d); err != nil {
		return err
	}
	first := len(p.spec.servers)
	switch {
	case to.unix != "":
		s.Label = s.Name
		p.spec.servers = append(p.spec.servers, s)
	case to.addr.IsValid():
		p.add(s, to.addr, to.port)
	case s.Resolve:
		p.named(s, to)
		return nil
	default:
		addrs, err := p.resolve(to.host)
		if err != nil {
			return conf.Errorf(d.Args[0].Pos, "%v: %v; it must be an address, a name that is known now, or have the parameter \"resolve\"", notFound(s.Name), err)
		}
		for _, a := range addrs {
			p.add(s, a.Unmap(), to.port)
		}
	}
	p.spec.lines = append(p.spec.lines, line{first, len(p.spec.servers) - first, nil})
	return nil
}

// add adds one address of a server line.
func (p *parsing) add(s ServerSpec, a netip.Addr, port uint16) {
	s.Addr = netip.AddrPortFrom(a, port)
	s.Label = labelOf(s.Addr, s.Name)
	p.spec.servers = append(p.spec.servers, s)
}

// labelOf is the address as a text, name itself where that is it.
func labelOf(a netip.AddrPort, name string) string {
	var room [64]byte
	if text := a.AppendTo(room[:0]); string(text) != name {
		return string(text)
	}
	return name
}

func (p *parsing) resolve(host string) ([]netip.Addr, error) {
	if p.opt.Brief {
		p.long = true
		return nil, ErrLengthy
	}
	if p.opt.Resolve == nil {
		return nil, fmt.Errorf("names are not looked up here, it must be an address")
	}
	addrs, err := p.opt.Resolve(host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("it has no address")
	}
	return addrs, err
}

// serverParam reads argument i of a server directive.
func (p *parsing) serverParam(s *ServerSpec, d *conf.Directive, i int) (err error) {
	key, v, valued := d.Param(i)
	switch {
	case valued && key == "weight":
		s.Weight, err = v.Int(1, math.MaxInt)
	case valued && key == "max_conns":
		s.MaxConns, err = v.Int(0, math.MaxInt)
	case valued && key == "max_fails":
		s.MaxFails, err = v.Int(0, math.MaxInt)
	case valued && key == "fail_timeout":
		s.FailTimeout, err = v.TimeSeconds()
	case !valued && key == "down":
		s.Down, s.Drain = true, false
	case !valued && key == "drain":
		s.Down, s.Drain = false, true
	case valued && key == "route":
		if s.Route = v.Text; s.Route == "" {
			return v.Invalid("a name of the server for \"sticky route\"")
		}
	case !valued && key == "resolve":
		s.Resolve = true
	case valued && key == "service":
		if s.Service = v.Text; s.Service == "" {
			return v.Invalid("a service such as http, or the first labels of the SRV records' name such as _http._tcp")
		}
	case valued && key == "slow_start":
		if err = p.supports(d.Args[i], "slow_start="); err == nil {
			s.SlowStart, err = v.TimeSeconds()
		}
	case !valued && key == "backup":
		s.Backup = true
		err = p.supports(d.Args[i], "backup")
	default:
		return d.BadParam(i, serverParams...)
	}
	return err
}

// keepalive reads "keepalive CONNECTIONS [local]".
func (p *parsing) keepalive(d *conf.Directive) (err error) {
	if len(d.Args) > 1 {
		if d.Args[1].Text != "local" {
			return d.BadParam(1, "local")
		}
		p.spec.keepalive.local = true
	}
	p.spec.keepalive.conns, err = d.Int(0, 0, math.MaxInt)
	return err
}

func (p *parsing) keepaliveRequests(d *conf.Directive) (err error) {
	p.spec.keepalive.requests, err = d.Int(0, 0, math.MaxInt)
	return err
}

func (p *parsing) keepaliveTime(d *conf.Directive) (err error) {
	p.spec.keepalive.time, err = d.Time(0)
	return err
}

func (p *parsing) keepaliveTimeout(d *conf.Directive) (err error) {
	p.spec.keepalive.timeout, err = d.Time(0)
	return err
}

// minZone is the least size of a zone, eight pages of 4 KiB as in nginx.
const minZone = 32 << 10

// zone reads "zone NAME [SIZE]". Of several the last one counts, as in nginx. One process has one table for all its loops, so
// there is nothing to share and the zone only is checked and listed.
func (p *parsing) zone(d *conf.Directive) error {
	if d.Args[0].Text == "" {
		return d.Value(0).Invalid("a name")
	}
	p.spec.zone = []string{d.Args[0].Text}
	if len(d.Args) < 2 {
		return nil
	}
	n, err := d.Size(1)
	if err != nil {
		return err
	}
	if n < minZone {
		return d.Value(1).Invalid("a size of at least 32k")
	}
	p.spec.zone = append(p.spec.zone, d.Args[1].Text)
	return nil
}
