package codec

import "strconv"

// LastChunk ends a chunked body that has no trailer section.
const LastChunk = "0\r\n\r\n"

// AppendUint appends n in decimal.
func AppendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

// AppendChunkHeader appends the size line of a chunk of n bytes: hex and CRLF. n must be positive: a chunk of size 0
// ends the body, which is LastChunk.
func AppendChunkHeader(dst []byte, n int) []byte {
	if n <= 0 {
		panic("BUG: chunk without data")
	}
	return append(strconv.AppendUint(dst, uint64(n), 16), '\r', '\n')
}

// AppendRequestLine appends an HTTP/1.minor request line and CRLF.
func AppendRequestLine[M, T []byte | string](dst []byte, method M, target T, minor uint8) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1."...)
	return append(dst, '0'+minor, '\r', '\n')
}

// AppendStatusLine appends an HTTP/1.1 status line and CRLF. An empty reason leaves the space before it, as RFC 9112
// section 4 asks for. The status has to be in 100 to 999.
func AppendStatusLine[R []byte | string](dst []byte, status int, reason R) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, '0'+byte(status/100), '0'+byte(status/10%10), '0'+byte(status%10), ' ')
	dst = append(dst, reason...)
	return append(dst, '\r', '\n')
}

// AppendFieldLine appends "name: value" and CRLF. The caller vouches for both: no CR, LF or NUL.
func AppendFieldLine[N, V []byte | string](dst []byte, name N, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendField appends the line of a parsed field, buf being the Buf of its head, as "name: value" and CRLF. A line
// that came in that very form, which is nearly every line, is one copy.
func AppendField(dst, buf []byte, f *Field) []byte {
	name, value := int(f.Name.Off), int(f.Value.Off)
	colon, end := name+int(f.Name.Len), value+int(f.Value.Len)
	if value == colon+2 && buf[colon+1] == ' ' && buf[end] == '\r' {
		return append(dst, buf[name:end+2]...)
	}
	return AppendFieldLine(dst, buf[name:colon], buf[value:end])
}
