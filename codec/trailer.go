package codec

// ParseTrailer parses a trailer section at the start of buf, up to and including its empty line, for a Chunked
// that was told to leave it (LeaveTrailer). Fields are appended to fields; their spans point into buf.
// n is the number of bytes consumed; errors are those of ParseRequest, NeedMore among them. A nil lim means no bound.
//
// A trailer field must not be merged into the head (RFC 9110 section 6.5.1); this function judges syntax only.
func ParseTrailer(buf []byte, fields []Field, lim *Limits) (out []Field, n int, err *Error) {
	b := lim.bounds()
	n, err = scanFields(buf, 0, &b, nil, &fields)
	return fields, n, err
}
