package codec

// Byte classes. One table, one bit a question, so that a scan is one load and one test a byte.
const (
	tokenByte     = 1 << iota // tchar, RFC 9110 section 5.6.2
	methodByte                // what nginx takes in a method: A-Z, '_' and '-'
	pathByte                  // a target byte other than '?' and '#'
	queryByte                 // a target byte other than '#'
	targetByte                // any byte above the space that is not DEL; bytes from 0x80 on included, as nginx does
	authorityByte             // host[:port] as sent: unreserved, sub-delims, '%', ':', '[', ']' (RFC 3986 section 3.2), no userinfo
	quotedByte                // may stand in a quoted-string outside of an escape: not '"', not '\\', no control byte but HTAB
)

var class = func() (t [256]uint8) {
	set := func(bit uint8, bytes string) {
		for i := range len(bytes) {
			t[bytes[i]] |= bit
		}
	}
	const (
		upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		alnum = upper + "abcdefghijklmnopqrstuvwxyz0123456789"
	)
	set(tokenByte, alnum+"!#$%&'*+-.^_`|~")
	set(methodByte, upper+"_-")
	set(authorityByte, alnum+"-._~!$&'()*+,;=%:[]")
	for c := range 256 {
		if c > ' ' && c != 0x7f {
			t[c] |= pathByte | queryByte | targetByte
		}
		if c >= ' ' && c != 0x7f && c != '"' && c != '\\' || c == '\t' {
			t[c] |= quotedByte
		}
	}
	t['?'] &^= pathByte
	t['#'] &^= pathByte | queryByte
	return t
}()

// What a byte means inside a field name. Values below nameStop are ORed over a name and say what it holds.
const (
	namePlain      = 0 // A-Z a-z 0-9 '-'
	nameUnderscore = 1
	nameOdd        = 2 // everything else that nginx does not refuse outright
	nameStop       = 4 // ':' and the bytes that no name may hold: controls, space, DEL
)

var nameClass = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c <= ' ' || c == 0x7f || c == ':':
			t[c] = nameStop
		case c == '_':
			t[c] = nameUnderscore
		case c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			t[c] = namePlain
		default:
			t[c] = nameOdd
		}
	}
	return t
}()

// Eight bytes at a time. A word is loaded little endian, so the lowest marked byte is the first in the buffer.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controls marks (0x80) the bytes of x that are below 0x20 or DEL. The lowest mark is exact; a borrow may
// mark bytes above it wrongly, so only the lowest one counts.
func controls(x uint64) uint64 {
	return ((x - 0x20*ones) | (x&(0x7f*ones) + ones)) &^ x & highs
}

// notNamePlain marks (0x80), exactly, the bytes of x that are neither a letter nor '-'.
func notNamePlain(x uint64) uint64 {
	y := (x | 0x20*ones) & (0x7f * ones)
	letter := (y + (0x80-'a')*ones) &^ (y + (0x80-'z'-1)*ones) &^ x
	z := x ^ '-'*ones
	notDash := z&(0x7f*ones) + 0x7f*ones | z
	return notDash &^ letter & highs
}
