package site

import (
	"net/netip"
	"strings"
	"time"

	"dyups/codec"
	"dyups/codec/conf"
)

// proxyDraft is the proxy_* settings of a level; a location that has proxy_pass makes a ProxyConf of them.
type proxyDraft struct {
	conf      ProxyConf
	set       []namedValue
	hide      []string
	pass      *conf.Directive // proxy_pass of this level
	passHead  []string
	redirects []redirectDraft
	redirOff  bool
	domains   cookieDraft[redirectRule]
	paths     cookieDraft[redirectRule]
	flags     cookieDraft[flagRule]
	bufferSet bool // proxy_buffers or proxy_buffer_size was said
	busySet   bool
}

type namedValue struct {
	name, text string
	value      *Value
}

// pageSize is the unit of nginx's default buffers.
const pageSize = 4 << 10

func defaultProxy() proxyDraft {
	return proxyDraft{conf: ProxyConf{
		ConnectTimeout:   60 * time.Second,
		SendTimeout:      60 * time.Second,
		ReadTimeout:      60 * time.Second,
		Next:             NextError | NextTimeout,
		Buffering:        true,
		RequestBuffering: true,
		BufferSize:       pageSize,
		BuffersTotal:     8 * pageSize,
		PassHeaders:      true,
		PassBody:         true,
		PassTrailers:     true,
		MaxTempFileSize:  1 << 30,
		BusyBuffersSize:  2 * pageSize,
	}}
}

// hiddenByDefault are the response fields that nginx does not pass on.
var hiddenByDefault = []string{"Date", "Server", "X-Pad", "X-Accel-Expires", "X-Accel-Redirect", "X-Accel-Limit-Rate",
	"X-Accel-Buffering", "X-Accel-Charset"}

// nextWords are the arguments of proxy_next_upstream.
var nextWords = map[string]Next{
	"error": NextError, "timeout": NextTimeout, "invalid_header": NextInvalidHeader, "http_500": Next500, "http_502": Next502,
	"http_503": Next503, "http_504": Next504, "http_403": Next403, "http_404": Next404, "http_429": Next429,
	"non_idempotent": NextNonIdempotent, "off": NextOff,
}

// proxyRules are proxy_pass and its family.
func proxyRules() []rule {
	duration := func(name string, at func(*ProxyConf) *time.Duration) rule {
		return rule{Name: name, In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			*at(&l.proxy.conf), err = d.Time(0)
			return err
		}}
	}
	proxyFlag := func(name string, at func(*ProxyConf) *bool) rule {
		return onOff(name, inLoc, func(l *level) *bool { return at(&l.proxy.conf) })
	}
	return append([]rule{
		{Name: "proxy_pass", In: conf.Location | conf.If | conf.LimitExcept, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			l.proxy.pass = d
			return l.setContent(d, Proxy)
		}},
		{Name: "health_check", In: conf.Location, Max: -1, Many: true, Set: func(l *level, d *conf.Directive) error {
			l.health = append(l.health, d)
			return nil
		}},
		{Name: "proxy_bind", In: inLoc, Min: 1, Max: 2, Set: setProxyBind},
		duration("proxy_connect_timeout", func(p *ProxyConf) *time.Duration { return &p.ConnectTimeout }),
		duration("proxy_send_timeout", func(p *ProxyConf) *time.Duration { return &p.SendTimeout }),
		duration("proxy_read_timeout", func(p *ProxyConf) *time.Duration { return &p.ReadTimeout }),
		duration("proxy_next_upstream_timeout", func(p *ProxyConf) *time.Duration { return &p.NextTimeout }),
		proxyFlag("proxy_intercept_errors", func(p *ProxyConf) *bool { return &p.InterceptErrors }),
		proxyFlag("proxy_ignore_client_abort", func(p *ProxyConf) *bool { return &p.IgnoreAbort }),
		proxyFlag("proxy_socket_keepalive", func(p *ProxyConf) *bool { return &p.SocketKeepalive }),
		proxyFlag("proxy_pass_trailers", func(p *ProxyConf) *bool { return &p.PassTrailers }),
		proxyFlag("proxy_buffering", func(p *ProxyConf) *bool { return &p.Buffering }),
		proxyFlag("proxy_request_buffering", func(p *ProxyConf) *bool { return &p.RequestBuffering }),
		proxyFlag("proxy_pass_request_headers", func(p *ProxyConf) *bool { return &p.PassHeaders }),
		proxyFlag("proxy_pass_request_body", func(p *ProxyConf) *bool { return &p.PassBody }),
		{Name: "proxy_next_upstream", In: inLoc, Min: 1, Max: -1, Many: true, Set: setNextUpstream},
		{Name: "proxy_next_upstream_tries", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.proxy.conf.NextTries, err = d.Int(0, 0, 1<<30)
			return err
		}},
		{Name: "proxy_http_version", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			v, err := d.Enum(0, "1.0", "1.1")
			l.proxy.conf.HTTP10 = v == "1.0"
			return err
		}},
		{Name: "proxy_method", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.proxy.conf.Method, err = l.value(d.Args[0])
			return err
		}},
		{Name: "proxy_ignore_headers", In: inLoc, Min: 1, Max: -1, Many: true, Set: setIgnoreHeaders},
		{Name: "proxy_limit_rate", In: inLoc, Min: 1, Max: 1, Set: setProxyLimitRate},
		{Name: "proxy_set_body", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.proxy.conf.SetBody, err = l.value(d.Args[0])
			return err
		}},
		{Name: "proxy_set_header", In: inLoc, Min: 2, Max: 2, Many: true, Set: setProxyHeader},
		{Name: "proxy_hide_header", In: inLoc, Min: 1, Max: 1, Many: true, Set: func(l *level, d *conf.Directive) error {
			if l.fresh("proxy_hide_header") {
				l.proxy.hide = nil
			}
			l.proxy.hide = append(l.proxy.hide, d.Args[0].Text)
			return nil
		}},
		{Name: "proxy_pass_header", In: inLoc, Min: 1, Max: 1, Many: true, Set: func(l *level, d *conf.Directive) error {
			if l.fresh("proxy_pass_header") {
				l.proxy.passHead = nil
			}
			l.proxy.passHead = append(l.proxy.passHead, d.Args[0].Text)
			return nil
		}},
		{Name: "proxy_buffer_size", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.proxy.bufferSet = true
			l.proxy.conf.BufferSize, err = atLeastOne(d, 0)
			return err
		}},
		{Name: "proxy_buffers", In: inLoc, Min: 2, Max: 2, Set: func(l *level, d *conf.Directive) error {
			n, err := d.Int(0, 2, 1<<20)
			if err != nil {
				return err
			}
			each, err := atLeastOne(d, 1)
			l.proxy.bufferSet = true
			l.proxy.conf.BuffersTotal = int64(n) * each
			return err
		}},
		{Name: "proxy_busy_buffers_size", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.proxy.busySet = true
			l.proxy.conf.BusyBuffersSize, err = atLeastOne(d, 0)
			return err
		}},
		size("proxy_max_temp_file_size", inLoc, func(l *level) *int64 { return &l.proxy.conf.MaxTempFileSize }),
		size("proxy_send_lowat", inLoc, func(*level) *int64 { return new(int64) }), // FreeBSD has it
		ignored("proxy_temp_file_write_size", inLoc, 1, 1),
		ignored("proxy_headers_hash_bucket_size", inLoc, 1, 1),
		ignored("proxy_headers_hash_max_size", inLoc, 1, 1),
		{Name: "proxy_redirect", In: inLoc, Min: 1, Max: 2, Many: true, Set: setProxyRedirect},
	}, cookieRuleSet()...)
}

// setNextUpstream reads "proxy_next_upstream REASON...". Several of them at one level add up, and off excludes all else.
func setNextUpstream(l *level, d *conf.Directive) error {
	n := l.proxy.conf.Next
	if l.fresh("proxy_next_upstream") {
		n = 0
	}
	allowed := []string{"error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_403",
		"http_404", "http_429", "non_idempotent", "updating", "off"}
	for i := range d.Args {
		w, err := d.Enum(i, allowed...)
		if err != nil {
			return err
		}
		n |= nextWords[w]
	}
	if n&NextOff != 0 {
		n = NextOff
	}
	l.proxy.conf.Next = n
	return nil
}

// setProxyBind reads "proxy_bind ADDRESS[:PORT] [transparent] | off".
func setProxyBind(l *level, d *conf.Directive) (err error) {
	p := &l.proxy.conf
	p.Bind, p.BindTransparent = nil, false
	text := d.Args[0].Text
	if len(d.Args) == 2 {
		if _, err = d.Enum(1, "transparent"); err != nil {
			return err
		}
		p.BindTransparent = true
	} else if text == "off" {
		return nil
	}
	if p.Bind, err = l.value(d.Args[0]); err != nil {
		return err
	}
	if _, plain := p.Bind.Static(); plain {
		if _, ok := ParseLocal(text); !ok {
			return d.Value(0).Invalid("ADDRESS[:PORT] or \"off\"")
		}
	}
	return nil
}

// ignorable are the response fields that nginx lets proxy_ignore_headers name. Of those X-Accel-Redirect and X-Accel-Limit-Rate
// alone mean something here, so that ignoring the others changes nothing.
var ignorable = []string{"X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Buffering", "X-Accel-Charset",
	"Expires", "Cache-Control", "Set-Cookie", "Vary"}

func setIgnoreHeaders(l *level, d *conf.Directive) error {
	if l.fresh("proxy_ignore_headers") {
		l.proxy.conf.IgnoreAccelRedirect, l.proxy.conf.IgnoreAccelRate = false, false
	}
	for i := range d.Args {
		name, err := d.Enum(i, ignorable...)
		if err != nil {
			return err
		}
		switch name {
		case "X-Accel-Redirect":
			l.proxy.conf.IgnoreAccelRedirect = true
		case "X-Accel-Limit-Rate":
			l.proxy.conf.IgnoreAccelRate = true
		}
	}
	return nil
}

// setProxyLimitRate reads "proxy_limit_rate SIZE", which may have variables.
func setProxyLimitRate(l *level, d *conf.Directive) (err error) {
	l.proxy.conf.LimitRate, err = l.sizeValue(d)
	return err
}

// Rate is the value of proxy_limit_rate for a request, bytes a second; 0: no limit, also where a variable holds no size.
func (p *ProxyConf) Rate(r *Request) int64 {
	return sizeOf(p.LimitRate, r)
}

// ParseLocal reads the ADDRESS[:PORT] of proxy_bind, an IPv6 address in brackets or without a port.
func ParseLocal(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(a, 0), true
	}
	a, err := netip.ParseAddrPort(s)
	return a, err == nil
}

func setProxyHeader(l *level, d *conf.Directive) error {
	if !isFieldName(d.Args[0].Text) {
		return d.Value(0).Invalid("the name of a header field")
	}
	v, err := l.value(d.Args[1])
	if l.fresh("proxy_set_header") {
		l.proxy.set = nil
	}
	l.proxy.set = append(l.proxy.set, namedValue{d.Args[0].Text, d.Args[1].Text, v})
	return err
}

// settle finishes what depends on several directives of the level.
func (l *level) settle() error {
	l.settleResolver()
	if l.proxy.pass == nil {
		if l.health != nil {
			return l.health[0].Errorf("needs a proxy_pass in the same location")
		}
		return nil
	}
	p := l.proxy.conf
	target, err := l.parsePass(&p)
	if err != nil {
		return err
	}
	if err := l.settleHeaders(&p); err != nil {
		return err
	}
	if err := l.settleRedirects(&p, target); err != nil {
		return err
	}
	l.settleCookies(&p)
	l.settleHide(&p)
	for _, d := range l.health {
		if err := l.settleHealth(&p, d); err != nil {
			return err
		}
	}
	l.loc.Proxy = &p
	l.loc.auto = l.ctx == conf.Location && strings.HasSuffix(l.loc.Prefix, "/")
	return nil
}

// settleHealth notes a health_check of the location.
func (l *level) settleHealth(p *ProxyConf, d *conf.Directive) error {
	if p.Upstream == "" {
		return d.Errorf("needs a proxy_pass to the fixed name of an upstream, found %q", l.proxy.pass.Args[0].Text)
	}
	h := HealthCheck{Directive: d, Upstream: p.Upstream, Host: l.checkHost(p), Timeout: p.ReadTimeout}
	l.b.site.HealthChecks = append(l.b.site.HealthChecks, h)
	return nil
}

// checkHost is the Host of the location's health_check: that of proxy_set_header as far as it is known without a request. $host and
// its like are the server's name then, as they are for a request without Host (nginx, ngx_http_variable_host), so that upstreams
// behind one server are asked alike; any other variable, and nothing, is the upstream's name.
func (l *level) checkHost(p *ProxyConf) string {
	for _, h := range l.proxy.set {
		if fieldID(h.name) != codec.Host {
			continue
		}
		switch text, fixed := h.value.Static(); {
		case fixed && text != "":
			return text
		case fixed:
			return p.Upstream
		}
		switch h.text {
		case "$host", "${host}", "$http_host", "${http_host}", "$server_name", "${server_name}":
			return l.srv.firstName()
		}
		return p.Upstream
	}
	return p.Upstream
}

// firstName is the first server_name that is the name of a host; "localhost" if there is none.
func (s *serverDraft) firstName() string {
	for _, n := range s.names {
		if n.re == nil && n.text != "" && n.text != "_" && !strings.Contains(n.text, "*") {
			return strings.TrimPrefix(n.text, ".")
		}
	}
	return "localhost"
}

// settleHeaders merges proxy_set_header with nginx's defaults, Host first.
func (l *level) settleHeaders(p *ProxyConf) error {
	hostValue, err := l.value(conf.Word{Text: "$proxy_host"})
	if err != nil {
		return err
	}
	own := map[string]bool{}
	names := []string{"Host"}
	var rest []HeaderLine
	for _, h := range l.proxy.set {
		id := fieldID(h.name)
		names = append(names, h.name)
		p.OwnLength = p.OwnLength || id == codec.ContentLength
		p.OwnCoding = p.OwnCoding || id == codec.TransferEncoding
		if id == codec.Host && !own["host"] {
			hostValue = h.value
			own["host"] = true
			continue
		}
		if text, plain := h.value.Static(); plain && text == "" {
			continue // only keeps the client's field back
		}
		rest = append(rest, HeaderLine{Name: h.name, ID: id, Value: h.value})
	}
	if text, plain := hostValue.Static(); !plain || text != "" {
		p.SetHeaders = append(p.SetHeaders, HeaderLine{Name: "Host", ID: codec.Host, Value: hostValue})
	}
	p.SetHeaders = append(p.SetHeaders, rest...)
	p.Overrides = newNameSet(names)
	return nil
}

// settleHide makes the set of response fields that are kept back.
func (l *level) settleHide(p *ProxyConf) {
	passed := newNameSet(l.proxy.passHead)
	var hide []string
	for _, n := range hiddenByDefault {
		if !passed.Has([]byte(n)) {
			hide = append(hide, n)
		}
	}
	for _, n := range l.proxy.hide {
		if !passed.Has([]byte(n)) {
			hide = append(hide, n)
		}
	}
	p.Hide = newNameSet(hide)
}

// fieldID returns the ID that the parser gives to a field of this name.
func fieldID(name string) codec.FieldID {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "x-accel-") || name == "x-pad" {
		return codec.XAccel
	}
	return fieldIDs[name]
}

var fieldIDs = map[string]codec.FieldID{
	"host": codec.Host, "connection": codec.Connection, "content-length": codec.ContentLength,
	"transfer-encoding": codec.TransferEncoding, "content-type": codec.ContentType, "keep-alive": codec.KeepAlive,
	"proxy-connection": codec.ProxyConnection, "te": codec.TE, "trailer": codec.Trailer, "upgrade": codec.Upgrade,
	"expect": codec.Expect, "user-agent": codec.UserAgent, "cookie": codec.Cookie, "authorization": codec.Authorization,
	"x-forwarded-for": codec.XForwardedFor, "server": codec.Server, "date": codec.Date, "location": codec.Location,
	"last-modified": codec.LastModified, "set-cookie": codec.SetCookie, "http2-settings": codec.HTTP2Settings,
	"range": codec.Range,
}
