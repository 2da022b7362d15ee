package site

import (
	"dyups/codec"
)

// Route runs server rewrite, location search, rewrite and access phases, and says what to do. After DoAuth, set Authed
// and call it again: it goes on where it stopped. The order of the phases is nginx's (ngx_http_core_module).
func Route(r *Request) Action {
	if r.p.resume {
		r.p.resume = false
		return *r.afterRewrite()
	}
	return *r.route(false)
}

// act makes the request's action; there is one at a time.
func (r *Request) act(kind Kind, status int) *Action {
	a := &r.p.action
	*a = Action{Kind: kind, Status: status}
	return a
}

// fail makes an error with words for the log.
func (r *Request) fail(status int, why string) *Action {
	a := r.act(DoError, status)
	a.Why = why
	return a
}

// route walks the phases; from a named location it starts behind the location search.
func (r *Request) route(named bool) *Action {
	p := &r.p
	root := r.Server.Root
	if !named {
		r.Loc = root
		if root.script != nil {
			if a, _ := r.run(root.script); a != nil {
				return a
			}
		}
	}
	for {
		if !named {
			if a := r.findLocation(); a != nil {
				return a
			}
		}
		named = false
		if r.Loc == root || r.Loc.script == nil {
			break
		}
		if a, _ := r.run(r.Loc.script); a != nil {
			return a
		}
		if !p.uriChanged {
			break
		}
		p.uriChanges--
		if p.uriChanges == 0 {
			return r.fail(500, "rewrite or internal redirection cycle")
		}
		r.Loc = root
	}
	r.applyRealIP(r.Loc.real)
	return r.afterRewrite()
}

// afterRewrite runs the access and content phases.
func (r *Request) afterRewrite() *Action {
	if a := r.accessPhase(); a != nil {
		return a
	}
	if r.Loc.Content == Proxy {
		return r.act(DoProxy, 0)
	}
	return r.act(DoLocal, 0)
}

// findLocation sets r.Loc by r.URI and makes the checks that belong to entering a location; it returns the answer if
// that ends the request, else nil. Source: nginx, ngx_http_core_find_config_phase.
func (r *Request) findLocation() *Action {
	r.p.uriChanged = false
	loc, kind := r.search(r.Server.routes)
	if loc != nil {
		r.Loc = loc
	}
	if r.Loc.internal && !r.p.internal {
		return r.act(DoError, 404)
	}
	path := r.Loc.Prefix
	r.enterLimit()
	if max := r.Loc.MaxBodySize; max > 0 && r.Head.ContentLength > max && r.ErrStatus != 413 {
		return r.fail(413, "client intended to send too large body")
	}
	if kind == foundAuto {
		buf, start := r.open()
		buf = AppendEscapedURI(buf, []byte(path))
		if len(r.Args) > 0 {
			buf = append(append(buf, '?'), r.Args...)
		}
		return r.redirect(301, r.close(buf, start))
	}
	return nil
}

// enterLimit replaces r.Loc by its limit_except block if that covers the method.
func (r *Request) enterLimit() {
	if x := r.Loc.limit; x != nil && x.covers(r.MethodName()) {
		r.Loc = x.loc
	}
}

// search finds the location for r.URI: an exact path, else the longest prefix; unless that is "^~", regular
// expressions in file order; nested locations likewise, innermost first. Source: nginx, ngx_http_core_find_location.
func (r *Request) search(t *routes) (*Location, int) {
	loc, kind := t.find(r.URI)
	if kind == foundExact || kind == foundAuto {
		return loc, kind
	}
	found := loc
	if loc != nil && loc.routes != nil {
		inner, k := r.search(loc.routes)
		if inner != nil {
			found = inner
			if k == foundExact || k == foundAuto {
				return inner, k
			}
		}
	}
	if loc == nil || !loc.noRegex {
		for _, l := range t.regexes {
			if !l.re.match(r, r.URI) {
				continue
			}
			if l.routes != nil {
				if inner, _ := r.search(l.routes); inner != nil {
					return inner, foundExact
				}
			}
			return l, foundExact
		}
	}
	return found, kind
}

// InternalRedirect sends r to another URI (with arguments, if it has a "?") or to a named location ("@name") and
// routes it there, as X-Accel-Redirect and index files want. uri must stay valid until Reset.
func InternalRedirect(r *Request, uri []byte) Action {
	if len(uri) > 0 && uri[0] == '@' {
		return *r.toNamed(uri)
	}
	args := emptyBytes
	for i, c := range uri {
		if c == '?' {
			uri, args = uri[:i:i], uri[i+1:]
			break
		}
	}
	return *r.toURI(uri, args)
}

// toURI makes an internal redirect. Source: nginx, ngx_http_internal_redirect.
func (r *Request) toURI(uri, args []byte) *Action {
	p := &r.p
	r.Internal++
	p.uriChanges--
	if p.uriChanges <= 0 {
		return r.fail(500, "rewrite or internal redirection cycle while internally redirecting")
	}
	r.URI, r.Args = uri, args
	r.ProxyHost, r.ProxyPort = nil, 0 // what nginx's modules knew is forgotten
	p.internal, p.validURI, p.validLoc, p.resume = true, false, true, false
	return r.route(false)
}

// toNamed goes to a named location. Source: nginx, ngx_http_named_location.
func (r *Request) toNamed(name []byte) *Action {
	p := &r.p
	r.Internal++
	p.uriChanges--
	switch {
	case p.uriChanges <= 0:
		return r.fail(500, "rewrite or internal redirection cycle while redirect to named location")
	case len(r.URI) == 0:
		return r.fail(500, "empty URI in redirect to named location")
	}
	loc := r.Server.routes.named[string(name)]
	if loc == nil {
		return r.fail(500, "could not find named location")
	}
	p.internal, p.uriChanged, p.resume = true, false, false
	r.ProxyHost, r.ProxyPort = nil, 0
	r.Loc = loc
	r.enterLimit()
	return r.route(true)
}

// MethodName is the request's method as a backend is to get it and $request_method shows it: as sent, or GET after an
// error_page changed it.
func (r *Request) MethodName() []byte {
	if r.p.getForced {
		return getBytes
	}
	return r.Head.Method.In(r.Head.Buf)
}

var getBytes = []byte("GET")

// FinalStatus is the status to send for an answer that by itself has the given one: error_page may have fixed it.
func (r *Request) FinalStatus(status int) int {
	if r.ErrStatus != 0 {
		return r.ErrStatus
	}
	return status
}

// forceGet is what error_page does to the method: HEAD stays, everything else becomes GET.
func (r *Request) forceGet() {
	if r.Method != codec.HEAD {
		r.Method, r.p.getForced = codec.GET, true
	}
}

// contentType is the media type of a text made here: by the extension of the URI, as nginx.
func (r *Request) contentType() []byte {
	t := r.Loc.TypeOf(r.URI)
	if t == "" {
		return nil
	}
	buf, start := r.open()
	return r.close(append(buf, t...), start)
}

// TypeOf returns the media type for a path by its extension: from types, else default_type. No allocation.
func (l *Location) TypeOf(path []byte) string {
	for i := len(path) - 1; i >= 0 && path[i] != '/'; i-- {
		if path[i] != '.' {
			continue
		}
		ext := path[i+1:]
		if t, ok := l.Types[string(ext)]; ok {
			return t
		}
		var low [16]byte
		if len(ext) <= len(low) {
			for k, c := range ext {
				low[k] = lower[c]
			}
			if t, ok := l.Types[string(low[:len(ext)])]; ok {
				return t
			}
		}
		break
	}
	return l.DefaultType
}

// AppendFilename appends the file that r's URI stands for: root and the URI, or alias and the part of the URI behind
// the location's path. The result is not cleaned; the URI has no dot segments.
func (l *Location) AppendFilename(dst []byte, r *Request) []byte {
	dst = l.Root.Append(dst, r)
	if !l.Alias {
		return append(dst, r.URI...)
	}
	if l.re != nil {
		return dst
	}
	if n := len(l.Prefix); n <= len(r.URI) {
		dst = append(dst, r.URI[n:]...)
	}
	return dst
}

// AppendRoot appends $document_root.
func (l *Location) AppendRoot(dst []byte, r *Request) []byte { return l.Root.Append(dst, r) }
