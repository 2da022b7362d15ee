package site

import (
	"strings"

	"dyups/codec/conf"
)

// combined is the predefined log format.
const combined = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`

// logFormats reads every log_format of the http block, before anything refers to one.
func (b *builder) logFormats(ds []*conf.Directive) error {
	v, err := b.logFormat(combined, conf.Pos{}, "default")
	if err != nil {
		return err
	}
	b.formats["combined"] = v
	for _, d := range ds {
		if d.Name.Text != "log_format" || len(d.Args) < 2 {
			continue
		}
		name := d.Args[0].Text
		if b.formats[name] != nil {
			return conf.Errorf(d.Args[0].Pos, "duplicate log format %q", name)
		}
		escape, rest := "default", d.Args[1:]
		if key, val, ok := d.Param(1); ok && key == "escape" {
			if escape, err = val.Enum("default", "json", "none"); err != nil {
				return err
			}
			rest = rest[1:]
		}
		var text strings.Builder
		for _, w := range rest {
			text.WriteString(w.Text)
		}
		if b.formats[name], err = b.logFormat(text.String(), d.Args[0].Pos, escape); err != nil {
			return err
		}
	}
	return nil
}

// logFormat compiles a format: each variable is escaped, and "-" stands for one that is not there (escape=default).
func (b *builder) logFormat(text string, pos conf.Pos, escape string) (*Value, error) {
	if escape == "none" {
		return b.scope.valueOf(text, pos, nil)
	}
	return b.scope.valueOf(text, pos, func(_ string, g *getter) getter {
		if escape == "json" {
			return func(dst []byte, r *Request) ([]byte, bool) {
				n := len(dst)
				dst, ok := (*g)(dst, r)
				return escapeTail(dst, n, &jsonCost, appendJSON), ok
			}
		}
		return func(dst []byte, r *Request) ([]byte, bool) {
			n := len(dst)
			dst, ok := (*g)(dst, r)
			if !ok {
				return append(dst[:n], '-'), true
			}
			return escapeTail(dst, n, &logCost, appendLogByte), true
		}
	})
}

// logCost and jsonCost say how many bytes more a byte takes when it is escaped.
var logCost, jsonCost = func() (l, j [256]uint8) {
	for c := range l {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			l[c] = 3 // \xXX
		}
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f':
			j[c] = 1
		case c < 0x20:
			j[c] = 5 // \u00XX
		}
	}
	return l, j
}()

// escapeTail escapes dst[n:] in place, from its end, so that nothing is allocated but dst's growth.
func escapeTail(dst []byte, n int, cost *[256]uint8, put func(dst []byte, c byte)) []byte {
	more := 0
	for _, c := range dst[n:] {
		more += int(cost[c])
	}
	if more == 0 {
		return dst
	}
	end := len(dst)
	for i := 0; i < more; i++ {
		dst = append(dst, 0)
	}
	w := len(dst)
	for i := end - 1; i >= n; i-- {
		c := dst[i]
		k := int(cost[c])
		w -= k + 1
		if k == 0 {
			dst[w] = c
		} else {
			put(dst[w:w+k+1], c)
		}
	}
	return dst
}

// appendLogByte writes \xXX. Source: nginx, ngx_http_log_escape.
func appendLogByte(dst []byte, c byte) {
	dst[0], dst[1], dst[2], dst[3] = '\\', 'x', upperHex[c>>4], upperHex[c&15]
}

// appendJSON writes the short or the long escape of RFC 8259 section 7.
func appendJSON(dst []byte, c byte) {
	dst[0] = '\\'
	switch c {
	case '\n':
		dst[1] = 'n'
	case '\r':
		dst[1] = 'r'
	case '\t':
		dst[1] = 't'
	case '\b':
		dst[1] = 'b'
	case '\f':
		dst[1] = 'f'
	case '"', '\\':
		dst[1] = c
	default:
		dst[1], dst[2], dst[3], dst[4], dst[5] = 'u', '0', '0', upperHex[c>>4], upperHex[c&15]
	}
}

// accessLogWords are the parameters of access_log, for errors.
var accessLogWords = []string{"if=", "buffer=", "flush=", "gzip", "gzip="}

// setAccessLog reads access_log off, which excludes all others of its level, and access_log PATH [FORMAT] [if=COND] [buffer=]
// [flush=] [gzip]. Records are written in batches anyway: buffer, flush and gzip are accepted.
func setAccessLog(l *level, d *conf.Directive) error {
	if l.fresh("access_log") {
		l.loc.AccessLogs = nil
	}
	path := d.Args[0].Text
	if path == "off" {
		if len(d.Args) > 1 {
			return conf.Errorf(d.Args[1].Pos, "invalid parameter %q, \"access_log off\" takes no parameter", d.Args[1].Text)
		}
		l.loc.AccessLogs = nil
		l.fresh("access_log off")
		return nil
	}
	if strings.HasPrefix(path, "syslog:") {
		return d.Value(0).Invalid("a path or \"off\", syslog is not supported by this version")
	}
	a := AccessLog{Format: l.b.formats["combined"]}
	if hasVars(path) {
		v, err := l.pathValue(d.Args[0], l.b.env.Prefix)
		if err != nil {
			return err
		}
		a.PathValue = v
	} else {
		a.Path = l.b.below(path)
	}
	for i := 1; i < len(d.Args); i++ {
		key, v, ok := d.Param(i)
		var err error
		switch {
		case ok && key == "if":
			a.If, err = l.value(conf.Word{Text: v.Text, Pos: v.Pos})
		case ok && key == "buffer":
			_, err = v.Size()
		case ok && key == "flush":
			_, err = v.Time()
		case ok && key == "gzip":
			_, err = v.Int(1, 9)
		case key == "gzip":
		case i == 1:
			if a.Format = l.b.formats[key]; a.Format == nil {
				err = conf.Errorf(d.Args[i].Pos, "unknown log format %q", key)
			}
		default:
			err = d.BadParam(i, accessLogWords...)
		}
		if err != nil {
			return err
		}
	}
	if !l.own["access_log off"] {
		l.loc.AccessLogs = append(l.loc.AccessLogs, a)
	}
	return nil
}
