package upstream

import (
	"errors"
	"net/netip"

	"dyups/codec/conf"
)

// Renew reads the definition once more, with the options of another configuration: variables, checks and match blocks may mean
// something else there, or be missing, which is the error. The servers stay those that the spec has: no name is looked up, so
// nothing changes and nothing fails because of DNS. name is that of the upstream. It computes the balancing plan, so it must
// not be called on a loop.
func (s *Spec) Renew(name string, opt *Options) (*Spec, error) {
	ds, err := conf.Parse(name, s.AppendBody(nil))
	if err != nil {
		return nil, err
	}
	o := *opt
	o.Brief, o.Look = false, nil
	o.Resolve = func(host string) ([]netip.Addr, error) {
		if addrs := s.addrsOf(host); addrs != nil {
			return addrs, nil
		}
		return nil, errors.New("it was not looked up before")
	}
	n, err := ParseBlock(name, ds, &o)
	if err != nil {
		return nil, err
	}
	if n.keepServers(s) {
		n.finish()
	}
	return n, nil
}

// addrsOf gives the addresses of the first line with a host, as they were looked up when it was read.
func (s *Spec) addrsOf(host string) (addrs []netip.Addr) {
	for _, l := range s.lines {
		if l.named != nil || l.n == 0 {
			continue
		}
		if to, err := parsePlace(s.servers[l.first].Name); err != nil || to.host != host {
			continue
		}
		for _, sv := range s.servers[l.first : l.first+l.n] {
			addrs = append(addrs, sv.Addr.Addr())
		}
		return addrs
	}
	return nil
}

// keepServers gives the lines of s, which are those of old, the servers that they have there, where these come from names that
// are looked up again and again. It reports whether there are such lines.
func (s *Spec) keepServers(old *Spec) bool {
	if !s.HasNames() {
		return false
	}
	servers := make([]ServerSpec, 0, len(old.servers))
	lines := make([]line, len(s.lines))
	for i, l := range s.lines {
		from, was := s, l
		if l.named != nil {
			from, was = old, old.lines[i]
		}
		lines[i] = line{len(servers), was.n, l.named}
		servers = append(servers, from.servers[was.first:was.first+was.n]...)
	}
	s.servers, s.lines = servers, lines
	return true
}
