package upstream

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dyups/codec/conf"
	"dyups/lb"
)

// Sticky is how the requests of a session find the server that had the first of them. Frozen. nginx: sticky, of
// ngx_http_upstream_module.
type Sticky struct {
	// Cookie is the name of the cookie that names the server, "" with "sticky route".
	Cookie     string
	CookieFold string // Cookie in lower case
	// Attributes are the rest of the Set-Cookie field, in nginx's order, however they are written.
	Attributes []Attribute
	// Expires is how long the cookie is to be kept, Forever for "max". 0 has the browser drop it, unless it is Transient.
	Expires time.Duration
	// Transient is without "expires=": the cookie is kept until the browser ends.
	Transient bool
	// Routes are what Compiler made of the values of "sticky route": the first that is not empty names the server.
	Routes []any
	// Learn is "sticky learn"; nil: none. Servers then go by their Label and their route.
	Learn *Learn

	args   []string // as written
	secret string
	server map[string][]int // by cookie, route or label; with Learn by label and, marked as such, by route
	names  []string         // cookie of each server; with Learn its route, marked
}

// Attribute is one attribute of a cookie.
type Attribute struct {
	Text  string // "; secure", or "; domain=" with a Value
	Value any    // what Compiler made of the value; nil: there is none
}

// Forever is Sticky.Expires of "expires=max".
const Forever = time.Duration(1<<63 - 1)

// Find gives the indices of the servers that a cookie or a route stands for: of none, or of several if they are of one route or
// one address. The slice must not be written.
func (s *Sticky) Find(name []byte) []int { return s.server[string(name)] }

// Value is the cookie's value for server i.
func (s *Sticky) Value(i int) string { return s.names[i] }

// Take takes a place on server i for a request of a session that sticks to it, as Pick does, if it may be used: also where it
// drains. The caller gives it back with Done. A backup goes into q.Homes instead, for the pick that finds no other server.
func (u *Upstream) Take(i int, q *lb.Query) bool { return u.taker.Take(i, q) }

// over gives the same for other servers.
func (s *Sticky) over(servers []ServerSpec) *Sticky {
	if s == nil {
		return nil
	}
	n := *s
	n.server = make(map[string][]int, len(servers))
	n.names = nil
	for i := range servers {
		sv := &servers[i]
		know := func(name string) {
			if name != "" {
				n.server[name] = append(n.server[name], i)
			}
		}
		route := "" // marked, so that it is no address and no cookie
		if sv.Route != "" {
			route = "route=" + sv.Route
		}
		switch {
		case s.Learn != nil:
			know(sv.Label)
			know(route)
			n.names = append(n.names, route)
		case s.Cookie != "":
			cookie := stickyName(s.secret, cmp.Or(route, sv.Label))
			know(cookie)
			know(sv.Route) // as a cookie that nginx has given
			n.names = append(n.names, cookie)
		default:
			know(sv.Route)
		}
	}
	return &n
}

// stickyName is the cookie of a server: half of a keyed hash, so that a client neither reads an address out of it nor makes one
// up.
func stickyName(secret, of string) string {
	key := []byte(secret)
	if secret == "" {
		key = machineKey()
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(of))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// machineKey is the key of upstreams without secret=: derived from the machine's id, so that sessions outlive a restart
// (machine-id(5) asks for a keyed hash), or random where there is none.
var machineKey = sync.OnceValue(func() []byte {
	id, err := os.ReadFile("/etc/machine-id")
	if id = bytes.TrimSpace(id); err != nil || len(id) == 0 {
		id = make([]byte, 32)
		_, _ = rand.Read(id) // never fails
	}
	m := hmac.New(sha256.New, id)
	m.Write([]byte("dyups sticky cookie"))
	return m.Sum(nil)
})

// stickyParams are the parameters of "sticky cookie", as errors list them.
var stickyParams = []string{"expires=", "domain=", "path=", "samesite=", "httponly", "secure", "secret="}

// sticky reads "sticky cookie NAME [parameters]", "sticky route VALUE..." and "sticky learn PARAMETERS".
func (p *parsing) sticky(d *conf.Directive) (err error) {
	s := &Sticky{}
	for _, w := range d.Args {
		s.args = append(s.args, w.Text)
	}
	switch kind := d.Args[0].Text; kind {
	case "cookie":
		err = p.stickyCookie(s, d)
	case "route":
		for i := range d.Args[1:] {
			v, cerr := p.compile(d.Args[i+1])
			if cerr != nil {
				return cerr
			}
			s.Routes = append(s.Routes, v)
		}
	case "learn":
		err = p.stickyLearn(s, d)
	default:
		return d.BadParam(0, "cookie", "route", "learn")
	}
	p.spec.sticky = s
	return err
}

func (p *parsing) compile(w conf.Word) (any, error) {
	if p.opt.Compile == nil {
		return w.Text, nil
	}
	v, err := p.opt.Compile(w.Text)
	if err != nil {
		return nil, conf.Errorf(w.Pos, "invalid value %q in \"sticky\" directive: %v", w.Text, err)
	}
	return v, nil
}

// stickyCookie reads the name of the cookie and its parameters.
func (p *parsing) stickyCookie(s *Sticky, d *conf.Directive) (err error) {
	s.Cookie, s.Transient = d.Args[1].Text, true
	s.CookieFold = strings.ToLower(s.Cookie)
	if s.Cookie == "" || strings.ContainsFunc(s.Cookie, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r) }) {
		return d.Value(1).Invalid("the name of a cookie (RFC 6265 section 4.1.1)")
	}
	seen := map[string]bool{}
	for i := 2; i < len(d.Args); i++ {
		key, v, valued := d.Param(i)
		if seen[key] {
			return conf.Errorf(d.Args[i].Pos, "parameter %q of \"sticky\" directive is duplicate", key)
		}
		seen[key] = true
		switch {
		case valued && key == "expires" && v.Text == "max":
			s.Expires, s.Transient = Forever, false
		case valued && key == "expires":
			s.Expires, err = v.TimeSeconds()
			s.Transient = false
		case valued && key == "secret":
			if s.secret = v.Text; s.secret == "" {
				return v.Invalid("a text, the same one on every proxy of a group")
			}
		case valued && key == "samesite":
			if !strings.Contains(v.Text, "$") && !IsSameSite(v.Text) {
				return v.Invalid("\"strict\", \"lax\", \"none\" or a variable")
			}
			err = p.attribute(s, key, v)
		case valued && (key == "domain" || key == "path"):
			if v.Text == "" || strings.Contains(v.Text, ";") {
				return v.Invalid("a " + key)
			}
			err = p.attribute(s, key, v)
		case !valued && (key == "httponly" || key == "secure"):
			s.Attributes = append(s.Attributes, Attribute{Text: "; " + key})
		default:
			return d.BadParam(i, stickyParams...)
		}
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(s.Attributes, func(a, b Attribute) int { return attributeAt(a) - attributeAt(b) })
	return nil
}

// attributeAt is the place of an attribute in the cookie. Source: nginx, ngx_http_upstream_sticky_cookie_insert.
func attributeAt(a Attribute) int {
	return slices.Index([]string{"; domain=", "; httponly", "; secure", SameSite, "; path="}, a.Text)
}

// attribute adds an attribute with a value to the cookie.
func (p *parsing) attribute(s *Sticky, key string, v conf.Value) error {
	c, err := p.compile(conf.Word{Text: v.Text, Pos: v.Pos})
	s.Attributes = append(s.Attributes, Attribute{"; " + key + "=", c})
	return err
}

// SameSite is Attribute.Text of the attribute whose values are bounded.
const SameSite = "; samesite="

// IsSameSite reports whether a value is one of those that samesite= may have, without regard to ASCII case.
func IsSameSite(value string) bool {
	return strings.EqualFold(value, "strict") || strings.EqualFold(value, "lax") || strings.EqualFold(value, "none")
}
