package engine

import (
	"os"

	"dyups/engine/site"
)

// authenticate checks Basic credentials (RFC 7617) against the location's password file on a worker: the file is read
// for each request, so that a change counts at once, and hashing may be slow on purpose.
func (ex *exchange) authenticate(a site.Action) bool {
	user, password, ok := ex.r.Credentials()
	if !ok {
		ex.authRealm = a.AuthRealm
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
				ex.authRealm = realm
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
