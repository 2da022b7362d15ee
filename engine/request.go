package engine

import (
	"bytes"
	"syscall"

	"dyups/codec"
	"dyups/engine/site"
	"dyups/upstream"
)

// appendRequest writes the head for the backend: never the client's bytes as they came, but what was understood of them.
// Order as nginx: configured fields, framing, then the client's other fields.
func (ex *exchange) appendRequest(dst []byte) []byte {
	h, p := &ex.head, ex.r.Loc.Proxy
	if p.Method != nil {
		at := len(dst)
		dst = p.Method.AppendField(dst, &ex.r)
		ex.asked = codec.MethodOf(dst[at:])
	} else {
		ex.asked = ex.r.Method
		dst = append(dst, ex.r.MethodName()...)
	}
	dst = append(dst, ' ')
	dst = append(dst, ex.target.URI...)
	if p.HTTP10 {
		dst = append(dst, " HTTP/1.0\r\n"...)
	} else {
		dst = append(dst, " HTTP/1.1\r\n"...)
	}
	framing := ex.framing()
	var told []byte // how long the body is, by proxy_set_header
	for i := range p.SetHeaders {
		s := &p.SetHeaders[i]
		at := len(dst)
		dst = append(dst, s.Name...)
		dst = append(dst, ": "...)
		from := len(dst)
		if dst = s.Value.AppendField(dst, &ex.r); len(dst) == from {
			dst = dst[:at] // an empty value drops the field
			continue
		}
		if s.ID == codec.ContentLength || s.ID == codec.TransferEncoding {
			if s.ID != framing && (s.ID != codec.ContentLength || framing != codec.Other) {
				dst = dst[:at] // with both the backend would take part of the body for another request (RFC 9112 section 6.1)
				continue
			}
			told = dst[from:]
		}
		dst = append(dst, '\r', '\n')
	}
	if p.HTTP10 && !p.Overrides.Has(connectionName) {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = ex.appendRequestFraming(dst, framing, told)
	if p.PassHeaders {
		dst = ex.appendClientFields(dst, h, p)
	}
	return append(dst, '\r', '\n')
}

var connectionName = []byte("Connection")

// framing is the field that says how long the body is: Content-Length once it was read whole, Transfer-Encoding while a chunked one
// streams, Other where none is sent.
func (ex *exchange) framing() codec.FieldID {
	ex.unframed = false
	switch h := &ex.head; {
	case ex.r.Loc.Proxy.SetBody != nil:
		return codec.ContentLength
	case !ex.sendsBody() || !present(h):
		return codec.Other
	case h.Chunked && !ex.body.done:
		return codec.TransferEncoding
	}
	return codec.ContentLength
}

// appendRequestFraming writes that field. The body of proxy_set_body is left in ex.aux. A field that proxy_set_header sets stands for
// ours, with the value told; where that leaves none, no body is sent, since the backend would take it for another request. Source:
// nginx, ngx_http_proxy_headers.
func (ex *exchange) appendRequestFraming(dst []byte, framing codec.FieldID, told []byte) []byte {
	h, b, p := &ex.head, &ex.body, ex.r.Loc.Proxy
	name, own, at := "Content-Length: ", p.OwnLength, len(dst)
	switch {
	case framing == codec.Other:
		ex.broken = ex.broken || told != nil && string(told) != "0" // the backend may wait for a body
		return dst
	case framing == codec.TransferEncoding:
		name, own = "Transfer-Encoding: ", p.OwnCoding
		dst = append(append(dst, name...), "chunked"...)
	case p.SetBody != nil:
		ex.aux = p.SetBody.Append(ex.aux[:0], &ex.r)
		dst = codec.AppendUint(append(dst, name...), uint64(len(ex.aux)))
	case h.Chunked:
		dst = codec.AppendUint(append(dst, name...), uint64(b.size))
	default:
		dst = codec.AppendUint(append(dst, name...), uint64(h.ContentLength))
	}
	if !own {
		return append(dst, '\r', '\n')
	}
	ex.unframed = told == nil
	ex.broken = ex.broken || !bytes.Equal(told, dst[at+len(name):])
	return dst[:at]
}

// sendsBody reports whether the request's body goes to the backend: an error_page that turned the request into a GET
// leaves it behind, and proxy_set_body puts another in its place.
func (ex *exchange) sendsBody() bool {
	p := ex.r.Loc.Proxy
	return !ex.body.bad && !ex.unframed && p.PassBody && p.SetBody == nil && ex.r.Method == ex.head.MethodID
}

func (ex *exchange) appendClientFields(dst []byte, h *codec.RequestHead, p *site.ProxyConf) []byte {
	srv := ex.r.Server
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID == codec.Host || f.ID == codec.ContentLength || f.ID == codec.Expect || h.HopByHop(f) {
			continue
		}
		if srv.IgnoreInvalid && (f.Odd || f.Underscore && !srv.Underscores) {
			continue
		}
		if p.Overrides.Has(f.Name.In(h.Buf)) {
			continue
		}
		dst = codec.AppendField(dst, h.Buf, f)
	}
	return dst
}

// sendHead writes the request head, with the body behind it when that is small and at hand: one system call.
func (ex *exchange) sendHead() bool {
	l := ex.l
	head := ex.appendRequest(l.wbuf[:0])
	l.wbuf = head[:0]
	b := &ex.body
	if ex.r.Loc.Proxy.SetBody != nil && !ex.unframed {
		head = append(head, ex.aux...)
	}
	if ex.sendsBody() && b.file == nil && len(b.mem) > 0 && b.done && len(head)+len(b.mem) <= cap(head) {
		head = append(head, b.mem...)
		b.memSent = len(b.mem)
	}
	ex.begun = true
	ex.try().BytesSent += int64(len(head))
	// A failure that is seen only later leaves open what the backend has got: only for what may be sent again.
	if idempotent(ex.r.Method) && ex.b.writeLater(head) {
		return true
	}
	return ex.toBackend(head)
}

// toBackend writes to the backend; false: the try is lost (ex.lost was called).
func (ex *exchange) toBackend(p []byte) bool {
	if err := ex.b.write(p); err != 0 {
		ex.failure = err
		return false
	}
	return true
}

// pump sends what is left of the request. It returns false when the backend's socket failed.
func (ex *exchange) pump() (status int, ok bool) {
	b := &ex.body
	if !ex.begun && !ex.sendHead() {
		return 0, false
	}
	if err := ex.b.flush(); err != 0 {
		ex.failure = err
		return 0, false
	}
	if !ex.sendsBody() {
		ex.sent = ex.b.out.len() == 0
		return 0, true
	}
	for ex.b.out.len() == 0 && !ex.sent {
		switch {
		case ex.upload != nil:
			if more, status, ok := ex.spliceBody(); !more {
				return status, ok
			}
		case b.file != nil && b.atOff < b.size:
			if len(b.chunk) == 0 {
				ex.loadFile()
				return 0, true
			}
			if !ex.toBackend(b.chunk) {
				return 0, false
			}
			b.atOff += int64(len(b.chunk))
			ex.try().BytesSent += int64(len(b.chunk))
			b.chunk = b.chunk[:0]
		case b.file == nil && b.memSent < len(b.mem):
			data := b.mem[b.memSent:]
			b.memSent = len(b.mem)
			ex.try().BytesSent += int64(len(data))
			if !ex.toBackend(data) {
				return 0, false
			}
		case b.done:
			ex.sent = true
		case ex.takeUpload():
		default:
			if more, status, ok := ex.streamBody(); !more {
				return status, ok
			}
		}
	}
	return 0, true
}

// streamBody passes body data on as it comes (proxy_request_buffering off). more: the backend took it, go on.
func (ex *exchange) streamBody() (more bool, status int, ok bool) {
	b := &ex.body
	b.mem = b.mem[:0]
	status = ex.pull(streamData)
	if status != 0 {
		return false, status, true
	}
	if b.done && ex.head.Chunked {
		b.mem = append(b.mem, codec.LastChunk...)
	}
	if len(b.mem) == 0 && !b.done {
		ex.c.setTimeout(int64(ex.loc().ClientBodyTimeout))
		return false, 0, true
	}
	ex.c.noTimeout()
	data := b.mem
	b.streamed = b.streamed || len(data) > 0
	b.mem = b.mem[:0]
	b.memSent = 0
	ex.try().BytesSent += int64(len(data))
	if !ex.toBackend(data) {
		return false, 0, false
	}
	return true, 0, true
}

// streamData holds one round of body data in the framing of the backend, at most a read's worth.
func streamData(ex *exchange, data []byte) bool {
	b := &ex.body
	if ex.head.Chunked {
		b.mem = codec.AppendChunkHeader(b.mem, len(data))
		b.mem = append(b.mem, data...)
		b.mem = append(b.mem, '\r', '\n')
	} else {
		b.mem = append(b.mem, data...)
	}
	return len(b.mem) < readRoom && !ex.mayUpload() // what is left goes through a pipe
}

// await sends the request and waits for the head of the answer.
func (ex *exchange) await() bool {
	l, b := ex.l, ex.b
	if !ex.sent {
		status, ok := ex.pump()
		switch {
		case !ok:
			ex.sent, ex.broken = true, true // perhaps it answered before it closed
			b.canRead = true
		case status < 0:
			ex.r.Status = 499
			l.eng.logRequest(Info, ex, "client prematurely closed connection while sending request to upstream")
			ex.cut = true
			return ex.to(phDone)
		case status > 0:
			return ex.failUpstream(status)
		case ex.sent:
			if ex.departed() { // right behind its body
				return true
			}
			b.setTimeout(int64(ex.r.Loc.Proxy.ReadTimeout))
		case ex.behind():
			b.setTimeout(int64(ex.r.Loc.Proxy.SendTimeout))
		default:
			b.noTimeout() // the client's turn
		}
	}
	for moved := 0; b.canRead; {
		if moved >= turnMax {
			l.goOn(b)
			return false
		}
		kept := b.unread()
		region := l.rbuf[headRoom : headRoom+ex.rated(readRoom)]
		if b.large && len(region) > headRead {
			region = region[:min(len(region), max(headRead, 2*len(kept)))]
		}
		n := copy(region, kept)
		m, eof, err := b.read(region[n:])
		if m == 0 {
			if eof || err != 0 {
				return ex.noAnswer(len(kept) > 0, err)
			}
			return false
		}
		b.drop()
		moved += m
		ex.try().BytesReceived += int64(m)
		if on, done := ex.answerHead(headRoom, headRoom+n+m); done {
			return on
		}
	}
	return false
}

// noAnswer is the end of a backend conn before a whole response head.
func (ex *exchange) noAnswer(some bool, errno syscall.Errno) bool {
	why := "upstream prematurely closed connection while reading response header from upstream"
	if errno != 0 {
		why = "recv() failed (" + errnoText(errno) + ") while reading response header from upstream"
	}
	if some {
		ex.l.eng.logRequest(Err, ex, why)
		return ex.next(site.NextError, 502, upstream.Failed)
	}
	return ex.lost(why)
}
