package codec

// Method is a known request method; MethodOther is any other token.
type Method uint8

// The known methods.
const (
	MethodOther Method = iota
	GET
	HEAD
	POST
	PUT
	DELETE
	OPTIONS
	PATCH
	TRACE
	CONNECT
	PROPFIND
	LOCK
)

// MethodOf returns the known method of a token, MethodOther for any other one.
func MethodOf(token []byte) Method { return methodID(token) }

func methodID(b []byte) Method {
	switch string(b) {
	case "GET":
		return GET
	case "HEAD":
		return HEAD
	case "POST":
		return POST
	case "PUT":
		return PUT
	case "DELETE":
		return DELETE
	case "OPTIONS":
		return OPTIONS
	case "PATCH":
		return PATCH
	case "TRACE":
		return TRACE
	case "CONNECT":
		return CONNECT
	case "PROPFIND":
		return PROPFIND
	case "LOCK":
		return LOCK
	}
	return MethodOther
}

// Limits bounds a head. The zero value means no bound, and so does a bound that is zero. Line ends count.
type Limits struct {
	Line  int // request or status line, bytes
	Field int // one field line, bytes
	Total int // whole head, bytes; empty lines in front of it are counted by themselves, with the same bound
	Count int // number of fields
}

// RequestHead is a parsed request head. All spans point into Buf, which is the head from its first byte
// up to and including the empty line. Reuse one value for many heads: Fields keeps its capacity.
// Its content is valid only after a parse without an error.
// Not safe for concurrent use while being parsed.
type RequestHead struct {
	Buf      []byte
	Method   Span
	MethodID Method
	Target   Span // request target as sent
	// Path is the path in origin- or absolute-form, undecoded, without "?"; "*" for asterisk-form; empty for CONNECT.
	// An absolute-form without a path has "/" (the span is then the second "/" of "://").
	Path      Span
	Query     Span  // without "?"; like Path it ends before a "#"
	HasQuery  bool  // a "?" was there
	Scheme    Span  // absolute-form only
	Authority Span  // absolute-form (or CONNECT): host[:port]; it replaces Host, see EffectiveHost
	Host      Span  // value of the Host field
	HasHost   bool  // there was a Host field, maybe empty
	Minor     uint8 // HTTP/1.Minor: 0 or 1
	Fields    []Field
	// Framing, checked (RFC 9112 section 6.3).
	ContentLength int64 // -1: no Content-Length
	Chunked       bool
	// KeepAlive: may the connection be kept, by version and Connection field (RFC 9112 section 9.3).
	KeepAlive bool
	// Upgrade: Connection names "upgrade" and an Upgrade field is there; the span is its value. HTTP/1.1 only
	// (RFC 9110 section 7.8).
	Upgrade        Span
	ExpectContinue bool
	// ConnTokens: Connection lists tokens other than close, keep-alive and upgrade, whose fields are hop-by-hop too.
	ConnTokens bool
}

// ResponseHead is a parsed response head; see RequestHead for lifetime and reuse.
type ResponseHead struct {
	Buf           []byte
	Minor         uint8
	Status        int  // 100 to 999
	Reason        Span // may be empty
	Fields        []Field
	ContentLength int64 // -1: no Content-Length
	Chunked       bool
	KeepAlive     bool
	Upgrade       Span
	ConnTokens    bool
}

// EffectiveHost returns the host[:port] that the request is for: the authority of an absolute-form target, otherwise
// the value of Host; nil if there is neither. Source: RFC 9112 section 3.2.2.
func (h *RequestHead) EffectiveHost() []byte {
	switch {
	case !h.Authority.Empty():
		return h.Authority.In(h.Buf)
	case h.HasHost:
		return h.Host.In(h.Buf)
	}
	return nil
}

// FieldNamed returns the value of the first field with that name (ASCII case ignored), nil if there is none.
// An empty value is not nil.
func (h *RequestHead) FieldNamed(name string) []byte { return fieldNamed(h.Buf, h.Fields, name) }

// FieldNamed returns the value of the first field with that name (ASCII case ignored), nil if there is none.
// An empty value is not nil.
func (h *ResponseHead) FieldNamed(name string) []byte { return fieldNamed(h.Buf, h.Fields, name) }

func fieldNamed(buf []byte, fields []Field, name string) []byte {
	for i := range fields {
		f := &fields[i]
		if int(f.Name.Len) == len(name) && EqualFold(f.Name.In(buf), name) {
			return f.Value.In(buf)
		}
	}
	return nil
}
