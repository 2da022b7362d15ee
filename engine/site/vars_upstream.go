package site

import (
	"bytes"
	"time"

	"dyups/codec"
)

// tries is the getter of a list with one entry a try: joined by ", ", and by " : " after an internal redirect.
// Source: nginx, ngx_http_upstream_addr_variable and its like.
func tries(one func(dst []byte, t *Try) []byte) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		for i := range r.Tries {
			t := &r.Tries[i]
			if i > 0 {
				dst = appendIf(dst, t.AfterRedirect, " : ", ", ")
			}
			dst = one(dst, t)
		}
		return dst, len(r.Tries) > 0
	}
}

// appendNs appends a time in ns as seconds with three decimals, "-" when it is below zero.
func appendNs(dst []byte, ns int64) []byte {
	if ns < 0 {
		return append(dst, '-')
	}
	return appendMillis(dst, time.Duration(ns))
}

func appendStatus(dst []byte, status int) []byte {
	if status == 0 {
		return append(dst, '-')
	}
	return appendInt(dst, int64(status))
}

// upstreamField is $upstream_http_NAME, repeated fields joined by ", ".
func upstreamField(name string) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		h, found := r.Response, false
		if h == nil {
			return dst, false
		}
		for i := range h.Fields {
			f := &h.Fields[i]
			if int(f.Name.Len) != len(name) || !sameVar(f.Name.In(h.Buf), name) {
				continue
			}
			if found {
				dst = append(dst, ", "...)
			}
			dst = append(dst, f.Value.In(h.Buf)...)
			found = true
		}
		return dst, found
	}
}

// upstreamCookie is $upstream_cookie_NAME, from the Set-Cookie fields of the last backend.
func upstreamCookie(name string) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		h := r.Response
		if h == nil {
			return dst, false
		}
		for i := range h.Fields {
			if h.Fields[i].ID != codec.SetCookie {
				continue
			}
			v := h.Fields[i].Value.In(h.Buf)
			if end := bytes.IndexByte(v, ';'); end >= 0 {
				v = v[:end]
			}
			if v, ok := cookieIn(v, name); ok {
				return append(dst, v...), true
			}
		}
		return dst, false
	}
}

// sentField is $sent_http_NAME, read from the head as it was sent.
func sentField(name string) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		b, found := r.SentHead, false
		for first := true; len(b) > 0; first = false {
			line := b
			if i := bytes.IndexByte(b, '\n'); i >= 0 {
				line, b = b[:i], b[i+1:]
			} else {
				b = nil
			}
			if first || len(line) <= len(name) || line[len(name)] != ':' || !sameVar(line[:len(name)], name) {
				continue
			}
			if found {
				dst = append(dst, ", "...)
			}
			dst = append(dst, bytes.TrimSpace(line[len(name)+1:])...)
			found = true
		}
		return dst, found
	}
}
