package codec

// ParseResponse parses one response head at the start of buf: bytes consumed (including the empty line), NeedMore,
// or another *Error, as ParseRequest does. ContentLength and Chunked are given as found; ResponseHead.BodyKind
// says what they mean together with the method of the request and the status.
func ParseResponse(buf []byte, h *ResponseHead, lim *Limits) (n int, err *Error) {
	b := lim.bounds()
	*h = ResponseHead{Fields: h.Fields[:0]}

	line := buf[:min(len(buf), b.line, b.total)]
	i, err := parseStatusLine(line, h)
	if err != nil {
		if err == NeedMore {
			err = lineRunOut(line, &b)
		}
		return 0, err
	}
	fr := framing{length: -1}
	i, err = scanFields(buf, i, &b, &fr, &h.Fields)
	if err != nil {
		return 0, err
	}
	if fr.hasCoding {
		switch {
		case fr.length >= 0:
			return 0, errCodingLength
		case !fr.chunked:
			return 0, errCodingUnknown
		}
	}
	h.ContentLength, h.Chunked = fr.length, fr.chunked
	// Chunked from HTTP/1.0 is decoded, but such a connection is not trusted any further (RFC 9112 section 6.1).
	h.KeepAlive = fr.persistent(h.Minor) && !(fr.chunked && h.Minor == 0)
	h.ConnTokens = fr.connTokens
	if fr.connUpgrade {
		h.Upgrade = fr.upgrade
	}
	h.Buf = buf[:i:i]
	return i, nil
}

// parseStatusLine reads version SP 3DIGIT [SP reason] and the line end (RFC 9112 section 4; the second space may be
// missing, as many servers do). It returns the index of the next line.
func parseStatusLine(line []byte, h *ResponseHead) (int, *Error) {
	i, err := parseVersion(line, 0, &h.Minor)
	switch {
	case err != nil:
		return 0, err
	case i >= len(line):
		return 0, NeedMore
	case line[i] != ' ':
		return 0, errStatusLine
	}
	i++
	for k := range 3 {
		if i >= len(line) {
			return 0, NeedMore
		}
		d := line[i] - '0'
		if d > 9 || k == 0 && d == 0 {
			return 0, errStatusLine
		}
		h.Status = h.Status*10 + int(d)
		i++
	}
	if i < len(line) && line[i] == ' ' {
		i++
		start := i
		for i < len(line) && (line[i] >= ' ' && line[i] != 0x7f || line[i] == '\t') {
			i++
		}
		h.Reason = span(start, i)
	}
	return lineEnd(line, i, errStatusLine)
}
