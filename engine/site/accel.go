package site

import "bytes"

// AccelRedirect goes where the X-Accel-Redirect of a backend's answer points: to a named location, or to a path of this server,
// whose escapes are decoded, with a GET unless the request is a HEAD. A path that would leave its folder is answered with 404.
// target is copied. Source: nginx, ngx_http_upstream_process_headers and ngx_http_parse_unsafe_uri.
func AccelRedirect(r *Request, target []byte) Action {
	buf, start := r.open()
	if len(target) > 0 && target[0] == '@' {
		return *r.toNamed(r.close(append(buf, target...), start))
	}
	path, args, _ := bytes.Cut(target, []byte("?"))
	at := len(buf)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if hi, lo := unhex(path[i+1]), unhex(path[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		buf = append(buf, c)
	}
	mid := len(buf)
	buf = append(buf, args...)
	all := r.close(buf, start)
	uri, query := all[:mid-at:mid-at], all[mid-at:]
	if len(uri) == 0 || uri[0] != '/' || climbs(uri) {
		return *r.fail(404, r.explain("unsafe URI in \"X-Accel-Redirect\"", target))
	}
	r.forceGet()
	return *r.toURI(uri, query)
}

// climbs reports whether a decoded path has a segment ".." or a zero byte.
func climbs(path []byte) bool {
	if bytes.IndexByte(path, 0) >= 0 {
		return true
	}
	for seg := range bytes.SplitSeq(path, []byte("/")) {
		if string(seg) == ".." {
			return true
		}
	}
	return false
}
