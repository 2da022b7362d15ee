package engine

import (
	"bytes"
	"strconv"
	"time"

	"dyups/engine/site"
	"dyups/upstream"
)

// pickSticky picks the server that the request's session sticks to, and any other when it has none or that one may not be used
// now: a backup may not while there is a primary that may, so that sessions leave the backups when the primaries are back.
// Without turn, while others wait in the upstream's queue before this request, only a server that drains is taken: it is none that
// they wait for, and no primary was of use to them. Of several servers of one name it is the first that may be used, for all
// connections of a client.
func (ex *exchange) pickSticky(turn bool) int {
	up, q := ex.up, &ex.query
	servers := ex.homes()
	backups := q.Homes[:0]
	for _, i := range servers {
		s := up.Servers[i]
		switch {
		case turn && s.Backup:
			backups = append(backups, i)
		case (turn || s.Drain) && up.Take(i, q):
			return i
		}
	}
	if !turn {
		return -1
	}
	q.Homes = backups
	i := up.Pick(q)
	q.Homes = backups[:0] // the next try may be at another upstream
	return i
}

// homes are the servers that the request's session may be on; nil: it has none.
func (ex *exchange) homes() []int {
	s := ex.up.Sticky
	if s.Learn != nil {
		return ex.up.Session(ex.first(s.Learn.Lookup), ex.l.nowNs)
	}
	return s.Find(ex.session(s))
}

// session is what the request says about its server; valid until ex.aux is used again.
func (ex *exchange) session(s *upstream.Sticky) []byte {
	if s.Cookie != "" {
		v, _ := ex.r.Cookie(s.CookieFold)
		return v
	}
	return ex.first(s.Routes)
}

// first is the first of some values that is not empty; valid until ex.aux is used again.
func (ex *exchange) first(values []any) []byte {
	for _, v := range values {
		if v, ok := v.(*site.Value); ok {
			if ex.aux = v.Append(ex.aux[:0], &ex.r); len(ex.aux) > 0 {
				return ex.aux
			}
		}
	}
	return nil
}

// learn notes which server answers for the session that this answer begins, or else for the request's.
func (ex *exchange) learn() {
	ex.learns = false
	l := ex.up.Sticky.Learn
	name, create := ex.first(l.Create), true
	if len(name) == 0 {
		name, create = ex.first(l.Lookup), false
	}
	if len(name) > 0 {
		ex.up.Learned(name, create, ex.cur, ex.l.nowNs)
	}
}

// learnsLeft has the session learned of a request that ends without the server's answer, and without a failure of it: its client left,
// or an error page takes the answer's place (nginx: its peer is freed without a failure, ngx_http_upstream_sticky_free_peer).
func (ex *exchange) learnsLeft() {
	if s := ex.up.Sticky; s != nil && s.Learn != nil && !s.Learn.Header {
		ex.learns = true
	}
}

// oweCookie makes the cookie of a try that is over for an answer of our own, should one follow: to nginx it is set once a server is
// picked, whatever becomes of that (ngx_http_upstream_sticky_get_peer).
func (ex *exchange) oweCookie() {
	if s := ex.up.Sticky; s != nil && s.Cookie != "" && !ex.headSent {
		ex.owed = ex.appendSticky(nil)
	}
}

// appendSticky keeps the session with the server of this answer: it appends the cookie that names it, also where the request came
// with that, so that its expiry moves on (nginx, ngx_http_upstream_sticky_get_peer), or learns: with "header" and of an upgraded
// connection at once, else when the answer is over.
func (ex *exchange) appendSticky(dst []byte) []byte {
	s := ex.up.Sticky
	ex.owed = nil
	if s.Learn != nil {
		if ex.learns = !s.Learn.Header && ex.resp.Status != 101; !ex.learns {
			ex.learn()
		}
	}
	if s.Cookie == "" {
		return dst
	}
	dst = append(append(dst, "Set-Cookie: "...), s.Cookie...)
	dst = append(append(dst, '='), s.Value(ex.cur)...)
	switch {
	case s.Expires == upstream.Forever: // the end of 32 bit time, as nginx has it, and ten years
		dst = append(dst, "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"...)
	case !s.Transient:
		at, form := ex.l.now.Add(s.Expires).UTC(), "Mon, 02-Jan-06 15:04:05 GMT"
		if at.Year() > 2037 {
			form = "Mon, 02-Jan-2006 15:04:05 GMT" // nginx, ngx_http_cookie_time
		}
		dst = at.AppendFormat(append(dst, "; expires="...), form)
		dst = strconv.AppendInt(append(dst, "; max-age="...), int64(s.Expires/time.Second), 10)
	}
	for i := range s.Attributes {
		dst = ex.appendAttribute(dst, &s.Attributes[i])
	}
	return append(dst, '\r', '\n')
}

// appendAttribute appends an attribute of the cookie, but none that is empty or, by a variable that the client has set, would be
// several. A samesite that is none of those there are becomes "strict", as in nginx.
func (ex *exchange) appendAttribute(dst []byte, a *upstream.Attribute) []byte {
	at := len(dst)
	dst = append(dst, a.Text...)
	v, ok := a.Value.(*site.Value)
	if !ok {
		return dst
	}
	from := len(dst)
	dst = v.AppendField(dst, &ex.r)
	switch value := dst[from:]; {
	case len(value) == 0:
		return dst[:at]
	case a.Text == upstream.SameSite && !upstream.IsSameSite(string(value)):
		return append(dst[:from], "strict"...)
	case bytes.IndexByte(value, ';') >= 0:
		return dst[:at]
	}
	return dst
}
