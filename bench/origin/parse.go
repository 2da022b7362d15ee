package origin

import (
	"bytes"
	"math"
)

// request is a parsed head. The slices are views into the bytes it was parsed from.
type request struct {
	path      []byte // without query
	key       []byte // Sec-WebSocket-Key
	length    int64  // Content-Length, 0 without
	http10    bool
	head      bool // the method is HEAD
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
	chunked   bool // Transfer-Encoding: chunked
	expect    bool // Expect: 100-continue
	webSocket bool // Upgrade: websocket
}

var headEnd = []byte("\r\n\r\n")

// parseHead parses the head at the start of data: the bytes it took, or 0 for too few, or the status to refuse it with.
func parseHead(data []byte, r *request) (n, status int) {
	*r = request{}
	skip := 0
	for skip < len(data) && (data[skip] == '\r' || data[skip] == '\n') {
		skip++ // empty lines before a request (RFC 9112 §2.2)
	}
	end := bytes.Index(data[skip:], headEnd)
	if end < 0 {
		return 0, 0
	}
	n = skip + end + len(headEnd)
	lines := data[skip : n-2] // every line with its CRLF
	eol := bytes.IndexByte(lines, '\n')
	if !parseLine(lines[:eol+1], r) {
		return n, 400
	}
	sized := false
	for lines = lines[eol+1:]; len(lines) > 0; lines = lines[eol+1:] {
		eol = bytes.IndexByte(lines, '\n')
		// Only fields that begin with one of these letters matter.
		switch lines[0] | 0x20 {
		case 'c', 't', 'e', 'u', 's':
		default:
			continue
		}
		line := lines[:eol]
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return n, 400
		}
		value := bytes.Trim(line[colon+1:], " \t\r")
		switch name := line[:colon]; {
		case equalFold(name, "connection"):
			r.close = r.close || hasToken(value, "close")
			r.keepAlive = r.keepAlive || hasToken(value, "keep-alive")
		case equalFold(name, "content-length"):
			length, ok := parseNumber(value)
			if !ok || sized && length != r.length {
				return n, 400
			}
			r.length, sized = length, true
		case equalFold(name, "transfer-encoding"):
			if !equalFold(value, "chunked") {
				return n, 501
			}
			r.chunked = true
		case equalFold(name, "expect"):
			r.expect = equalFold(value, "100-continue")
		case equalFold(name, "upgrade"):
			r.webSocket = hasToken(value, "websocket")
		case equalFold(name, "sec-websocket-key"):
			r.key = value
		}
	}
	if r.chunked && sized {
		return n, 400 // a proxy that lets both pass can be led to smuggle (RFC 9112 §6.1)
	}
	return n, 0
}

// parseLine parses a request line.
func parseLine(line []byte, r *request) bool {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	method := bytes.IndexByte(line, ' ')
	if method <= 0 {
		return false
	}
	rest := line[method+1:]
	target := bytes.IndexByte(rest, ' ')
	if target <= 0 {
		return false
	}
	switch string(rest[target+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.http10 = true
	default:
		return false
	}
	r.head = string(line[:method]) == "HEAD"
	path := rest[:target]
	if path[0] != '/' {
		// The absolute form that is sent to proxies (RFC 9112 §3.2.2).
		if i := bytes.Index(path, []byte("://")); i >= 0 {
			path = path[i+3:]
			path = path[max(bytes.IndexByte(path, '/'), 0):]
		}
	}
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	r.path = path
	return true
}

// equalFold compares with a name in lower case, without regard to the case of ASCII letters.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// hasToken tells whether a comma-separated list holds a token.
func hasToken(list []byte, lower string) bool {
	for len(list) > 0 {
		token := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			token, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if equalFold(bytes.Trim(token, " \t"), lower) {
			return true
		}
	}
	return false
}

// parseNumber parses decimal digits.
func parseNumber(b []byte) (int64, bool) {
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}

// maxChunkLine bounds the line with a chunk's size, and each line of the trailer section.
const maxChunkLine = 4096

// chunks reads a chunked body (RFC 9112 §7.1) in whatever pieces it comes, and drops it. The zero value is at its start.
type chunks struct {
	left    int64 // of the current chunk's data
	crlf    bool  // the line end after a chunk's data is next
	trailer bool  // the last chunk was seen
}

// feed takes bytes of the body: how many it used (the rest is to come again, with more), whether the body has ended, and
// whether it is well-formed.
func (c *chunks) feed(data []byte) (n int, done, ok bool) {
	for {
		if c.left > 0 {
			k := min(c.left, int64(len(data)-n))
			n += int(k)
			if c.left -= k; c.left > 0 {
				return n, false, true
			}
			c.crlf = true
		}
		eol := bytes.IndexByte(data[n:], '\n')
		if eol < 0 {
			return n, false, len(data)-n <= maxChunkLine
		}
		line := bytes.TrimSuffix(data[n:n+eol], []byte("\r"))
		n += eol + 1
		switch {
		case c.crlf:
			if len(line) > 0 {
				return n, false, false
			}
			c.crlf = false
		case c.trailer:
			if len(line) == 0 {
				*c = chunks{}
				return n, true, true
			}
		default:
			if i := bytes.IndexByte(line, ';'); i >= 0 {
				line = line[:i] // chunk extensions
			}
			size, ok := parseHex(bytes.TrimRight(line, " \t"))
			if !ok {
				return n, false, false
			}
			c.left, c.trailer = size, size == 0
		}
	}
}

// parseHex parses up to fifteen hexadecimal digits.
func parseHex(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}
