package codec

import "math/bits"

// bounds is Limits with every bound filled in.
type bounds struct{ line, field, total, count int }

// maxHead bounds a head that has no other bound; spans could not hold more.
const maxHead = 1<<31 - 1

func (l *Limits) bounds() bounds {
	b := bounds{maxHead, maxHead, maxHead, maxHead}
	if l == nil {
		return b
	}
	if l.Line > 0 {
		b.line = l.Line
	}
	if l.Field > 0 {
		b.field = l.Field
	}
	if l.Total > 0 && l.Total < maxHead {
		b.total = l.Total
	}
	if l.Count > 0 {
		b.count = l.Count
	}
	return b
}

// scanFields reads field lines from buf[i:] up to and including the empty line, appends them to *fields and
// returns the index behind the empty line. What framing needs to know goes to fr unless that is nil.
//
// The scan looks at each byte once and stops at the first wrong one. A line is read inside a window that ends where
// a limit ends it: running out of the window is the limit's error, or NeedMore when the window ends with the input.
// So what is found never depends on how the input was cut into pieces.
func scanFields(buf []byte, i int, b *bounds, fr *framing, fields *[]Field) (int, *Error) {
	buf = buf[:min(len(buf), b.total)]
	out := *fields
	for {
		win := buf[:min(len(buf), i+b.field)]
		if i < len(win) && (win[i] == '\r' || win[i] == '\n') {
			*fields = out
			n, err := lineEnd(win, i, nil)
			return n, b.runOut(err, win, i)
		}
		n := len(out)
		if i < len(win) && n >= b.count {
			*fields = out
			return 0, errTooManyFields
		}
		if n == cap(out) {
			out = append(out, Field{})
		} else {
			out = out[:n+1]
		}
		f := &out[n]
		next, err := scanField(win, i, f)
		if err == nil && f.ID != Other && fr != nil {
			err = fr.note(f.ID, f.Value, win)
		}
		if err != nil {
			*fields = out[:n]
			return 0, b.runOut(err, win, i)
		}
		i = next
	}
}

// runOut makes of NeedMore the error of a limit, if it is a limit that ended the window in which the line that
// began at start was read.
func (b *bounds) runOut(err *Error, win []byte, start int) *Error {
	if err == NeedMore && (len(win)-start >= b.field || len(win) >= b.total) {
		return errHeadTooLarge
	}
	return err
}

// scanField reads the field line at win[start:] into f, in place, and returns the index of the next line.
func scanField(win []byte, start int, f *Field) (int, *Error) {
	i := start + plainLen(win[start:])
	f.ID, f.Underscore, f.Odd = Other, false, false
	if i < len(win) && win[i] == ':' && i > start {
		f.ID = fieldID(win[start:i])
	} else {
		var seen uint8
		for i < len(win) && nameClass[win[i]] != nameStop {
			seen |= nameClass[win[i]]
			i++
		}
		switch {
		case i >= len(win):
			return 0, NeedMore
		case win[i] != ':' || i == start:
			return 0, nameError(win, start, i)
		case seen == namePlain:
			f.ID = fieldID(win[start:i])
		}
		f.Underscore, f.Odd = seen&nameUnderscore != 0, seen&nameOdd != 0
	}
	f.Name = span(start, i)

	i++
	for i < len(win) && (win[i] == ' ' || win[i] == '\t') {
		i++
	}
	from := i
	for {
		i += textLen(win[i:])
		if i >= len(win) {
			return 0, NeedMore
		}
		if win[i] != '\t' {
			break
		}
		i++
	}
	to := i
	for to > from && (win[to-1] == ' ' || win[to-1] == '\t') {
		to--
	}
	f.Value = span(from, to)
	return lineEnd(win, i, errFieldValue)
}

// plainLen returns how many bytes at the start of b are surely letters or '-', in steps of a word: most of a name.
func plainLen(b []byte) int {
	i := 0
	for ; i <= len(b)-8; i += 8 {
		if m := notNamePlain(word(b, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	return i
}

// textLen returns how many bytes at the start of b are no control bytes: eight at a time, values are most of a head.
func textLen(b []byte) int {
	i := 0
	for ; i <= len(b)-8; i += 8 {
		if m := controls(word(b, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != 0x7f {
		i++
	}
	return i
}

// nameError judges a field name that is empty or ended at i with something else than a colon.
func nameError(win []byte, start, i int) *Error {
	switch c := win[i]; {
	case c == '\r' && i+1 >= len(win):
		return NeedMore
	case c == '\r' && win[i+1] != '\n':
		return errBareCR
	case c == '\r' || c == '\n':
		return errFieldColon
	case (c == ' ' || c == '\t') && i == start:
		return errFold
	case c == ' ' || c == '\t':
		return errFieldSpace
	}
	return errFieldName
}
