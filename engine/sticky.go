package engine

import (
	"strconv"
	"time"

	"dyups/engine/site"
	"dyups/upstream"
)

// stuck takes a place on the server that the request's session sticks to; -1: it has none, or that one may not be used now.
// Without turn, while others wait in the upstream's queue before this request, only a server that drains is taken: it is none that
// they wait for. Of several servers of one name a client's conn goes to one, and to the next when that may not be used.
func (ex *exchange) stuck(turn bool) int {
	up := ex.up
	servers := up.Sticky.Find(ex.session(up.Sticky))
	for k := range servers {
		i := servers[(int(ex.c.serial%uint64(len(servers)))+k)%len(servers)]
		if (turn || up.Servers[i].Drain) && up.Take(i, &ex.query) {
			return i
		}
	}
	return -1
}

// session is what the request says about its server; valid until ex.aux is used again.
func (ex *exchange) session(s *upstream.Sticky) []byte {
	if s.Cookie != "" {
		v, _ := ex.r.Cookie(s.CookieFold)
		return v
	}
	for _, r := range s.Routes {
		if v, ok := r.(*site.Value); ok {
			if ex.aux = v.Append(ex.aux[:0], &ex.r); len(ex.aux) > 0 {
				return ex.aux
			}
		}
	}
	return nil
}

// appendSticky appends the cookie that names the server of this answer, unless the request came with it.
func (ex *exchange) appendSticky(dst []byte) []byte {
	s := ex.up.Sticky
	if s.Cookie == "" || string(ex.session(s)) == s.Value(ex.cur) {
		return dst
	}
	dst = append(append(dst, "Set-Cookie: "...), s.Cookie...)
	dst = append(append(dst, '='), s.Value(ex.cur)...)
	switch {
	case s.Expires == upstream.Forever: // the end of 32 bit time, as nginx has it, and ten years
		dst = append(dst, "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"...)
	case s.Expires > 0:
		dst = append(dst, "; expires="...)
		dst = ex.l.now.Add(s.Expires).UTC().AppendFormat(dst, "Mon, 02-Jan-06 15:04:05 GMT")
		dst = strconv.AppendInt(append(dst, "; max-age="...), int64(s.Expires/time.Second), 10)
	}
	if v, ok := s.Attributes.(*site.Value); ok {
		dst = v.AppendField(dst, &ex.r)
	}
	return append(dst, '\r', '\n')
}
