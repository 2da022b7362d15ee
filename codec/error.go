package codec

// Error is a wire error: a value, so that the hot path formats nothing.
// Status is what a server should answer to a request like this (400, 414, 494, 501 or 505; 494 is nginx's
// internal status for fields beyond the limits, sent as 400 with its own text);
// towards a backend any Error means an invalid response (502).
// After any Error but NeedMore the position of the next message is unknown: close the connection.
type Error struct {
	Status int
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// NeedMore is the error of a parse that ran out of input: keep the bytes, read on, parse again from the start.
var NeedMore = &Error{0, "need more input"}

// Each error is found at one byte of the input and does not depend on what follows, nor on how the input was cut.
var (
	errMethod         = &Error{400, "invalid method in request line"}
	errTarget         = &Error{400, "invalid request target"}
	errVersion        = &Error{400, "invalid HTTP version"}
	errVersionSupport = &Error{505, "HTTP version not supported"}
	errStatusLine     = &Error{400, "invalid status line"}
	errLineTooLong    = &Error{414, "request or status line too long"}
	errHeadTooLarge   = &Error{494, "head or field line too large"}
	errTooManyFields  = &Error{494, "too many fields"}
	errBareCR         = &Error{400, "CR without LF"}
	errFold           = &Error{400, "folded or indented field line"}
	errFieldName      = &Error{400, "invalid field name"}
	errFieldSpace     = &Error{400, "space between field name and colon"}
	errFieldColon     = &Error{400, "field line without colon"}
	errFieldValue     = &Error{400, "control byte in field value"}

	errNoHost         = &Error{400, "HTTP/1.1 request without Host"}
	errHostRepeated   = &Error{400, "repeated Host"}
	errLength         = &Error{400, "invalid Content-Length"}
	errLengthRepeated = &Error{400, "repeated Content-Length"}
	errCodingRepeated = &Error{400, "repeated Transfer-Encoding"}
	errCodingLength   = &Error{400, "Transfer-Encoding together with Content-Length"}
	errCodingVersion  = &Error{400, "Transfer-Encoding in an HTTP/1.0 request"}
	errCodingUnknown  = &Error{501, "unknown Transfer-Encoding"}

	errChunkSize    = &Error{400, "invalid chunk size"}
	errChunkExt     = &Error{400, "invalid chunk extension"}
	errChunkExtLong = &Error{400, "chunk extension too long"}
	errChunkLine    = &Error{400, "chunk size line does not end with CRLF"}
	errChunkData    = &Error{400, "chunk data not followed by CRLF"}
	errTrailer      = &Error{400, "invalid trailer section"}
	errTrailerLong  = &Error{400, "trailer section too long"}
)
