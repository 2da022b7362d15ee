package codec

// ParseRequest parses one request head at the start of buf. It returns the number of bytes consumed
// (including the empty line), or NeedMore, or another *Error. Empty lines before the request line are
// skipped (RFC 9112 section 2.2) and counted in n, h.Buf starts after them. A nil lim means no bound.
//
// The result does not depend on how the head arrives: for every prefix the answer is NeedMore or the answer for the
// whole. Source of what is tolerated beyond RFC 9112: nginx, ngx_http_parse.c.
func ParseRequest(buf []byte, h *RequestHead, lim *Limits) (n int, err *Error) {
	b := lim.bounds()
	skip, err := skipEmptyLines(buf, b.total)
	if err != nil {
		return 0, err
	}
	buf = buf[skip:]
	*h = RequestHead{Fields: h.Fields[:0]}

	line := buf[:min(len(buf), b.line, b.total)]
	i, err := parseRequestLine(line, h)
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
	if err := h.finish(&fr); err != nil {
		return 0, err
	}
	h.Buf = buf[:i:i]
	return skip + i, nil
}

// skipEmptyLines returns the index of the first byte that belongs to a head.
func skipEmptyLines(buf []byte, total int) (int, *Error) {
	for i := 0; i < len(buf); i++ {
		switch {
		case i >= total:
			return 0, errHeadTooLarge
		case buf[i] == '\n':
		case buf[i] != '\r':
			return i, nil
		case i+1 == len(buf):
			return 0, NeedMore
		case buf[i+1] != '\n':
			return 0, errBareCR
		}
	}
	return 0, NeedMore
}

// lineRunOut is the error of a first line that did not end inside its window.
func lineRunOut(line []byte, b *bounds) *Error {
	switch {
	case len(line) >= b.line:
		return errLineTooLong
	case len(line) >= b.total:
		return errHeadTooLarge
	}
	return NeedMore
}

// finish checks what only the whole head can tell (RFC 9112 sections 3.2 and 6.1) and fills in the results.
func (h *RequestHead) finish(fr *framing) *Error {
	switch {
	case fr.hosts > 1:
		return errHostRepeated
	case fr.hosts == 0 && h.Minor >= 1:
		return errNoHost
	}
	if fr.hasCoding {
		switch {
		case h.Minor == 0:
			return errCodingVersion
		case fr.length >= 0:
			return errCodingLength
		case !fr.chunked:
			return errCodingUnknown
		}
	}
	h.Host, h.HasHost = fr.host, fr.hosts == 1
	h.ContentLength, h.Chunked = fr.length, fr.chunked
	h.KeepAlive = fr.persistent(h.Minor)
	h.ConnTokens = fr.connTokens
	if h.Minor >= 1 {
		h.ExpectContinue = fr.expect
		if fr.connUpgrade {
			h.Upgrade = fr.upgrade
		}
	}
	return nil
}

// parseRequestLine reads method SP target SP version and the line end; it returns the index of the next line.
// More than one space in front of the version is tolerated, as nginx does.
func parseRequestLine(line []byte, h *RequestHead) (int, *Error) {
	i := 0
	for i < len(line) && class[line[i]]&methodByte != 0 {
		i++
	}
	switch {
	case i >= len(line):
		return 0, NeedMore
	case line[i] != ' ' || i == 0:
		return 0, errMethod
	}
	h.Method = span(0, i)
	h.MethodID = methodID(line[:i])

	start := i + 1
	i, err := parseTarget(line, start, h)
	switch {
	case err != nil:
		return 0, err
	case i >= len(line):
		return 0, NeedMore
	case line[i] == '\r' || line[i] == '\n':
		return 0, errVersion // HTTP/0.9
	case line[i] != ' ' || i == start:
		return 0, errTarget
	}
	h.Target = span(start, i)

	for i < len(line) && line[i] == ' ' {
		i++
	}
	i, err = parseVersion(line, i, &h.Minor)
	if err != nil {
		return 0, err
	}
	return lineEnd(line, i, errVersion)
}

// lineEnd takes LF or CRLF at i and returns the index behind it; other is the error for any other byte.
func lineEnd(line []byte, i int, other *Error) (int, *Error) {
	switch {
	case i >= len(line):
		return 0, NeedMore
	case line[i] == '\n':
		return i + 1, nil
	case line[i] != '\r':
		return 0, other
	case i+1 >= len(line):
		return 0, NeedMore
	case line[i+1] != '\n':
		return 0, errBareCR
	}
	return i + 2, nil
}

// parseVersion takes "HTTP/1." DIGIT at i; a minor version above 1 counts as 1 (RFC 9110 section 2.5).
func parseVersion(line []byte, i int, minor *uint8) (int, *Error) {
	const prefix = "HTTP/1."
	if i+len(prefix) >= len(line) || string(line[i:i+len(prefix)]) != prefix {
		for k := range len(prefix) {
			switch {
			case i+k >= len(line):
				return 0, NeedMore
			case line[i+k] == prefix[k]:
			case prefix[k] == '1' && line[i+k] >= '2' && line[i+k] <= '9':
				return 0, errVersionSupport
			default:
				return 0, errVersion
			}
		}
	}
	i += len(prefix)
	if i >= len(line) {
		return 0, NeedMore
	}
	d := line[i] - '0'
	if d > 9 {
		return 0, errVersion
	}
	*minor = min(d, 1)
	return i + 1, nil
}
