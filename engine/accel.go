package engine

import (
	"slices"
	"strconv"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// keptField is a line of a backend's answer that outlives X-Accel-Redirect.
type keptField struct {
	name string
	line []byte // with its end
}

// keptNames are the fields of an answer with X-Accel-Redirect that the final answer has, too. Source: nginx, the entries with
// "redirect" in ngx_http_upstream_headers_in.
var keptNames = []string{"Content-Type", "Set-Cookie", "Content-Disposition", "Cache-Control", "Expires", "Accept-Ranges"}

// accel follows the X-Accel fields of the backend's answer, of each the first one: it takes $limit_rate from X-Accel-Limit-Rate, and
// gives the value of X-Accel-Redirect, nil if there is none or none that counts. Source: nginx, ngx_http_upstream_process_limit_rate.
func (ex *exchange) accel() (target []byte) {
	h, p := &ex.resp, ex.r.Loc.Proxy
	rated := p.IgnoreAccelRate
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != codec.XAccel {
			continue
		}
		switch name, value := f.Name.In(h.Buf), f.Value.In(h.Buf); {
		case target == nil && !p.IgnoreAccelRedirect && codec.EqualFold(name, "x-accel-redirect"):
			target = value
		case !rated && codec.EqualFold(name, "x-accel-limit-rate"):
			rated = true
			if n, err := strconv.ParseUint(codec.String(value), 10, 63); err == nil {
				ex.r.SetRate(int64(n))
			}
		}
	}
	return target
}

// accelRedirect drops the backend's answer and goes where it says instead. Cookies that are kept already stay in front.
func (ex *exchange) accelRedirect(target []byte) bool {
	h := &ex.resp
	ex.kept = slices.DeleteFunc(ex.kept, func(k keptField) bool { return k.name != "Set-Cookie" })
	if ex.up.Sticky != nil {
		if line := ex.appendSticky(nil); line != nil {
			ex.kept = append(ex.kept, keptField{"Set-Cookie", line})
		}
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		for _, name := range keptNames {
			if codec.EqualFold(f.Name.In(h.Buf), name) {
				ex.kept = append(ex.kept, keptField{name, codec.AppendField(nil, h.Buf, f)})
			}
		}
	}
	ex.try().ResponseNs = ex.l.nowNs - ex.tryNs
	ex.dropBackend()
	ex.leave(upstream.OK)
	return ex.act(site.AccelRedirect(&ex.r, target))
}

// unkeep forgets a kept field: the final answer has its own.
func (ex *exchange) unkeep(name string) {
	kept := ex.kept[:0]
	for _, k := range ex.kept {
		if k.name != name {
			kept = append(kept, k)
		}
	}
	ex.kept = kept
}

// appendKept appends the kept fields of a name in front of those of the answer, and forgets them.
func (ex *exchange) appendKept(dst []byte, name string) []byte {
	for i := range ex.kept {
		if ex.kept[i].name == name {
			dst = append(dst, ex.kept[i].line...)
		}
	}
	ex.unkeep(name)
	return dst
}

// unkeepAnswered forgets the kept fields that the answer of the backend has itself; cookies add up.
func (ex *exchange) unkeepAnswered() {
	for _, name := range keptNames {
		if name != "Set-Cookie" && ex.resp.FieldNamed(name) != nil {
			ex.unkeep(name)
		}
	}
}

// keeps reports whether a field of that name is kept.
func (ex *exchange) keeps(name []byte) bool {
	for i := range ex.kept {
		if codec.EqualFold(name, ex.kept[i].name) {
			return true
		}
	}
	return false
}
