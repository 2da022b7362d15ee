package codec

import (
	"encoding/binary"
	"unsafe"
)

// Span locates bytes of a head inside its buffer. Spans survive a move of the buffer: set Buf and go on.
// The zero Span is empty.
type Span struct{ Off, Len uint32 }

// Empty reports whether the span holds no byte.
func (s Span) Empty() bool { return s.Len == 0 }

// In returns the bytes of the span in buf, with no spare capacity.
func (s Span) In(buf []byte) []byte { return buf[s.Off : s.Off+s.Len : s.Off+s.Len] }

func span(from, to int) Span { return Span{uint32(from), uint32(to - from)} }

// String returns b as a string that shares its bytes: valid as long as b is neither moved nor changed.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// EqualFold reports whether a and b are equal under ASCII case folding. Bytes outside of A-Z and a-z have to be
// identical.
func EqualFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if c != b[i] && lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

// AppendLower appends b with the letters A to Z lowered.
func AppendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

func word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
