package site

import (
	"net"
	"strconv"
	"strings"
	"time"

	"dyups/codec/conf"
)

// resolverWords are the parameters of resolver, for errors.
var resolverWords = []string{"ADDRESS[:PORT]", "valid=", "ipv4=", "ipv6=", "status_zone="}

// defaultResolverTimeout is nginx's.
const defaultResolverTimeout = 30 * time.Second

// setResolver reads resolver ADDRESS[:PORT]... [valid=TIME] [ipv4=off] [ipv6=off], or off.
func setResolver(l *level, d *conf.Directive) (err error) {
	if len(d.Args) == 1 && d.Args[0].Text == "off" {
		l.loc.Resolver = nil
		return nil
	}
	l.loc.Resolver, err = ParseResolver(d, l.b.env)
	return err
}

// ParseResolver reads a resolver directive of any block, without a Timeout. Names of name servers are looked up now, so it
// may block. Errors are *conf.Error.
func ParseResolver(d *conf.Directive, env *Env) (*Resolver, error) {
	r := &Resolver{IPv4: true, IPv6: true}
	for i, w := range d.Args {
		key, v, ok := d.Param(i)
		var err error
		switch {
		case ok && key == "valid":
			r.Valid, err = v.TimeSeconds()
		case ok && key == "ipv4":
			r.IPv4, err = v.OnOff()
		case ok && key == "ipv6":
			r.IPv6, err = v.OnOff()
		case ok && key == "status_zone":
		case ok:
			err = d.BadParam(i, resolverWords...)
		default:
			err = r.add(w, env)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(r.Addrs) == 0 {
		return nil, d.Errorf("names no name server, it takes ADDRESS[:PORT]... [valid=TIME] [ipv4=off] [ipv6=off]")
	}
	if !r.IPv4 && !r.IPv6 {
		return nil, d.Errorf("has both \"ipv4=off\" and \"ipv6=off\", one of them must stay on")
	}
	return r, nil
}

// add enters one name server.
func (r *Resolver) add(w conf.Word, env *Env) error {
	host, port := w.Text, "53"
	switch i := strings.LastIndexByte(host, ':'); {
	case strings.HasPrefix(host, "["):
		end := strings.IndexByte(host, ']')
		if end < 0 || end+1 < len(host) && host[end+1] != ':' {
			return conf.Errorf(w.Pos, "invalid host in resolver %q, it must be ADDRESS[:PORT] or [V6][:PORT]", w.Text)
		}
		if end+1 < len(host) {
			port = host[end+2:]
		}
		host = host[1:end]
	case i >= 0:
		host, port = host[:i], host[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return conf.Errorf(w.Pos, "invalid port in resolver %q, it must be a number from 1 to 65535", w.Text)
	}
	addrs := listenHosts(host, env)
	if len(addrs) == 0 || host == "*" {
		return conf.Errorf(w.Pos, "host not found in resolver %q, it must be ADDRESS[:PORT], [V6][:PORT], or a name that the system's resolver knows", w.Text)
	}
	for _, a := range addrs {
		r.Addrs = append(r.Addrs, net.JoinHostPort(a.String(), port))
	}
	return nil
}

// settleResolver joins resolver and resolver_timeout, which may come from different levels.
func (l *level) settleResolver() {
	if l.loc.Resolver == nil || l.loc.Resolver.Timeout == l.resolverTimeout {
		return
	}
	r := *l.loc.Resolver
	r.Timeout = l.resolverTimeout
	l.loc.Resolver = &r
}
