package site

import (
	"encoding/base64"
	"net/netip"
	"strings"

	"dyups/codec"
	"dyups/codec/conf"
)

// accessRule is one allow or deny.
type accessRule struct {
	allow bool
	all   bool
	unix  bool
	net   netip.Prefix
}

// accessRules are the directives about who may do what, and who the client is.
func accessRules() []rule {
	const in = inLoc | conf.LimitExcept
	return []rule{
		{Name: "allow", In: in, Min: 1, Max: 1, Many: true, Set: setAccess},
		{Name: "deny", In: in, Min: 1, Max: 1, Many: true, Set: setAccess},
		{Name: "satisfy", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) error {
			w, err := d.Enum(0, "all", "any")
			l.loc.satisfyAny = w == "any"
			return err
		}},
		{Name: "auth_basic", In: in, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.realm = nil
			if d.Args[0].Text != "off" {
				l.loc.realm, err = l.value(d.Args[0])
			}
			return err
		}},
		{Name: "auth_basic_user_file", In: in, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.loc.userFile, err = l.pathValue(d.Args[0], l.b.confDir())
			return err
		}},
		{Name: "limit_except", In: conf.Location, Min: 1, Max: -1, Block: true, Set: setLimitExcept},

		{Name: "set_real_ip_from", In: inLoc, Min: 1, Max: 1, Many: true, Set: setRealIPFrom},
		{Name: "real_ip_header", In: inLoc, Min: 1, Max: 1, Set: setRealIPHeader},
		{Name: "real_ip_recursive", In: inLoc, Min: 1, Max: 1, Set: func(l *level, d *conf.Directive) (err error) {
			l.ownRealIP().recursive, err = d.OnOff()
			return err
		}},
	}
}

// parseNet reads ADDRESS or CIDR.
func parseNet(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func setAccess(l *level, d *conf.Directive) error {
	if l.fresh("access") {
		l.loc.access = nil
	}
	a := accessRule{allow: d.Name.Text == "allow"}
	switch text := d.Args[0].Text; text {
	case "all":
		a.all = true
	case "unix:":
		a.unix = true
	default:
		p, ok := parseNet(text)
		if !ok {
			return d.Value(0).Invalid(`an address, a CIDR block, "unix:" or "all"`)
		}
		a.net = p
	}
	l.loc.access = append(l.loc.access, a)
	return nil
}

// limitMethods are the methods that limit_except knows.
var limitMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND",
	"PROPPATCH", "LOCK", "UNLOCK", "PATCH"}

// setLimitExcept reads limit_except METHOD... { }; GET covers HEAD.
func setLimitExcept(l *level, d *conf.Directive) error {
	var methods []string
	for i := range d.Args {
		m, err := d.Enum(i, limitMethods...)
		if err != nil {
			return err
		}
		methods = append(methods, m)
		if m == "GET" {
			methods = append(methods, "HEAD")
		}
	}
	l.blocks = append(l.blocks, func() error {
		c := l.child(conf.LimitExcept)
		l.loc.limit = &limitExcept{methods: methods, loc: c.loc}
		l.b.site.Locations = append(l.b.site.Locations, c.loc)
		return c.apply(d.Block)
	})
	return nil
}

// covers reports whether the block applies to a method.
func (x *limitExcept) covers(method []byte) bool {
	for _, m := range x.methods {
		if m == string(method) {
			return false
		}
	}
	return true
}

// permit runs allow and deny; the first rule that matches decides. decided is false when none does.
func (l *Location) permit(r *Request) (ok, decided bool) {
	if len(l.access) == 0 {
		return true, false
	}
	addr := r.Remote.Addr().Unmap()
	for i := range l.access {
		a := &l.access[i]
		if a.all || a.unix && r.RemoteUnix || !r.RemoteUnix && a.net.IsValid() && a.net.Contains(addr) {
			return a.allow, true
		}
	}
	return true, false
}

// accessPhase runs allow/deny and auth_basic; it returns the answer, or nil when the request may go on.
func (r *Request) accessPhase() *Action {
	l := r.Loc
	if len(l.access) == 0 && l.realm == nil {
		return nil
	}
	ok, decided := l.permit(r)
	if !ok && !l.satisfyAny {
		return r.fail(403, "access forbidden by rule")
	}
	if ok && decided && l.satisfyAny {
		return nil
	}
	if l.realm != nil && !r.Authed {
		realm := r.evalField(l.realm)
		if string(realm) != "off" {
			return r.askPassword(realm)
		}
		if ok {
			return nil
		}
	}
	if l.realm != nil && r.Authed {
		return nil
	}
	if !ok {
		return r.fail(403, "access forbidden by rule")
	}
	return nil
}

// askPassword makes the action that has the credentials checked, or refuses a request that has none.
func (r *Request) askPassword(realm []byte) *Action {
	r.p.realm = realm
	if r.Loc.userFile == nil {
		return r.fail(403, "auth_basic without auth_basic_user_file")
	}
	if _, _, ok := r.Credentials(); !ok {
		a := r.fail(401, "no user/password was provided for basic authentication")
		a.AuthRealm = realm
		return a
	}
	file, plain := r.Loc.userFile.Static()
	if !plain {
		file = string(r.eval(r.Loc.userFile))
	}
	r.p.resume = true
	a := r.act(DoAuth, 401)
	a.AuthRealm, a.AuthFile = realm, file
	return a
}

// Credentials returns the user and password of a Basic Authorization field (RFC 7617), in the request's memory, and
// sets r.User. ok is false when there are none.
func (r *Request) Credentials() (user, password []byte, ok bool) {
	h := r.Head
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != codec.Authorization {
			continue
		}
		v := f.Value.In(h.Buf)
		if len(v) < 6 || !foldEqual(v[:6], "basic ") {
			return nil, nil, false
		}
		for v = v[6:]; len(v) > 0 && v[0] == ' '; {
			v = v[1:]
		}
		for len(v) > 0 && v[len(v)-1] == '=' { // padded or not, as nginx takes both
			v = v[:len(v)-1]
		}
		buf, start := r.open()
		n := base64.RawStdEncoding.DecodedLen(len(v))
		for len(buf) < start+n {
			buf = append(buf, 0)
		}
		n, err := base64.RawStdEncoding.Decode(buf[start:], v)
		plain := r.close(buf[:start+n], start)
		i := strings.IndexByte(codec.String(plain), ':')
		if err != nil || i < 0 {
			return nil, nil, false
		}
		r.User = plain[:i:i]
		return r.User, plain[i+1:], true
	}
	return nil, nil, false
}
