package site

import (
	"net/netip"
	"time"
)

// private is the part of a Request that only this package sees. Buffers are kept from request to request.
type private struct {
	// bufs are arenas, one for each depth of evaluation: a value that is built while another is being built must not
	// write behind it. Growing an arena leaves earlier views on the old array, so views stay valid until Reset.
	bufs  [4][]byte
	depth int
	// mapDepth counts maps that are being evaluated inside each other.
	mapDepth int
	vars     [][]byte // slots of set, map and named captures; nil: not set
	caps     []int    // offsets of the last regular expression's groups in capSrc
	// capSrc is stable: it is in the head or in an arena.
	capSrc []byte

	requestURI []byte // $request_uri: the target as sent, without scheme and authority
	location   []byte // Location of a redirect whose status led to an error_page
	realm      []byte // of the last auth_basic that asked for a password

	action Action // of the last phase walk

	realRemote     netip.AddrPort // client address before real_ip changed it
	realRemoteUnix bool
	marks

	// Texts that outlive Reset, as the next request very likely wants the same.
	id        [32]byte // $request_id, if idDone
	timeSec   int64    // second for which timeLocal and timeISO were made
	timeLocal [32]byte
	timeISO   [32]byte
	timeLens  [2]uint8
	addr      netip.Addr // for which addrText was made
	addrText  [48]byte
	addrLen   uint8
}

// marks is what Reset clears in one go. quoted, plus, validURI, validLoc, uriChanged, internal and errorPage are nginx's
// quoted_uri, plus_in_uri, valid_unparsed_uri, valid_location, uri_changed, internal and error_page.
type marks struct {
	quoted, plus                   bool
	validURI, validLoc, uriChanged bool
	internal, errorPage            bool
	getForced                      bool // the method was changed to GET
	resume                         bool // Route goes on behind the password check
	begun, realDone                bool
	userDone, idDone               bool
	uriChanges                     int // rewrites and internal redirects left
	limitRate                      int64
	limitSet                       bool // limitRate was set, be it to 0
}

// maxURIChanges bounds rewrites and internal redirects together. Source: nginx, NGX_HTTP_MAX_URI_CHANGES.
const maxURIChanges = 10

// Reset makes r ready for the next request of the same connection; memory stays, and so does what describes the
// connection: Listen, Remote (as it was before real_ip), LocalAddr, Conn..., Head and Now.
func (r *Request) Reset() {
	p := &r.p
	if p.realDone {
		r.Remote, r.RemoteUnix = p.realRemote, p.realRemoteUnix
	}
	clear(p.vars)
	for i := range p.bufs {
		p.bufs[i] = p.bufs[i][:0]
	}
	p.depth, p.mapDepth = 0, 0
	p.caps, p.capSrc = p.caps[:0], nil
	p.requestURI, p.location, p.realm = nil, nil, nil
	p.marks = marks{}

	r.Server, r.Loc, r.Host, r.URI, r.Args, r.User = nil, nil, nil, nil, nil, nil
	r.Internal, r.Method, r.Authed, r.ErrStatus = 0, 0, false, 0
	r.Start = time.Time{}
	r.Status, r.BytesSent, r.BodyBytesSent, r.RequestLength = 0, 0, 0, 0
	r.Tries = r.Tries[:0]
	r.Response, r.SentHead, r.Body, r.BodyFile = nil, nil, nil, ""
	r.ProxyHost, r.ProxyPort, r.Complete, r.Pipelined = nil, 0, false, false
}

// open starts building at the current depth and returns the arena and the offset where the new value begins.
// Every open is followed by close.
func (r *Request) open() (buf []byte, start int) {
	d := r.p.depth
	r.p.depth++
	if d >= len(r.p.bufs) {
		return nil, 0
	}
	return r.p.bufs[d], len(r.p.bufs[d])
}

// close ends what open began and returns the value as a view without spare capacity, never nil.
func (r *Request) close(buf []byte, start int) []byte {
	r.p.depth--
	if d := r.p.depth; d < len(r.p.bufs) {
		r.p.bufs[d] = buf
	}
	if len(buf) == start {
		return emptyBytes
	}
	return buf[start:len(buf):len(buf)]
}

// emptyBytes is an empty value that is not nil: a variable that is set to nothing.
var emptyBytes = []byte{}

// eval returns the value of v in the request's memory; a plain value is copied too, its bytes may be changed.
func (r *Request) eval(v *Value) []byte {
	buf, start := r.open()
	return r.close(v.Append(buf, r), start)
}

// evalField is eval for what stands in a header field.
func (r *Request) evalField(v *Value) []byte {
	buf, start := r.open()
	return r.close(v.AppendField(buf, r), start)
}

// copy returns b in the request's memory.
func (r *Request) copy(b []byte) []byte {
	buf, start := r.open()
	return r.close(append(buf, b...), start)
}

// now is the engine's clock, or the wall clock for a request made without one.
func (r *Request) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
