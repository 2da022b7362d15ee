package site

import (
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/GehirnInc/crypt"
	_ "github.com/GehirnInc/crypt/apr1_crypt"
	_ "github.com/GehirnInc/crypt/md5_crypt"
	_ "github.com/GehirnInc/crypt/sha256_crypt"
	_ "github.com/GehirnInc/crypt/sha512_crypt"
	"golang.org/x/crypto/bcrypt"
)

// CheckPassword finds user in an htpasswd text and compares: {PLAIN}, {SHA}, {SSHA}, and what crypt(3) of today's Linux
// takes: $apr1$, $1$, $5$, $6$ and bcrypt ($2a$, $2b$, $2y$). Any other kind of entry, the DES one of old among them,
// matches no password. The first line of the user decides. Safe for concurrent use; bcrypt is slow on purpose. Source:
// nginx, ngx_http_auth_basic_handler and ngx_crypt.
func CheckPassword(file, user, password []byte) bool {
	for len(file) > 0 {
		line := file
		if i := bytes.IndexByte(file, '\n'); i >= 0 {
			line, file = file[:i], file[i+1:]
		} else {
			file = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, hash, ok := bytes.Cut(line, []byte(":"))
		if !ok || !bytes.Equal(name, user) {
			continue
		}
		if i := bytes.IndexByte(hash, ':'); i >= 0 { // a comment may follow
			hash = hash[:i]
		}
		return samePassword(hash, password)
	}
	return false
}

// samePassword compares in constant time.
func samePassword(entry, password []byte) bool {
	equal := func(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
	switch {
	case bytes.HasPrefix(entry, []byte("{PLAIN}")):
		return equal(entry[7:], password)
	case bytes.HasPrefix(entry, []byte("{SHA}")):
		sum := sha1.Sum(password)
		want := make([]byte, base64.StdEncoding.EncodedLen(len(sum)))
		base64.StdEncoding.Encode(want, sum[:])
		return equal(entry[5:], want)
	case bytes.HasPrefix(entry, []byte("{SSHA}")):
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(entry)-6))
		n, err := base64.StdEncoding.Decode(raw, entry[6:])
		if err != nil || n < sha1.Size {
			return false
		}
		h := sha1.New()
		h.Write(password)
		h.Write(raw[sha1.Size:n])
		return equal(raw[:sha1.Size], h.Sum(nil))
	}
	if entry := string(entry); strings.HasPrefix(entry, "$2") {
		return bcrypt.CompareHashAndPassword([]byte(entry), password) == nil
	} else if crypt.IsHashSupported(entry) {
		return crypt.NewFromHash(entry).Verify(entry, password) == nil
	}
	return false
}
