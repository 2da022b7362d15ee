package conf

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// Rule is one row of a directive table: what a directive is called, where it may stand, how many arguments it
// takes, whether it has a block, whether it may be repeated, and what it does to a T.
type Rule[T any] struct {
	Name     string
	In       Context
	Min, Max int  // number of arguments; Max < 0: any number
	Block    bool // it has a {} block
	Many     bool // may stand more than once in one block
	// Instead says what to write in place of a directive that other servers have: it is refused with that, whatever its shape,
	// and listed nowhere.
	Instead string
	// Set applies the directive to t. Its shape has been checked. An error that holds no *Error gets the
	// directive's name and position. nil: the directive is accepted and does nothing.
	Set func(t T, d *Directive) error
}

// Table is a set of rules. It is safe for concurrent use once it is made and Elsewhere has been called.
type Table[T any] struct {
	rules  []Rule[T]
	byName map[string][]int // indices into rules
	known  map[string]Context
}

// NewTable makes a table; two rules of one name must have disjoint contexts, else it panics (BUG:).
func NewTable[T any](rules ...Rule[T]) *Table[T] {
	t := &Table[T]{rules: rules, byName: make(map[string][]int, len(rules)), known: make(map[string]Context, len(rules))}
	for i, r := range rules {
		if t.known[r.Name]&r.In != 0 {
			panic(fmt.Sprintf("BUG: two rules for %q in %v", r.Name, t.known[r.Name]&r.In))
		}
		if r.Max >= 0 && r.Max < r.Min {
			panic(fmt.Sprintf("BUG: rule for %q takes %d to %d arguments", r.Name, r.Min, r.Max))
		}
		if r.Instead == "" {
			t.known[r.Name] |= r.In
		}
		t.byName[r.Name] = append(t.byName[r.Name], i)
	}
	return t
}

// Names gives the directives of t and the contexts each may stand in, those learnt by Elsewhere not counted. The map
// is the caller's.
func (t *Table[T]) Names() map[string]Context {
	names := make(map[string]Context, len(t.byName))
	for _, r := range t.rules {
		if r.Instead == "" {
			names[r.Name] |= r.In
		}
	}
	return names
}

// Elsewhere tells t about directives of other tables, as their Names gives them, so that t tells "not allowed here"
// from "unknown directive". It gives t back, and is for the time of making: not safe beside Apply.
func (t *Table[T]) Elsewhere(names map[string]Context) *Table[T] {
	for name, in := range names {
		t.known[name] |= in
	}
	return t
}

// Apply walks a block: checks each directive against the table in the given context (unknown, wrong context,
// wrong number of arguments, missing or unwanted block, duplicate) and calls Set in order. ctx is one context. The
// first error wins and is an *Error; what Set did before it stays done. Blocks inside ds are for Set to walk.
func (t *Table[T]) Apply(ctx Context, v T, ds []*Directive) error {
	for i, d := range ds {
		r := t.rule(ctx, d.Name.Text)
		if r == nil {
			return t.refuse(ctx, d)
		}
		if r.Instead != "" {
			return d.Errorf("is not supported: %s", r.Instead)
		}
		if err := checkShape(d, r.Min, r.Max, r.Block); err != nil {
			return err
		}
		if !r.Many {
			// A scan and no map: it costs at most one pass a rule, since the second directive is an error.
			if first := slices.IndexFunc(ds[:i], func(o *Directive) bool { return o.Name.Text == r.Name }); first >= 0 {
				return d.Errorf("is duplicate, first at %s", ds[first].Name.Pos.From(d.Name.Pos))
			}
		}
		if r.Set == nil {
			continue
		}
		if err := r.Set(v, d); err != nil {
			var ce *Error
			if errors.As(err, &ce) {
				return ce
			}
			return d.Errorf("%v", err)
		}
	}
	return nil
}

func (t *Table[T]) rule(ctx Context, name string) *Rule[T] {
	for _, i := range t.byName[name] {
		if t.rules[i].In&ctx != 0 {
			return &t.rules[i]
		}
	}
	return nil
}

// maxListed bounds how many names an error lists as allowed; a longer list helps nobody.
const maxListed = 24

// refuse is the error for a directive that has no rule in ctx.
func (t *Table[T]) refuse(ctx Context, d *Directive) *Error {
	var here []string
	for name, in := range t.known {
		if in&ctx != 0 {
			here = append(here, name)
		}
	}
	slices.Sort(here)
	if in := t.known[d.Name.Text]; in != 0 {
		also := ""
		if len(here) > 0 && len(here) <= maxListed {
			also = "; allowed here: " + strings.Join(here, ", ")
		}
		return d.Errorf("is not allowed here; it is allowed in %v%s", in, also)
	}
	elsewhere := slices.Sorted(maps.Keys(t.known))
	msg := "unknown directive " + quote(d.Name.Text)
	family := slices.DeleteFunc(slices.Clone(here), func(name string) bool { return word(name) != word(d.Name.Text) })
	switch near := nearest(d.Name.Text, here); {
	case near != "":
		msg += fmt.Sprintf(", did you mean %s?", quote(near))
	case nearest(d.Name.Text, elsewhere) != "":
		near = nearest(d.Name.Text, elsewhere)
		msg += fmt.Sprintf(", did you mean %s? It is allowed in %v", quote(near), t.known[near])
	case len(here) == 0:
	case len(here) <= maxListed:
		msg += "; allowed here: " + strings.Join(here, ", ")
	case len(family) > 0 && len(family) <= maxListed:
		msg += fmt.Sprintf("; allowed here: %d directives, among them %s", len(here), strings.Join(family, ", "))
	default:
		msg += fmt.Sprintf("; allowed here: %d directives, none with a name like this", len(here))
	}
	return &Error{Pos: d.Name.Pos, Msg: msg}
}

// word is the part of a directive's name before the first "_".
func word(name string) string {
	first, _, _ := strings.Cut(name, "_")
	return first
}

// checkShape checks the block and the number of arguments of d. It is an error interface so that nil is nil.
func checkShape(d *Directive, min, max int, block bool) error {
	const wrongCount = "invalid number of arguments in %s directive: found %d, it takes %s%s"
	switch n := len(d.Args); {
	case block && !d.HasBlock:
		return Errorf(d.End, `directive %s has no opening "{"`, quote(d.Name.Text))
	case !block && d.HasBlock:
		return Errorf(d.Name.Pos, `directive %s is not a block: unexpected "{"`, quote(d.Name.Text))
	case n < min:
		return Errorf(d.Name.Pos, wrongCount, quote(d.Name.Text), n, takes(min, max), "")
	case max >= 0 && n > max:
		surplus, hint := d.Args[max], ""
		if last := lastBefore(d, max); surplus.Pos.Line > last.Pos.Line {
			hint = fmt.Sprintf("; is a \";\" missing behind %s in line %d?", quote(last.Text), last.Pos.Line)
		}
		return Errorf(surplus.Pos, wrongCount, quote(d.Name.Text), n, takes(min, max), hint)
	}
	return nil
}

// lastBefore is the word in front of argument i of d.
func lastBefore(d *Directive, i int) Word {
	if i == 0 {
		return d.Name
	}
	return d.Args[i-1]
}

// takes says how many arguments a directive may have.
func takes(min, max int) string {
	switch {
	case max < 0:
		return fmt.Sprintf("at least %d", min)
	case max == 0:
		return "none"
	case max == min:
		return fmt.Sprint(min)
	case max == min+1:
		return fmt.Sprintf("%d or %d", min, max)
	default:
		return fmt.Sprintf("%d to %d", min, max)
	}
}

// contextNames are in the order of the bits.
var contextNames = [...]string{
	"main", "events", "http", "server", "location", "if", "limit_except", "upstream", "types", "map",
}

// String lists the contexts of c by the names of their blocks: "http, server, location".
func (c Context) String() string {
	var names []string
	for ; c != 0; c &= c - 1 {
		if i := bits.TrailingZeros32(uint32(c)); i < len(contextNames) {
			names = append(names, contextNames[i])
		}
	}
	return strings.Join(names, ", ")
}
