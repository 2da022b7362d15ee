package main

import (
	"bytes"
	"fmt"

	"dyups/engine"
	"dyups/upstream"
)

// A reload keeps what commands have done. An upstream is as the newer of two hands left it: where the files define it as they did
// before, what a command has made of it stays, be it another definition or its deletion; where the files have changed their
// definition, or have it for the first time, it is theirs. What only a command has defined stays. With "dyups_reload reset"
// the files alone count, as in the module.

// sourceFile marks changes that come from the files.
const sourceFile = "file"

// merge is what a reload makes of the table. It is looked at as often as the table may have changed.
type merge struct {
	files   []upstream.Change // the new ones, in their order
	same    map[string]bool   // of each of them, by upstream.Key: whether it says what the files said before
	reset   bool
	opt     upstream.Options // those of the new configuration
	renewed map[*upstream.Spec]*upstream.Spec
}

func newMerge(was, now *configuration, opt upstream.Options) *merge {
	m := &merge{files: now.upstreams, same: make(map[string]bool, len(now.upstreams)), reset: now.site.Dyups.ReloadReset, opt: opt,
		renewed: map[*upstream.Spec]*upstream.Spec{}}
	before := make(map[string]*upstream.Spec, len(was.upstreams))
	for _, c := range was.upstreams {
		before[upstream.Key(c.Name)] = c.Spec
	}
	for _, c := range now.upstreams {
		key := upstream.Key(c.Name)
		spec := before[key]
		m.same[key] = spec != nil && bytes.Equal(spec.AppendBody(nil), c.Spec.AppendBody(nil))
	}
	return m
}

// news gives the changes that have to be made to t before the new configuration is in force, all but deletions, and the names
// of the upstreams for which the files overrule a command. Of a definition that means nothing in the new configuration, it
// gives the error.
func (m *merge) news(t *upstream.Table) (changes []upstream.Change, overruled []string, err error) {
	for _, c := range m.files {
		switch u := t.Lookup([]byte(c.Name)); {
		case !m.reset && m.same[upstream.Key(c.Name)] && (u == nil || u.Source != sourceFile): // a command has deleted or changed it
			continue
		case u != nil && u.Source != sourceFile:
			overruled = append(overruled, c.Name)
		}
		changes = append(changes, c)
	}
	err = m.kept(t, func(u *upstream.Upstream) error {
		spec, err := m.renew(u)
		if err == nil {
			changes = append(changes, upstream.Change{Name: u.Name, Spec: spec, Source: u.Source})
		}
		return err
	})
	return changes, overruled, err
}

// kept calls f for the upstreams of t that stay as commands have defined them, until it fails.
func (m *merge) kept(t *upstream.Table, f func(*upstream.Upstream) error) (err error) {
	if m.reset {
		return nil
	}
	t.All(func(u *upstream.Upstream) bool {
		if same, filed := m.same[u.Key()]; u.Source != sourceFile && (same || !filed) {
			err = f(u)
		}
		return err == nil
	})
	return err
}

// renew gives the definition of u as the new configuration understands it.
func (m *merge) renew(u *upstream.Upstream) (*upstream.Spec, error) {
	if n := m.renewed[u.Spec()]; n != nil {
		return n, nil
	}
	n, err := u.Spec().Renew(u.Name, &m.opt)
	if err != nil {
		return nil, fmt.Errorf("cannot keep upstream %q, which a command has defined: %w; change or delete it first, or say \"dyups_reload reset\"",
			u.Name, err)
	}
	m.renewed[u.Spec()], m.renewed[n] = n, n
	return n, nil
}

// rest gives the changes that are left when the new configuration is in force: the upstreams that only the old one had go, and
// what commands have defined since news, by the old one, is read once more. If it means nothing any more it stays as it
// is: it was acknowledged.
func (m *merge) rest(t *upstream.Table) (changes []upstream.Change) {
	t.All(func(u *upstream.Upstream) bool {
		if _, filed := m.same[u.Key()]; !filed && (m.reset || u.Source == sourceFile) {
			changes = append(changes, upstream.Change{Name: u.Name, Source: sourceFile})
		}
		return true
	})
	_ = m.kept(t, func(u *upstream.Upstream) error {
		if spec, err := m.renew(u); err == nil && spec != u.Spec() {
			changes = append(changes, upstream.Change{Name: u.Name, Spec: spec, Source: u.Source})
		}
		return nil
	})
	return changes
}

// tell logs what commands have done to the table that stays, and what does not.
func (m *merge) tell(log *errorLog, t *upstream.Table, overruled []string) {
	defined, deleted := 0, 0
	_ = m.kept(t, func(*upstream.Upstream) error { defined++; return nil })
	for _, c := range m.files {
		if t.Lookup([]byte(c.Name)) == nil {
			deleted++
		}
	}
	if defined+deleted > 0 {
		log.logf(engine.Notice, "what commands have done stays: %d upstreams defined, %d of the files deleted", defined, deleted)
	}
	for _, name := range overruled {
		log.logf(engine.Warn, "what a command has defined as upstream %q gives way to the files, where it has changed", name)
	}
}
