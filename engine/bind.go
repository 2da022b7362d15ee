package engine

import (
	"net/netip"

	"dyups/engine/site"
)

// localTo is the address that a connection to the backend comes from (proxy_bind); zero: the kernel chooses. An address out
// of variables that is none is logged and left out, as nginx does (ngx_http_upstream_set_local).
func (ex *exchange) localTo() netip.AddrPort {
	v := ex.r.Loc.Proxy.Bind
	if v == nil {
		return netip.AddrPort{}
	}
	ex.aux = v.Append(ex.aux[:0], &ex.r)
	if len(ex.aux) == 0 {
		return netip.AddrPort{}
	}
	a, ok := site.ParseLocal(string(ex.aux))
	if !ok {
		ex.l.eng.logRequest(Err, ex, "invalid local address \""+string(ex.aux)+"\"")
	}
	return a
}
