package upstream

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dyups/codec/conf"
)

// Resolver is what a "resolver" directive says, together with "resolver_timeout". It is only read.
type Resolver struct {
	Servers    []string      // name servers as host:port; none: those of the system
	Valid      time.Duration // how long an answer is kept; 0: as long as its records say
	IPv4, IPv6 bool          // which address families to ask for, at least one
	Timeout    time.Duration // bound on one whole look-up; 0: the default of whoever looks up, NoTimeout: none
	// System has Servers used as the system's resolver uses those of resolv.conf: the first one first, the next one when it
	// is silent or fails, and one address family is enough. Else they take turns, as in nginx.
	System bool
}

// NoTimeout is a look-up's bound that is none, which is what "resolver_timeout 0" says. Source: nginx, ngx_resolver_set_timeout.
const NoTimeout time.Duration = -1

// Name is a host name that the servers of an upstream come from while dyups runs: one "server NAME resolve" line.
type Name struct {
	Host    string
	Service string // of service=: SRV records are asked for instead of addresses; "": none
	// Resolver is the upstream's own "resolver", nil: the one of the http block. Timeout is its own "resolver_timeout", 0:
	// that of the http block.
	Resolver *Resolver
	Timeout  time.Duration
}

// Address is one server that a Name stands for. Port, Weight, Target and Backup come from SRV records and are zero
// otherwise: then the line says what holds. The port of a service is that of its record, also 0.
type Address struct {
	Addr   netip.Addr
	Port   uint16
	Weight int
	Target string // the host that the record names
	Backup bool   // of a priority that is not the best one
}

// Address compares by value; see Canonical for the order of a list.
func (a Address) compare(b Address) int {
	switch {
	case a.Backup != b.Backup && b.Backup:
		return -1
	case a.Backup != b.Backup:
		return 1
	}
	if c := a.Addr.Compare(b.Addr); c != 0 {
		return c
	}
	if a.Port != b.Port {
		return int(a.Port) - int(b.Port)
	}
	if c := strings.Compare(a.Target, b.Target); c != 0 {
		return c
	}
	return a.Weight - b.Weight
}

// Canonical sorts addresses, those of the best priority first; it works in place. Name servers rotate their answers, and an
// answer that differs in order only must not look like a change; besides, two proxies that know the same addresses then
// spread "hash" alike. What is listed twice stays so, and is two servers, as in nginx (ngx_http_upstream_zone_resolve_handler).
func Canonical(addrs []Address) []Address {
	slices.SortFunc(addrs, Address.compare)
	return addrs
}

// named is a server line whose addresses are looked up while dyups runs.
type named struct {
	server  ServerSpec // the line as written: Label is the name, no address
	host    string
	port    uint16
	service string
}

// named makes the line of a server whose name is to be looked up later. Nothing is asked here: at first the line has no
// server.
func (p *parsing) named(s ServerSpec, to place) {
	s.Label = s.Name
	p.spec.lines = append(p.spec.lines, line{len(p.spec.servers), 0, &named{s, to.host, to.port, s.Service}})
}

// checkService checks that "service=" stands where it can mean something. Source: nginx, ngx_http_upstream_server.
func checkService(s *ServerSpec, to place, d *conf.Directive) error {
	at := d.Args[0].Pos
	switch {
	case s.Service == "":
		return nil
	case !s.Resolve:
		return conf.Errorf(at, "service upstream %q requires \"resolve\" parameter", s.Name)
	case to.host == "":
		return conf.Errorf(at, "service upstream %q requires domain name", s.Name)
	case strings.Contains(s.Name, ":"):
		return conf.Errorf(at, "service upstream %q may not have port, the SRV records have it", s.Name)
	}
	return nil
}

// resolver reads "resolver ADDRESS[:PORT]... [valid=TIME] [ipv4=off] [ipv6=off]" through Options.Resolver.
func (p *parsing) resolver(d *conf.Directive) (err error) {
	if p.opt.Brief { // a name server may have a name
		p.long = true
		return ErrLengthy
	}
	if p.opt.Resolver == nil {
		return fmt.Errorf("is not known here")
	}
	for _, w := range d.Args {
		p.spec.resolverArgs = append(p.spec.resolverArgs, w.Text)
	}
	p.spec.resolver, err = p.opt.Resolver(d)
	return err
}

func (p *parsing) resolverTimeout(d *conf.Directive) (err error) {
	p.spec.resolverTimeout, err = d.Time(0)
	if p.spec.resolverTimeout == 0 {
		p.spec.resolverTimeout = NoTimeout
	}
	return err
}

// lookNames gives the names of the spec their first addresses, if somebody knows them.
func (p *parsing) lookNames() error {
	names := p.spec.Names()
	if len(names) == 0 || !p.opt.Brief && p.opt.Look == nil {
		return nil
	}
	if p.opt.Brief {
		return ErrLengthy
	}
	answers := p.opt.Look(names)
	p.spec.resolve(func(i int, _ *named) ([]Address, bool) { return answers[i], answers[i] != nil })
	return nil
}

// hasPrimary reports whether a server line stands for servers that are no backups, now or later.
func (s *Spec) hasPrimary() bool {
	return slices.ContainsFunc(s.servers, func(s ServerSpec) bool { return !s.Backup }) ||
		slices.ContainsFunc(s.lines, func(l line) bool { return l.named != nil && !l.named.server.Backup })
}

// Names gives the names of the "server NAME resolve" lines, in order; nil if there is none.
func (s *Spec) Names() []Name {
	var names []Name
	for _, l := range s.lines {
		if l.named != nil {
			names = append(names, Name{l.named.host, l.named.service, s.resolver, s.resolverTimeout})
		}
	}
	return names
}

// HasNames reports whether the spec has such lines; false for nil.
func (s *Spec) HasNames() bool {
	return s != nil && slices.ContainsFunc(s.lines, func(l line) bool { return l.named != nil })
}

// Lines gives for each of Names the number of its server directive in the block, counted from 0.
func (s *Spec) Lines() []int {
	var at []int
	for i, l := range s.lines {
		if l.named != nil {
			at = append(at, i)
		}
	}
	return at
}

// Resolved gives a Spec that differs from s only in the servers that its names stand for: answer is called for each of
// Names by its index, and gives the addresses in the order of Canonical, or false to leave the line as it is. If nothing
// changes, s itself is returned and nothing is computed. The balancing plan is computed here, so it must not be called on
// a loop or under a lock.
func (s *Spec) Resolved(answer func(i int) ([]Address, bool)) *Spec {
	n := *s
	if !n.resolve(func(i int, _ *named) ([]Address, bool) { return answer(i) }) {
		return s
	}
	n.finish()
	return &n
}

// Without gives a Spec that differs from s only in that its names stand for no server whose address drop, called with the
// index of the name, reports. In all else it is like Resolved.
func (s *Spec) Without(drop func(i int, addr netip.Addr) bool) *Spec {
	n := *s
	if !n.replace(func(i int, _ *named, was []ServerSpec) []ServerSpec {
		return slices.DeleteFunc(was, func(s ServerSpec) bool { return drop(i, s.Addr.Addr()) })
	}) {
		return s
	}
	n.finish()
	return &n
}

// resolve puts the answers into s, which is not shared yet, and reports whether they changed anything.
func (s *Spec) resolve(answer func(i int, n *named) ([]Address, bool)) (changed bool) {
	return s.replace(func(i int, n *named, was []ServerSpec) []ServerSpec {
		addrs, ok := answer(i, n)
		if !ok {
			return was
		}
		now := was[:0]
		for _, a := range addrs {
			now = append(now, n.at(a))
		}
		return now
	})
}

// replace puts other servers in the place of those that the names stand for, and reports whether that changed anything. s is
// not shared yet; its slices are replaced, not written. with may write over the servers that it is given.
func (s *Spec) replace(with func(i int, n *named, was []ServerSpec) []ServerSpec) (changed bool) {
	servers := make([]ServerSpec, 0, len(s.servers))
	lines := make([]line, len(s.lines))
	i := 0
	for j, l := range s.lines {
		first := len(servers)
		was := s.servers[l.first : l.first+l.n]
		if l.named == nil {
			servers = append(servers, was...)
		} else {
			servers = append(servers, with(i, l.named, slices.Clone(was))...)
			i++
			changed = changed || !slices.Equal(was, servers[first:])
		}
		lines[j] = line{first, len(servers) - first, l.named}
	}
	if changed {
		s.servers, s.lines = servers, lines
	}
	return changed
}

// at is the server of the line at one of its addresses. A weight in the line goes before the one of the SRV record, as in
// nginx (ngx_http_upstream_zone_resolve_handler).
func (n *named) at(a Address) ServerSpec {
	s := n.server
	port := n.port
	if n.service != "" {
		port = a.Port // also 0, to which no connection can be made: the line has no port
	}
	s.Addr = netip.AddrPortFrom(a.Addr, port)
	s.Label = s.Addr.String()
	s.Backup = s.Backup || a.Backup
	if a.Weight > 0 && s.Weight == 1 {
		s.Weight = a.Weight
	}
	if a.Target != "" {
		s.Name = a.Target
	}
	return s
}

// Key is the upstream's name with its letters A to Z lowered: two upstreams with one Key are the same one.
func (u *Upstream) Key() string { return string(u.key.fold) }

// Key is what Upstream.Key is for an upstream of that name.
func Key(name string) string { return string(keyOf([]byte(name)).fold) }

// Spec is the definition that made the upstream, for Change.If and Spec.Resolved; nil outside every table.
func (u *Upstream) Spec() *Spec { return u.spec }
