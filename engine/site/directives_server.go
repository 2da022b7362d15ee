package site

import (
	"os"
	"strings"
	"time"

	"dyups/codec/conf"
)

// defaultServer is what nginx 1.31 has where nothing is said.
func defaultServer() *Server {
	return &Server{
		ClientHeaderTimeout: 60 * time.Second,
		HeaderBufferSize:    1 << 10,
		LargeBuffers:        4,
		LargeBufferSize:     8 << 10,
		IgnoreInvalid:       true,
		mergeSlashes:        true,
	}
}

// serverRules are the directives of a server and of its connections.
func serverRules() []rule {
	return []rule{
		{Name: "listen", In: conf.Server, Min: 1, Max: -1, Many: true, Set: func(l *level, d *conf.Directive) error {
			specs, err := parseListen(d, l.b.env)
			l.srv.listens = append(l.srv.listens, specs...)
			return err
		}},
		{Name: "server_name", In: conf.Server, Min: 1, Max: -1, Many: true, Set: setServerName},
		{Name: "location", In: conf.Server | conf.Location, Min: 1, Max: 2, Block: true, Many: true,
			Set: func(l *level, d *conf.Directive) error {
				l.blocks = append(l.blocks, func() error { return l.location(d) })
				return nil
			}},

		{Name: "client_header_timeout", In: inServer, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.srv.srv.ClientHeaderTimeout, err = d.Time(0)
			return err
		}},
		{Name: "client_header_buffer_size", In: inServer, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.srv.srv.HeaderBufferSize, err = atLeastOne(d, 0)
			return err
		}},
		{Name: "large_client_header_buffers", In: inServer, Min: 2, Max: 2, Set: func(l *level, d *conf.Directive) (err error) {
			if l.srv.srv.LargeBuffers, err = d.Int(0, 1, 1<<20); err == nil {
				l.srv.srv.LargeBufferSize, err = atLeastOne(d, 1)
			}
			return err
		}},
		onOff("underscores_in_headers", inServer, func(l *level) *bool { return &l.srv.srv.Underscores }),
		onOff("ignore_invalid_headers", inServer, func(l *level) *bool { return &l.srv.srv.IgnoreInvalid }),
		onOff("merge_slashes", inServer, func(l *level) *bool { return &l.srv.srv.mergeSlashes }),
		ignored("connection_pool_size", inServer, 1, 1),
		ignored("request_pool_size", inServer, 1, 1),
	}
}

// atLeastOne reads argument i as a size above zero.
func atLeastOne(d *conf.Directive, i int) (int64, error) {
	n, err := d.Size(i)
	if err == nil && n == 0 {
		err = d.Value(i).Invalid("a size above 0")
	}
	return n, err
}

// setServerName reads server_name: exact names, *.x, .x, x.*, ~regex and "".
func setServerName(l *level, d *conf.Directive) error {
	for _, w := range d.Args {
		n := serverName{text: strings.ToLower(w.Text), shown: strings.ToLower(w.Text)}
		switch {
		case strings.HasPrefix(w.Text, "~"):
			if w.Text == "~" {
				return conf.Errorf(w.Pos, "empty regular expression in server name %q", w.Text)
			}
			re, err := l.b.scope.regex(w.Text[1:], true, w.Pos)
			if err != nil {
				return err
			}
			n = serverName{text: w.Text, shown: w.Text, re: re}
		case n.text == "$hostname":
			n.text = strings.ToLower(hostname)
			n.shown = n.text
		default:
			if why := badServerName(n.text); why != "" {
				return conf.Errorf(w.Pos, "invalid server name %q, %s", w.Text, why)
			}
		}
		l.srv.names = append(l.srv.names, n)
	}
	return nil
}

// badServerName says what is wrong with a name that is no regular expression, "" if nothing.
func badServerName(n string) string {
	if strings.ContainsAny(n, "/ \t") {
		return "it must be a host name"
	}
	if i := strings.IndexByte(n, '*'); i >= 0 {
		lead, trail := strings.HasPrefix(n, "*.") && len(n) > 2, strings.HasSuffix(n, ".*") && len(n) > 2
		if strings.Count(n, "*") > 1 || !lead && !trail {
			return `a "*" may only stand for the first or the last label`
		}
	}
	if n == "." || strings.Contains(n, "..") {
		return "it has an empty label"
	}
	return ""
}

// hostname is $hostname, read once.
var hostname = func() string {
	h, _ := os.Hostname()
	return strings.ToLower(h)
}()

// location compiles one location block.
func (l *level) location(d *conf.Directive) error {
	c := l.child(conf.Location)
	loc := c.loc
	loc.re, loc.exact, loc.noRegex, loc.named, loc.internal, loc.auto = nil, false, false, false, false, false
	loc.Content, loc.Proxy, loc.Echo = Static, nil, nil
	loc.Prefix = ""
	if err := l.nameLocation(loc, d); err != nil {
		return err
	}
	l.b.site.Locations = append(l.b.site.Locations, loc)
	if err := c.apply(d.Block); err != nil {
		return err
	}
	if loc.routes != nil {
		loc.routes.seal()
	}
	if l.loc.routes == nil {
		l.loc.routes = &routes{}
	}
	if !l.loc.routes.add(loc) {
		return conf.Errorf(d.Args[0].Pos, "duplicate location %q", loc.Name)
	}
	return nil
}

// nameLocation reads what stands between "location" and its block.
func (l *level) nameLocation(loc *Location, d *conf.Directive) error {
	w := d.Args[0]
	mod, path := "", w.Text
	switch {
	case len(d.Args) == 2:
		mod, path = w.Text, d.Args[1].Text
		w = d.Args[1]
	case w.Quoted:
	default: // the modifier may be written without a space
		for _, m := range []string{"^~", "~*", "~", "="} {
			if strings.HasPrefix(path, m) {
				mod, path = m, path[len(m):]
				break
			}
		}
	}
	loc.Name = path
	if mod != "" {
		loc.Name = mod + " " + path
	}
	switch mod {
	case "=":
		loc.exact = true
	case "^~":
		loc.noRegex = true
	case "~", "~*":
		re, err := l.b.scope.regex(path, mod == "~*", w.Pos)
		loc.re = re
		return err
	case "":
		if strings.HasPrefix(path, "@") {
			loc.named = true
			if l.ctx != conf.Server {
				return conf.Errorf(w.Pos, "named location %q can be on the server level only", path)
			}
			return nil
		}
	default:
		return conf.Errorf(d.Args[0].Pos, "invalid location modifier %q, it must be \"=\", \"^~\", \"~\" or \"~*\"", mod)
	}
	loc.Prefix = path
	if l.ctx == conf.Location {
		switch {
		case l.loc.exact || l.loc.named:
			return conf.Errorf(w.Pos, "location %q cannot be inside the location %q", loc.Name, l.loc.Name)
		case l.loc.re == nil && !strings.HasPrefix(path, l.loc.Prefix):
			return conf.Errorf(w.Pos, "location %q is outside location %q", loc.Name, l.loc.Name)
		}
	}
	return nil
}
