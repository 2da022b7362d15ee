package site

import (
	"bytes"
	"strings"

	"dyups/codec/conf"
)

// op is one step of the rewrite module: set, if, return, rewrite or break.
type op struct {
	kind opKind

	slot  int    // opSet: the variable
	named string // opSet: "args" or "limit_rate", which are no slots
	value *Value // opSet; opReturn: the text or URL; opRewrite: the new path, or the whole redirect

	cond *cond     // opIf
	body []*op     // opIf
	loc  *Location // opIf inside a location: what holds from then on

	status int // opReturn, opRewrite of a redirect

	re       *regex // opRewrite
	args     *Value // opRewrite: the part behind "?", nil if there is none
	hasArgs  bool
	keepArgs bool // opRewrite: the request's arguments are appended
	last     bool
	brk      bool
}

type opKind uint8

const (
	opSet opKind = iota
	opIf
	opReturn
	opRewrite
	opBreak
)

// run executes ops. It returns the answer, if one of them gave it, or whether one of them (last, break) ended the
// script. Source: nginx, ngx_http_rewrite_module and ngx_http_script.
func (r *Request) run(ops []*op) (answer *Action, exit bool) {
	for _, o := range ops {
		switch o.kind {
		case opSet:
			r.runSet(o)
		case opIf:
			if !o.cond.holds(r) {
				continue
			}
			if o.loc != nil {
				r.Loc = o.loc
			}
			if a, exit := r.run(o.body); a != nil || exit {
				return a, exit
			}
		case opReturn:
			return r.runReturn(o), true
		case opBreak:
			if r.p.uriChanged {
				r.p.validLoc, r.p.validURI = false, false
			}
			r.p.uriChanged = false
			return nil, true
		case opRewrite:
			if a, exit := r.runRewrite(o); a != nil || exit {
				return a, exit
			}
		}
	}
	return nil, false
}

func (r *Request) runSet(o *op) {
	v := r.eval(o.value)
	switch o.named {
	case "args":
		r.Args = v
		r.p.validURI = false
	case "limit_rate":
		if n, err := conf.Size(string(v)); err == nil {
			r.SetRate(n)
		}
	default:
		r.setVar(o.slot, v)
	}
}

// runReturn answers with a status, a text or a redirect. Source: nginx, ngx_http_send_response.
func (r *Request) runReturn(o *op) *Action {
	switch {
	case o.status == 444:
		return r.act(DoClose, 444)
	case o.value == nil && o.status >= 400:
		return r.act(DoError, o.status)
	}
	var body []byte
	if o.value != nil {
		r.Status = r.FinalStatus(o.status) // $status may stand in the text
		body = r.eval(o.value)
	}
	if isRedirect(o.status) {
		return r.redirect(o.status, body)
	}
	a := r.act(DoReturn, r.FinalStatus(o.status))
	a.HasBody, a.Body = true, body
	if r.p.location != nil {
		a.Location = r.absolute(r.p.location)
	}
	if a.Status != 204 && a.Status != 304 {
		a.ContentType = r.contentType()
	}
	return a
}

func isRedirect(status int) bool {
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308
}

// runRewrite applies one rewrite directive. Source: nginx, ngx_http_script_regex_start_code and _end_code.
func (r *Request) runRewrite(o *op) (answer *Action, exit bool) {
	if !o.re.match(r, r.URI) {
		return nil, false
	}
	buf, start := r.open()
	if o.status != 0 {
		buf = o.value.Append(buf, r)
		n := len(unescapeRedirect(buf[start:]))
		buf = buf[:start+n]
		if o.keepArgs && len(r.Args) > 0 {
			sep := byte('?')
			if o.hasArgs {
				sep = '&'
			}
			buf = append(append(buf, sep), r.Args...)
		}
		return r.redirect(o.status, r.close(buf, start)), true
	}
	buf = o.value.Append(buf, r)
	uri := r.close(buf, start)
	args := emptyBytes
	switch {
	case o.hasArgs:
		buf, start := r.open()
		buf = o.args.Append(buf, r)
		if o.keepArgs && len(r.Args) > 0 {
			buf = append(append(buf, '&'), r.Args...)
		}
		args = r.close(buf, start)
	case o.keepArgs:
		args = r.Args
	}
	p := &r.p
	p.internal, p.validURI = true, false
	p.uriChanged = !o.brk
	if o.brk {
		p.validLoc = false
	}
	if len(uri) == 0 {
		return r.fail(500, "the rewritten URI has a zero length"), true
	}
	r.URI, r.Args = uri, args
	return nil, o.last
}

// cond is the condition of an if.
type cond struct {
	left   *Value
	right  *Value // "=", "!="
	re     *regex // "~", "~*", "!~", "!~*"
	negate bool
}

func (c *cond) holds(r *Request) bool {
	left := r.eval(c.left)
	switch {
	case c.re != nil:
		return c.re.match(r, left) != c.negate
	case c.right != nil:
		return bytes.Equal(left, r.eval(c.right)) != c.negate
	}
	return len(left) > 0 && !(len(left) == 1 && left[0] == '0')
}

// parseCond reads the words between "if" and its block.
func (l *level) parseCond(d *conf.Directive) (*cond, error) {
	words := append([]conf.Word(nil), d.Args...)
	bad := func(w conf.Word) error {
		return conf.Errorf(w.Pos, "invalid condition %q in \"if\", it must be ($variable), or ($variable OP VALUE) with OP =, !=, ~, ~*, !~ or !~*", w.Text)
	}
	first, last := &words[0], &words[len(words)-1]
	if strings.HasPrefix(first.Text, "(-") || strings.HasPrefix(first.Text, "(!-") {
		return nil, conf.Errorf(first.Pos, "file test %q in \"if\" is not supported by this version", first.Text[1:])
	}
	if !strings.HasPrefix(first.Text, "(") || !strings.HasSuffix(last.Text, ")") {
		return nil, bad(*first)
	}
	first.Text = first.Text[1:]
	last.Text = last.Text[:len(last.Text)-1]
	if first.Text == "" && !first.Quoted {
		words = words[1:]
	}
	if n := len(words); n > 1 && words[n-1].Text == "" {
		words = words[:n-1]
	}
	if len(words) == 0 || len(words) == 2 || len(words) > 3 {
		return nil, bad(d.Args[0])
	}
	if !strings.HasPrefix(words[0].Text, "$") {
		return nil, bad(words[0])
	}
	left, err := l.value(words[0])
	c := &cond{left: left}
	if err != nil || len(words) == 1 {
		return c, err
	}
	opText, neg := strings.CutPrefix(words[1].Text, "!")
	c.negate = neg
	switch opText {
	case "=":
		c.right, err = l.value(words[2])
	case "~", "~*":
		c.re, err = l.b.scope.regex(words[2].Text, opText == "~*", words[2].Pos)
	default:
		return nil, bad(words[1])
	}
	return c, err
}
