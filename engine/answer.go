package engine

import (
	"bytes"
	"strconv"

	"dyups/codec"
	"dyups/engine/site"
)

var serverName, dateName = []byte("Server"), []byte("Date")

// statusLines are the status lines of known statuses, CRLF included.
var statusLines = func() (t [600]string) {
	for s := range t {
		if r := codec.Reason(s); r != "" {
			t[s] = "HTTP/1.1 " + strconv.Itoa(s) + " " + r + "\r\n"
		}
	}
	return t
}()

// beginHead starts the head of an answer of our own: status line, Server, Date.
func (ex *exchange) beginHead(dst []byte, status int) []byte {
	return ex.ownFields(ex.statusLine(dst, status, nil), true, true)
}

// statusLine appends the status line; reason nil: the stock phrase.
func (ex *exchange) statusLine(dst []byte, status int, reason []byte) []byte {
	ex.r.Status = status
	if reason == nil && status < len(statusLines) && statusLines[status] != "" {
		return append(dst, statusLines[status]...)
	}
	return codec.AppendStatusLine(dst, status, reason)
}

// ownFields appends Server and Date, unless the backend's stand for them (proxy_pass_header).
func (ex *exchange) ownFields(dst []byte, server, date bool) []byte {
	if server {
		if ex.loc().ServerTokens {
			dst = append(dst, ex.l.eng.serverLine...)
		} else {
			dst = append(dst, "Server: dyups\r\n"...)
		}
	}
	if date {
		dst = append(dst, "Date: "...)
		dst = append(dst, ex.l.date.get(ex.l.now)...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// endHead ends it: framing (length < 0: chunked or until close), Connection, add_header, the empty line.
func (ex *exchange) endHead(dst []byte, length int64) []byte {
	loc := ex.loc()
	if ex.r.Limited(loc) {
		ex.beginPace(loc)
	}
	switch {
	case ex.chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = codec.AppendUint(dst, uint64(length))
		dst = append(dst, '\r', '\n')
	}
	ex.keepConn = ex.keepConn && ex.mayKeep(loc)
	if ex.keepConn {
		dst = append(dst, "Connection: keep-alive\r\n"...)
		if s := loc.KeepaliveHeader; s > 0 {
			dst = append(dst, "Keep-Alive: timeout="...)
			dst = codec.AppendUint(dst, uint64(s.Seconds()))
			dst = append(dst, '\r', '\n')
		}
	} else {
		dst = append(dst, "Connection: close\r\n"...)
	}
	if ex.r.Status == 401 {
		dst = append(dst, ex.authFields...)
	}
	for i := range ex.kept {
		dst = append(dst, ex.kept[i].line...)
	}
	if loc.Expires != nil && addable(ex.r.Status) {
		dst = ex.expire(dst, loc.Expires)
	}
	dst = append(ex.addFields(dst, loc.AddHeaders), '\r', '\n')
	ex.sentHead = append(ex.sentHead[:0], dst...)
	ex.r.SentHead = ex.sentHead
	ex.headSent = true
	return dst
}

// addFields appends the fields of add_header or add_trailer that the status lets have; one without a value is left out.
func (ex *exchange) addFields(dst []byte, fields []site.AddHeader) []byte {
	for i := range fields {
		a := &fields[i]
		if !a.Always && !addable(ex.r.Status) {
			continue
		}
		if a.Replaces {
			dst = dropField(dst, a.Name)
		}
		at := len(dst)
		dst = append(dst, a.Name...)
		dst = append(dst, ": "...)
		from := len(dst)
		if dst = a.Value.AppendField(dst, &ex.r); len(dst) == from {
			dst = dst[:at]
			continue
		}
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// addable are the statuses add_header works on without "always".
func addable(status int) bool {
	switch status {
	case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308:
		return true
	}
	return false
}

// mayKeep applies the keepalive_* directives to the client's wish.
func (ex *exchange) mayKeep(loc *site.Location) bool {
	c, h := ex.c, &ex.head
	if !h.KeepAlive || loc.KeepaliveTimeout <= 0 || c.requests >= loc.KeepaliveRequests ||
		ex.l.draining || c.place() == nil ||
		ex.l.nowNs-c.openedNs > int64(loc.KeepaliveTime) {
		return false
	}
	if !ex.body.done && h.ExpectContinue && !ex.body.asked {
		return false // whether the client sends its body after this answer is its choice
	}
	if loc.DisableMSIE6 && h.MethodID == codec.POST && isMSIE6(h.FieldNamed("User-Agent")) {
		return false
	}
	return !loc.DisableSafari || !isSafari(h.FieldNamed("User-Agent"))
}

// isMSIE6 recognises the browsers that keepalive_disable msie6 means: MSIE 4 to 6, but for 6 with Service Pack 2 (SV1).
// Source: nginx, ngx_http_process_user_agent.
func isMSIE6(agent []byte) bool {
	_, rest, ok := bytes.Cut(agent, []byte("MSIE "))
	if !ok || len(rest) < 3 || rest[1] != '.' || bytes.Contains(rest, []byte("Opera")) {
		return false
	}
	switch rest[0] {
	case '4', '5':
		return true
	case '6':
		return !bytes.Contains(rest, []byte("SV1"))
	}
	return false
}

// isSafari recognises Safari on Mac OS X, as keepalive_disable safari means it.
func isSafari(agent []byte) bool {
	return bytes.Contains(agent, []byte("Safari/")) && bytes.Contains(agent, []byte("Mac OS X")) &&
		!bytes.Contains(agent, []byte("Chrome"))
}

// fail answers with a status of our own: an error_page of the location if there is one, else the stock page.
func (ex *exchange) fail(status int) bool {
	if ex.headSent {
		ex.cut = true
		return ex.to(phDone)
	}
	if ex.owed != nil {
		ex.kept, ex.owed = append(ex.kept, keptField{"Set-Cookie", ex.owed}), nil
	}
	switch status {
	case 400, 408, 413, 414, 494, 500, 501, 505:
		ex.keepConn = false // as ngx_http_special_response_handler, with or without an error_page
	}
	if status == 413 && !ex.body.done {
		ex.spoilt()
	}
	if a, ok := site.ErrorPage(&ex.r, status); ok {
		return ex.act(a)
	}
	return ex.page(status)
}

// page sends the stock page of a status.
func (ex *exchange) page(status int) bool {
	l, wire := ex.l, ex.r.Status
	ex.aux = site.AppendErrorPage(ex.aux[:0], status, ex.loc().ServerTokens, l.eng.cfg.Version)
	body := ex.aux
	dst := ex.beginHead(l.wbuf[:0], wire)
	if status == 204 || status == 304 {
		body = nil
	} else {
		ex.unkeep("Content-Type")
		dst = append(dst, "Content-Type: text/html\r\n"...)
	}
	return ex.send(dst, int64(len(body)), body)
}

// send finishes a head that beginHead started and sends it with its whole body.
func (ex *exchange) send(dst []byte, length int64, body []byte) bool {
	ex.chunked = false
	if ex.r.Status == 204 || ex.r.Status == 304 {
		length, body = -1, nil
	}
	if length >= 0 && ex.r.Method != codec.HEAD {
		ex.beginOwnTrailer()
	}
	dst = ex.endHead(dst, length)
	if ex.r.Method == codec.HEAD {
		body = nil
	}
	at := len(dst)
	if ex.ownTrailer && length > 0 { // the whole body is one chunk
		dst = codec.AppendChunkHeader(dst, int(length))
	}
	dst = append(dst, body...)
	if ex.ownTrailer && int(length) == len(body) {
		dst = ex.appendOwnTrailer(dst, length > 0)
	}
	ex.l.wbuf = dst[:0]
	ex.r.BytesSent += int64(len(dst))
	ex.r.BodyBytesSent += int64(len(dst) - at)
	whole := length <= int64(len(body)) || ex.r.Method == codec.HEAD
	if whole && ex.keepConn && ex.c.writeLater(dst) {
		return ex.to(phFlush)
	}
	if err := ex.c.write(dst); err != 0 {
		return ex.clientFailed(err)
	}
	if cap(dst) > bytePoolCap*2 {
		ex.l.wbuf = make([]byte, 0, readRoom) // what one large answer needed is not kept
	}
	return ex.to(phFlush)
}

// reject answers a head that could not be understood; nothing after it on the conn can be trusted.
func (ex *exchange) reject(err *codec.Error, data []byte) {
	ex.refuse(data)
	ex.l.eng.logRequest(Info, ex, "client sent invalid request: "+err.Msg)
	ex.keepConn, ex.linger = false, true
	ex.fail(err.Status)
	ex.run()
}

// loggedLine bounds what the log keeps of a request line that was not understood.
const loggedLine = 2 << 10

// refuse readies ex for answering and logging a head that could not be parsed: of it only the first line is kept.
func (ex *exchange) refuse(data []byte) {
	line := bytes.TrimLeft(data, "\r\n")
	if i := bytes.IndexAny(line, "\r\n"); i >= 0 {
		line = line[:i]
	}
	ex.buf = append(ex.buf[:0], line[:min(len(line), loggedLine)]...)
	ex.head = codec.RequestHead{Buf: ex.buf, Fields: ex.head.Fields[:0], ContentLength: -1, Minor: 1}
	ex.begin()
	ex.r.RequestLength = int64(len(data))
	site.BeginRefused(&ex.r)
	ex.body = requestBody{done: true, mem: ex.body.mem[:0]}
}
