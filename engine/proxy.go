package engine

import (
	"context"
	"net/netip"
	"time"

	"dyups/codec"
	"dyups/upstream"
)

// proxy starts a proxied request: its table, its upstream, then its body or the first try.
func (ex *exchange) proxy() bool {
	p := ex.r.Loc.Proxy
	status, why := p.Target(&ex.r, &ex.target)
	if status != 0 {
		ex.l.eng.logRequest(Err, ex, why)
		return ex.fail(status)
	}
	ex.r.ProxyHost, ex.r.ProxyPort = ex.target.Host, ex.target.Port
	if ex.r.ProxyPort == 0 {
		ex.r.ProxyPort = 80
	}
	ex.table = ex.l.table()
	was := ex.up
	ex.up = nil
	if !ex.target.HasPort && ex.target.Unix == "" {
		ex.up = ex.lookup(ex.table)
	}
	if ex.listed = ex.up != nil; !ex.listed {
		if ex.waiter != nil { // it was promised a server of that group: whoever has the same name is somebody else
			ex.up = was
			return ex.unpicked()
		}
		if ex.up = ex.implicit(); ex.up == nil {
			return ex.resolve()
		}
	}
	return ex.proxyTo()
}

// lookup finds the upstream of the request's name in t, or among those that a reload has taken away since the request began.
func (ex *exchange) lookup(t *upstream.Table) *upstream.Upstream {
	if up := t.Lookup(ex.target.Name); up != nil {
		return up
	}
	return ex.site.kept(ex.target.Name)
}

// outdated reports whether the request's upstream has changed since it was looked up, which matters as long as no server has got
// anything of the request: once a change is acknowledged nothing new goes to a server that it removed.
func (ex *exchange) outdated() bool {
	if !ex.listed {
		return false
	}
	t := ex.l.table()
	if ex.table != t && ex.lookup(t) == ex.up {
		ex.table = t // others have changed
	}
	return ex.table != t
}

// proxyTo goes on with a known upstream.
func (ex *exchange) proxyTo() bool {
	p := ex.r.Loc.Proxy
	ex.left, ex.fresh = 0, false
	ex.round = true
	if !ex.body.done && (p.RequestBuffering || ex.body.chunked && p.HTTP10 || ex.wholeBody()) || ex.body.size > 0 {
		ex.after = phPick
		return ex.to(phBody)
	}
	return ex.to(phPick)
}

// implicitMax bounds a loop's cache of upstreams that stand in no table: addresses out of variables.
const implicitMax = 4096

// implicit is the upstream of a proxy_pass to an address or to a name that was resolved at load; nil: to be looked up.
func (ex *exchange) implicit() *upstream.Upstream {
	l, t := ex.l, &ex.target
	key := ex.aux[:0]
	if t.Unix != "" {
		key = append(append(key, "unix:"...), t.Unix...)
	} else {
		key = implicitKey(key, t.Name, ex.r.ProxyPort)
	}
	ex.aux = key
	if up := ex.site.implicit[string(key)]; up != nil {
		return up
	}
	if up := l.implicit[string(key)]; up != nil {
		return up
	}
	var srv upstream.ServerSpec
	if t.Unix != "" {
		srv = newServer(netip.AddrPort{}, t.Unix)
	} else if addr, ok := parseIP(string(t.Name)); ok {
		srv = newServer(netip.AddrPortFrom(addr, ex.r.ProxyPort), "")
	} else {
		return nil
	}
	if len(l.implicit) >= implicitMax {
		clear(l.implicit)
	}
	up := outside(string(key), srv)
	l.implicit[string(key)] = up
	return up
}

// implicitKey appends "name:port" to dst with the letters A to Z of the name lowered: names are the same in any case.
func implicitKey(dst, name []byte, port uint16) []byte {
	return codec.AppendUint(append(codec.AppendLower(dst, name), ':'), uint64(port))
}

// outside makes an upstream that stands in no table but is used again; it keeps idle connections as one without
// keepalive directives does.
func outside(name string, servers ...upstream.ServerSpec) *upstream.Upstream {
	up := upstream.Single(name, servers...)
	up.Keepalive, up.KeepaliveRequests, up.KeepaliveTime, up.KeepaliveTimeout = 32, 1000, time.Hour, time.Minute
	return up
}

// parseIP reads an address as it stands in a URL: IPv6 in brackets.
func parseIP(s string) (netip.Addr, bool) {
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		s = s[1 : n-1]
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// newServer is a server line's defaults for an address that stands in no upstream block.
func newServer(ap netip.AddrPort, unix string) upstream.ServerSpec {
	s := upstream.ServerSpec{Addr: ap, Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	if unix != "" {
		s.Label = "unix:" + unix
	} else {
		s.Label = ap.String()
	}
	s.Name = s.Label
	return s
}

// newServers makes one for each address of a name.
func newServers(addrs []netip.Addr, port uint16) []upstream.ServerSpec {
	servers := make([]upstream.ServerSpec, len(addrs))
	for i, a := range addrs {
		servers[i] = newServer(netip.AddrPortFrom(a, port), "")
	}
	return servers
}

// resolve asks for the addresses of a name that is no upstream, off the loop, and off the workers as well: name servers that stay
// silent would hold all of them up. The request begins with the first of the addresses, which Config.Resolve turns.
func (ex *exchange) resolve() bool {
	l, name, res := ex.l, string(ex.target.Name), ex.r.Loc.Resolver
	if res == nil {
		return ex.unresolved("no resolver defined to resolve " + name)
	}
	if ex.departed() {
		return true
	}
	port := ex.r.ProxyPort
	ex.phase = phWait
	var ctx context.Context
	var cancel context.CancelFunc
	if res.Timeout > 0 {
		ctx, cancel = context.WithTimeout(l.eng.life, res.Timeout)
	} else {
		ctx, cancel = context.WithCancel(l.eng.life)
	}
	ex.cancel = cancel
	err := l.eng.lookups.Submit(func() {
		addrs, err := l.eng.cfg.Resolve(ctx, res, name)
		cancel()
		l.post(func() {
			ex.cancel = nil
			switch {
			case ex.aborted:
				ex.to(phDone)
			case err != nil:
				ex.unresolved(err.Error())
			default:
				ex.up = upstream.Single(name, newServers(addrs, port)...)
				ex.proxyTo()
			}
			ex.run()
		})
	})
	if err != nil { // the engine is being closed
		cancel()
		ex.cancel = nil
		return ex.unresolved("cannot resolve " + name + ": " + err.Error())
	}
	return false
}

func (ex *exchange) unresolved(why string) bool {
	ex.l.eng.logRequest(Err, ex, why)
	return ex.fail(502)
}
