package codec

// FieldID names the header fields that a proxy has to know; everything else is Other.
type FieldID uint8

// The known fields. The order carries no meaning.
const (
	Other FieldID = iota
	Host
	Connection
	ContentLength
	TransferEncoding
	ContentType
	KeepAlive
	ProxyConnection
	TE
	Trailer
	Upgrade
	Expect
	UserAgent
	Cookie
	Authorization
	XForwardedFor
	Server
	Date
	Location
	LastModified
	SetCookie
	XAccel // X-Accel-*, X-Pad: hidden by default, as nginx does
	HTTP2Settings
	Range
)

// Field is one header field line. Name and Value exclude the colon, surrounding white space and the line end.
type Field struct {
	Name, Value Span
	ID          FieldID
	// Underscore: the name has a '_'. Odd: the name has a byte outside [A-Za-z0-9-_].
	// nginx drops both kinds unless told otherwise (underscores_in_headers, ignore_invalid_headers).
	// Such a name is never a known one: its ID is Other.
	Underscore, Odd bool
}

// IDOf returns the ID of the field with that name, in any case; Other for an unknown or malformed name.
func IDOf(name []byte) FieldID {
	for _, c := range name {
		if nameClass[c] != namePlain {
			return Other
		}
	}
	if len(name) == 0 {
		return Other
	}
	return fieldID(name)
}

// fieldID wants a name of plain bytes (letters, digits, '-'), at least one.
func fieldID(name []byte) FieldID {
	k := &known[knownSlot(name)]
	if foldPlain(name, k.name) {
		return k.id
	}
	const accel = "x-accel-"
	if name[0]|0x20 == 'x' && len(name) >= len(accel) && foldPlain(name[:len(accel)], accel) {
		return XAccel
	}
	return Other
}

// foldPlain compares bytes that are no control bytes with a lower-case name of letters, digits and '-', any case.
// Setting bit 5 is an exact fold then: the only bytes it would confuse with those of the name are control bytes.
func foldPlain(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

type knownField struct {
	name string // lower case
	id   FieldID
}

// knownSlot is a perfect hash of the known names. Most unknown ones meet an empty slot or another length.
func knownSlot[N []byte | string](name N) int { return (7*len(name) + int(name[0]|0x20)) & 63 }

var known = func() (t [64]knownField) {
	for _, k := range []knownField{
		{"host", Host},
		{"connection", Connection},
		{"content-length", ContentLength},
		{"transfer-encoding", TransferEncoding},
		{"content-type", ContentType},
		{"keep-alive", KeepAlive},
		{"proxy-connection", ProxyConnection},
		{"te", TE},
		{"trailer", Trailer},
		{"upgrade", Upgrade},
		{"expect", Expect},
		{"user-agent", UserAgent},
		{"cookie", Cookie},
		{"authorization", Authorization},
		{"x-forwarded-for", XForwardedFor},
		{"server", Server},
		{"date", Date},
		{"location", Location},
		{"last-modified", LastModified},
		{"set-cookie", SetCookie},
		{"x-pad", XAccel},
		{"http2-settings", HTTP2Settings},
		{"range", Range},
	} {
		slot := &t[knownSlot(k.name)]
		if slot.name != "" {
			panic("BUG: two known fields in one slot: " + slot.name + " and " + k.name)
		}
		*slot = k
	}
	return t
}()
