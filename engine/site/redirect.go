package site

import (
	"strings"

	"dyups/codec"
	"dyups/codec/conf"
)

// redirectRule rewrites a Location of a backend: a prefix, or all of it when a regular expression matches.
type redirectRule struct {
	from *Value
	re   *regex
	to   *Value
}

// redirectDraft is one proxy_redirect of a level; nil rule: "default".
type redirectDraft struct {
	rule *redirectRule
	pos  conf.Pos
}

// setProxyRedirect reads proxy_redirect off, default, or FROM TO where FROM may be ~RE or ~*RE.
func setProxyRedirect(l *level, d *conf.Directive) error {
	if l.fresh("proxy_redirect") {
		l.proxy.redirects, l.proxy.redirOff = nil, false
	}
	if l.proxy.redirOff {
		return nil
	}
	if len(d.Args) == 1 {
		w, err := d.Enum(0, "off", "default")
		switch w {
		case "off":
			l.proxy.redirects, l.proxy.redirOff = nil, true
		case "default":
			l.proxy.redirects = append(l.proxy.redirects, redirectDraft{pos: d.Args[0].Pos})
		}
		return err
	}
	to, err := l.value(d.Args[1])
	if err != nil {
		return err
	}
	rule := &redirectRule{to: to}
	if text := d.Args[0].Text; strings.HasPrefix(text, "~") {
		pattern, fold := strings.CutPrefix(text[1:], "*")
		rule.re, err = l.b.scope.regex(pattern, fold, d.Args[0].Pos)
	} else {
		rule.from, err = l.value(d.Args[0])
	}
	l.proxy.redirects = append(l.proxy.redirects[:len(l.proxy.redirects):len(l.proxy.redirects)], redirectDraft{rule, d.Args[0].Pos})
	return err
}

// settleRedirects makes the rules of a location; url is its proxy_pass, "" when that has variables.
func (l *level) settleRedirects(p *ProxyConf, url string) error {
	if l.proxy.redirOff {
		return nil
	}
	list := l.proxy.redirects
	if len(list) == 0 {
		if url == "" {
			return nil
		}
		list = []redirectDraft{{}}
	}
	for _, d := range list {
		if d.rule != nil {
			p.redirects = append(p.redirects, *d.rule)
			continue
		}
		if url == "" {
			return conf.Errorf(d.pos, "\"proxy_redirect default\" cannot be used with a \"proxy_pass\" that has variables")
		}
		r := redirectRule{from: plainValue(url), to: plainValue(l.loc.Prefix)}
		if len(p.fixed.uri) == 0 {
			r = redirectRule{from: plainValue(url + "/"), to: plainValue("/")}
		}
		p.redirects = append(p.redirects, r)
	}
	return nil
}

// RewriteLocation appends a backend's Location value as the client is to see it: rewritten by the first proxy_redirect
// that fits and then completed as absolute_redirect asks, or as it is. Source: nginx, ngx_http_proxy_rewrite_redirect.
func (p *ProxyConf) RewriteLocation(dst []byte, r *Request, value []byte) []byte {
	buf, start := r.open()
	buf, ok := p.rewrite(buf, r, value)
	out := r.close(buf, start)
	if !ok {
		return append(dst, value...)
	}
	return r.AppendAbsolute(dst, out)
}

// RewriteRefresh does the same for the URL of a Refresh value ("5; url=http://...").
func (p *ProxyConf) RewriteRefresh(dst []byte, r *Request, value []byte) []byte {
	for i := 0; i+4 <= len(value); i++ {
		if !foldEqual(value[i:i+4], "url=") {
			continue
		}
		n := len(dst)
		if out, ok := p.rewrite(append(dst, value[:i+4]...), r, value[i+4:]); ok {
			return out
		}
		return append(dst[:n], value...)
	}
	return append(dst, value...)
}

// rewrite appends value as the first rule that fits makes it.
func (p *ProxyConf) rewrite(dst []byte, r *Request, value []byte) ([]byte, bool) {
	for i := range p.redirects {
		x := &p.redirects[i]
		if x.re != nil {
			if x.re.match(r, r.copy(value)) { // captures must outlive the backend's head
				return x.to.Append(dst, r), true
			}
			continue
		}
		from, plain := x.from.Static()
		if !plain {
			from = codec.String(r.eval(x.from))
		}
		if len(value) >= len(from) && string(value[:len(from)]) == from {
			return append(x.to.Append(dst, r), value[len(from):]...), true
		}
	}
	return dst, false
}
