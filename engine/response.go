package engine

import (
	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// answerHead parses a response head at rbuf[off:end]. done false: more input is needed (what there is was kept).
// Otherwise on tells run whether to go on.
func (ex *exchange) answerHead(off, end int) (on, done bool) {
	l, p := ex.l, ex.r.Loc.Proxy
	for {
		data := l.rbuf[off:end]
		lim := codec.Limits{Total: int(min(p.BufferSize, readRoom)), Count: maxFields}
		n, err := codec.ParseResponse(data, &ex.resp, &lim)
		if err == codec.NeedMore {
			ex.b.keep(data)
			return false, false
		}
		if err != nil {
			l.eng.logRequest(Err, ex, "upstream sent invalid header: "+err.Error())
			return ex.next(site.NextInvalidHeader, 502, upstream.Failed), true
		}
		off += n
		switch s := ex.resp.Status; {
		case s == 101:
			return ex.switchProtocols(off, end), true
		case s < 200: // an interim answer is the hop's own affair
			if off == end {
				return false, false
			}
			continue
		}
		ex.respBuf = append(ex.respBuf[:0], ex.resp.Buf...)
		ex.resp.Buf = ex.respBuf
		ex.dropRepeated()
		return ex.gotHead(off, end), true
	}
}

// dropRepeated takes all but the first out of fields that a head can have only one of; a client would choose one, and another
// perhaps than the next cache. Source: nginx, ngx_http_upstream_process_header_line.
func (ex *exchange) dropRepeated() {
	h, seen, kept := &ex.resp, 0, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		bit := single(f, h.Buf)
		if seen&bit != 0 {
			ex.l.eng.logRequest(Warn, ex, "upstream sent duplicate header line: \""+string(f.Name.In(h.Buf))+"\", ignored")
			continue
		}
		seen |= bit
		if kept != i {
			h.Fields[kept] = *f
		}
		kept++
	}
	h.Fields = h.Fields[:kept]
}

// single has a bit for each field that dropRepeated looks for, 0 for all others.
func single(f *codec.Field, buf []byte) int {
	switch f.ID {
	case codec.ContentType:
		return 1
	case codec.Date:
		return 2
	case codec.LastModified:
		return 4
	case codec.Server:
		return 8
	case codec.Location:
		return 16
	case codec.Other:
		name := f.Name.In(buf)
		switch {
		case len(name) == 4 && codec.EqualFold(name, "etag"):
			return 32
		case len(name) == 7 && codec.EqualFold(name, "expires"):
			return 64
		case len(name) == 7 && codec.EqualFold(name, "refresh"):
			return 128
		}
	}
	return 0
}

// statusReason is the proxy_next_upstream bit of a response status.
func statusReason(status int) site.Next {
	switch status {
	case 500:
		return site.Next500
	case 502:
		return site.Next502
	case 503:
		return site.Next503
	case 504:
		return site.Next504
	case 403:
		return site.Next403
	case 404:
		return site.Next404
	case 429:
		return site.Next429
	}
	return 0
}

// gotHead decides about a complete response head: another server, an error page, or on to the client.
func (ex *exchange) gotHead(off, end int) bool {
	l, p, t := ex.l, ex.r.Loc.Proxy, ex.try()
	t.HeaderNs = l.nowNs - ex.tryNs
	if ex.waits && !ex.up.LastByte {
		ex.answerCame()
	}
	t.Status = ex.resp.Status
	ex.r.Response = &ex.resp
	if reason := statusReason(ex.resp.Status); reason != 0 && p.Next&reason != 0 && ex.left > 1 && !ex.begunBody() && !ex.late() {
		full := reason
		if !idempotent(ex.r.Method) {
			full |= site.NextNonIdempotent
		}
		if p.Next&full == full {
			o := upstream.Failed
			if reason&(site.Next403|site.Next404) != 0 {
				o = upstream.Neither
			}
			return ex.next(reason, ex.resp.Status, o)
		}
	}
	if p.InterceptErrors && ex.resp.Status >= 300 && ex.r.HasErrorPage(ex.resp.Status) {
		status := ex.resp.Status
		if status == 401 {
			ex.keepChallenge()
		}
		t.ResponseNs = l.nowNs - ex.tryNs
		ex.dropBackend()
		ex.learnsLeft()
		ex.oweCookie()
		ex.leave(upstream.OK)
		return ex.fail(status)
	}
	if target := ex.accel(); target != nil {
		return ex.accelRedirect(target)
	}
	ex.kind, ex.remain = ex.resp.BodyKind(ex.asked)
	switch {
	case ex.asked == codec.HEAD && ex.r.Method != codec.HEAD:
		ex.resp.ContentLength = 0 // proxy_method: the client waits for a body that the backend was not asked for
	case ex.asked != codec.HEAD && ex.r.Method == codec.HEAD && ex.kind != codec.BodyNone:
		ex.kind, ex.broken = codec.BodyNone, true
	}
	if s := ex.r.FinalStatus(ex.resp.Status); ex.kind != codec.BodyNone && (s == 204 || s == 304) {
		ex.kind, ex.broken = codec.BodyNone, true // error_page made it an answer without a body
		ex.resp.ContentLength = -1
	}
	ex.dec = codec.Chunked{Blanks: true}
	ex.answerFrom()
	if ex.kind == codec.BodyNone {
		return ex.answered(off, off, off < end)
	}
	ex.phase, ex.readSize, ex.noSplice = phRelay, bulkRoom, ex.chunked || ex.c.pace != nil
	ex.limitRate()
	ex.b.large = ex.kind == codec.BodyLength && forPipe(ex.remain)
	return ex.passOn(off, end, false)
}

// answerFrom writes the client's head for the backend's answer into the loop's head buffer; emit sends it.
func (ex *exchange) answerFrom() {
	l, h, p := ex.l, &ex.resp, ex.r.Loc.Proxy
	status, reason := h.Status, h.Reason.In(h.Buf)
	if s := ex.r.FinalStatus(status); s != status {
		status, reason = s, nil // error_page has fixed it
	}
	ex.chunked, ex.trailing = false, false
	if ex.kind == codec.BodyChunked || ex.kind == codec.BodyUntilClose {
		if ex.head.Minor == 1 && ex.loc().ChunkedEncoding {
			ex.chunked = true
			ex.dec.LeaveTrailer = ex.kind == codec.BodyChunked && p.PassTrailers && ex.takesTrailers()
		} else {
			ex.keepConn = false
		}
	}
	dst := ex.statusLine(l.wbuf[:0], status, reason)
	if ex.chunked || ex.kind == codec.BodyLength {
		ex.beginOwnTrailer()
	}
	ex.authFields = ex.authFields[:0] // the backend's own stand
	dst = ex.answerFields(dst)
	length := int64(-1)
	if ex.kind == codec.BodyLength || ex.kind == codec.BodyNone && status != 204 && h.Status != 204 {
		length = h.ContentLength
	}
	l.wbuf = ex.endHead(dst, length)
}

// answerFields appends the fields of the backend's answer that the client is to see, as proxy_hide_header and the directives that
// rewrite some of them say, behind cookies of ours.
func (ex *exchange) answerFields(dst []byte) []byte {
	h, p := &ex.resp, ex.r.Loc.Proxy
	dst = ex.ownFields(dst, p.Hide.Has(serverName) || h.FieldNamed("Server") == nil, p.Hide.Has(dateName) || h.FieldNamed("Date") == nil)
	if ex.kept != nil {
		ex.unkeepAnswered()
		dst = ex.appendKept(dst, "Set-Cookie")
	}
	if ex.up.Sticky != nil {
		dst = ex.appendSticky(dst)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID == codec.ContentLength ||
			h.HopByHop(f) && !(f.ID == codec.Trailer && ex.dec.LeaveTrailer) && !(f.ID == codec.Upgrade && h.Status == 101) {
			continue
		}
		name := f.Name.In(h.Buf)
		if p.Hide.Has(name) {
			continue
		}
		switch {
		case f.ID == codec.Location:
			dst = append(append(dst, name...), ':', ' ')
			dst = append(p.RewriteLocation(dst, &ex.r, f.Value.In(h.Buf)), '\r', '\n')
		case f.ID == codec.Other && codec.EqualFold(name, "refresh"):
			dst = append(append(dst, name...), ':', ' ')
			dst = append(p.RewriteRefresh(dst, &ex.r, f.Value.In(h.Buf)), '\r', '\n')
		case f.ID == codec.SetCookie && p.Cookies != nil:
			dst = append(append(dst, name...), ':', ' ')
			dst = append(p.Cookies.Append(dst, &ex.r, f.Value.In(h.Buf)), '\r', '\n')
		default:
			dst = codec.AppendField(dst, h.Buf, f)
		}
	}
	return dst
}
