package site

// byteSet is a set of bytes, one bit each.
type byteSet [4]uint64

func (s *byteSet) has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

// setOf makes a set of the bytes of text, the control bytes, DEL and everything above it.
func setOf(text string) (s byteSet) {
	for c := 0; c < 256; c++ {
		if c < 0x20 || c >= 0x7f {
			s[c>>6] |= 1 << (c & 63)
		}
	}
	for i := 0; i < len(text); i++ {
		s[text[i]>>6] |= 1 << (text[i] & 63)
	}
	return s
}

// What nginx escapes in a path and in arguments. Source: nginx, ngx_escape_uri, NGX_ESCAPE_URI and NGX_ESCAPE_ARGS.
var (
	escapeURI  = setOf(" \"#%<>?\\^`{|}")
	escapeArgs = setOf(" \"#%&+;<>?\\^`{|}")
)

// escapeSpace is what no request target may hold; escapeControl what no field value may.
var escapeSpace, escapeControl = controls(" "), controls("")

// controls makes a set of the control bytes, DEL and the bytes of text.
func controls(text string) byteSet {
	s := setOf(text)
	s[2], s[3] = 0, 0
	return s
}

// clean reports whether every byte of b is above max and none is DEL.
func clean(b []byte, max byte) bool {
	for _, c := range b {
		if c <= max || c == 0x7f {
			return false
		}
	}
	return true
}

const upperHex = "0123456789ABCDEF"

// appendEscaped appends b with the bytes of set written as %XX.
func appendEscaped(dst, b []byte, set *byteSet) []byte {
	from := 0
	for i, c := range b {
		if set.has(c) {
			dst = append(dst, b[from:i]...)
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
			from = i + 1
		}
	}
	return append(dst, b[from:]...)
}

// AppendEscapedURI appends a decoded path in the form nginx sends it in a Location field or to a backend.
func AppendEscapedURI(dst, path []byte) []byte { return appendEscaped(dst, path, &escapeURI) }

// uriClass tells apart the bytes of a raw path: uriPlain ones need nothing.
var uriClass = func() (t [256]uint8) {
	t['%'], t['/'], t['.'], t['+'] = 1, 2, 3, 4
	return t
}()

// pathKind is what a scan of a raw path found.
type pathKind struct {
	complex bool // needs normalise: an escape, a dot segment, repeated slashes
	quoted  bool // has an escape
	plus    bool
}

// scanPath looks for what keeps a raw path, which begins with "/", from being used as it stands.
func scanPath(b []byte) (k pathKind) {
	prev := byte(0)
	for _, c := range b {
		switch uriClass[c] {
		case 1:
			k.complex, k.quoted = true, true
		case 2:
			k.complex = k.complex || prev == '/'
		case 3:
			k.complex = k.complex || prev == '/'
		case 4:
			k.plus = true
		}
		prev = c
	}
	return k
}

// normalise appends the decoded form of a raw path to dst: escapes are decoded, dot segments resolved, and repeated
// slashes merged if asked for. A decoded "/" or "." counts as one, as in nginx. ok is false for an incomplete escape,
// a NUL, and a ".." above the root. Source: nginx, ngx_http_parse_complex_uri.
func normalise(dst, path []byte, merge bool) (out []byte, ok bool) {
	base := len(dst)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return dst, false
			}
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi > 15 || lo > 15 || hi|lo == 0 {
				return dst, false
			}
			c = hi<<4 | lo
			i += 2
		}
		if c != '/' {
			dst = append(dst, c)
			continue
		}
		var cut bool
		if dst, cut, ok = closeSegment(dst, base); !ok {
			return dst, false
		}
		if n := len(dst); !cut && (!merge || n == base || dst[n-1] != '/') {
			dst = append(dst, '/')
		}
	}
	dst, _, ok = closeSegment(dst, base)
	return dst, ok
}

// closeSegment resolves the last segment of dst[base:] if it is "." or "..": cut says that dst now ends with the "/"
// before it (or before the segment that it takes away). ok is false when that would lead above the root.
func closeSegment(dst []byte, base int) (out []byte, cut, ok bool) {
	n := len(dst)
	switch {
	case n-base >= 2 && dst[n-1] == '.' && dst[n-2] == '/':
		return dst[:n-1], true, true
	case n-base >= 3 && dst[n-1] == '.' && dst[n-2] == '.' && dst[n-3] == '/':
		k := n - 3
		if k == base {
			return dst, false, false
		}
		for k--; dst[k] != '/'; k-- {
		}
		return dst[:k+1], true, true
	}
	return dst, false, true
}

// unhex returns the value of a hexadecimal digit, 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

// unescapeRedirect decodes, in place, the escapes of a rewritten redirect that stand for printable characters above
// "%", up to the first "?". Source: nginx, ngx_unescape_uri with NGX_UNESCAPE_REDIRECT.
func unescapeRedirect(b []byte) []byte {
	w := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '?' {
			return b[:w+copy(b[w:], b[i:])]
		}
		if c == '%' && i+2 < len(b) {
			hi, lo := unhex(b[i+1]), unhex(b[i+2])
			if hi < 16 && lo < 16 {
				if d := hi<<4 | lo; d == '?' {
					b[w] = '?'
					w++
					return b[:w+copy(b[w:], b[i+3:])]
				} else if d > '%' && d < 0x7f {
					c = d
					i += 2
				}
			}
		}
		b[w] = c
		w++
	}
	return b[:w]
}
