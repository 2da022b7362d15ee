package site

import (
	"net/http"
	"strings"
	"time"

	"dyups/codec/conf"
)

// Expires is an "expires" directive. The zero value is "off".
type Expires struct {
	value    *Value // with variables, else nil
	modified bool
	fixed    expiry
}

// expiry is what an argument of expires says.
type expiry struct {
	kind expiryKind
	by   time.Duration // with its sign; of a day: the time of the day
}

type expiryKind uint8

const (
	expiresOff expiryKind = iota
	expiresEpoch
	expiresMax
	expiresAfter
	expiresDaily
)

const expiresForm = `a time with or without a sign (10m, -1h), "@" and a time of the day (@15h30m), "epoch", "max" or "off"`

// parseExpiry reads "epoch", "max", "off", "@TIME" or [+|-]TIME; of those, only the last may stand behind "modified".
// Source: nginx, ngx_http_parse_expires.
func parseExpiry(s string, modified bool) (e expiry, ok bool) {
	if !modified {
		switch s {
		case "epoch":
			return expiry{kind: expiresEpoch}, true
		case "max":
			return expiry{kind: expiresMax}, true
		case "off":
			return expiry{}, true
		}
		if day, ok := strings.CutPrefix(s, "@"); ok {
			t, err := conf.TimeSeconds(day)
			return expiry{expiresDaily, t}, err == nil && t <= 24*time.Hour
		}
	}
	number, sign := s, time.Duration(1)
	switch {
	case strings.HasPrefix(s, "-"):
		number, sign = s[1:], -1
	case strings.HasPrefix(s, "+"):
		number = s[1:]
	}
	t, err := conf.TimeSeconds(number)
	return expiry{expiresAfter, t * sign}, err == nil
}

// setExpires reads expires [modified] TIME | @TIME | epoch | max | off.
func setExpires(l *level, d *conf.Directive) (err error) {
	e := &Expires{modified: len(d.Args) == 2}
	last := len(d.Args) - 1
	if e.modified {
		if _, err := d.Enum(0, "modified"); err != nil {
			return err
		}
	}
	l.loc.Expires = nil
	if hasVars(d.Args[last].Text) {
		l.loc.Expires = e
		e.value, err = l.value(d.Args[last])
		return err
	}
	ok := false
	switch e.fixed, ok = parseExpiry(d.Args[last].Text, e.modified); {
	case !ok && e.modified:
		return d.Value(last).Invalid("a time with or without a sign (10m, -1h)")
	case !ok:
		return d.Value(last).Invalid(expiresForm)
	case e.fixed.kind != expiresOff:
		l.loc.Expires = e
	}
	return nil
}

// The moments of "epoch" and "max". Source: nginx, ngx_http_set_expires.
var (
	epochTime = time.Unix(1, 0)
	maxTime   = time.Date(2037, 12, 31, 23, 55, 55, 0, time.UTC)
)

const maxAge = 10 * 365 * 24 * 60 * 60

// At says when an answer expires and how many seconds it may be kept until then, below 0: not at all. lastModified is the
// answer's field of that name. on is false where nothing is to be said: a variable holds "off" or what is no time.
func (e *Expires) At(r *Request, lastModified []byte) (when time.Time, age int64, on bool) {
	x := e.fixed
	if e.value != nil {
		if x, on = parseExpiry(string(r.eval(e.value)), e.modified); !on {
			return when, 0, false
		}
	}
	now := r.now()
	switch x.kind {
	case expiresOff:
		return when, 0, false
	case expiresEpoch:
		return epochTime, -1, true
	case expiresMax:
		return maxTime, maxAge, true
	case expiresDaily:
		when = nextAt(now, x.by)
	default:
		when = now.Add(x.by)
		if e.modified && x.by != 0 {
			if t, err := http.ParseTime(string(lastModified)); err == nil { // RFC 9110 section 5.6.7
				when = t.Add(x.by)
			}
		}
	}
	age = when.Unix() - now.Unix()
	if x.by < 0 {
		age = -1
	}
	return when, age, true
}

// nextAt is the next moment at a time of the day, in the local time zone.
func nextAt(now time.Time, of time.Duration) time.Time {
	local := now.Local()
	at := func(days int) time.Time {
		return time.Date(local.Year(), local.Month(), local.Day()+days, 0, 0, int(of/time.Second), 0, local.Location())
	}
	if t := at(0); t.After(now) {
		return t
	}
	return at(1)
}
