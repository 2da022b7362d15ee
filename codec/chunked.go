package codec

import "math"

// Bounds of what a peer may send besides data. Both parts are read and dropped, so they cost time, not memory.
const (
	maxChunkExt = 1 << 10  // bytes of extensions on one size line
	maxAllExt   = 16 << 10 // and in a whole body: nobody means well who sends more, and each byte costs time (CVE-2023-39326)
	maxTrailer  = 16 << 10 // bytes of the trailer section
	maxHex      = 16       // digits of a chunk size
)

// Chunked decodes the chunked transfer coding (RFC 9112 section 7.1). The zero value is ready; set it to zero to use
// it for another body. It holds no data, only its place in the grammar, so the input may be cut anywhere.
//
// The decoder is strict, because what two parties read differently here is a smuggled request: a size is 1 to 16 hex
// digits that fit an int64, with nothing around them but well-formed extensions (checked and dropped), and Blanks; size lines,
// data and trailer lines end with CRLF, never with a bare LF; the trailer section is checked, bounded and dropped.
type Chunked struct {
	// LeaveTrailer ends the body at the last chunk's size line. The trailer section, at least its empty line,
	// stays in the input for ParseTrailer.
	LeaveTrailer bool
	// Blanks takes spaces and tabs behind a size, as old servers send that fill a field of fixed width with it. Not for
	// requests, where somebody in front may have read the line otherwise.
	Blanks bool

	state  uint8
	hex    uint8  // digits of the current size
	extra  uint16 // bytes of extensions on this line, or of the trailer section
	exts   uint16 // bytes of extensions so far
	remain uint64 // of the chunk
	err    *Error
}

// States of Chunked, named after what the next byte is.
const (
	sizeStart uint8 = iota // first digit of a size
	sizeMore               // next digit, ";" or CR
	extName                // first byte of an extension's name
	extNameMore
	extValue // first byte after "="
	extValueMore
	extQuoted    // inside a quoted-string
	extEscape    // after a backslash in it
	extQuotedEnd // after the closing quote: ";" or CR
	sizeBlank    // after a blank behind a size: more of them, ";" or CR
	sizeLF
	dataMore
	dataCR
	dataLF
	trailerStart // first byte of a trailer line, or the CR that ends the section
	trailerName
	trailerValue
	trailerLF
	lastLF // LF that ends the section
	bodyEnd
	failed
)

// Next consumes bytes of src. It returns the number consumed, the data among them (a view into src, may be
// empty), and whether the body, including its trailer section, is over. Call it again with the rest until n == 0
// or done. err is final.
//
// One call consumes the framing around one piece of data, so a body of one chunk that arrived whole takes one call.
// An error behind a piece of data is returned by the next call. Bytes behind the body are not consumed.
func (d *Chunked) Next(src []byte) (n int, data []byte, done bool, err *Error) {
	i := 0
	for i < len(src) {
		c := src[i]
		bad := (*Error)(nil)
		next := d.state
		switch d.state {
		case sizeStart, sizeMore:
			switch v := hexValue[c]; {
			case v < 16:
				d.remain = d.remain<<4 | uint64(v)
				d.hex++
				if d.hex > maxHex || d.remain > math.MaxInt64 {
					bad = errChunkSize
				}
				next = sizeMore
			case d.state == sizeStart:
				bad = errChunkSize
			case d.Blanks && (c == ' ' || c == '\t'):
				next = sizeBlank
			default:
				next, bad = d.sizeEnd(c, errChunkSize)
			}
		case sizeBlank:
			if d.extra++; d.extra > maxChunkExt {
				bad = errChunkExtLong
			} else if c != ' ' && c != '\t' {
				next, bad = d.sizeEnd(c, errChunkSize)
			}
		case extName, extNameMore, extValue, extValueMore, extQuoted, extEscape, extQuotedEnd:
			next, bad = d.extension(c)
		case sizeLF:
			d.hex, d.extra = 0, 0
			switch {
			case c != '\n':
				bad = errChunkLine
			case d.remain > 0:
				next = dataMore
			case d.LeaveTrailer:
				next = bodyEnd
			default:
				next = trailerStart
			}
		case dataMore:
			if data != nil {
				return i, data, false, nil
			}
			k := len(src) - i
			if uint64(k) >= d.remain {
				k = int(d.remain)
				d.state = dataCR
			}
			data = src[i : i+k : i+k]
			d.remain -= uint64(k)
			i += k
			continue
		case dataCR:
			if next = dataLF; c != '\r' {
				bad = errChunkData
			}
		case dataLF:
			if next = sizeStart; c != '\n' {
				bad = errChunkData
			}
		case trailerStart, trailerName, trailerValue, trailerLF, lastLF:
			next, bad = d.trailer(c)
		case bodyEnd:
			return i, data, true, nil
		case failed:
			return i, data, false, d.err
		}
		if bad != nil {
			d.state, d.err = failed, bad
			if data != nil {
				bad = nil // for the next call
			}
			return i, data, false, bad
		}
		d.state = next
		i++
	}
	return i, data, d.state == bodyEnd, d.err // d.err: asked again without input
}

// sizeEnd takes the byte behind a size or an extension.
func (d *Chunked) sizeEnd(c byte, other *Error) (uint8, *Error) {
	switch c {
	case '\r':
		return sizeLF, nil
	case ';':
		return extName, nil
	}
	return failed, other
}

// extension takes one byte of *( ";" token [ "=" ( token / quoted-string ) ] ), RFC 9112 section 7.1.1. The white
// space that the RFC calls bad is refused.
func (d *Chunked) extension(c byte) (uint8, *Error) {
	d.extra++
	if d.exts++; d.extra > maxChunkExt || d.exts > maxAllExt {
		return failed, errChunkExtLong
	}
	cl := class[c]
	switch d.state {
	case extName:
		if cl&tokenByte != 0 {
			return extNameMore, nil
		}
	case extNameMore:
		switch {
		case cl&tokenByte != 0:
			return extNameMore, nil
		case c == '=':
			return extValue, nil
		}
		return d.sizeEnd(c, errChunkExt)
	case extValue:
		switch {
		case cl&tokenByte != 0:
			return extValueMore, nil
		case c == '"':
			return extQuoted, nil
		}
	case extValueMore:
		if cl&tokenByte != 0 {
			return extValueMore, nil
		}
		return d.sizeEnd(c, errChunkExt)
	case extQuoted:
		switch {
		case cl&quotedByte != 0:
			return extQuoted, nil
		case c == '"':
			return extQuotedEnd, nil
		case c == '\\':
			return extEscape, nil
		}
	case extEscape:
		if cl&quotedByte != 0 || c == '"' || c == '\\' {
			return extQuoted, nil
		}
	case extQuotedEnd:
		return d.sizeEnd(c, errChunkExt)
	}
	return failed, errChunkExt
}

// trailer takes one byte of *( token ":" value CRLF ) CRLF.
func (d *Chunked) trailer(c byte) (uint8, *Error) {
	if d.extra++; d.extra > maxTrailer {
		return failed, errTrailerLong
	}
	switch d.state {
	case trailerStart:
		switch {
		case c == '\r':
			return lastLF, nil
		case class[c]&tokenByte != 0:
			return trailerName, nil
		}
	case trailerName:
		switch {
		case class[c]&tokenByte != 0:
			return trailerName, nil
		case c == ':':
			return trailerValue, nil
		}
	case trailerValue:
		switch {
		case c == '\r':
			return trailerLF, nil
		case c == '\t' || c >= ' ' && c != 0x7f:
			return trailerValue, nil
		}
	case trailerLF:
		if c == '\n' {
			return trailerStart, nil
		}
	case lastLF:
		if c == '\n' {
			return bodyEnd, nil
		}
	}
	return failed, errTrailer
}

// hexValue is 16 for a byte that is no hex digit.
var hexValue = func() (t [256]uint8) {
	for c := range t {
		t[c] = 16
	}
	for i := range uint8(10) {
		t['0'+i] = i
	}
	for i := range uint8(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()
