package site

import "dyups/codec"

// Begin checks Host and the target, sets Server (by r.Listen and host), Host, URI, Args, Method and applies real_ip.
// It returns 0 or the status to answer (400, 405). r.Server and r.Loc are always set afterwards, so that ErrorPage and
// the access log work for a refused request as well.
//
// URI, Args and Host are views of the head where its bytes can be used as they are: Head.Buf must stay where it is
// from here until the request ends.
func Begin(r *Request) int {
	BeginRefused(r)
	h, p := r.Head, &r.p
	r.Method = h.MethodID
	if !r.beginURI() {
		r.URI, r.Args = emptyBytes, nil // $uri is there and empty, as in nginx, which shows in a log
		return 400
	}
	if status := r.beginHost(); status != 0 {
		return status
	}
	r.applyRealIP(r.Loc.real)
	if r.Method == codec.TRACE || r.Method == codec.CONNECT {
		return 405
	}
	p.validLoc = true
	return 0
}

// BeginRefused prepares r for ErrorPage and the access log of a request whose head could not be parsed: Server is the
// default one, URI stays empty. Begin does it as its first step.
func BeginRefused(r *Request) {
	p := &r.p
	p.begun = true
	p.uriChanges = maxURIChanges + 1
	for len(p.vars) < r.Listen.vars {
		p.vars = append(p.vars, nil)
	}
	r.Server = r.Listen.Default
	r.Loc = r.Server.Root
}

// beginURI sets URI, Args and the marks about them.
func (r *Request) beginURI() bool {
	h, p := r.Head, &r.p
	p.validURI = true
	p.requestURI = h.Target.In(h.Buf)
	if !h.Scheme.Empty() { // $request_uri leaves scheme and authority out
		from := h.Authority.Off + h.Authority.Len - h.Target.Off
		p.requestURI = p.requestURI[from:]
		switch {
		case len(p.requestURI) == 0:
			p.requestURI = rootPath
		case p.requestURI[0] != '/':
			p.validURI = false
		}
	}
	if h.HasQuery {
		r.Args = h.Query.In(h.Buf)
	}
	path := h.Path.In(h.Buf)
	if h.MethodID == codec.CONNECT {
		return true
	}
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	k := scanPath(path)
	p.quoted, p.plus = k.quoted, k.plus
	if !k.complex {
		r.URI = path
		return true
	}
	buf, start := r.open()
	buf, ok := normalise(buf, path, r.Server.mergeSlashes)
	r.URI = r.close(buf, start)
	return ok
}

var rootPath = []byte("/")

// beginHost checks the host and chooses the server by it.
func (r *Request) beginHost() int {
	h := r.Head
	raw := h.Host.In(h.Buf)
	if h.HasHost {
		host, ok := r.cleanHost(raw)
		if !ok {
			return 400
		}
		r.Host = host
	} else if h.Minor > 0 {
		return 400
	}
	if !h.Authority.Empty() {
		host, ok := r.cleanHost(h.Authority.In(h.Buf))
		if !ok {
			r.Host = nil
			return 400
		}
		r.Host = host
	}
	r.Server = r.Listen.names.find(r, r.Host, r.Listen.Default)
	r.Loc = r.Server.Root
	return 0
}

// cleanHost checks a host[:port] and returns the host in lower case, without port and without one trailing dot.
// Source: nginx, ngx_http_validate_host.
func (r *Request) cleanHost(h []byte) (host []byte, ok bool) {
	dot, end := len(h), len(h)
	const usual, literal, rest = 0, 1, 2
	state, upper := usual, false
	for i, c := range h {
		switch hostClass[c] {
		case hostPlain:
		case hostUpper:
			upper = true
		case hostDot:
			if dot == i-1 {
				return nil, false
			}
			dot = i
		case hostColon:
			if state == usual {
				end, state = i, rest
			}
		case hostOpen:
			if i == 0 {
				state = literal
			}
		case hostClose:
			if state == literal {
				end, state = i+1, rest
			}
		case hostBad:
			return nil, false
		}
	}
	if dot == end-1 {
		end--
	}
	if end <= 0 {
		return nil, false
	}
	h = h[:end:end]
	if !upper {
		return h, true
	}
	h = r.copy(h)
	for i, c := range h {
		h[i] = lower[c]
	}
	return h, true
}

// The classes of bytes in a host.
const (
	hostPlain = iota
	hostUpper
	hostDot
	hostColon
	hostOpen
	hostClose
	hostBad
)

var hostClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == '/' || c <= ' ' || c == 0x7f:
			t[c] = hostBad
		case c >= 'A' && c <= 'Z':
			t[c] = hostUpper
		}
	}
	t['.'], t[':'], t['['], t[']'] = hostDot, hostColon, hostOpen, hostClose
	return t
}()

// lower maps a byte to its ASCII lower case.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// foldEqual compares a with the lower-case text b without ASCII case.
func foldEqual(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower[a[i]] != b[i] {
			return false
		}
	}
	return true
}
