package site

import "dyups/codec/conf"

// sizeValue reads a size that may have variables; nil: 0.
func (l *level) sizeValue(d *conf.Directive) (*Value, error) {
	if !hasVars(d.Args[0].Text) {
		if n, err := d.Size(0); n == 0 || err != nil {
			return nil, err
		}
	}
	return l.value(d.Args[0])
}

// sizeOf is the size that v has for a request, 0 where that is none.
func sizeOf(v *Value, r *Request) int64 {
	if v == nil {
		return 0
	}
	n, err := conf.Size(string(r.eval(v)))
	if err != nil {
		return 0
	}
	return n
}

// Limited reports whether the answer of a location may have a rate, which Rate then tells.
func (r *Request) Limited(loc *Location) bool { return loc.LimitRate != nil || r.p.limitSet }

// SetRate sets $limit_rate.
func (r *Request) SetRate(rate int64) { r.p.limitRate, r.p.limitSet = rate, true }

// Rate is what limit_rate, or $limit_rate if that was set, and limit_rate_after say: bytes a second, 0 for no limit, and the bytes
// to which it does not apply.
func (l *Location) Rate(r *Request) (rate, after int64) {
	rate = r.p.limitRate
	if !r.p.limitSet {
		rate = sizeOf(l.LimitRate, r)
	}
	return rate, sizeOf(l.LimitRateAfter, r)
}
