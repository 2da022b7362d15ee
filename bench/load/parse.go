package load

import (
	"bytes"
	"strconv"
)

// answer is how far the answer under way on a connection has come.
type answer struct {
	part   []byte // the begin of a head, or of a chunk's size line, that has not come whole
	phase  phase
	status int
	left   int64 // of the body, of the chunk
	length int64 // of the body so far
	origin int   // index in run.origins, -1: it did not name itself
	last   bool  // the connection ends with it
	accept bool  // it has the right Sec-WebSocket-Accept
}

type phase uint8

const (
	inHead phase = iota
	inBody       // left bytes to come
	inRest       // until the connection ends
	inSize       // a chunk's size line
	inChunk
	inChunkEnd // CRLF
	inTrailer
)

const (
	maxHead = 64 << 10
	maxLine = 4 << 10
)

// head reads a response head out of p, which begins with it or continues part. n is how much was used; done false: more is
// needed, all of p is in part. ok false: it is no such head.
func (r *run) head(a *answer, p []byte) (n int, done, ok bool) {
	h := p
	if len(a.part) > 0 {
		from := max(0, len(a.part)-3)
		a.part = append(a.part, p...)
		i := bytes.Index(a.part[from:], []byte("\r\n\r\n"))
		if i < 0 {
			return len(p), false, len(a.part) <= maxHead
		}
		n = from + i + 4 - (len(a.part) - len(p))
		h = a.part[:from+i+4]
	} else {
		i := bytes.Index(p, []byte("\r\n\r\n"))
		if i < 0 {
			a.part = append(a.part, p...)
			return len(p), false, len(a.part) <= maxHead
		}
		n, h = i+4, p[:i+4]
	}
	ok = r.parseHead(a, h)
	a.part = a.part[:0]
	return n, true, ok
}

// parseHead reads a whole head (RFC 9112, section 4 and 6.3) and sets the phase after it.
func (r *run) parseHead(a *answer, h []byte) bool {
	if len(h) < 13 || string(h[:7]) != "HTTP/1." || h[8] != ' ' || h[12] != ' ' && h[12] != '\r' {
		return false
	}
	a.status = 0
	for _, c := range h[9:12] {
		if c < '0' || c > '9' {
			return false
		}
		a.status = a.status*10 + int(c-'0')
	}
	a.last = h[7] == '0'
	a.origin, a.length, a.accept = -1, 0, false
	length, chunked := int64(-1), false
	h = h[bytes.IndexByte(h, '\n')+1:]
	for len(h) > 2 {
		end := bytes.IndexByte(h, '\n')
		line := h[:end]
		h = h[end+1:]
		if line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 {
			return false
		}
		name, value := line[:colon], trim(line[colon+1:])
		switch {
		case colon == 14 && bytes.EqualFold(name, []byte("content-length")):
			n, err := strconv.ParseUint(string(value), 10, 63) // refuses a sign
			if err != nil || length >= 0 && length != int64(n) {
				return false
			}
			length = int64(n)
		case colon == 17 && bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(trim(value[bytes.LastIndexByte(value, ',')+1:]), []byte("chunked"))
		case colon == 10 && bytes.EqualFold(name, []byte("connection")):
			for option := range bytes.SplitSeq(value, []byte(",")) {
				switch option = trim(option); {
				case bytes.EqualFold(option, []byte("close")):
					a.last = true
				case bytes.EqualFold(option, []byte("keep-alive")):
					a.last = false
				}
			}
		case colon == 20 && bytes.EqualFold(name, []byte("sec-websocket-accept")):
			a.accept = string(value) == r.accept
		case len(r.field) > 0 && colon == len(r.field) && bytes.EqualFold(name, []byte(r.field)):
			a.origin = r.originIndex(value)
		}
	}
	switch {
	case a.status < 200 || a.status == 204 || a.status == 304 || r.spec.Method == "HEAD":
		a.phase, a.left = inBody, 0
	case chunked:
		a.phase = inSize
	case length >= 0:
		a.phase, a.left = inBody, length
	default:
		a.phase, a.last = inRest, true
	}
	return true
}

// trim cuts the white space around a field's value (RFC 9110, section 5.5).
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// body takes what belongs to the answer's body from p; done: it is complete.
func (a *answer) body(p []byte) (n int, done, ok bool) {
	for {
		switch a.phase {
		case inRest:
			a.length += int64(len(p))
			return n + len(p), false, true
		case inBody, inChunk:
			k := int(min(a.left, int64(len(p))))
			a.left -= int64(k)
			a.length += int64(k)
			n += k
			p = p[k:]
			switch {
			case a.left > 0:
				return n, false, true
			case a.phase == inBody:
				return n, true, true
			}
			a.phase = inChunkEnd
		default:
			line, k, whole := a.line(p)
			n += k
			p = p[k:]
			if !whole {
				return n, false, len(a.part) <= maxLine
			}
			done, ok := a.framing(line)
			a.part = a.part[:0]
			if done || !ok {
				return n, done, ok
			}
		}
		if len(p) == 0 && !(a.phase == inBody && a.left == 0) {
			return n, false, true
		}
	}
}

// line takes one line, without its end, that may have begun in part.
func (a *answer) line(p []byte) (line []byte, n int, whole bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		a.part = append(a.part, p...)
		return nil, len(p), false
	}
	line = p[:i]
	if len(a.part) > 0 {
		a.part = append(a.part, line...)
		line = a.part
	}
	return bytes.TrimSuffix(line, []byte("\r")), i + 1, true
}

// framing reads a line between chunks (RFC 9112, section 7.1).
func (a *answer) framing(line []byte) (done, ok bool) {
	switch a.phase {
	case inChunkEnd:
		a.phase = inSize
		return false, len(line) == 0
	case inTrailer:
		return len(line) == 0, true
	}
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		line = line[:i]
	}
	size, err := strconv.ParseUint(string(trim(line)), 16, 63)
	if err != nil {
		return false, false
	}
	a.phase, a.left = inChunk, int64(size)
	if size == 0 {
		a.phase = inTrailer
	}
	return false, true
}
