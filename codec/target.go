package codec

// parseTarget reads a request target in one of its four forms (RFC 9112 section 3.2) and returns the index of the
// first byte that does not belong to it, or len(line).
func parseTarget(line []byte, i int, h *RequestHead) (int, *Error) {
	switch {
	case i >= len(line):
		return i, nil
	case h.MethodID == CONNECT:
		return parseConnectTarget(line, i, h)
	case line[i] == '/':
		return parsePath(line, i, h), nil
	case line[i] == '*' && h.MethodID == OPTIONS:
		h.Path = span(i, i+1)
		return i + 1, nil
	}
	return parseAbsolute(line, i, h)
}

// parsePath reads path, "?" query and "#" fragment. The fragment is dropped: nginx ends the URI there.
func parsePath(line []byte, i int, h *RequestHead) int {
	start := i
	for i < len(line) && class[line[i]]&pathByte != 0 {
		i++
	}
	h.Path = span(start, i)
	if i < len(line) && line[i] == '?' {
		start = i + 1
		i = start
		for i < len(line) && class[line[i]]&queryByte != 0 {
			i++
		}
		h.Query, h.HasQuery = span(start, i), true
	}
	if i < len(line) && line[i] == '#' {
		for i < len(line) && class[line[i]]&targetByte != 0 {
			i++
		}
	}
	return i
}

// parseAbsolute reads http:// or https://, an authority without userinfo (RFC 9110 section 4.2.4) and a path.
func parseAbsolute(line []byte, i int, h *RequestHead) (int, *Error) {
	const prefix = "http"
	start := i
	for k := range len(prefix) {
		switch {
		case i >= len(line):
			return i, nil
		case lower(line[i]) != prefix[k]:
			return 0, errTarget
		}
		i++
	}
	if i < len(line) && lower(line[i]) == 's' {
		i++
	}
	h.Scheme = span(start, i)
	for k := range len("://") {
		switch {
		case i >= len(line):
			return i, nil
		case line[i] != "://"[k]:
			return 0, errTarget
		}
		i++
	}
	start = i
	for i < len(line) && class[line[i]]&authorityByte != 0 {
		i++
	}
	h.Authority = span(start, i)
	switch {
	case i >= len(line):
		return i, nil
	case i == start:
		return 0, errTarget
	case line[i] == '/':
		return parsePath(line, i, h), nil
	case line[i] == '?' || line[i] == '#':
		i = parsePath(line, i, h)
	case line[i] != ' ' && line[i] != '\r' && line[i] != '\n':
		return 0, errTarget
	}
	h.Path = span(start-1, start)
	return i, nil
}

// parseConnectTarget reads host ":" port, the only form CONNECT has.
func parseConnectTarget(line []byte, i int, h *RequestHead) (int, *Error) {
	start, colon := i, -1
	for i < len(line) && class[line[i]]&authorityByte != 0 {
		if line[i] == ':' {
			colon = i
		}
		i++
	}
	if i >= len(line) {
		return i, nil
	}
	if colon <= start || colon+1 == i {
		return 0, errTarget
	}
	for _, c := range line[colon+1 : i] {
		if c < '0' || c > '9' {
			return 0, errTarget
		}
	}
	h.Authority = span(start, i)
	return i, nil
}
