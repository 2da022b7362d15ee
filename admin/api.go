package admin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"dyups/codec/conf"
	"dyups/upstream"
)

// source marks the changes of this package for the watchers of the Store.
const source = "api"

// BodyError says why a command body was refused: where, what was found, and what is allowed there. Line and Col count
// from 1, Col in bytes.
type BodyError struct {
	Line, Col int
	Msg       string
	err       error
}

// Error gives "LINE:COL: message".
func (e *BodyError) Error() string {
	b := strconv.AppendInt(nil, int64(e.Line), 10)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(e.Col), 10)
	b = append(b, ": "...)
	return string(append(b, e.Msg...))
}

// Unwrap gives the error of the parser.
func (e *BodyError) Unwrap() error { return e.err }

// Update makes body, the inside of an upstream block, the whole definition of the upstream name, which may hold any
// bytes and is compared without regard to ASCII case. Host names in body are looked up on the caller's goroutine. When
// it returns nil, every request whose routing starts later sees the change. On error nothing has changed: a *BodyError
// says what is wrong with body, ErrQueueFull that it may be tried again, ErrClosed that it may not.
//
// body is not kept.
func (a *Admin) Update(name string, body []byte) error {
	spec, err := check(name, body, &a.opt, conf.Parse)
	if err != nil {
		return err
	}
	return a.change(upstream.Change{Name: name, Spec: spec, Source: source}, len(name)+len(body))
}

// updateHere is Update for a caller that holds turn; upstream.ErrLengthy, and nothing done, if names have to be looked up
// or there is more to compute than others should wait for.
func (a *Admin) updateHere(name string, body []byte) error {
	spec, err := check(name, body, &a.brief, a.read.Parse)
	if err != nil {
		return err
	}
	return a.applyHere(upstream.Change{Name: name, Spec: spec, Source: source}, len(name)+len(body))
}

// Delete removes the upstream name; upstream.ErrNotFound if there is none when the command is applied. Visibility and
// the other errors are those of Update.
func (a *Admin) Delete(name string) error {
	return a.change(upstream.Change{Name: name, Source: source}, len(name))
}

// reader is conf.Parse or like it.
type reader func(name string, text []byte) ([]*conf.Directive, error)

// check parses body and looks up its host names.
func check(name string, body []byte, opt *upstream.Options, read reader) (*upstream.Spec, error) {
	spec, err := parse(name, body, opt, read)
	if err != nil && err != upstream.ErrLengthy {
		if text := fromListing(body); text != nil {
			spec, err = parse(name, text, opt, read)
		}
	}
	switch err {
	case nil, upstream.ErrLengthy:
		return spec, err
	}
	return nil, bodyError(err)
}

func parse(name string, body []byte, opt *upstream.Options, read reader) (*upstream.Spec, error) {
	ds, err := read("body", body)
	if err != nil {
		return nil, err
	}
	if len(ds) == 0 {
		o := *opt
		o.End = endOf(body)
		opt = &o
	}
	return upstream.ParseBlock(name, ds, opt)
}

// endOf is the place one column past the last byte of text.
func endOf(text []byte) conf.Pos {
	return conf.Pos{
		Line: 1 + bytes.Count(text, []byte("\n")),
		Col:  len(text) - bytes.LastIndexByte(text, '\n'),
	}
}

func bodyError(err error) *BodyError {
	e := &BodyError{Line: 1, Col: 1, Msg: err.Error(), err: err}
	var ce *conf.Error
	if errors.As(err, &ce) {
		e.Msg = ce.Msg
		if ce.Pos.Line > 0 {
			e.Line, e.Col = ce.Pos.Line, ce.Pos.Col
		}
	}
	return e
}

// fromListing turns a listing of plain servers, "server ADDRESS" lines without ";" as the module prints them, into a
// body. Nil if text is not such a listing: each line of it, the last one too, ends with a line feed. Line and column of
// everything in it stay as they are.
//
// It is asked only about text that is no valid body, so it takes no meaning away from any.
func fromListing(text []byte) []byte {
	if len(text) == 0 || text[len(text)-1] != '\n' || bytes.ContainsAny(text, ";{}#\"'\\") {
		return nil
	}
	out := make([]byte, 0, len(text)+8)
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, " \t\r\n")
		if len(line) > 0 {
			if !bytes.HasPrefix(line, []byte("server ")) {
				return nil
			}
			out = append(append(out, line...), ';')
		}
		out = append(out, '\n')
	}
	return out
}

// outcome gives the status and text with which the interface answers a command that ended with err.
func outcome(err error) (status int, text string) {
	var refused *BodyError
	switch {
	case err == nil:
		return 200, "success"
	case errors.As(err, &refused):
		return 400, "add server failed: " + refused.Error()
	case errors.Is(err, upstream.ErrNotFound):
		return 404, "not found uptream" // sic: clients compare it
	case errors.Is(err, ErrQueueFull):
		return 409, "wait and try again\n"
	}
	return 500, fmt.Sprintf("nothing changed: %v", err)
}
