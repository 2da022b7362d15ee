package main

import (
	"strings"

	"dyups/codec/conf"
	"dyups/engine/site"
	"dyups/upstream"
)

// checkSet is what the http block says of health checks. It is not written again.
type checkSet struct {
	match map[string]string            // text of the match blocks
	of    map[string][]*upstream.Check // of the health_checks of locations, by the upstream's name in lower case
}

// newCheckSet reads the match blocks and the health_check directives of a site.
func newCheckSet(s *site.Site) (*checkSet, error) {
	first := map[string]conf.Pos{}
	set := &checkSet{match: map[string]string{}, of: map[string][]*upstream.Check{}}
	for _, d := range s.Matches {
		name := d.Args[0]
		if name.Text == "" {
			return nil, d.Value(0).Invalid("a name")
		}
		if at, ok := first[name.Text]; ok {
			return nil, conf.Errorf(name.Pos, "duplicate match block %q, the first is at %s", name.Text, at.From(name.Pos))
		}
		first[name.Text] = name.Pos
		if _, err := upstream.ParseMatch(d.Block); err != nil {
			return nil, err
		}
		set.match[name.Text] = string(conf.Print(d.Block))
	}
	names := map[string]string{} // of the upstreams, as they are written first
	for _, h := range s.HealthChecks {
		key := strings.ToLower(h.Upstream)
		if names[key] == "" {
			names[key] = h.Upstream
		}
		host := h.Host
		if host == h.Upstream {
			host = names[key]
		}
		c, err := upstream.ParseHealthCheck(h.Directive, upstream.HealthCheckContext{Host: host, Timeout: h.Timeout, Match: set.text})
		if err != nil {
			return nil, err
		}
		if set.of[key], err = upstream.AddCheck(set.of[key], c, h.Directive); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func (s *checkSet) text(name string) (string, bool) {
	text, ok := s.match[name]
	return text, ok
}

// checks gives the checks of an upstream that has none of its own.
func (s *checkSet) checks(name string) []*upstream.Check {
	if len(s.of) == 0 {
		return nil
	}
	return s.of[strings.ToLower(name)]
}
