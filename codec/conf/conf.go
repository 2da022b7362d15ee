package conf

import "fmt"

// Pos is a place in a configuration text; Line and Col count from 1, Col in bytes. The end of a text is one column
// past its last byte.
type Pos struct {
	File      string
	Line, Col int
}

// String gives FILE:LINE:COL, or LINE:COL for a text without a name.
func (p Pos) String() string {
	if p.File == "" {
		return fmt.Sprintf("%d:%d", p.Line, p.Col)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// From is the place as an error at another place names it: without the file where that is the same one.
func (p Pos) From(other Pos) string {
	if p.File == other.File {
		p.File = ""
	}
	return p.String()
}

// Word is one token with its quotes and escapes resolved the way nginx does. Pos is its first byte, the quote if it
// has one. Quoted tells "on" from on, which no directive of nginx does; Print needs it.
type Word struct {
	Text   string
	Pos    Pos
	Quoted bool
}

// Directive is one statement. Block is nil unless HasBlock; an empty block is nil as well.
type Directive struct {
	Name     Word
	Args     []Word
	HasBlock bool
	Block    []*Directive
	End      Pos // of the closing "}" or the ";"
}

// Error is a configuration error: where, what was found, what is allowed.
type Error struct {
	Pos Pos
	Msg string
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Errorf makes an Error at p.
func Errorf(p Pos, format string, args ...any) *Error { return &Error{p, fmt.Sprintf(format, args...)} }

// Context is a bit set of the blocks a directive may stand in.
type Context uint32

// The contexts.
const (
	Main Context = 1 << iota
	Events
	HTTP
	Server
	Location
	If
	LimitExcept
	Upstream
	Types
	Map
)

// File is one text that took part, in order of first inclusion (for -T).
type File struct {
	Name string // absolute path
	Text []byte // as read, never changed
}

// Config is a parsed configuration: includes expanded in place.
type Config struct {
	Directives []*Directive
	Files      []File
}
