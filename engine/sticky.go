package engine

import (
	"strconv"
	"time"

	"dyups/engine/site"
	"dyups/upstream"
)

// stuck takes a place on the server that the request's session sticks to; -1: it has none, or that one may not be used now.
func (ex *exchange) stuck() int {
	s := ex.up.Sticky
	i := s.Find(ex.session(s))
	if i < 0 || !ex.up.Take(i, &ex.query) {
		return -1
	}
	return i
}

// session is what the request says about its server; valid until ex.aux is used again.
func (ex *exchange) session(s *upstream.Sticky) []byte {
	if s.Cookie != "" {
		v, _ := ex.r.Cookie(s.Cookie)
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
	if s.Cookie == "" || s.Find(ex.session(s)) == ex.cur {
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
