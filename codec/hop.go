package codec

// ConnectionLists reports whether a Connection field of the head names token (ASCII case ignored), e.g. the name of
// a field that is therefore hop-by-hop.
func (h *RequestHead) ConnectionLists(token []byte) bool {
	return connectionLists(h.Buf, h.Fields, token)
}

// ConnectionLists is the same for a response.
func (h *ResponseHead) ConnectionLists(token []byte) bool {
	return connectionLists(h.Buf, h.Fields, token)
}

// ListHas reports whether a comma-separated list names token (ASCII case ignored).
func ListHas(list []byte, token string) bool {
	for len(list) > 0 {
		var t []byte
		if t, list = nextToken(list); EqualFold(t, token) {
			return true
		}
	}
	return false
}

func connectionLists(buf []byte, fields []Field, token []byte) bool {
	if len(token) == 0 {
		return false
	}
	for i := range fields {
		if fields[i].ID != Connection {
			continue
		}
		if ListHas(fields[i].Value.In(buf), String(token)) {
			return true
		}
	}
	return false
}

// HopByHop reports whether the field belongs to this connection and must not be forwarded as it is: the fields of
// RFC 9110 section 7.6.1, and any field that Connection lists, but for fields that this package knows as
// end-to-end (Host, Content-Length, Cookie, Authorization and so on): a client could otherwise make a proxy drop them.
func (h *RequestHead) HopByHop(f *Field) bool {
	return f.ID.hopByHop() || h.ConnTokens && f.ID == Other && h.ConnectionLists(f.Name.In(h.Buf))
}

// HopByHop is the same for a response.
func (h *ResponseHead) HopByHop(f *Field) bool {
	return f.ID.hopByHop() || h.ConnTokens && f.ID == Other && h.ConnectionLists(f.Name.In(h.Buf))
}

func (id FieldID) hopByHop() bool {
	switch id {
	case Connection, KeepAlive, ProxyConnection, TE, Trailer, TransferEncoding, Upgrade, HTTP2Settings:
		return true
	}
	return false
}
