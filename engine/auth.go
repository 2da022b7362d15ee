package engine

import (
	"os"

	"dyups/codec"
	"dyups/engine/site"
)

// authenticate checks Basic credentials (RFC 7617) against the location's password file on a worker: the file is read
// for each request, so that a change counts at once, and hashing may be slow on purpose.
func (ex *exchange) authenticate(a site.Action) bool {
	user, password, ok := ex.r.Credentials()
	if !ok {
		ex.challenge(a.AuthRealm)
		return ex.fail(401)
	}
	l, file, realm := ex.l, a.AuthFile, a.AuthRealm
	ex.phase = phWait
	l.submit(func() {
		text, err := os.ReadFile(file)
		pass := err == nil && site.CheckPassword(text, user, password)
		l.post(func() {
			switch {
			case ex.aborted:
				ex.to(phDone)
			case err != nil:
				l.eng.logRequest(Err, ex, "cannot read the password file: "+err.Error())
				ex.fail(403)
			case !pass:
				l.eng.logRequest(Err, ex, `user "`+string(user)+`": password mismatch or not found`)
				ex.challenge(realm)
				ex.fail(401)
			default:
				ex.r.Authed = true
				ex.act(site.Route(&ex.r))
			}
			ex.run()
		})
	})
	return false
}

// challenge sets the WWW-Authenticate field of a 401 to come (RFC 7617 section 2); nil realm: none.
func (ex *exchange) challenge(realm []byte) {
	if realm == nil {
		return
	}
	f := append(ex.authFields[:0], "WWW-Authenticate: Basic realm=\""...)
	f = append(f, realm...)
	ex.authFields = append(f, "\"\r\n"...)
}

// keepChallenge keeps a backend's challenge for the error page that takes its answer's place.
func (ex *exchange) keepChallenge() {
	h := &ex.resp
	f := ex.authFields[:0]
	for i := range h.Fields {
		if name := h.Fields[i].Name.In(h.Buf); codec.EqualFold(name, "www-authenticate") {
			f = codec.AppendField(f, h.Buf, &h.Fields[i])
		}
	}
	ex.authFields = f
}
