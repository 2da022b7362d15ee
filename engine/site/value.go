package site

import (
	"fmt"
	"strings"
	"sync"

	"dyups/codec/conf"
)

// getter appends a variable's value for r. found is false when the request has no such thing, which an access log
// shows as "-" and every other place as nothing.
type getter func(dst []byte, r *Request) (out []byte, found bool)

// part is one piece of a Value: literal text, or a variable when get is set.
type part struct {
	lit string
	get getter
}

// Value is a compiled text with variables. Immutable and safe for concurrent use with different requests.
type Value struct {
	parts  []part
	static string
	plain  bool // no variables: static is all of it
}

// Compile compiles a text that may use every variable a request has by itself; an unknown variable is an error.
// Variables that a configuration defines (set, map, named captures) are known to Site.Compile only.
func Compile(text string) (*Value, error) { return newScope().compileNow(text) }

// Compile is the package's Compile with the variables of the site's configuration known as well.
func (s *Site) Compile(text string) (*Value, error) { return s.scope.compileNow(text) }

// Static returns the text of a value without variables.
func (v *Value) Static() (string, bool) { return v.static, v.plain }

// Append appends the value for r. No allocation beyond dst and the request's own memory.
func (v *Value) Append(dst []byte, r *Request) []byte {
	if v.plain {
		return append(dst, v.static...)
	}
	for i := range v.parts {
		p := &v.parts[i]
		if p.get == nil {
			dst = append(dst, p.lit...)
		} else {
			dst, _ = p.get(dst, r)
		}
	}
	return dst
}

// AppendField appends the value as the value of a header field: CR, LF and NUL, which a decoded path may hold and
// which would end the field or the head, become blanks (RFC 9110 section 5.5).
func (v *Value) AppendField(dst []byte, r *Request) []byte {
	n := len(dst)
	dst = v.Append(dst, r)
	for i, c := range dst[n:] {
		if c == '\r' || c == '\n' || c == 0 {
			dst[n+i] = ' '
		}
	}
	return dst
}

// plainValue is a value of text alone.
func plainValue(s string) *Value { return &Value{static: s, plain: true} }

// scope is the variables known while a site is compiled. A name is looked up in this order: the fixed built-in ones,
// those the configuration defines, the families (http_NAME ...), as nginx does.
type scope struct {
	defined  map[string]bool // names that set, map or a named capture define
	slots    int             // that a request needs
	maps     map[string]*mapVar
	pending  []pendingVar
	captures bool // $1 .. $9 are used somewhere
	linked   bool
}

// pendingVar is a use of a variable that is resolved when all definitions are known.
type pendingVar struct {
	to   *getter
	name string
	pos  conf.Pos
}

func newScope() *scope {
	return &scope{defined: map[string]bool{}, maps: map[string]*mapVar{}, linked: true}
}

// compileNow compiles against what is known already.
func (s *scope) compileNow(text string) (*Value, error) {
	v := &Value{}
	err := splitVars(text, func(lit string) {
		v.parts = append(v.parts, part{lit: lit})
	}, func(name string) error {
		g := s.resolve(name)
		if g == nil {
			return fmt.Errorf("cannot use variable %q: there is no such variable", "$"+name)
		}
		v.parts = append(v.parts, part{get: g})
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.settle()
	return v, nil
}

// value compiles w; names are resolved by link.
func (s *scope) value(w conf.Word) (*Value, error) { return s.valueOf(w.Text, w.Pos, nil) }

// valueOf compiles text. wrap, if not nil, makes the getter of a part from the plain one.
func (s *scope) valueOf(text string, pos conf.Pos, wrap func(name string, g *getter) getter) (*Value, error) {
	v := &Value{}
	var names []string
	err := splitVars(text, func(lit string) {
		v.parts = append(v.parts, part{lit: lit})
		names = append(names, "")
	}, func(name string) error {
		v.parts = append(v.parts, part{})
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, conf.Errorf(pos, "%s", err)
	}
	for i, name := range names {
		if name == "" {
			continue
		}
		if wrap == nil {
			s.later(&v.parts[i].get, name, pos)
			continue
		}
		inner := new(getter)
		s.later(inner, name, pos)
		v.parts[i].get = wrap(name, inner)
	}
	v.settle()
	return v, nil
}

// later has *to set to the getter of name once all definitions are known.
func (s *scope) later(to *getter, name string, pos conf.Pos) {
	if isCapture(name) {
		s.captures = true
		*to = capture(int(name[0] - '0'))
		return
	}
	// The value must not look like text until it is linked.
	*to = func(dst []byte, _ *Request) ([]byte, bool) { return dst, false }
	s.pending = append(s.pending, pendingVar{to, name, pos})
}

// link resolves every pending use. It may be called again when more were added.
func (s *scope) link() error {
	for _, p := range s.pending {
		g := s.resolve(p.name)
		if g == nil {
			return conf.Errorf(p.pos, "unknown variable %q, it is neither built in nor defined by set, map or a named capture", "$"+p.name)
		}
		*p.to = g
	}
	s.pending = nil
	return nil
}

// resolve returns the getter of a name, nil if there is none.
func (s *scope) resolve(name string) getter {
	if isCapture(name) {
		return capture(int(name[0] - '0'))
	}
	name = strings.ToLower(name)
	if g := builtin[name]; g != nil {
		return g
	}
	fam := family(name)
	if !s.defined[name] {
		return fam
	}
	if m := s.maps[name]; m != nil {
		return m.get
	}
	slot := slotOf(name)
	return func(dst []byte, r *Request) ([]byte, bool) {
		if slot < len(r.p.vars) && r.p.vars[slot] != nil {
			return append(dst, r.p.vars[slot]...), true
		}
		if fam != nil {
			return fam(dst, r)
		}
		return dst, true
	}
}

// define makes name a variable of the configuration and returns its slot.
func (s *scope) define(name string) int {
	name = strings.ToLower(name)
	s.defined[name] = true
	slot := slotOf(name)
	s.slots = max(s.slots, slot+1)
	return slot
}

// slots has the slot of each name that any configuration of this process has defined. A name keeps its slot over reloads: what was
// compiled for one site, such as an upstream's hash key, is also asked about requests that began under another.
var slots struct {
	sync.Mutex
	of map[string]int
}

// slotOf gives a name its slot. Safe for concurrent use.
func slotOf(name string) int {
	slots.Lock()
	defer slots.Unlock()
	slot, ok := slots.of[name]
	if !ok {
		if slots.of == nil {
			slots.of = map[string]int{}
		}
		slot = len(slots.of)
		slots.of[name] = slot
	}
	return slot
}

// settle joins the literal parts of a value and notes whether it is text alone.
func (v *Value) settle() {
	v.plain = true
	for i := range v.parts {
		if v.parts[i].get != nil {
			v.plain = false
			return
		}
	}
	var b strings.Builder
	for i := range v.parts {
		b.WriteString(v.parts[i].lit)
	}
	v.static, v.parts = b.String(), nil
}

func isCapture(name string) bool { return len(name) == 1 && name[0] >= '1' && name[0] <= '9' }

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// splitVars cuts text into literals and variable names: $name, ${name}, and $1 to $9, which are one digit long.
// Source: nginx, ngx_http_script_compile.
func splitVars(text string, lit func(string), variable func(string) error) error {
	start := 0
	for i := 0; i < len(text); {
		if text[i] != '$' {
			i++
			continue
		}
		if i > start {
			lit(text[start:i])
		}
		i++
		name := ""
		switch {
		case i < len(text) && text[i] >= '1' && text[i] <= '9':
			name = text[i : i+1]
			i++
		case i < len(text) && text[i] == '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return fmt.Errorf("invalid variable in %q, the closing \"}\" is missing", text)
			}
			name = text[i+1 : i+end]
			i += end + 1
		default:
			from := i
			for i < len(text) && isNameByte(text[i]) {
				i++
			}
			name = text[from:i]
		}
		if name == "" {
			return fmt.Errorf("invalid variable name in %q, \"$\" must be followed by a name", text)
		}
		for k := 0; k < len(name); k++ {
			if !isNameByte(name[k]) {
				return fmt.Errorf("invalid variable name %q, it may have letters, digits and \"_\"", name)
			}
		}
		if err := variable(name); err != nil {
			return err
		}
		start = i
	}
	if start < len(text) {
		lit(text[start:])
	}
	return nil
}

// hasVars reports whether text uses a variable.
func hasVars(text string) bool { return strings.IndexByte(text, '$') >= 0 }
