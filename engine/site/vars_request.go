package site

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"

	"dyups/codec"
)

// varHost is the host of the request line or the Host field, else the name of the server.
func varHost(dst []byte, r *Request) ([]byte, bool) {
	if len(r.Host) > 0 || r.Server == nil {
		return append(dst, r.Host...), true
	}
	return append(dst, r.Server.Name...), true
}

func varIsArgs(dst []byte, r *Request) ([]byte, bool) {
	if len(r.Args) == 0 {
		return dst, true
	}
	return append(dst, '?'), true
}

// RequestLine is the request line as sent, without its end.
func (r *Request) RequestLine() []byte {
	h := r.Head
	end := int(h.Target.Off + h.Target.Len)
	if h.Target.Empty() {
		end = 0
	}
	i := bytes.IndexByte(h.Buf[end:], '\n')
	if i < 0 {
		return h.Buf
	}
	end += i
	if end > 0 && h.Buf[end-1] == '\r' {
		end--
	}
	return h.Buf[:end]
}

func varProtocol(dst []byte, r *Request) ([]byte, bool) {
	return appendIf(dst, r.Head.Minor == 0, "HTTP/1.0", "HTTP/1.1"), true
}

func varContentLength(dst []byte, r *Request) ([]byte, bool) {
	if n := r.Head.ContentLength; n >= 0 {
		return appendInt(dst, n), true
	}
	return dst, false
}

func varContentType(dst []byte, r *Request) ([]byte, bool) {
	h := r.Head
	for i := range h.Fields {
		if h.Fields[i].ID == codec.ContentType {
			return append(dst, h.Fields[i].Value.In(h.Buf)...), true
		}
	}
	return dst, false
}

// varRemoteUser is the user of the credentials that were sent, checked or not.
func varRemoteUser(dst []byte, r *Request) ([]byte, bool) {
	if r.User == nil && !r.p.userDone {
		r.p.userDone = true
		r.Credentials()
	}
	return append(dst, r.User...), len(r.User) > 0
}

// varRequestID is 16 random bytes in hexadecimal, the same for the whole request.
func varRequestID(dst []byte, r *Request) ([]byte, bool) {
	p := &r.p
	if !p.idDone {
		p.idDone = true
		var raw [16]byte
		rand.Read(raw[:])
		hex.Encode(p.id[:], raw[:])
	}
	return append(dst, p.id[:]...), true
}

// sameVar compares a field name with the name of a variable: letters in lower case, "-" as "_".
func sameVar(field []byte, name string) bool {
	if len(field) != len(name) {
		return false
	}
	for i, c := range field {
		c = lower[c]
		if c == '-' {
			c = '_'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// appendFields appends the values of every request field that the variable name stands for, joined by sep. Fields that
// ignore_invalid_headers drops do not count.
func appendFields(dst []byte, r *Request, name, sep string) ([]byte, bool) {
	h, found := r.Head, false
	for i := range h.Fields {
		f := &h.Fields[i]
		if int(f.Name.Len) != len(name) || !sameVar(f.Name.In(h.Buf), name) || r.dropped(f) {
			continue
		}
		if found {
			dst = append(dst, sep...)
		}
		dst = append(dst, f.Value.In(h.Buf)...)
		found = true
	}
	return dst, found
}

// dropped reports whether the server ignores a field because of its name (ignore_invalid_headers,
// underscores_in_headers).
func (r *Request) dropped(f *codec.Field) bool {
	if !f.Odd && !f.Underscore || r.Server == nil || !r.Server.IgnoreInvalid {
		return false
	}
	return f.Odd || !r.Server.Underscores
}

// requestField is $http_NAME.
func requestField(name string) getter {
	sep := ", "
	if name == "cookie" {
		sep = "; "
	}
	return func(dst []byte, r *Request) ([]byte, bool) { return appendFields(dst, r, name, sep) }
}

// requestArg is $arg_NAME: the first argument of that name, ASCII case ignored, undecoded. Source: nginx, ngx_http_arg.
func requestArg(name string) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		if name == "" {
			return dst, false
		}
		for rest := r.Args; len(rest) > len(name); {
			one := rest
			if i := bytes.IndexByte(rest, '&'); i >= 0 {
				one, rest = rest[:i], rest[i+1:]
			} else {
				rest = nil
			}
			if len(one) > len(name) && one[len(name)] == '=' && foldEqual(one[:len(name)], name) {
				return append(dst, one[len(name)+1:]...), true
			}
		}
		return dst, false
	}
}

// requestCookie is $cookie_NAME.
func requestCookie(name string) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		v, ok := r.Cookie(name)
		return append(dst, v...), ok
	}
}

// Cookie finds the value of a cookie of the request; its name, given in lower case, is compared without ASCII case. The value is
// a view into the head.
func (r *Request) Cookie(name string) (value []byte, ok bool) {
	h := r.Head
	for i := range h.Fields {
		if h.Fields[i].ID != codec.Cookie {
			continue
		}
		if v, ok := cookieIn(h.Fields[i].Value.In(h.Buf), name); ok {
			return v, true
		}
	}
	return nil, false
}

// cookieIn finds name=value among pairs cut by ";"; a "," is part of a value (RFC 6265 section 5.2). The name is compared without
// ASCII case. Source: nginx, ngx_http_parse_cookie_lines and ngx_http_parse_set_cookie_lines.
func cookieIn(b []byte, name string) (value []byte, ok bool) {
	for len(b) > 0 {
		if len(b) >= len(name) && foldEqual(b[:len(name)], name) {
			rest := trimLeft(b[len(name):])
			if len(rest) > 0 && rest[0] == '=' {
				rest = trimLeft(rest[1:])
				if i := bytes.IndexByte(rest, ';'); i >= 0 {
					rest = rest[:i]
				}
				return rest, true
			}
		}
		i := bytes.IndexByte(b, ';')
		if i < 0 {
			break
		}
		b = trimLeft(b[i+1:])
	}
	return nil, false
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}
