package site

import (
	"strings"
	"time"

	"dyups/codec/conf"
)

// minShmZone is the smallest dyups_shm_zone_size: the original did not start below it.
const minShmZone = 8 << 10

var defaultDyups = Dyups{ReadMsgTimeout: time.Second, ShmZoneSize: 2 << 20, Coalesce: true}

// httpRules are the directives of the http level alone, and those with a block of their own.
func httpRules() []rule {
	return []rule{
		{Name: "server", In: inHTTP, Block: true, Many: true, Set: func(l *level, d *conf.Directive) error {
			l.blocks = append(l.blocks, func() error { return l.server(d) })
			return nil
		}},
		{Name: "upstream", In: inHTTP, Min: 1, Max: 1, Block: true, Many: true, Set: upstreamBlock},
		{Name: "match", In: inHTTP, Min: 1, Max: 1, Block: true, Many: true, Set: func(l *level, d *conf.Directive) error {
			l.b.site.Matches = append(l.b.site.Matches, d)
			return nil
		}},
		{Name: "map", In: inHTTP, Min: 2, Max: 2, Block: true, Many: true, Set: mapBlock},
		{Name: "types", In: inLoc, Block: true, Many: true, Set: typesBlock},
		// logFormats has read these before everything else, so that their order does not matter.
		{Name: "log_format", In: inHTTP, Min: 2, Max: -1, Many: true, Set: func(*level, *conf.Directive) error { return nil }},

		{Name: "dyups_read_msg_timeout", In: inHTTP, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.b.site.Dyups.ReadMsgTimeout, err = d.Time(0)
			return err
		}},
		{Name: "dyups_shm_zone_size", In: inHTTP, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			n, err := d.Size(0)
			if err == nil && n < minShmZone {
				err = d.Value(0).Invalid("a size of at least 8k")
			}
			l.b.site.Dyups.ShmZoneSize = n
			return err
		}},
		{Name: "dyups_reload", In: inHTTP, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			w, err := d.Enum(0, "keep", "reset")
			l.b.site.Dyups.ReloadReset = w == "reset"
			return err
		}},
		{Name: "dyups_coalesce", In: inHTTP, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.b.site.Dyups.Coalesce, err = d.OnOff()
			return err
		}},
		{Name: "dyups_trylock", In: inHTTP, Min: 1, Max: 1, Set: onlyOnOff},
		{Name: "dyups_read_msg_log", In: inHTTP, Min: 1, Max: 1, Set: onlyOnOff},
		{Name: "dyups_upstream_conf", In: inHTTP, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			l.b.warn(d.Name.Pos, `"dyups_upstream_conf" is deprecated and has no effect`)
			return nil
		}},

		ignored("check_shm_size", inHTTP, 1, 1), // there is no memory to share
		ignored("server_names_hash_bucket_size", inHTTP, 1, 1),
		ignored("server_names_hash_max_size", inHTTP, 1, 1),
		ignored("map_hash_bucket_size", inHTTP, 1, 1),
		ignored("map_hash_max_size", inHTTP, 1, 1),
		ignored("variables_hash_bucket_size", inHTTP, 1, 1),
		ignored("variables_hash_max_size", inHTTP, 1, 1),
	}
}

// onlyOnOff checks the argument of a flag that has no effect here.
func onlyOnOff(_ *level, d *conf.Directive) error {
	_, err := d.OnOff()
	return err
}

// typesBlock reads types { TYPE EXTENSION...; }. The first one at a level replaces what it inherits.
func typesBlock(l *level, d *conf.Directive) error {
	m := map[string]string{}
	if !l.fresh("types") {
		for k, v := range l.loc.Types {
			m[k] = v
		}
	}
	for _, t := range d.Block {
		if t.HasBlock || len(t.Args) == 0 {
			return conf.Errorf(t.Name.Pos, "invalid line %q in types block, it must be TYPE EXTENSION...;", t.Name.Text)
		}
		for _, ext := range t.Args {
			key := strings.ToLower(ext.Text)
			if old, ok := m[key]; ok && old != t.Name.Text {
				l.b.warn(ext.Pos, "duplicate extension \""+ext.Text+"\", the last one counts")
			}
			m[key] = t.Name.Text
		}
	}
	l.loc.Types = m
	return nil
}

// server compiles one server block.
func (l *level) server(d *conf.Directive) error {
	inherited := *l.srv.srv
	s := &serverDraft{srv: &inherited, pos: d.Name.Pos}
	c := l.child(conf.Server)
	c.srv = s
	s.srv.Root = c.loc
	c.loc.routes = &routes{}
	s.srv.routes = c.loc.routes
	l.b.site.Locations = append(l.b.site.Locations, c.loc)
	if err := c.apply(d.Block); err != nil {
		return err
	}
	c.loc.routes.seal()
	if len(s.names) > 0 {
		s.srv.Name = strings.TrimPrefix(s.names[0].shown, ".")
	}
	return l.b.addListens(s)
}
