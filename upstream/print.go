package upstream

import (
	"strconv"
	"strings"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
)

// AppendServers appends one "server ADDR" line for each server directive, never with parameters: the text of
// GET /upstream/NAME. A host name shows as its first address, or as written where it is looked up again and again.
func (u *Upstream) AppendServers(dst []byte) []byte {
	u.eachLine(func(s *ServerSpec) {
		dst = append(append(append(dst, "server "...), s.Label...), '\n')
	})
	return dst
}

// Line is one server directive of an upstream. Its servers are N of Upstream.Servers from First on.
type Line struct {
	Server   *ServerSpec // stands for the directive: as written where its name is looked up again and again, else the first of its servers
	First, N int         // N is 0 where the name has no address
	Name     int         // index in Spec.Names, -1: it is no such name
}

// Lines gives the server directives in order.
func (u *Upstream) Lines() []Line {
	if u.spec == nil {
		lines := make([]Line, len(u.Servers))
		for i, s := range u.Servers {
			lines[i] = Line{s.ServerSpec, i, 1, -1}
		}
		return lines
	}
	lines := make([]Line, len(u.spec.lines))
	names := 0
	for i, l := range u.spec.lines {
		lines[i] = Line{u.spec.of(l), l.first, l.n, -1}
		if l.named != nil {
			lines[i].Name = names
			names++
		}
	}
	return lines
}

// AppendUnresolved is the full form of AppendDetail, and says behind a line whose name has no address why that is; failures are the
// texts for each of Spec.Names.
func (u *Upstream) AppendUnresolved(dst []byte, failures []string) []byte {
	for _, l := range u.Lines() {
		dst = l.Server.appendFull(dst)
		if l.N == 0 {
			dst = strconv.AppendQuote(append(dst[:len(dst)-1], " unresolved="...), failures[l.Name])
			dst = append(dst, '\n')
		}
	}
	return dst
}

// AppendDetail appends what GET /detail shows under the upstream's name, a line for each statement. A host name shows
// as its first address, as in the original.
//
// full is the form of the original's newer builds: every parameter of every server, no other directive, and no
// semicolons. The short form shows parameters that are not the default, and the other directives. An upstream of
// plain servers alone prints as "server ADDR" lines without semicolons, which is what the original printed at first;
// any other one prints with them, so that the text can be posted back.
func (u *Upstream) AppendDetail(dst []byte, full bool) []byte {
	if full {
		u.eachLine(func(s *ServerSpec) { dst = s.appendFull(dst) })
		return dst
	}
	plain := true
	var ds []*conf.Directive
	u.eachLine(func(s *ServerSpec) {
		d := s.directive(s.Label)
		plain = plain && len(d.Args) == 1 && isPlain(s.Label)
		ds = append(ds, d)
	})
	if u.spec != nil {
		if rest := u.spec.directives(); len(rest) > 0 {
			ds, plain = append(ds, rest...), false
		}
	}
	if plain {
		return u.AppendServers(dst)
	}
	return append(dst, conf.Print(ds)...)
}

// AppendBody appends the definition of the upstream as a block's inside, with servers as they were written: parsing it
// gives an equal Spec, as long as host names keep their addresses. It is empty for an upstream outside every table.
func (u *Upstream) AppendBody(dst []byte) []byte {
	if u.spec == nil {
		return dst
	}
	return u.spec.AppendBody(dst)
}

// AppendBody appends the definition as a block's inside, as Upstream.AppendBody does.
func (s *Spec) AppendBody(dst []byte) []byte {
	var ds []*conf.Directive
	for _, l := range s.lines {
		sv := s.of(l)
		ds = append(ds, sv.directive(sv.Name))
	}
	return append(dst, conf.Print(append(ds, s.directives()...))...)
}

// of is the server that stands for a line in print.
func (s *Spec) of(l line) *ServerSpec {
	if l.named != nil {
		return &l.named.server
	}
	return &s.servers[l.first]
}

// eachLine calls f with the server that stands for each server directive: the line itself where its name is looked up
// again and again, else the first of its servers.
func (u *Upstream) eachLine(f func(*ServerSpec)) {
	if u.spec == nil {
		for _, s := range u.Servers {
			f(s.ServerSpec)
		}
		return
	}
	for _, l := range u.spec.lines {
		f(u.spec.of(l))
	}
}

// appendFull appends the line of the newer builds, and behind it the parameters that those do not know where they are set; times are
// in seconds.
func (s *ServerSpec) appendFull(dst []byte) []byte {
	num := func(key string, n int64) {
		dst = strconv.AppendInt(append(dst, key...), n, 10)
	}
	flag := func(key string, on bool) {
		n := int64(0)
		if on {
			n = 1
		}
		num(key, n)
	}
	dst = append(append(dst, "server "...), s.Label...)
	num(" weight=", int64(s.Weight))
	num(" max_conns=", int64(s.MaxConns))
	num(" max_fails=", int64(s.MaxFails))
	num(" fail_timeout=", int64(s.FailTimeout/time.Second))
	flag(" backup=", s.Backup)
	flag(" down=", s.Down)
	if s.SlowStart != 0 {
		num(" slow_start=", int64(s.SlowStart/time.Second))
	}
	if s.Drain {
		dst = append(dst, " drain"...)
	}
	if s.Route != "" {
		dst = append(append(dst, " route="...), s.Route...)
	}
	if s.Resolve {
		dst = append(dst, " resolve"...)
	}
	if s.Service != "" {
		dst = append(append(dst, " service="...), s.Service...)
	}
	return append(dst, '\n')
}

// directive is the server as a statement with the parameters that are not the default.
func (s *ServerSpec) directive(address string) *conf.Directive {
	args := []string{address}
	num := func(key string, n, usual int) {
		if n != usual {
			args = append(args, key+strconv.Itoa(n))
		}
	}
	num("weight=", s.Weight, 1)
	num("max_conns=", s.MaxConns, 0)
	num("max_fails=", s.MaxFails, 1)
	if s.FailTimeout != 10*time.Second {
		args = append(args, "fail_timeout="+seconds(s.FailTimeout))
	}
	if s.SlowStart != 0 {
		args = append(args, "slow_start="+seconds(s.SlowStart))
	}
	if s.Backup {
		args = append(args, "backup")
	}
	if s.Down {
		args = append(args, "down")
	}
	if s.Drain {
		args = append(args, "drain")
	}
	if s.Route != "" {
		args = append(args, "route="+s.Route)
	}
	if s.Resolve {
		args = append(args, "resolve")
	}
	if s.Service != "" {
		args = append(args, "service="+s.Service)
	}
	return statement("server", args...)
}

// directives are the statements of a spec other than its servers, those that say the default left out. They come
// behind the servers, where every method accepts backups.
func (s *Spec) directives() (ds []*conf.Directive) {
	add := func(name string, args ...string) { ds = append(ds, statement(name, args...)) }
	if s.method != lb.RoundRobin {
		add(methodNames[s.method], s.methodArgs()...)
	}
	if s.zone != nil {
		add("zone", s.zone...)
	}
	if !s.inherited {
		for _, c := range s.checks {
			ds = append(ds, c.directives()...)
		}
	}
	if s.panic > 0 {
		add("panic_threshold", strconv.Itoa(s.panic)+"%")
	}
	if s.sticky != nil {
		add("sticky", s.sticky.args...)
	}
	if q := s.queue; q.max > 0 {
		args := []string{strconv.Itoa(q.max)}
		if q.timeout != defaultQueueTimeout {
			args = append(args, "timeout="+milliseconds(q.timeout))
		}
		add("queue", args...)
	}
	if s.resolverArgs != nil {
		add("resolver", s.resolverArgs...)
	}
	if s.resolverTimeout != 0 {
		add("resolver_timeout", milliseconds(max(s.resolverTimeout, 0)))
	}
	k, usual := s.keepalive, defaultKeepalive
	switch {
	case k.local:
		add("keepalive", strconv.Itoa(k.conns), "local")
	case k.conns != usual.conns:
		add("keepalive", strconv.Itoa(k.conns))
	}
	if k.requests != usual.requests {
		add("keepalive_requests", strconv.Itoa(k.requests))
	}
	if k.time != usual.time {
		add("keepalive_time", milliseconds(k.time))
	}
	if k.timeout != usual.timeout {
		add("keepalive_timeout", milliseconds(k.timeout))
	}
	return ds
}

func statement(name string, args ...string) *conf.Directive {
	d := &conf.Directive{Name: conf.Word{Text: name}}
	for _, a := range args {
		d.Args = append(d.Args, conf.Word{Text: a})
	}
	return d
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }

// milliseconds prints a time in seconds where that is exact.
func milliseconds(d time.Duration) string {
	if d%time.Second == 0 {
		return seconds(d)
	}
	return strconv.FormatInt(int64(d/time.Millisecond), 10) + "ms"
}

// isPlain reports whether a label can stand in a statement without quotes.
func isPlain(label string) bool {
	return !strings.ContainsFunc(label, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'\\;{}$#", r)
	})
}
