package site

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
)

// CheckPassword finds user in an htpasswd text and compares: {PLAIN}, {SHA}, {SSHA} and $apr1$ (or $1$). Any other
// kind of entry matches no password. The first line of the user decides. Source: nginx, ngx_http_auth_basic_handler
// and ngx_crypt.
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
	for _, magic := range []string{"$apr1$", "$1$"} {
		if rest, ok := bytes.CutPrefix(entry, []byte(magic)); ok {
			salt := rest
			if i := bytes.IndexByte(rest, '$'); i >= 0 {
				salt = rest[:i]
			}
			return equal(entry, md5Crypt(password, salt[:min(len(salt), 8)], magic))
		}
	}
	return false
}

// md5Crypt is the MD5 based crypt of FreeBSD and Apache: magic, salt, "$" and 22 characters.
func md5Crypt(password, salt []byte, magic string) []byte {
	inner := md5.New()
	inner.Write(password)
	inner.Write(salt)
	inner.Write(password)
	mix := inner.Sum(nil)

	h := md5.New()
	h.Write(password)
	h.Write([]byte(magic))
	h.Write(salt)
	for n := len(password); n > 0; n -= 16 {
		h.Write(mix[:min(n, 16)])
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write([]byte{0})
		} else {
			h.Write(password[:1])
		}
	}
	sum := h.Sum(nil)

	for i := 0; i < 1000; i++ {
		h.Reset()
		part := func(odd bool) {
			if odd {
				h.Write(password)
			} else {
				h.Write(sum)
			}
		}
		part(i&1 != 0)
		if i%3 != 0 {
			h.Write(salt)
		}
		if i%7 != 0 {
			h.Write(password)
		}
		part(i&1 == 0)
		sum = h.Sum(sum[:0:0])
	}

	out := append(append([]byte(magic), salt...), '$')
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	put := func(v uint32, n int) {
		for ; n > 0; n-- {
			out = append(out, digits[v&63])
			v >>= 6
		}
	}
	for i := 0; i < 5; i++ {
		k := i + 12
		if i == 4 {
			k = 5
		}
		put(uint32(sum[i])<<16|uint32(sum[i+6])<<8|uint32(sum[k]), 4)
	}
	put(uint32(sum[11]), 2)
	return out
}
