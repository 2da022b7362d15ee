package site

import (
	"strconv"
	"strings"

	"dyups/codec/conf"
)

// rewriteRules are the directives that run in order: set, if, return, rewrite and break.
func rewriteRules() []rule {
	const in = conf.Server | conf.Location | conf.If
	return []rule{
		{Name: "set", In: in, Min: 2, Max: 2, Many: true, Set: parseSet},
		{Name: "if", In: conf.Server | conf.Location, Min: 1, Max: -1, Block: true, Many: true, Set: parseIf},
		{Name: "return", In: in, Min: 1, Max: 2, Many: true, Set: parseReturn},
		{Name: "rewrite", In: in, Min: 2, Max: 3, Many: true, Set: parseRewrite},
		{Name: "break", In: in, Many: true, Set: func(l *level, _ *conf.Directive) error {
			l.push(&op{kind: opBreak})
			return nil
		}},
		{Name: "rewrite_log", In: inLoc | conf.If, Min: 1, Max: 1, Set: onlyOnOff},
		{Name: "uninitialized_variable_warn", In: inLoc | conf.If, Min: 1, Max: 1, Set: onlyOnOff},
	}
}

func (l *level) push(o *op) { *l.script = append(*l.script, o) }

func parseSet(l *level, d *conf.Directive) error {
	name, ok := strings.CutPrefix(d.Args[0].Text, "$")
	if !ok || name == "" || isCapture(name) {
		return d.Value(0).Invalid("a variable such as $name")
	}
	for i := 0; i < len(name); i++ {
		if !isNameByte(name[i]) {
			return d.Value(0).Invalid("a variable of letters, digits and \"_\"")
		}
	}
	name = strings.ToLower(name)
	o := &op{kind: opSet}
	switch {
	case name == "args" || name == "limit_rate":
		o.named = name
	case builtin[name] != nil:
		return conf.Errorf(d.Args[0].Pos, "the duplicate %q variable, a built-in one cannot be set", name)
	default:
		o.slot = l.b.scope.define(name)
	}
	var err error
	o.value, err = l.value(d.Args[1])
	l.push(o)
	return err
}

func parseIf(l *level, d *conf.Directive) error {
	c, err := l.parseCond(d)
	if err != nil {
		return err
	}
	o := &op{kind: opIf, cond: c}
	l.push(o)
	l.blocks = append(l.blocks, func() error {
		in := l.child(conf.If)
		in.script = &o.body
		if l.ctx != conf.Server {
			// Nested locations are looked for in the location around, which is what is in force when this block is entered.
			o.loc = in.loc
			l.b.site.Locations = append(l.b.site.Locations, in.loc)
		} else {
			for _, x := range d.Block {
				switch x.Name.Text {
				case "set", "return", "rewrite", "break", "rewrite_log", "uninitialized_variable_warn":
				default:
					return conf.Errorf(x.Name.Pos, "%q directive is not allowed in \"if\" on the server level, allowed are set, return, rewrite and break", x.Name.Text)
				}
			}
		}
		return in.apply(d.Block)
	})
	return nil
}

// isURL reports whether a text is taken for a complete URL by return and rewrite.
func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "$scheme")
}

func parseReturn(l *level, d *conf.Directive) error {
	o := &op{kind: opReturn}
	first := d.Args[0]
	text := d.Args[1:]
	switch n, err := strconv.Atoi(first.Text); {
	case err == nil && isDigits(first.Text) && n <= 999:
		o.status = n
	case len(d.Args) == 1 && isURL(first.Text):
		o.status = 302
		text = d.Args
	default:
		return conf.Errorf(first.Pos, "invalid return code %q, it must be a status from 0 to 999 or a URL", first.Text)
	}
	if len(text) == 1 {
		v, err := l.value(text[0])
		if err != nil {
			return err
		}
		o.value = v
	}
	l.push(o)
	return nil
}

func parseRewrite(l *level, d *conf.Directive) error {
	re, err := l.b.scope.regex(d.Args[0].Text, false, d.Args[0].Pos)
	if err != nil {
		return err
	}
	o := &op{kind: opRewrite, re: re, keepArgs: true}
	to := d.Args[1]
	if isURL(to.Text) {
		o.status, o.last = 302, true
	}
	if len(d.Args) == 3 {
		flag, err := d.Enum(2, "last", "break", "redirect", "permanent")
		if err != nil {
			return err
		}
		o.last = true
		switch flag {
		case "break":
			o.brk = true
		case "redirect":
			o.status = 302
		case "permanent":
			o.status = 301
		}
	}
	if strings.HasSuffix(to.Text, "?") { // drops the request's arguments
		o.keepArgs = false
		to.Text = to.Text[:len(to.Text)-1]
	}
	l.push(o)
	path, args, hasArgs := strings.Cut(to.Text, "?")
	o.hasArgs = hasArgs
	if o.status != 0 {
		o.value, err = l.b.scope.escapedCaptures(to)
		return err
	}
	if o.value, err = l.value(conf.Word{Text: path, Pos: to.Pos}); err == nil && hasArgs {
		o.args, err = l.b.scope.escapedCaptures(conf.Word{Text: args, Pos: to.Pos})
	}
	return err
}

// escapedCaptures compiles the part of a replacement where $1 .. $9 are escaped as arguments, if the request's path had
// escapes. Source: nginx, ngx_http_script_copy_capture_code.
func (s *scope) escapedCaptures(w conf.Word) (*Value, error) {
	return s.valueOf(w.Text, w.Pos, func(name string, g *getter) getter {
		if !isCapture(name) {
			return func(dst []byte, r *Request) ([]byte, bool) { return (*g)(dst, r) }
		}
		n := int(name[0] - '0')
		return func(dst []byte, r *Request) ([]byte, bool) {
			b := r.group(n)
			if r.p.quoted || r.p.plus {
				return appendEscaped(dst, b, &escapeArgs), true
			}
			return append(dst, b...), true
		}
	})
}
