package site

import (
	"strings"

	"dyups/codec/conf"
)

// errorPage is one status of an error_page.
type errorPage struct {
	status int
	over   int    // "=CODE"; 0: "=", the status of whoever answers; -1: the error's own
	target *Value // path without arguments, @name or URL
	args   []byte // behind "?" of a path without variables
}

// setErrorPage reads error_page CODE... [=[CODE]] URI|@NAME|URL. Source: nginx, ngx_http_core_error_page.
func setErrorPage(l *level, d *conf.Directive) error {
	if l.fresh("error_page") {
		l.loc.errorPages = nil
	}
	n := len(d.Args) - 1
	uri := d.Args[n]
	over := -1
	if w := d.Args[n-1].Text; strings.HasPrefix(w, "=") {
		n--
		over = 0
		if w != "=" {
			v := d.Value(n)
			v.Text = w[1:]
			code, err := v.Int(100, 999)
			if err != nil {
				return err
			}
			over = code
		}
		if n == 0 {
			return conf.Errorf(d.Args[0].Pos, "invalid value %q in \"error_page\", a status must stand before it", d.Args[0].Text)
		}
	}
	var args []byte
	if path, rest, ok := strings.Cut(uri.Text, "?"); ok && strings.HasPrefix(path, "/") && !hasVars(uri.Text) {
		uri.Text, args = path, []byte(rest)
	}
	target, err := l.value(uri)
	if err != nil {
		return err
	}
	for i := 0; i < n; i++ {
		code, err := d.Int(i, 300, 599)
		if err != nil {
			return err
		}
		if code == 499 {
			return d.Value(i).Invalid("a status other than 499")
		}
		e := errorPage{status: code, over: over, target: target, args: args}
		if over < 0 && code >= 494 && code <= 497 {
			e.over = 400
		}
		l.loc.errorPages = append(l.loc.errorPages, e)
	}
	return nil
}

// HasErrorPage reports whether r.Loc has an error_page for status, as proxy_intercept_errors has to know before it
// throws a backend's answer away.
func (r *Request) HasErrorPage(status int) bool {
	for i := range r.Loc.errorPages {
		if r.Loc.errorPages[i].status == status {
			return true
		}
	}
	return false
}

// ErrorPage looks for an error_page for status at r.Loc (or the server): an internal redirect is made and routed
// (ok true), or there is none (ok false: send the stock page, with status as it is now in r.Status; give AppendErrorPage
// the status of this call, 494 has its own page). An error inside an error page gets the stock page. Afterwards
// r.ErrStatus is what the final answer has to carry. Source: nginx, ngx_http_special_response_handler.
func ErrorPage(r *Request, status int) (a Action, ok bool) {
	if p := r.errorPage(status); p != nil {
		return *p, true
	}
	return Action{}, false
}

// errorPage is ErrorPage; nil: there is none.
func (r *Request) errorPage(status int) *Action {
	if !r.p.begun {
		BeginRefused(r)
	}
	p := &r.p
	p.resume = false
	r.ErrStatus = status
	if pages := r.Loc.errorPages; len(pages) > 0 && !p.errorPage && p.uriChanges > 0 {
		p.errorPage = true
		for i := range pages {
			if pages[i].status == status {
				a := r.sendErrorPage(&pages[i])
				if status == 401 && a.AuthRealm == nil {
					a.AuthRealm = p.realm
				}
				return a
			}
		}
	}
	r.Status = status
	if status >= 494 && status <= 497 {
		r.Status = 400
	}
	return nil
}

// sendErrorPage goes where an error page is. Source: nginx, ngx_http_send_error_page.
func (r *Request) sendErrorPage(e *errorPage) *Action {
	if e.over >= 0 {
		r.ErrStatus = e.over
	}
	target := r.eval(e.target)
	switch {
	case len(target) > 0 && target[0] == '/':
		args := e.args
		if _, plain := e.target.Static(); !plain {
			for i, c := range target {
				if c == '?' {
					target, args = target[:i:i], target[i+1:]
					break
				}
			}
		}
		r.forceGet()
		return r.toURI(target, args)
	case len(target) > 0 && target[0] == '@':
		return r.toNamed(target)
	}
	if !isRedirect(e.over) {
		r.ErrStatus = 302
	}
	r.Status = r.ErrStatus
	a := r.act(DoReturn, r.ErrStatus)
	a.Location = r.absolute(target)
	return a
}

// redirect answers with a redirect, unless an error_page for its status says otherwise.
func (r *Request) redirect(status int, location []byte) *Action {
	r.p.location = location
	if a := r.errorPage(status); a != nil {
		return a
	}
	a := r.act(DoReturn, status)
	if len(location) > 0 {
		a.Location = r.absolute(location)
	}
	return a
}

// absolute completes a Location that begins with "/", if absolute_redirect asks for it.
// Control bytes, which a decoded capture may bring along, are escaped: they would end the field.
func (r *Request) absolute(location []byte) []byte {
	if !clean(location, 0x1f) {
		buf, start := r.open()
		location = r.close(appendEscaped(buf, location, &escapeControl), start)
	}
	if len(location) == 0 || location[0] != '/' || !r.Loc.absoluteRedirect {
		return location
	}
	buf, start := r.open()
	return r.close(r.AppendAbsolute(buf, location), start)
}

// AppendAbsolute appends a Location value: one that begins with "/" gets scheme, host and port in front, as
// absolute_redirect, server_name_in_redirect and port_in_redirect say. Source: nginx, ngx_http_header_filter.
func (r *Request) AppendAbsolute(dst, location []byte) []byte {
	if len(location) == 0 || location[0] != '/' || !r.Loc.absoluteRedirect {
		return append(dst, location...)
	}
	dst = append(dst, "http://"...)
	switch {
	case r.Loc.nameInRedirect:
		dst = append(dst, r.Server.Name...)
	case len(r.Host) > 0:
		dst = append(dst, r.Host...)
	default:
		if a := r.localAddr().Addr().Unmap(); a.Is6() {
			dst = append(a.AppendTo(append(dst, '[')), ']')
		} else if a.IsValid() {
			dst = a.AppendTo(dst)
		}
	}
	if port := r.localAddr().Port(); r.Loc.portInRedirect && port != 0 && port != 80 {
		dst = appendInt(append(dst, ':'), int64(port))
	}
	return append(dst, location...)
}
