package site

import (
	"bytes"
	"strings"

	"dyups/codec"
	"dyups/codec/conf"
)

// CookieRules is proxy_cookie_domain, proxy_cookie_path and proxy_cookie_flags of a location.
type CookieRules struct {
	domains, paths []redirectRule
	flags          []flagRule
}

// flagRule is one proxy_cookie_flags: the cookies it is about, and what becomes of their flags.
type flagRule struct {
	name   *Value
	re     *regex
	set    cookieFlags
	values []*Value // flags with variables
}

// cookieFlags is a set of arguments of proxy_cookie_flags.
type cookieFlags uint8

const (
	flagSecure cookieFlags = 1 << iota
	flagNoSecure
	flagHTTPOnly
	flagNoHTTPOnly
	flagStrict
	flagLax
	flagNone
	flagNoSameSite
)

var cookieFlagWords = []string{"secure", "nosecure", "httponly", "nohttponly", "samesite=strict", "samesite=lax", "samesite=none",
	"nosamesite"}

// cookieFlag is the flag of a word, 0 if there is none.
func cookieFlag(word []byte) cookieFlags {
	for i, w := range cookieFlagWords {
		if codec.EqualFold(word, w) {
			return 1 << i
		}
	}
	return 0
}

// cookieDraft is one of the lists while a level is compiled.
type cookieDraft[T any] struct {
	rules []T
	off   bool
}

// begin starts the list of a level and reads "off"; add is false where there is nothing to add.
func (c *cookieDraft[T]) begin(l *level, d *conf.Directive) (add bool, err error) {
	if l.fresh(d.Name.Text) {
		*c = cookieDraft[T]{}
	}
	if len(d.Args) == 1 {
		if _, err := d.Enum(0, "off"); err != nil {
			return false, err
		}
		if len(c.rules) > 0 {
			return false, d.Errorf(`"off" stands beside another %s of the same block, which it would undo`, d.Name.Text)
		}
		c.off = true
		return false, nil
	}
	return !c.off, nil
}

// cookieRuleSet are the directives that change the cookies of backends.
func cookieRuleSet() []rule {
	return []rule{
		{Name: "proxy_cookie_domain", In: inLoc, Min: 1, Max: 2, Many: true, Set: func(l *level, d *conf.Directive) error {
			return l.addCookieRule(d, &l.proxy.domains, true)
		}},
		{Name: "proxy_cookie_path", In: inLoc, Min: 1, Max: 2, Many: true, Set: func(l *level, d *conf.Directive) error {
			return l.addCookieRule(d, &l.proxy.paths, false)
		}},
		{Name: "proxy_cookie_flags", In: inLoc, Min: 1, Max: 4, Many: true, Set: setCookieFlags},
	}
}

// addCookieRule reads proxy_cookie_domain or proxy_cookie_path: off, or FROM TO where FROM may be ~RE or ~*RE. Domains are
// compared without ASCII case, and without a dot in front, which means nothing (RFC 6265 section 5.2.3).
func (l *level) addCookieRule(d *conf.Directive, list *cookieDraft[redirectRule], domain bool) error {
	if add, err := list.begin(l, d); !add {
		return err
	}
	from, to := d.Args[0], d.Args[1]
	var rule redirectRule
	var err error
	if text, ok := strings.CutPrefix(from.Text, "~"); ok {
		pattern, fold := text, domain
		if !domain {
			pattern, fold = strings.CutPrefix(text, "*")
		}
		rule.re, err = l.b.scope.regex(pattern, fold, from.Pos)
	} else {
		if domain {
			from.Text, to.Text = strings.TrimPrefix(from.Text, "."), strings.TrimPrefix(to.Text, ".")
		}
		rule.from, err = l.value(from)
	}
	if err != nil {
		return err
	}
	rule.to, err = l.value(to)
	list.rules = append(list.rules, rule)
	return err
}

// setCookieFlags reads proxy_cookie_flags off, or COOKIE FLAG... where COOKIE may be ~RE.
func setCookieFlags(l *level, d *conf.Directive) error {
	if add, err := l.proxy.flags.begin(l, d); !add {
		return err
	}
	var rule flagRule
	var err error
	if pattern, ok := strings.CutPrefix(d.Args[0].Text, "~"); ok {
		rule.re, err = l.b.scope.regex(pattern, true, d.Args[0].Pos)
	} else {
		rule.name, err = l.value(d.Args[0])
	}
	for i := 1; i < len(d.Args) && err == nil; i++ {
		if !hasVars(d.Args[i].Text) {
			flag := cookieFlag([]byte(d.Args[i].Text))
			if flag == 0 {
				return d.BadParam(i, cookieFlagWords...)
			}
			rule.set |= flag
			continue
		}
		var v *Value
		v, err = l.value(d.Args[i])
		rule.values = append(rule.values, v)
	}
	l.proxy.flags.rules = append(l.proxy.flags.rules, rule)
	return err
}

// settleCookies joins the lists of a location.
func (l *level) settleCookies(p *ProxyConf) {
	c := CookieRules{l.proxy.domains.rules, l.proxy.paths.rules, l.proxy.flags.rules}
	if len(c.domains)+len(c.paths)+len(c.flags) > 0 {
		p.Cookies = &c
	}
}

// Append appends a backend's Set-Cookie value as the client is to see it; one that no rule is about stays as it is. Source:
// nginx, ngx_http_proxy_rewrite_cookie.
func (c *CookieRules) Append(dst []byte, r *Request, cookie []byte) []byte {
	start := len(dst)
	name, value, has, rest := cutAttribute(cookie)
	if !has { // no cookie, to browsers either (RFC 6265 section 5.2)
		return append(dst, cookie...)
	}
	flags, changed := c.flagsOf(r, name)
	dst = appendAttribute(dst, name, value, has)
	for len(rest) > 0 {
		name, value, has, rest = cutAttribute(rest)
		var rules []redirectRule
		domain := codec.EqualFold(name, "domain")
		switch {
		case len(name) == 0: // nothing between two ";", which says nothing
			continue
		case has && domain:
			rules = c.domains
		case has && codec.EqualFold(name, "path"):
			rules = c.paths
		case flags != 0:
			var keep bool
			if name, value, keep = flags.edit(name, value); !keep {
				continue
			}
			has = has || value != nil
		}
		dst = append(dst, "; "...)
		if len(rules) > 0 {
			var done bool
			if dst, done = rewriteAttribute(dst, r, rules, name, value, domain); done {
				changed = true
				continue
			}
		}
		dst = appendAttribute(dst, name, value, has)
	}
	if !changed {
		return append(dst[:start], cookie...)
	}
	return flags.appendRest(dst)
}

// cutAttribute takes "name[=value]" off, without the blanks around both (RFC 6265 section 5.2).
func cutAttribute(b []byte) (name, value []byte, hasValue bool, rest []byte) {
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		b, rest = b[:i], b[i+1:]
	}
	i := bytes.IndexByte(b, '=')
	if i < 0 {
		return bytes.TrimSpace(b), nil, false, rest
	}
	return bytes.TrimSpace(b[:i]), bytes.TrimSpace(b[i+1:]), true, rest
}

func appendAttribute(dst, name, value []byte, hasValue bool) []byte {
	dst = append(dst, name...)
	if hasValue {
		dst = append(append(dst, '='), value...)
	}
	return dst
}

// rewriteAttribute appends name=value as the first rule that fits makes it; done is false, and nothing appended, if none does.
func rewriteAttribute(dst []byte, r *Request, rules []redirectRule, name, value []byte, domain bool) (out []byte, done bool) {
	for i := range rules {
		x := &rules[i]
		if x.re != nil {
			if x.re.match(r, r.copy(value)) { // captures must outlive the backend's head
				return x.to.AppendField(append(append(dst, name...), '='), r), true
			}
			continue
		}
		from, plain := x.from.Static()
		if !plain {
			from = codec.String(r.eval(x.from))
		}
		before, after := value[:0], value
		if domain {
			if len(value) > 0 && value[0] == '.' {
				before, after = value[:1], value[1:]
			}
			if !codec.EqualFold(after, from) {
				continue
			}
		} else if len(value) < len(from) || string(value[:len(from)]) != from {
			continue
		}
		dst = append(append(append(dst, name...), '='), before...)
		return append(x.to.AppendField(dst, r), after[len(from):]...), true
	}
	return dst, false
}

// flagsOf are the flags of the first rule that is about the cookie; ok says whether there is one.
func (c *CookieRules) flagsOf(r *Request, name []byte) (flags cookieFlags, ok bool) {
	for i := range c.flags {
		f := &c.flags[i]
		if f.re != nil {
			if !f.re.match(r, r.copy(name)) {
				continue
			}
		} else if want, plain := f.name.Static(); plain && !codec.EqualFold(name, want) ||
			!plain && !codec.EqualFold(name, codec.String(r.eval(f.name))) {
			continue
		}
		flags = f.set
		for _, v := range f.values {
			flags |= cookieFlag(r.eval(v)) // what a variable holds and is no flag is left out
		}
		return flags, true
	}
	return 0, false
}

var sameSite, strict, lax, none = []byte("SameSite"), []byte("Strict"), []byte("Lax"), []byte("None")

// edit applies the flags to one that the cookie has; what is there already is not added again.
func (f *cookieFlags) edit(name, value []byte) (newName, newValue []byte, keep bool) {
	take := func(on, off cookieFlags) bool {
		if *f&on != 0 {
			*f &^= on
			return true
		}
		return *f&off == 0
	}
	switch {
	case codec.EqualFold(name, "secure"):
		return name, value, take(flagSecure, flagNoSecure)
	case codec.EqualFold(name, "httponly"):
		return name, value, take(flagHTTPOnly, flagNoHTTPOnly)
	case !codec.EqualFold(name, "samesite"):
		return name, value, true
	}
	if want := f.sameSite(); want != nil {
		*f &^= flagStrict | flagLax | flagNone
		if !codec.EqualFold(value, codec.String(want)) {
			name, value = sameSite, want
		}
		return name, value, true
	}
	return name, value, *f&flagNoSameSite == 0
}

// sameSite is the value of SameSite to set, nil if none.
func (f cookieFlags) sameSite() []byte {
	switch {
	case f&flagStrict != 0:
		return strict
	case f&flagLax != 0:
		return lax
	case f&flagNone != 0:
		return none
	}
	return nil
}

// appendRest appends the flags to set that the cookie did not have.
func (f cookieFlags) appendRest(dst []byte) []byte {
	if f&flagSecure != 0 {
		dst = append(dst, "; Secure"...)
	}
	if f&flagHTTPOnly != 0 {
		dst = append(dst, "; HttpOnly"...)
	}
	if want := f.sameSite(); want != nil {
		dst = append(append(dst, "; SameSite="...), want...)
	}
	return dst
}
