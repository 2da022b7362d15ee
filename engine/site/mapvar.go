package site

import (
	"strings"

	"dyups/codec/conf"
)

// mapVar is a map block: a variable whose value is chosen by the value of another text. Source: nginx,
// ngx_http_map_module.
type mapVar struct {
	key       *Value
	hostnames bool
	volatile  bool
	slot      int
	exact     map[string]*Value
	head      map[string]*Value // "*.example.com" under ".example.com"
	tail      map[string]*Value // "example.*" under "example."
	res       []mapRegex
	def       *Value
}

type mapRegex struct {
	re *regex
	to *Value
}

// maxMapDepth bounds maps that refer to maps, so that a circle of volatile ones ends.
const maxMapDepth = 8

// mapBlock compiles map KEY $NAME { ... }.
func mapBlock(l *level, d *conf.Directive) error {
	name, ok := strings.CutPrefix(d.Args[1].Text, "$")
	if !ok || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c > 127 || !isNameByte(byte(c)) }) {
		return d.Value(1).Invalid("a variable such as $name")
	}
	name = strings.ToLower(name)
	sc := l.b.scope
	if builtin[name] != nil {
		return conf.Errorf(d.Args[1].Pos, "the duplicate %q variable, a built-in one cannot be the result of a map", name)
	}
	key, err := l.value(d.Args[0])
	if err != nil {
		return err
	}
	m := &mapVar{key: key, exact: map[string]*Value{}, head: map[string]*Value{}, tail: map[string]*Value{}, def: plainValue("")}
	for _, e := range d.Block {
		if e.Name.Text == "hostnames" && len(e.Args) == 0 {
			m.hostnames = true
		}
	}
	seenDefault := false
	for _, e := range d.Block {
		switch {
		case len(e.Args) == 0 && e.Name.Text == "hostnames":
			continue
		case len(e.Args) == 0 && e.Name.Text == "volatile":
			m.volatile = true
			continue
		case len(e.Args) != 1 || e.HasBlock:
			return conf.Errorf(e.Name.Pos, "invalid line %q in map block, it must be SOURCE VALUE;", e.Name.Text)
		}
		v, err := l.value(e.Args[0])
		if err != nil {
			return err
		}
		if e.Name.Text == "default" && !e.Name.Quoted {
			if seenDefault {
				return conf.Errorf(e.Name.Pos, "duplicate default map parameter")
			}
			seenDefault, m.def = true, v
			continue
		}
		if err := m.add(sc, e.Name, v); err != nil {
			return err
		}
	}
	m.slot = sc.define(name)
	sc.maps[name] = m
	return nil
}

// add enters one line.
func (m *mapVar) add(sc *scope, w conf.Word, v *Value) error {
	text := w.Text
	if strings.HasPrefix(text, "~") {
		pattern, fold := strings.CutPrefix(text[1:], "*")
		re, err := sc.regex(pattern, fold, w.Pos)
		m.res = append(m.res, mapRegex{re, v})
		return err
	}
	text = strings.ToLower(strings.TrimPrefix(text, `\`))
	put := func(t map[string]*Value, key string) error {
		if t[key] != nil {
			return conf.Errorf(w.Pos, "conflicting parameter %q in map block", w.Text)
		}
		t[key] = v
		return nil
	}
	if m.hostnames {
		switch {
		case strings.HasPrefix(text, "*."):
			return put(m.head, text[1:])
		case strings.HasPrefix(text, "."):
			if err := put(m.head, text); err != nil {
				return err
			}
			return put(m.exact, text[1:])
		case strings.HasSuffix(text, ".*"):
			return put(m.tail, text[:len(text)-1])
		}
	}
	return put(m.exact, text)
}

// get is the variable's getter. The value is kept for the rest of the request, unless the map is volatile.
func (m *mapVar) get(dst []byte, r *Request) ([]byte, bool) {
	if !m.volatile && m.slot < len(r.p.vars) && r.p.vars[m.slot] != nil {
		return append(dst, r.p.vars[m.slot]...), true
	}
	if r.p.mapDepth >= maxMapDepth {
		return dst, true
	}
	if !m.volatile {
		r.setVar(m.slot, nil) // what a map that refers to itself finds
	}
	r.p.mapDepth++
	v := r.eval(m.find(r, r.eval(m.key)))
	r.p.mapDepth--
	if !m.volatile {
		r.setVar(m.slot, v)
	}
	return append(dst, v...), true
}

// find chooses the line for a key: exact, longest leading wildcard, longest trailing one, first regular expression.
func (m *mapVar) find(r *Request, key []byte) *Value {
	raw := key
	buf, start := r.open()
	for _, c := range key {
		buf = append(buf, lower[c])
	}
	key = r.close(buf, start)
	if m.hostnames && len(key) > 0 && key[len(key)-1] == '.' {
		key = key[:len(key)-1]
		raw = raw[:len(raw)-1]
	}
	if v := m.exact[string(key)]; v != nil {
		return v
	}
	if m.hostnames {
		for i := 1; i < len(key); i++ {
			if key[i] == '.' {
				if v := m.head[string(key[i:])]; v != nil {
					return v
				}
			}
		}
		for i := len(key) - 2; i > 0; i-- {
			if key[i] == '.' {
				if v := m.tail[string(key[:i+1])]; v != nil {
					return v
				}
			}
		}
	}
	for i := range m.res {
		if m.res[i].re.match(r, raw) {
			return m.res[i].to
		}
	}
	return m.def
}
