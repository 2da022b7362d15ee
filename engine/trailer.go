package engine

import "dyups/codec"

// Trailers of a chunked answer go to clients that say they take them (TE: trailers, RFC 9110 section 6.5.1); for all
// others the section is checked and dropped.

// trailerLimits bounds a trailer section.
var trailerLimits = codec.Limits{Total: 16 << 10, Count: 100}

// takesTrailers reports whether the client names "trailers" in TE.
func (ex *exchange) takesTrailers() bool {
	h := &ex.head
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == codec.TE && codec.ListHas(f.Value.In(h.Buf), "trailers") {
			return true
		}
	}
	return false
}

// beginTrailer sends the last data, rbuf[off:end], and goes on to the trailer section, which begins with rest.
func (ex *exchange) beginTrailer(off, end int, rest []byte) bool {
	ex.trailing = true
	ex.b.keep(rest) // before emit writes behind the data
	if err := ex.emit(off, end, false); err != 0 {
		return ex.clientFailed(err)
	}
	return ex.trailer()
}

// trailer passes the section on once it is there in full. Only fields that mean nothing to the framing or routing of a
// message may stand in it (RFC 9110 section 6.5.1).
func (ex *exchange) trailer() bool {
	in := ex.b.unread()
	fields, n, err := codec.ParseTrailer(in, ex.trailers[:0], &trailerLimits)
	ex.trailers = fields[:0]
	if err == codec.NeedMore {
		return true
	}
	if err != nil {
		ex.l.eng.logRequest(Err, ex, "upstream sent an invalid trailer: "+err.Error())
		return ex.truncate()
	}
	dst := append(ex.aux[:0], "0\r\n"...)
	for i := range fields {
		f := &fields[i]
		if f.ID == codec.Other && !f.Odd && !ex.r.Loc.Proxy.Hide.Has(f.Name.In(in)) {
			dst = codec.AppendField(dst, in, f)
		}
	}
	if ex.ownTrailer {
		dst = ex.addFields(dst, ex.loc().AddTrailers)
		ex.ownTrailer = false
	}
	dst = append(dst, '\r', '\n')
	ex.aux = dst
	extra := n < len(in)
	ex.b.drop()
	ex.chunked = false // the end is written here
	ex.r.BytesSent += int64(len(dst))
	if err := ex.c.write(dst); err != 0 {
		return ex.clientFailed(err)
	}
	return ex.answered(headRoom, headRoom, extra)
}

// beginOwnTrailer looks whether add_trailer has anything for the answer whose status is known and whose head is about to be
// ended: then it goes out in chunks, even where its length is known (RFC 9112 section 7.1.2). As in nginx, the client is not
// asked whether it takes trailers.
func (ex *exchange) beginOwnTrailer() {
	if loc := ex.loc(); len(loc.AddTrailers) > 0 && ex.head.Minor == 1 && loc.ChunkedEncoding {
		for i := range loc.AddTrailers {
			if loc.AddTrailers[i].Always || addable(ex.r.Status) {
				ex.chunked, ex.ownTrailer = true, true
				return
			}
		}
	}
}

// appendOwnTrailer ends the body with the last chunk and the fields of add_trailer; data: the end of a chunk is still to come.
func (ex *exchange) appendOwnTrailer(dst []byte, data bool) []byte {
	if data {
		dst = append(dst, '\r', '\n')
	}
	dst = append(dst, "0\r\n"...)
	return append(ex.addFields(dst, ex.loc().AddTrailers), '\r', '\n')
}
