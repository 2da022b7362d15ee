package site

import (
	"bytes"
	"strconv"
	"strings"

	"dyups/codec/conf"
)

// passURL is what stands behind "http://" in proxy_pass, in views of the text it was cut from.
type passURL struct {
	host    []byte // with brackets when it is an IPv6 address; nil for a unix socket
	port    uint16
	hasPort bool
	unix    []byte // path
	uri     []byte // from "/" or "?" on; nil: none
	portTxt []byte
}

// parseURL cuts [host][:port][uri] or unix:path[:uri]; why is nginx's wording of what is wrong, "" if nothing.
// Source: nginx, ngx_parse_url.
func parseURL(s []byte) (u passURL, why string) {
	if len(s) >= 5 && string(s[:5]) == "unix:" {
		u.unix = s[5:]
		if i := bytes.IndexByte(u.unix, ':'); i >= 0 {
			u.unix, u.uri = u.unix[:i], u.unix[i+1:]
		}
		if len(u.unix) == 0 {
			return u, "no path in the unix domain socket"
		}
		if len(u.unix) > 107 {
			return u, "too long path in the unix domain socket"
		}
		return u, ""
	}
	end := len(s)
	for i, c := range s {
		if c == '/' || c == '?' {
			end, u.uri = i, s[i:]
			break
		}
	}
	u.host = s[:end]
	if len(s) > 0 && s[0] == '[' {
		i := bytes.IndexByte(u.host, ']')
		if i < 0 || i+1 < len(u.host) && u.host[i+1] != ':' {
			return u, "invalid host"
		}
		if i+1 < len(u.host) {
			u.portTxt, u.hasPort = u.host[i+2:], true
		}
		u.host = u.host[:i+1]
	} else if i := bytes.IndexByte(u.host, ':'); i >= 0 {
		u.host, u.portTxt, u.hasPort = u.host[:i], u.host[i+1:], true
	}
	if u.hasPort {
		n := 0
		for _, c := range u.portTxt {
			if n = n*10 + int(c-'0'); c < '0' || c > '9' || n > 65535 {
				n = 0
				break
			}
		}
		if n == 0 {
			return u, "invalid port"
		}
		u.port = uint16(n)
	}
	if len(u.host) == 0 {
		return u, "no host"
	}
	return u, ""
}

// cutScheme takes "http://" off; ok is false when it is not there. tls is true for "https://".
func cutScheme(s []byte) (rest []byte, ok, tls bool) {
	if len(s) > 7 && foldEqual(s[:7], "http://") {
		return s[7:], true, false
	}
	if len(s) > 8 && foldEqual(s[:8], "https://") {
		return s[8:], false, true
	}
	return s, false, false
}

// fixedTarget is a proxy_pass without variables, cut up at load.
type fixedTarget struct {
	name, host, uri []byte
	port            uint16
	hasPort         bool
	unix            string
	proxyPort       uint16
}

// parsePass reads proxy_pass into p. It returns the URL as written, "" when it has variables.
func (l *level) parsePass(p *ProxyConf) (string, error) {
	w := l.proxy.pass.Args[0]
	p.prefix = l.loc.Prefix
	if hasVars(w.Text) {
		v, err := l.value(w)
		if err != nil {
			return "", err
		}
		p.pass = v
		if strings.HasPrefix(strings.ToLower(w.Text), "https://") {
			return "", noTLS(w)
		}
		// The name is fixed when a variable can only be in the URI part.
		if rest, ok, _ := cutScheme([]byte(w.Text)); ok {
			if i := bytes.IndexAny(rest, "/?$"); i >= 0 && rest[i] != '$' {
				if u, why := parseURL(rest[:i]); why == "" && u.unix == nil {
					p.Upstream = string(u.host)
				}
			}
		}
		return "", nil
	}
	rest, ok, tls := cutScheme([]byte(w.Text))
	if tls {
		return "", noTLS(w)
	}
	if !ok {
		return "", conf.Errorf(w.Pos, "invalid URL prefix in %q, \"proxy_pass\" takes http://ADDRESS, http://NAME or http://unix:PATH", w.Text)
	}
	u, why := parseURL(rest)
	if why != "" {
		return "", conf.Errorf(w.Pos, "%s in \"proxy_pass\" %q, it must be http://ADDRESS[:PORT][URI] or http://unix:PATH[:URI]", why, w.Text)
	}
	if u.uri != nil && l.loc.Prefix == "" || u.uri != nil && l.ctx != conf.Location {
		return "", conf.Errorf(w.Pos, "\"proxy_pass\" cannot have a URI part (%q) in a location given by a regular expression, in a named "+
			"location, in \"if\" or in \"limit_except\"", u.uri)
	}
	p.fixed = newFixedTarget(&u)
	p.Upstream = string(u.host)
	return w.Text, nil
}

func noTLS(w conf.Word) error {
	return conf.Errorf(w.Pos, "https:// in \"proxy_pass\" %q is not supported by this version, it must be http://", w.Text)
}

func newFixedTarget(u *passURL) *fixedTarget {
	f := &fixedTarget{name: u.host, uri: u.uri, port: u.port, hasPort: u.hasPort, unix: string(u.unix), proxyPort: u.effectivePort()}
	if u.unix != nil {
		f.name = append([]byte("unix:"), u.unix...)
	}
	if len(f.uri) > 0 && f.uri[0] == '?' {
		f.uri = append([]byte("/"), f.uri...)
	}
	f.host = u.appendHost(nil)
	return f
}

// appendHost appends $proxy_host: the port only where it is not the default one.
func (u *passURL) appendHost(dst []byte) []byte {
	if u.unix != nil {
		return append(dst, "localhost"...)
	}
	dst = append(dst, u.host...)
	if u.hasPort && u.port != 80 {
		dst = append(append(dst, ':'), u.portTxt...)
	}
	return dst
}

// effectivePort is $proxy_port: 80 unless another one is written, 0 for a unix socket.
func (u *passURL) effectivePort() uint16 {
	switch {
	case u.unix != nil:
		return 0
	case u.hasPort:
		return u.port
	}
	return 80
}

// Target evaluates proxy_pass into t, whose slices are in the request's memory or in the site, and sets r.ProxyHost and
// r.ProxyPort. It returns 0 or a status (500 for an empty or invalid URL) with a text for the log. Nothing is allocated
// in steady state, except the path of a unix socket that a variable names. Source: nginx, ngx_http_proxy_eval and
// ngx_http_proxy_create_request.
func (p *ProxyConf) Target(r *Request, t *Target) (status int, why string) {
	var uri []byte
	literal := false
	if f := p.fixed; f != nil {
		t.Name, t.Host, t.Port, t.HasPort, t.Unix = f.name, f.host, f.port, f.hasPort, f.unix
		r.ProxyPort = f.proxyPort
		uri = f.uri
	} else {
		text := r.eval(p.pass)
		rest, ok, tls := cutScheme(text)
		switch {
		case tls:
			return 500, r.explain("https:// is not supported in upstream", text)
		case !ok:
			return 500, r.explain("invalid URL prefix in", text)
		}
		u, bad := parseURL(rest)
		if bad != "" {
			return 500, r.explain(bad+" in upstream", rest)
		}
		for _, c := range u.host {
			if c <= ' ' || c == 0x7f { // a decoded capture may hold anything
				return 500, r.explain("invalid host in upstream", rest)
			}
		}
		t.Name, t.Port, t.HasPort, t.Unix = u.host, u.port, u.hasPort, ""
		if u.unix != nil {
			t.Name, t.Unix = rest[:5+len(u.unix)], string(u.unix)
		}
		r.ProxyPort = u.effectivePort()
		if u.hasPort && u.port != 80 || u.unix != nil {
			buf, start := r.open()
			t.Host = r.close(u.appendHost(buf), start)
		} else {
			t.Host = u.host
		}
		uri, literal = u.uri, len(u.uri) > 0
	}
	r.ProxyHost = t.Host
	if t.URI = p.target(r, uri, literal); len(t.URI) == 0 {
		return 500, "zero length URI to proxy"
	}
	return 0, ""
}

// target makes the request target. uri is the URI part of proxy_pass; literal says that it is sent as it is, but for
// blanks and control bytes: nginx sends even those, which lets a decoded line end in a capture split the request.
func (p *ProxyConf) target(r *Request, uri []byte, literal bool) []byte {
	m := &r.p
	switch {
	case literal && uri[0] != '?' && clean(uri, ' '):
		return uri
	case !literal && len(uri) == 0 && m.validURI:
		return m.requestURI
	}
	buf, start := r.open()
	if literal {
		if uri[0] == '?' {
			buf = append(buf, '/')
		}
		return r.close(appendEscaped(buf, uri, &escapeSpace), start)
	}
	rest := r.URI
	if m.validLoc && len(uri) > 0 {
		buf = append(buf, uri...)
		rest = rest[min(len(p.prefix), len(rest)):]
	}
	if m.quoted || m.internal {
		buf = AppendEscapedURI(buf, rest)
	} else {
		buf = append(buf, rest...)
	}
	if len(r.Args) > 0 {
		buf = append(append(buf, '?'), r.Args...)
	}
	return r.close(buf, start)
}

// explain makes a text for the error log; only requests that fail pay for it.
func (r *Request) explain(what string, found []byte) string {
	return what + " " + strconv.Quote(string(found))
}
