package codec

import "math"

// framing collects from the fields of a head what decides where its message ends and what becomes of the
// connection (RFC 9112 sections 6 and 9). Start with length -1.
type framing struct {
	length     int64 // -1: no Content-Length
	host       Span
	upgrade    Span
	hosts      uint8 // 0, 1, or 2 for more
	hasCoding  bool
	chunked    bool
	hasUpgrade bool
	expect     bool
	// From the Connection fields.
	close, keepAlive, connUpgrade, connTokens bool
}

func (fr *framing) note(id FieldID, v Span, buf []byte) *Error {
	switch id {
	case Host:
		if fr.hosts < 2 {
			fr.hosts++
		}
		fr.host = v
	case Connection:
		fr.noteConnection(v.In(buf))
	case ContentLength:
		if fr.length >= 0 {
			return errLengthRepeated
		}
		n, ok := parseLength(v.In(buf))
		if !ok {
			return errLength
		}
		fr.length = n
	case TransferEncoding:
		if fr.hasCoding {
			return errCodingRepeated
		}
		fr.hasCoding = true
		fr.chunked = foldPlain(v.In(buf), "chunked")
	case Upgrade:
		if !fr.hasUpgrade {
			fr.hasUpgrade, fr.upgrade = true, v
		}
	case Expect:
		fr.expect = fr.expect || foldPlain(v.In(buf), "100-continue")
	}
	return nil
}

func (fr *framing) noteConnection(v []byte) {
	// Nearly always there is one token, one of the two.
	switch {
	case foldPlain(v, "keep-alive"):
		fr.keepAlive = true
		return
	case foldPlain(v, "close"):
		fr.close = true
		return
	}
	for len(v) > 0 {
		var t []byte
		t, v = nextToken(v)
		switch {
		case len(t) == 0:
		case foldPlain(t, "keep-alive"):
			fr.keepAlive = true
		case foldPlain(t, "close"):
			fr.close = true
		case foldPlain(t, "upgrade"):
			fr.connUpgrade = true
		default:
			fr.connTokens = true
		}
	}
}

// persistent is RFC 9112 section 9.3: close wins, then the version, then keep-alive.
func (fr *framing) persistent(minor uint8) bool {
	return !fr.close && (minor >= 1 || fr.keepAlive)
}

// nextToken cuts the first element, without surrounding white space, from a comma-separated list. It may be empty.
func nextToken(list []byte) (token, rest []byte) {
	i := 0
	for i < len(list) && list[i] != ',' {
		i++
	}
	token = list[:i]
	if i < len(list) {
		rest = list[i+1:]
	}
	for len(token) > 0 && (token[0] == ' ' || token[0] == '\t') {
		token = token[1:]
	}
	for n := len(token); n > 0 && (token[n-1] == ' ' || token[n-1] == '\t'); n-- {
		token = token[:n-1]
	}
	return token, rest
}

// parseLength takes 1*DIGIT that fit an int64: no sign, no list, no white space (RFC 9110 section 8.6).
func parseLength(v []byte) (n int64, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	for _, c := range v {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// Body says how the end of a message body is found.
type Body uint8

// The ways a body ends, RFC 9112 section 6.3.
const (
	BodyNone       Body = iota // there is no body
	BodyLength                 // after a known number of bytes, maybe 0
	BodyChunked                // chunked transfer coding
	BodyUntilClose             // with the connection; responses only
)

// BodyKind returns how the body of a request ends, and its length for BodyLength (0 otherwise).
func (h *RequestHead) BodyKind() (Body, int64) {
	switch {
	case h.Chunked:
		return BodyChunked, 0
	case h.ContentLength >= 0:
		return BodyLength, h.ContentLength
	}
	return BodyNone, 0
}

// BodyKind returns how the body of the response to a request with the given method ends, and its length for
// BodyLength (0 otherwise). Responses to HEAD, 1xx, 204 and 304 have none whatever their fields say, nor has a 2xx
// to CONNECT. Source: RFC 9112 section 6.3.
func (h *ResponseHead) BodyKind(request Method) (Body, int64) {
	switch {
	case request == HEAD, h.Status < 200, h.Status == 204, h.Status == 304,
		request == CONNECT && h.Status < 300:
		return BodyNone, 0
	case h.Chunked:
		return BodyChunked, 0
	case h.ContentLength >= 0:
		return BodyLength, h.ContentLength
	}
	return BodyUntilClose, 0
}
