package site

import (
	"net/netip"
	"strings"

	"dyups/codec"
	"dyups/codec/conf"
)

// realIP is set_real_ip_from and its family at one level.
type realIP struct {
	from      []netip.Prefix
	unix      bool
	name      string // lower case
	recursive bool
}

// ownRealIP makes the level's settings its own before they are changed.
func (l *level) ownRealIP() *realIP {
	if l.fresh("real_ip") {
		c := *l.loc.real
		l.loc.real = &c
	}
	return l.loc.real
}

func setRealIPFrom(l *level, d *conf.Directive) error {
	r := l.ownRealIP()
	if l.fresh("set_real_ip_from") {
		r.from, r.unix = nil, false
	}
	text := d.Args[0].Text
	if text == "unix:" {
		r.unix = true
		return nil
	}
	if p, ok := parseNet(text); ok {
		r.from = append(r.from, p)
		return nil
	}
	if strings.ContainsAny(text, "/:") {
		return d.Value(0).Invalid(`an address, a CIDR block, a host name or "unix:"`)
	}
	addrs := l.b.env.lookup(text)
	if len(addrs) == 0 {
		return conf.Errorf(d.Args[0].Pos, "host not found in set_real_ip_from %q, it must be an address, a CIDR block, a name or \"unix:\"", text)
	}
	for _, a := range addrs {
		r.from = append(r.from, netip.PrefixFrom(a, a.BitLen()))
	}
	return nil
}

func setRealIPHeader(l *level, d *conf.Directive) error {
	name := strings.ToLower(d.Args[0].Text)
	if name == "proxy_protocol" {
		return d.Value(0).Invalid(`a field name such as "X-Real-IP" or "X-Forwarded-For"; "proxy_protocol" is not supported by this version`)
	}
	if !isFieldName(name) {
		return d.Value(0).Invalid("the name of a header field")
	}
	l.ownRealIP().name = name
	return nil
}

// trusts reports whether an address may say who the client is.
func (x *realIP) trusts(a netip.Addr, unix bool) bool {
	if unix {
		return x.unix
	}
	a = a.Unmap()
	for i := range x.from {
		if x.from[i].Contains(a) {
			return true
		}
	}
	return false
}

// applyRealIP changes the client's address to what the field says, once in a request. Source: nginx,
// ngx_http_realip_handler and ngx_http_get_forwarded_addr.
func (r *Request) applyRealIP(x *realIP) {
	if x == nil || r.p.realDone || len(x.from) == 0 && !x.unix {
		return
	}
	h := r.Head
	addr, unix, changed := r.Remote, r.RemoteUnix, false
	for i := len(h.Fields) - 1; i >= 0; i-- {
		f := &h.Fields[i]
		if !foldEqual(f.Name.In(h.Buf), x.name) {
			continue
		}
		next, moved, more := x.walk(addr, unix, f.Value.In(h.Buf))
		if moved {
			addr, unix, changed = next, false, true
		}
		if !x.recursive || !more {
			break
		}
	}
	if !changed {
		return
	}
	r.p.realRemote, r.p.realRemoteUnix, r.p.realDone = r.Remote, r.RemoteUnix, true
	r.Remote, r.RemoteUnix = addr, false
}

// walk takes addresses from the end of a list for as long as the present one is trusted. moved says that addr is a new
// one, more that the whole list was used up and the last address may be trusted still.
func (x *realIP) walk(addr netip.AddrPort, unix bool, list []byte) (_ netip.AddrPort, moved, more bool) {
	for {
		if !x.trusts(addr.Addr(), unix) {
			return addr, moved, false
		}
		end := len(list)
		for end > 0 && (list[end-1] == ' ' || list[end-1] == ',') {
			end--
		}
		from := end
		for from > 0 && list[from-1] != ' ' && list[from-1] != ',' {
			from--
		}
		if from == end {
			return addr, moved, true
		}
		next, ok := parseAddrPort(list[from:end])
		if !ok {
			return addr, moved, false
		}
		addr, unix, moved = next, false, true
		if !x.recursive {
			return addr, moved, false
		}
		list = list[:from]
	}
}

// parseAddrPort reads ADDRESS, ADDRESS:PORT, [V6] and [V6]:PORT; without a port it is 0. Nothing is allocated.
func parseAddrPort(b []byte) (netip.AddrPort, bool) {
	s := codec.String(b)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap, ap.Addr().Zone() == ""
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	return netip.AddrPortFrom(a, 0), err == nil && a.Zone() == ""
}
