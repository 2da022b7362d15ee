package site

import (
	"regexp"
	"strings"

	"dyups/codec/conf"
)

// regex is a compiled regular expression whose groups become $1 .. $9 and, when named, variables.
//
// nginx uses PCRE, this package Go's regexp (RE2): a match takes time linear in the text whatever the pattern, at the
// price of look-around, back references and possessive quantifiers, which are configuration errors here.
type regex struct {
	re    *regexp.Regexp
	scope *scope
	named []namedGroup
}

// namedGroup says which slot a named group fills.
type namedGroup struct{ group, slot int }

// regex compiles pattern; fold ignores case.
func (s *scope) regex(pattern string, fold bool, pos conf.Pos) (*regex, error) {
	text := translate(pattern)
	if fold {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, conf.Errorf(pos, "cannot compile regular expression %q: %s; allowed is RE2 syntax, so no look-around, "+
			"no back references and no possessive quantifiers", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	x := &regex{re: re, scope: s}
	for i, name := range re.SubexpNames() {
		if name != "" {
			x.named = append(x.named, namedGroup{i, s.define(name)})
		}
	}
	return x, nil
}

// translate rewrites the few things that PCRE and RE2 spell differently: a leading (*UTF8), and \_ and the like,
// which RE2 takes for unknown escapes.
func translate(p string) string {
	p = strings.TrimPrefix(p, "(*UTF8)")
	if !strings.Contains(p, `\_`) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '\\' && i+1 < len(p) {
			if p[i+1] != '_' {
				b.WriteByte(p[i])
			}
			i++
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// match reports whether s matches, and if so makes its groups the request's captures. s must stay valid until Reset.
// It allocates (one small slice, by the regexp package) only if the expression has groups that something may read.
func (x *regex) match(r *Request, s []byte) bool {
	if x.re.NumSubexp() == 0 || len(x.named) == 0 && !x.scope.captures {
		if !x.re.Match(s) {
			return false
		}
		r.p.caps = r.p.caps[:0]
		return true
	}
	m := x.re.FindSubmatchIndex(s)
	if m == nil {
		return false
	}
	r.p.caps = append(r.p.caps[:0], m...)
	r.p.capSrc = s
	for _, n := range x.named {
		lo, hi := m[2*n.group], m[2*n.group+1]
		if lo < 0 {
			lo, hi = 0, 0
		}
		r.setVar(n.slot, s[lo:hi:hi])
	}
	return true
}

// setVar fills a slot; nil counts as empty.
func (r *Request) setVar(slot int, v []byte) {
	if v == nil {
		v = emptyBytes
	}
	for slot >= len(r.p.vars) {
		r.p.vars = append(r.p.vars, nil)
	}
	r.p.vars[slot] = v
}

// group returns group n of the last match, nil if there is none.
func (r *Request) group(n int) []byte {
	if 2*n+1 >= len(r.p.caps) || r.p.caps[2*n] < 0 {
		return nil
	}
	return r.p.capSrc[r.p.caps[2*n]:r.p.caps[2*n+1]]
}

// capture is the getter of $1 .. $9.
func capture(n int) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		g := r.group(n)
		return append(dst, g...), g != nil
	}
}
