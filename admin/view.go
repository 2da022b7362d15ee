package admin

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/valyala/bytebufferpool"
	"github.com/valyala/fasthttp"

	"dyups/upstream"
)

// get answers the listings; anything else is 404 with an empty body.
func (m *mount) get(ctx *fasthttp.RequestCtx, p route) {
	table := m.admin.store.Load()
	f := m.format(ctx)
	switch {
	case p.is("list"):
		if f == formatJSON {
			writeJSON(ctx, listNames(table))
			return
		}
		writeText(ctx, table, func(dst []byte, u *upstream.Upstream) []byte {
			return append(append(dst, u.Name...), '\n')
		})
	case p.is("detail"):
		if f == formatJSON {
			writeJSON(ctx, m.admin.listAll(table))
			return
		}
		writeText(ctx, table, func(dst []byte, u *upstream.Upstream) []byte {
			dst = append(append(dst, u.Name...), '\n')
			switch {
			case f == formatBody:
				return append(u.AppendBody(dst), '\n')
			case f == formatFull && m.admin.fails != nil && u.Spec().HasNames():
				return append(u.AppendUnresolved(dst, m.admin.failures(u)), '\n')
			}
			return append(u.AppendDetail(dst, f == formatFull), '\n')
		})
	case p.is("status") && p.segments == 1:
		writeJSON(ctx, status(table))
	case p.is("upstream") && p.segments == 2:
		u := table.Lookup(p.name)
		switch {
		case u == nil:
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		case f == formatJSON:
			writeJSON(ctx, m.admin.describe(u))
		default:
			buf := bytebufferpool.Get()
			if f == formatBody {
				buf.B = u.AppendBody(buf.B)
			} else {
				buf.B = u.AppendServers(buf.B)
			}
			ctx.Response.SetBody(buf.B)
			bytebufferpool.Put(buf)
		}
	default:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
	}
}

type format uint8

const (
	formatShort format = iota
	formatFull
	formatBody
	formatJSON
)

// format chooses the form of a listing: the argument "format" (short, full, body, json) decides; without a known one
// "Accept: application/json" asks for JSON; else the mount's own.
func (m *mount) format(ctx *fasthttp.RequestCtx) format {
	switch string(ctx.QueryArgs().Peek("format")) {
	case "short":
		return formatShort
	case "full":
		return formatFull
	case "body":
		return formatBody
	case "json":
		return formatJSON
	}
	if acceptsJSON(ctx.Request.Header.Peek(fasthttp.HeaderAccept)) {
		return formatJSON
	}
	if m.opt.DetailFull {
		return formatFull
	}
	return formatShort
}

// acceptsJSON reports whether an Accept field names application/json itself, with any weight but 0 (RFC 9110 section
// 12.5.1). A wildcard does not ask for JSON: every client sends one.
func acceptsJSON(accept []byte) bool {
	for item := range strings.SplitSeq(string(accept), ",") {
		kind, params, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
			continue
		}
		for param := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			if q, err := strconv.ParseFloat(value, 64); err == nil && q == 0 && strings.EqualFold(name, "q") {
				return false
			}
		}
		return true
	}
	return false
}

// writeText sends what add appends for each upstream, or 204 when there is none.
func writeText(ctx *fasthttp.RequestCtx, t *upstream.Table, add func([]byte, *upstream.Upstream) []byte) {
	if t.Len() == 0 {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	buf := bytebufferpool.Get()
	t.All(func(u *upstream.Upstream) bool {
		buf.B = add(buf.B, u)
		return true
	})
	ctx.Response.SetBody(buf.B)
	bytebufferpool.Put(buf)
}

// nameList is the JSON form of GET /list.
type nameList struct {
	Generation uint64   `json:"generation"`
	Upstreams  []string `json:"upstreams"`
}

// detailList is the JSON form of GET /detail.
type detailList struct {
	Generation uint64         `json:"generation"`
	Upstreams  []upstreamView `json:"upstreams"`
}

// upstreamView is the JSON form of one upstream. Body is its definition as text that can be posted.
type upstreamView struct {
	Name    string       `json:"name"`
	Method  string       `json:"method,omitempty"` // empty: weighted round robin
	Source  string       `json:"source"`           // who defined it last, such as "file" or "api"
	Body    string       `json:"body"`
	Panic   bool         `json:"panic,omitempty"` // requests go to unhealthy servers too: see panic_threshold
	Servers []serverView `json:"servers"`
}

// serverView is the JSON form of one server of an upstream; times are in seconds. A line whose name has no address now is one
// view, with an empty address.
type serverView struct {
	Server      string  `json:"server"`  // as written
	Address     string  `json:"address"` // as listed by GET /upstream/NAME
	Weight      int     `json:"weight"`
	MaxConns    int     `json:"max_conns"`
	MaxFails    int     `json:"max_fails"`
	FailTimeout float64 `json:"fail_timeout"`
	SlowStart   float64 `json:"slow_start,omitempty"`
	Backup      bool    `json:"backup"`
	Down        bool    `json:"down"`
	Drain       bool    `json:"drain,omitempty"`
	Out         string  `json:"out,omitempty"` // why it gets no new requests now: see upstream.Why, and outUnresolved
	Route       string  `json:"route,omitempty"`
	Resolve     bool    `json:"resolve,omitempty"`
	Service     string  `json:"service,omitempty"`
	// ResolveError says why the name of the line could not be looked up the last time; when DNS failed, its last addresses stay.
	ResolveError string `json:"resolve_error,omitempty"`
}

func listNames(t *upstream.Table) nameList {
	l := nameList{Generation: t.Generation(), Upstreams: make([]string, 0, t.Len())}
	t.All(func(u *upstream.Upstream) bool {
		l.Upstreams = append(l.Upstreams, u.Name)
		return true
	})
	return l
}

func (a *Admin) listAll(t *upstream.Table) detailList {
	l := detailList{Generation: t.Generation(), Upstreams: make([]upstreamView, 0, t.Len())}
	t.All(func(u *upstream.Upstream) bool {
		l.Upstreams = append(l.Upstreams, a.describe(u))
		return true
	})
	return l
}

func (a *Admin) describe(u *upstream.Upstream) upstreamView {
	v := upstreamView{
		Name:    u.Name,
		Method:  u.Method,
		Source:  u.Source,
		Body:    string(u.AppendBody(nil)),
		Panic:   u.Panics(),
		Servers: make([]serverView, 0, len(u.Servers)),
	}
	var failures []string
	if u.Spec().HasNames() {
		failures = a.failures(u)
	}
	now := upstream.NowNs()
	for _, l := range u.Lines() {
		failure := ""
		if l.Name >= 0 {
			failure = failures[l.Name]
		}
		if l.N == 0 {
			s := view(l.Server, failure)
			s.Address, s.Out = "", outUnresolved
			v.Servers = append(v.Servers, s)
		}
		for i := l.First; i < l.First+l.N; i++ {
			s := view(u.Servers[i].ServerSpec, failure)
			s.Out = u.Why(i, now)
			v.Servers = append(v.Servers, s)
		}
	}
	return v
}

// outUnresolved is serverView.Out of a line whose name has no address.
const outUnresolved = "unresolved"

func view(s *upstream.ServerSpec, failure string) serverView {
	return serverView{
		Server:       s.Name,
		Address:      s.Label,
		Weight:       s.Weight,
		MaxConns:     s.MaxConns,
		MaxFails:     s.MaxFails,
		FailTimeout:  s.FailTimeout.Seconds(),
		SlowStart:    s.SlowStart.Seconds(),
		Backup:       s.Backup,
		Down:         s.Down,
		Drain:        s.Drain,
		Route:        s.Route,
		Resolve:      s.Resolve,
		Service:      s.Service,
		ResolveError: failure,
	}
}

// failures says for each of the names of u why it could not be looked up the last time. What has no address always has a reason.
func (a *Admin) failures(u *upstream.Upstream) []string {
	names := u.Spec().Names()
	texts := make([]string, len(names))
	if a.fails != nil {
		texts = a.fails(names)
	}
	for _, l := range u.Lines() {
		if l.N == 0 && texts[l.Name] == "" {
			texts[l.Name] = names[l.Name].Host + " is being looked up"
		}
	}
	return texts
}

// writeJSON sends v, with a final line feed. Bytes of a name that are not UTF-8 come out as U+FFFD.
func writeJSON(ctx *fasthttp.RequestCtx, v any) {
	ctx.SetContentType("application/json")
	enc := json.NewEncoder(ctx.Response.BodyWriter())
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("BUG: cannot encode a listing: " + err.Error())
	}
}
