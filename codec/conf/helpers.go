package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Value is one argument of a directive, or the part of one behind its "=", with what is needed to complain about
// it: its place, and the directive and parameter it belongs to. Make one with Directive.Value or Directive.Param.
//
// Every method that reads a value gives an *Error at the value's position, worded
//
//	invalid value "FOUND" in "NAME" directive, it must be ALLOWED
type Value struct {
	Text  string
	Pos   Pos
	in    string // name of the directive
	key   string // of the parameter, if it is one
	param bool
}

// Value gives argument i, counted from 0 without the directive's name. i must be below len(d.Args), which a Rule
// with the right Min makes sure of.
func (d *Directive) Value(i int) Value {
	w := d.Args[i]
	return Value{Text: w.Text, Pos: w.Pos, in: d.Name.Text}
}

// Param cuts argument i at its first "=": weight=5 gives "weight" and the value 5, placed behind the "=". Without
// an "=" it gives the whole argument as key and ok false.
func (d *Directive) Param(i int) (key string, v Value, ok bool) {
	w := d.Args[i]
	key, text, ok := strings.Cut(w.Text, "=")
	v = Value{Text: text, Pos: w.Pos, in: d.Name.Text, key: key, param: true}
	if ok {
		v.Pos.Col += len(key) + 1
		if w.Quoted {
			v.Pos.Col++
		}
		if strings.ContainsAny(key, "\n\t\r\"'\\") { // written with an escape or over two lines: point at the argument
			v.Pos = w.Pos
		}
	}
	return key, v, ok
}

// Invalid is the error that v is none of what is allowed here. allowed completes the sentence "it must be …".
func (v Value) Invalid(allowed string) *Error {
	of := ""
	if v.param {
		of = " of parameter " + quote(v.key)
	}
	return Errorf(v.Pos, "invalid value %s%s in %s directive, it must be %s", quote(v.Text), of, quote(v.in), allowed)
}

// allowed gives what is allowed: the bound, or the form where that is not kept.
func allowed(beyond bool, bound, form string) string {
	if beyond {
		return bound
	}
	return form
}

// OnOff reads "on" or "off" in either case, as nginx does.
func (v Value) OnOff() (bool, error) {
	switch {
	case strings.EqualFold(v.Text, "on"):
		return true, nil
	case strings.EqualFold(v.Text, "off"):
		return false, nil
	}
	return false, v.Invalid(`"on" or "off"`)
}

// Int reads decimal digits, leading zeros allowed, as a number from min to max (both included). Signs are refused,
// as nginx does, so min below 0 has no use.
func (v Value) Int(min, max int) (int, error) {
	n, rest, ok := leadingInt(v.Text)
	if !ok || rest != "" || n < int64(min) || n > int64(max) {
		if max == math.MaxInt && n < math.MaxInt64 {
			return 0, v.Invalid(fmt.Sprintf("a whole number of at least %d", min))
		}
		return 0, v.Invalid(fmt.Sprintf("a whole number from %d to %d", min, max))
	}
	return int(n), nil
}

// Size reads a size in bytes; see the function Size.
func (v Value) Size() (int64, error) {
	n, err := Size(v.Text)
	if err != nil {
		return 0, v.Invalid(allowed(errors.Is(err, errTooLarge), largestForm, sizeForm))
	}
	return n, nil
}

// Time reads a time; see the function Time.
func (v Value) Time() (time.Duration, error) {
	t, err := Time(v.Text)
	if err != nil {
		return 0, v.Invalid(allowed(errors.Is(err, errTooLong), longestForm, timeForm))
	}
	return t, nil
}

// TimeSeconds reads a time in whole seconds; see the function TimeSeconds.
func (v Value) TimeSeconds() (time.Duration, error) {
	t, err := TimeSeconds(v.Text)
	if err != nil {
		return 0, v.Invalid(allowed(errors.Is(err, errTooLong), longestForm, secondsForm))
	}
	return t, nil
}

// Enum reads one of the allowed words without regard to ASCII case, as nginx does, and gives it in the spelling
// of allowed.
func (v Value) Enum(allowed ...string) (string, error) {
	for _, a := range allowed {
		if strings.EqualFold(a, v.Text) {
			return a, nil
		}
	}
	return "", v.Invalid(either(allowed))
}

// OnOff reads the first argument as "on" or "off".
func (d *Directive) OnOff() (bool, error) { return d.Value(0).OnOff() }

// Int reads argument i, counted from 0, as a number from min to max (both included).
func (d *Directive) Int(i, min, max int) (int, error) { return d.Value(i).Int(min, max) }

// Size reads argument i, counted from 0, as a size in bytes.
func (d *Directive) Size(i int) (int64, error) { return d.Value(i).Size() }

// Time reads argument i, counted from 0, as a time.
func (d *Directive) Time(i int) (time.Duration, error) { return d.Value(i).Time() }

// TimeSeconds reads argument i, counted from 0, as a time in whole seconds.
func (d *Directive) TimeSeconds(i int) (time.Duration, error) { return d.Value(i).TimeSeconds() }

// Enum reads argument i, counted from 0, as one of the allowed words.
func (d *Directive) Enum(i int, allowed ...string) (string, error) {
	return d.Value(i).Enum(allowed...)
}

// BadParam is the error that argument i, counted from 0, is no parameter of the directive. allowed lists what is,
// as it is written: "weight=", "backup". It names the nearest one when the two differ by a slip of the pen.
func (d *Directive) BadParam(i int, allowed ...string) *Error {
	w := d.Args[i]
	hint := ""
	written := w.Text
	if key, _, ok := strings.Cut(written, "="); ok {
		written = key + "="
	}
	if near := nearest(written, allowed); near != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", quote(near))
	}
	return Errorf(w.Pos, "invalid parameter %s in %s directive%s, it takes %s",
		quote(w.Text), quote(d.Name.Text), hint, strings.Join(allowed, ", "))
}

// Errorf is an error at the directive's name that begins with `"NAME" directive `.
func (d *Directive) Errorf(format string, args ...any) *Error {
	return Errorf(d.Name.Pos, "%s directive %s", quote(d.Name.Text), fmt.Sprintf(format, args...))
}

// either joins words as `"a", "b" or "c"`.
func either(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(quote(w))
	}
	return b.String()
}

// maxQuoted bounds how much of a found word an error repeats.
const maxQuoted = 100

// quote shows found text in an error: between double quotes and as it was written, so that a pattern can be searched
// for, except that bytes which are not printable UTF-8 are escaped (a log line stays one line) and long text is cut.
func quote(s string) string {
	cut := ""
	if len(s) > maxQuoted {
		s, cut = s[:maxQuoted], "..."
	}
	var b strings.Builder
	b.WriteByte('"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if strconv.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[:n])
		} else {
			q := strconv.Quote(s[:n])
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	b.WriteString(cut)
	b.WriteByte('"')
	return b.String()
}
