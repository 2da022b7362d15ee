package site

import (
	"sort"
	"strings"
)

// routing is the part of a Location that finds and prepares requests; the engine does not see it.
type routing struct {
	script   []*op   // set, if, return, rewrite, break
	routes   *routes // nested locations
	re       *regex
	exact    bool // "="
	noRegex  bool // "^~"
	named    bool
	internal bool
	auto     bool // a request without the trailing slash is redirected here
	limit    *limitExcept

	access     []accessRule
	satisfyAny bool
	realm      *Value // auth_basic; nil: off
	userFile   *Value
	real       *realIP
	errorPages []errorPage

	absoluteRedirect, portInRedirect, nameInRedirect bool
}

// limitExcept is a limit_except block: every method that is not listed is handled by loc.
type limitExcept struct {
	methods []string
	loc     *Location
}

// routes is the locations of one server, or those nested in one location.
type routes struct {
	nodes   []routeNode // by name
	auto    bool        // some node redirects to itself from its name without the slash
	regexes []*Location // in file order
	named   map[string]*Location
}

// routeNode is one path with the locations "= path" and "path". up is the index of the longest other path that is a
// prefix of this one, -1 if there is none.
type routeNode struct {
	name          string
	exact, prefix *Location
	up            int
}

// What a search among static locations found.
const (
	foundNone   = iota
	foundPrefix // a prefix: nested and regular expression locations are to be tried
	foundExact
	foundAuto // redirect to the location's path
)

// find looks up the longest matching path. The names are sorted, so every prefix of uri is also a prefix of the last
// name that is not above uri: a binary search and a walk along up, without allocation.
func (t *routes) find(uri []byte) (*Location, int) {
	lo, hi := 0, len(t.nodes)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if t.nodes[m].name <= string(uri) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	best, kind := (*Location)(nil), foundNone
	for i := lo - 1; i >= 0; i = t.nodes[i].up {
		n := &t.nodes[i]
		if len(n.name) > len(uri) || n.name != string(uri[:len(n.name)]) {
			continue
		}
		if len(n.name) == len(uri) {
			if n.exact != nil {
				return n.exact, foundExact
			}
			return n.prefix, foundPrefix
		}
		if n.prefix != nil {
			best, kind = n.prefix, foundPrefix
			break
		}
	}
	if t.auto {
		if loc := t.findAuto(uri, lo); loc != nil {
			return loc, foundAuto
		}
	}
	return best, kind
}

// findAuto looks for the path uri + "/", at or behind index i, that wants to be redirected to.
func (t *routes) findAuto(uri []byte, i int) *Location {
	for ; i < len(t.nodes); i++ {
		n := &t.nodes[i]
		if len(n.name) < len(uri) || n.name[:len(uri)] != string(uri) || len(n.name) > len(uri) && n.name[len(uri)] > '/' {
			return nil
		}
		if len(n.name) != len(uri)+1 || n.name[len(uri)] != '/' {
			continue
		}
		if n.exact != nil && n.exact.auto {
			return n.exact
		}
		if n.prefix != nil && n.prefix.auto {
			if n.exact != nil {
				return n.exact
			}
			return n.prefix
		}
	}
	return nil
}

// add enters a location; it reports false when there is one of the same kind and name.
func (t *routes) add(l *Location) bool {
	switch {
	case l.re != nil:
		t.regexes = append(t.regexes, l)
		return true
	case l.named:
		if t.named[l.Name] != nil {
			return false
		}
		if t.named == nil {
			t.named = map[string]*Location{}
		}
		t.named[l.Name] = l
		return true
	}
	i := 0
	for ; i < len(t.nodes) && t.nodes[i].name != l.Prefix; i++ {
	}
	if i == len(t.nodes) {
		t.nodes = append(t.nodes, routeNode{name: l.Prefix})
	}
	at := &t.nodes[i].prefix
	if l.exact {
		at = &t.nodes[i].exact
	}
	if *at != nil {
		return false
	}
	*at = l
	return true
}

// seal makes the table ready for find.
func (t *routes) seal() {
	sort.Slice(t.nodes, func(i, j int) bool { return t.nodes[i].name < t.nodes[j].name })
	for i := range t.nodes {
		n := &t.nodes[i]
		n.up = i - 1
		for n.up >= 0 && !strings.HasPrefix(n.name, t.nodes[n.up].name) {
			n.up = t.nodes[n.up].up
		}
		t.auto = t.auto || n.exact != nil && n.exact.auto || n.prefix != nil && n.prefix.auto
	}
}
