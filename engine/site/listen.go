package site

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"dyups/codec/conf"
)

// listenSpec is one listen directive of a server.
type listenSpec struct {
	pos       conf.Pos
	network   string
	addr      string
	backlog   int
	reusePort bool
	isDefault bool
}

// listenWords are the parameters of listen, for errors.
var listenWords = []string{"default_server", "default", "reuseport", "backlog=", "sndbuf=", "rcvbuf=", "so_keepalive=",
	"ipv6only=", "deferred", "bind", "fastopen=", "setfib=", "accept_filter="}

// parseListen reads one listen directive; a port range gives several.
func parseListen(d *conf.Directive, env *Env) ([]listenSpec, error) {
	base := listenSpec{pos: d.Name.Pos}
	for i := 1; i < len(d.Args); i++ {
		key, v, ok := d.Param(i)
		var err error
		switch {
		case !ok && (key == "default_server" || key == "default"):
			base.isDefault = true
		case !ok && key == "reuseport":
			base.reusePort = true
		case ok && key == "backlog":
			base.backlog, err = v.Int(1, 1<<30)
		case ok && (key == "sndbuf" || key == "rcvbuf"):
			_, err = v.Size()
		case ok && (key == "so_keepalive" || key == "ipv6only" || key == "fastopen" || key == "setfib" || key == "accept_filter"):
		case !ok && (key == "deferred" || key == "bind"):
		case !ok && (key == "ssl" || key == "http2" || key == "quic" || key == "proxy_protocol"):
			return nil, conf.Errorf(d.Args[i].Pos, "parameter %q of \"listen\" is not supported by this version, allowed are %s",
				key, strings.Join(listenWords, ", "))
		default:
			return nil, d.BadParam(i, listenWords...)
		}
		if err != nil {
			return nil, err
		}
	}
	return listenAddrs(base, d.Args[0], env)
}

// listenAddrs reads the address of listen: ADDR, ADDR:PORT, PORT, *:PORT, [V6]:PORT, NAME:PORT, unix:PATH; PORT may be
// a range FROM-TO.
func listenAddrs(base listenSpec, w conf.Word, env *Env) ([]listenSpec, error) {
	bad := func(why string) error {
		return conf.Errorf(w.Pos, "%s in %q of the \"listen\" directive, allowed are ADDRESS:PORT, PORT, *:PORT, [V6]:PORT, NAME:PORT and unix:PATH", why, w.Text)
	}
	if path, ok := strings.CutPrefix(w.Text, "unix:"); ok {
		if path == "" || len(path) > 107 {
			return nil, bad("invalid path")
		}
		base.network, base.addr = "unix", path
		return []listenSpec{base}, nil
	}
	host, port := w.Text, "80"
	switch {
	case strings.HasPrefix(host, "["):
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return nil, bad("invalid host")
		}
		if rest := host[end+1:]; rest != "" {
			if rest[0] != ':' {
				return nil, bad("invalid host")
			}
			port = rest[1:]
		}
		host = host[1:end]
	case strings.IndexByte(host, ':') >= 0:
		host, port, _ = strings.Cut(host, ":")
	case isDigits(strings.ReplaceAll(host, "-", "")):
		host, port = "*", host
	}
	from, to, ok := portRange(port)
	ok = ok && (from > 0 || env.AnyPort)
	if !ok {
		return nil, bad("invalid port")
	}
	var out []listenSpec
	for _, a := range listenHosts(host, env) {
		for p := from; p <= to; p++ {
			s := base
			s.network, s.addr = "tcp4", netip.AddrPortFrom(a, uint16(p)).String()
			if a.Is6() {
				s.network = "tcp6"
			}
			out = append(out, s)
		}
	}
	if out == nil {
		return nil, bad("host not found")
	}
	return out, nil
}

// listenHosts returns the addresses of the host part of listen, nil if there are none.
func listenHosts(host string, env *Env) []netip.Addr {
	switch host {
	case "*":
		return []netip.Addr{netip.IPv4Unspecified()}
	case "":
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}
	}
	if host == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return env.lookup(host)
}

// lookup resolves a name at load, nil when it cannot.
func (e *Env) lookup(host string) []netip.Addr {
	if e.LookupHost != nil {
		addrs, err := e.LookupHost(host)
		if err != nil {
			return nil
		}
		return addrs
	}
	texts, err := net.LookupHost(host)
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// portRange reads "80" or "8000-8010". Port 0 lets the system choose.
func portRange(s string) (from, to int, ok bool) {
	a, b, ranged := strings.Cut(s, "-")
	if !isDigits(a) || ranged && !isDigits(b) {
		return 0, 0, false
	}
	from, err := strconv.Atoi(a)
	to = from
	if ranged && err == nil {
		to, err = strconv.Atoi(b)
	}
	return from, to, err == nil && from <= to && to <= 65535
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// addListens enters a server's addresses into the site.
func (b *builder) addListens(s *serverDraft) error {
	if len(s.listens) == 0 {
		s.listens = []listenSpec{{pos: s.pos, network: "tcp4", addr: "0.0.0.0:80"}}
	}
	seen := map[string]bool{}
	for _, l := range s.listens {
		key := l.network + " " + l.addr
		if seen[key] {
			return conf.Errorf(l.pos, "a duplicate listen %s, an address may stand once in a server", l.addr)
		}
		seen[key] = true
		g := b.listens[key]
		if g == nil {
			g = &listenGroup{l: &Listen{Network: l.network, Addr: l.addr, Default: s.srv, names: &names{}}}
			b.listens[key] = g
			b.site.Listens = append(b.site.Listens, g.l)
		}
		if l.isDefault {
			if g.chosen {
				return conf.Errorf(l.pos, "a duplicate default server for %s, the first is at %s", l.addr, g.chosenAt.From(l.pos))
			}
			g.chosen, g.chosenAt, g.l.Default = true, l.pos, s.srv
		}
		if l.backlog != 0 {
			g.l.Backlog = l.backlog
		}
		g.l.ReusePort = g.l.ReusePort || l.reusePort
		g.servers++
		g.regexes = g.regexes || s.hasRegex()
		b.addNames(g.l, s)
	}
	return nil
}

// addNames enters a server's names for one address; a name that is taken stays with the first server, with a warning.
func (b *builder) addNames(l *Listen, s *serverDraft) {
	list := s.names
	if len(list) == 0 {
		list = []serverName{{}}
	}
	for _, n := range list {
		if !l.names.add(n, s.srv) {
			b.warn(s.pos, "conflicting server name \""+n.text+"\" on "+l.Addr+", ignored")
		}
	}
}

// listenGroup is a listening address while the site is built.
type listenGroup struct {
	l        *Listen
	chosen   bool // default_server was said
	chosenAt conf.Pos
	servers  int
	regexes  bool
}

// settle takes the name tables away where they could only lead to the default server.
func (g *listenGroup) settle() {
	if g.servers == 1 && !g.regexes {
		g.l.names = nil
	}
}

// hasRegex reports whether a name is a regular expression, whose match sets captures.
func (s *serverDraft) hasRegex() bool {
	for _, n := range s.names {
		if n.re != nil {
			return true
		}
	}
	return false
}
