package site

import (
	"strings"
	"time"

	"dyups/codec/conf"
)

// defaultLocation is what nginx 1.31 has where nothing is said.
func (b *builder) defaultLocation() *Location {
	return &Location{
		Root:        plainValue(b.below("html")),
		Index:       []string{"index.html"},
		DefaultType: "text/plain",
		Types:       map[string]string{"html": "text/html", "gif": "image/gif", "jpg": "image/jpeg"},

		KeepaliveTimeout:  75 * time.Second,
		KeepaliveRequests: 1000,
		KeepaliveTime:     time.Hour,
		DisableMSIE6:      true,
		ClientBodyTimeout: 60 * time.Second,
		SendTimeout:       60 * time.Second,
		MaxBodySize:       1 << 20,
		BodyBufferSize:    16 << 10,
		BodyTempPath:      b.below("client_body_temp"),
		ServerTokens:      true,
		AccessLogs:        []AccessLog{{Path: b.below("logs/access.log"), Format: b.formats["combined"]}},
		Resolver:          nil,

		LingeringClose:   "on",
		LingeringTime:    30 * time.Second,
		LingeringTimeout: 5 * time.Second,
		ChunkedEncoding:  true,
		NotFoundLog:      true,
		routing:          routing{absoluteRedirect: true, portInRedirect: true, real: &realIP{name: "x-real-ip"}},
	}
}

// at makes a rule for a time kept in the location.
func timeAt(name string, at func(*Location) *time.Duration) rule {
	return rule{Name: name, In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
		*at(l.loc), err = d.Time(0)
		return err
	}}
}

func flagAt(name string, at func(*Location) *bool) rule {
	return onOff(name, inLoc, func(l *level) *bool { return at(l.loc) })
}

// locationRules are the directives about connections, bodies, files and answers.
func locationRules() []rule {
	rs := []rule{
		{Name: "keepalive_timeout", In: inLoc, Min: 1, Max: 2, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.KeepaliveHeader = 0
			if l.loc.KeepaliveTimeout, err = d.Time(0); err == nil && len(d.Args) == 2 {
				l.loc.KeepaliveHeader, err = d.TimeSeconds(1)
			}
			return err
		}},
		{Name: "keepalive_requests", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.KeepaliveRequests, err = d.Int(0, 0, 1<<30)
			return err
		}},
		{Name: "keepalive_disable", In: inLoc, Min: 1, Max: 2, Many: true, Set: func(l *level, d *conf.Directive) error {
			if l.fresh("keepalive_disable") {
				l.loc.DisableMSIE6, l.loc.DisableSafari = false, false
			}
			for i := range d.Args {
				w, err := d.Enum(i, "none", "msie6", "safari")
				if err != nil {
					return err
				}
				l.loc.DisableMSIE6 = l.loc.DisableMSIE6 || w == "msie6"
				l.loc.DisableSafari = l.loc.DisableSafari || w == "safari"
			}
			return nil
		}},
		timeAt("keepalive_time", func(l *Location) *time.Duration { return &l.KeepaliveTime }),
		timeAt("client_body_timeout", func(l *Location) *time.Duration { return &l.ClientBodyTimeout }),
		timeAt("send_timeout", func(l *Location) *time.Duration { return &l.SendTimeout }),
		timeAt("lingering_time", func(l *Location) *time.Duration { return &l.LingeringTime }),
		timeAt("lingering_timeout", func(l *Location) *time.Duration { return &l.LingeringTimeout }),
		{Name: "lingering_close", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.LingeringClose, err = d.Enum(0, "off", "on", "always")
			return err
		}},

		size("client_max_body_size", inLoc, func(l *level) *int64 { return &l.loc.MaxBodySize }),
		size("client_body_buffer_size", inLoc, func(l *level) *int64 { return &l.loc.BodyBufferSize }),
		{Name: "client_body_in_file_only", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			w, err := d.Enum(0, "off", "on", "clean")
			l.loc.BodyInFile = map[string]BodyInFile{"off": BodyFileOff, "on": BodyFileOn, "clean": BodyFileClean}[w]
			return err
		}},
		{Name: "client_body_in_single_buffer", In: inLoc, Min: 1, Max: 1, Set: onlyOnOff}, // bodies in memory always are
		{Name: "client_body_temp_path", In: inLoc, Min: 1, Max: 4, Set: func(l *level, d *conf.Directive) error {
			l.loc.BodyTempPath = l.b.below(d.Args[0].Text)
			for i := 1; i < len(d.Args); i++ {
				if _, err := d.Int(i, 1, 3); err != nil {
					return err
				}
			}
			return nil
		}},
		ignored("proxy_temp_path", inLoc, 1, 4),
		ignored("fastcgi_temp_path", inLoc, 1, 4),
		ignored("uwsgi_temp_path", inLoc, 1, 4),
		ignored("scgi_temp_path", inLoc, 1, 4),

		flagAt("absolute_redirect", func(l *Location) *bool { return &l.absoluteRedirect }),
		flagAt("port_in_redirect", func(l *Location) *bool { return &l.portInRedirect }),
		flagAt("server_name_in_redirect", func(l *Location) *bool { return &l.nameInRedirect }),
		flagAt("chunked_transfer_encoding", func(l *Location) *bool { return &l.ChunkedEncoding }),
		flagAt("reset_timedout_connection", func(l *Location) *bool { return &l.ResetTimedout }),
		{Name: "error_log", In: inLoc, Min: 1, Max: 2, Many: true, Set: func(l *level, d *conf.Directive) error {
			l.b.warn(d.Name.Pos, `"error_log" has effect in the main context only: these messages go there`)
			return nil
		}},
		flagAt("log_not_found", func(l *Location) *bool { return &l.NotFoundLog }),
		{Name: "tcp_nodelay", In: inLoc, Min: 1, Max: 1, Set: onlyOnOff},
		{Name: "tcp_nopush", In: inLoc, Min: 1, Max: 1, Set: onlyOnOff},
		{Name: "sendfile", In: inLoc | conf.If, Min: 1, Max: 1, Set: onlyOnOff},
		ignored("open_log_file_cache", inLoc, 1, 4),

		// Hints about how nginx reads files and fills its tables.
		ignored("types_hash_max_size", inLoc, 1, 1),
		ignored("types_hash_bucket_size", inLoc, 1, 1),
		ignored("sendfile_max_chunk", inLoc, 1, 1),
		ignored("output_buffers", inLoc, 2, 2),
		ignored("postpone_output", inLoc, 1, 1),
		ignored("open_file_cache", inLoc, 1, 2),
		ignored("open_file_cache_valid", inLoc, 1, 1),
		ignored("open_file_cache_min_uses", inLoc, 1, 1),
		ignored("open_file_cache_errors", inLoc, 1, 1),
		ignored("aio", inLoc, 1, 1),
		ignored("directio", inLoc, 1, 1),
		ignored("read_ahead", inLoc, 1, 1),

		{Name: "server_tokens", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			w, err := d.Enum(0, "on", "off", "build")
			l.loc.ServerTokens = w != "off"
			return err
		}},
		{Name: "resolver", In: inLoc, Min: 1, Max: -1, Set: setResolver},
		{Name: "resolver_timeout", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			t, err := d.Time(0)
			if t == 0 { // as in nginx: no limit
				t = -1
			}
			l.resolverTimeout = t
			return err
		}},
	}
	return append(rs, contentRules()...)
}

// contentRules are the directives that say what is answered.
func contentRules() []rule {
	return []rule{
		{Name: "default_type", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			l.loc.DefaultType = d.Args[0].Text
			return nil
		}},
		{Name: "root", In: inLoc | conf.If, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			return l.setRoot(d, false)
		}},
		{Name: "alias", In: conf.Location, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			if l.loc.named {
				return d.Errorf("cannot be used inside the named location %q", l.loc.Name)
			}
			return l.setRoot(d, true)
		}},
		{Name: "index", In: inLoc, Min: 1, Max: -1, Many: true, Set: func(l *level, d *conf.Directive) error {
			if l.fresh("index") {
				l.loc.Index = nil
			}
			for _, w := range d.Args {
				if hasVars(w.Text) {
					return conf.Errorf(w.Pos, "variables are not supported in \"index\", found %q", w.Text)
				}
				l.loc.Index = append(l.loc.Index, w.Text)
			}
			return nil
		}},
		{Name: "internal", In: conf.Location, Set: func(l *level, _ *conf.Directive) error {
			l.loc.internal = true
			return nil
		}},
		{Name: "echo", In: conf.Location | conf.If, Min: 0, Max: -1, Many: true, Set: setEcho},
		{Name: "dyups_interface", In: conf.Location, Set: func(l *level, d *conf.Directive) error {
			l.loc.CheckStatus = ""
			return l.setContent(d, Interface)
		}},
		{Name: "check_status", In: conf.Location, Max: 1, Set: setCheckStatus},
		{Name: "dyups_detail", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			w, err := d.Enum(0, "full", "short")
			l.loc.DyupsDetailFull = w == "full"
			return err
		}},
		{Name: "add_header", In: inLoc | conf.If, Min: 2, Max: 3, Many: true, Set: addField(func(l *Location) *[]AddHeader { return &l.AddHeaders })},
		{Name: "add_trailer", In: inLoc | conf.If, Min: 2, Max: 3, Many: true, Set: addField(func(l *Location) *[]AddHeader { return &l.AddTrailers })},
		{Name: "limit_rate", In: inLoc | conf.If, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.LimitRate, err = l.sizeValue(d)
			return err
		}},
		{Name: "limit_rate_after", In: inLoc | conf.If, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.LimitRateAfter, err = l.sizeValue(d)
			return err
		}},
		{Name: "expires", In: inLoc | conf.If, Min: 1, Max: 2, Set: setExpires},
		{Name: "error_page", In: inLoc | conf.If, Min: 2, Max: -1, Many: true, Set: setErrorPage},
		{Name: "recursive_error_pages", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			on, err := d.OnOff()
			if err == nil && on {
				err = d.Value(0).Invalid(`"off" in this version`)
			}
			return err
		}},
		{Name: "access_log", In: inLoc | conf.If | conf.LimitExcept, Min: 1, Max: -1, Many: true, Set: setAccessLog},
	}
}

// setContent makes c the handler of the location; another one at the same level is an error.
func (l *level) setContent(d *conf.Directive, c Content) error {
	if !l.fresh("handler " + d.Name.Text) {
		return nil
	}
	if l.own["handler"] {
		return d.Errorf("stands beside another directive that answers the request; a location has one of proxy_pass, echo, dyups_interface and check_status")
	}
	l.fresh("handler")
	l.loc.Content, l.loc.Proxy, l.loc.Echo = c, nil, nil
	return nil
}

func (l *level) setRoot(d *conf.Directive, alias bool) error {
	if !l.fresh("root") {
		return d.Errorf("is duplicate, a location has one of root and alias")
	}
	v, err := l.pathValue(d.Args[0], l.b.env.Prefix)
	if err != nil {
		return err
	}
	if text, ok := v.Static(); ok && !alias { // nginx takes one trailing slash off
		for len(text) > 1 && text[len(text)-1] == '/' {
			text = text[:len(text)-1]
		}
		v = plainValue(text)
	}
	l.loc.Root, l.loc.Alias = v, alias
	return nil
}

// setCheckStatus reads check_status [html|csv|json].
func setCheckStatus(l *level, d *conf.Directive) (err error) {
	form := "html"
	if len(d.Args) > 0 {
		if form, err = d.Enum(0, "html", "csv", "json"); err != nil {
			return err
		}
	}
	l.loc.CheckStatus = form
	return l.setContent(d, Interface)
}

// setEcho reads echo WORD...; words are joined by one space.
func setEcho(l *level, d *conf.Directive) error {
	if err := l.setContent(d, Echo); err != nil {
		return err
	}
	w := conf.Word{Pos: d.Name.Pos}
	for i, a := range d.Args {
		if i > 0 {
			w.Text += " "
		}
		w.Text += a.Text
	}
	v, err := l.value(w)
	l.loc.Echo = append(l.loc.Echo, v)
	return err
}

// addField makes the setter of add_header or add_trailer. A level that has one of its own forgets those of the level above.
func addField(at func(*Location) *[]AddHeader) func(*level, *conf.Directive) error {
	return func(l *level, d *conf.Directive) error {
		v, err := l.value(d.Args[1])
		if err != nil {
			return err
		}
		h := AddHeader{Name: d.Args[0].Text, Value: v}
		if d.Name.Text == "add_header" { // nginx, ngx_http_headers_filter_module
			h.Replaces = strings.EqualFold(h.Name, "ETag") || strings.EqualFold(h.Name, "Last-Modified")
		}
		if len(d.Args) == 3 {
			if d.Args[2].Text != "always" {
				return d.BadParam(2, "always")
			}
			h.Always = true
		}
		if !isFieldName(h.Name) {
			return d.Value(0).Invalid("the name of a header field")
		}
		list := at(l.loc)
		if l.fresh(d.Name.Text) {
			*list = nil
		}
		*list = append(*list, h)
		return nil
	}
}

// isFieldName reports whether s is a token (RFC 9110 section 5.6.2).
func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == ':' || c == '"' || c == '(' || c == ')' || c == ',' || c == '/' || c == ';' || c == '<' || c == '=' || c == '>' ||
			c == '?' || c == '@' || c == '[' || c == '\\' || c == ']' || c == '{' || c == '}':
			return false
		}
	}
	return s != ""
}
