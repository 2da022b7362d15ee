package origin

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxBody    = 1 << 30   // the largest answer
	inlineBody = 16 << 10  // bodies up to here are kept whole with their head and copied; larger ones come from a shared buffer
	sharedBody = 1 << 20   // the shared buffer
	fileBody   = 256 << 10 // plain bodies from here on are sent from a file, which the kernel does not copy
	chunkBody  = 32 << 10  // data of a chunk
	maxAnswers = 1024      // paths that an origin remembers; further ones are built for each request
)

// pattern fills bodies. Its length divides the sizes above, so that a body is the same wherever the buffer starts again.
const pattern = "0123456789abcde\n"

var (
	plainSource = bytes.Repeat([]byte(pattern), sharedBody/len(pattern))
	chunkSource = bytes.Repeat(appendChunk(nil, plainSource[:chunkBody]), sharedBody/chunkBody)
)

// fullChunk is the length of a chunk of chunkBody with its framing: chunkSource repeats after each.
var fullChunk = len(chunkSource) / (sharedBody / chunkBody)

func appendChunk(b, data []byte) []byte {
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(b, "\r\n"...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}

// answer is one answer of one origin, ready to be sent: text, then size bytes of source again and again, then tail.
type answer struct {
	text    []byte // head and, up to inlineBody, body
	headLen int    // of the head in text: what HEAD gets
	dateAt  int    // where the 29 bytes of the date are in text
	second  int64  // Unix time of that date
	source  []byte // nil: everything is in text
	file    bool   // the source is in the loop's file as well
	size    int64
	tail    []byte
	close   bool // the connection ends with it
	upgrade bool // WebSocket frames follow it
}

// persistence is the client's protocol version and what an answer says about its connection (RFC 9112 §9.3).
type persistence int

const (
	persist11    persistence = iota // HTTP/1.1: nothing
	close11                         // HTTP/1.1: "Connection: close"
	persist10                       // HTTP/1.0: "Connection: keep-alive"
	close10                         // HTTP/1.0: "Connection: close"
	persistences                    // how many there are
)

// answers are those of one path.
type answers [persistences]answer

const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// newAnswers builds those of a path for an origin; a path that is not served gives those of status 404.
func newAnswers(name, path string) *answers {
	var a answers
	for p := range a {
		status, size, chunked := 200, int64(0), false
		switch rest, ok := strings.CutPrefix(path, "/chunked"); {
		case path == "/small":
			size = smallSize
		case ok:
			size, ok = parseSize(rest)
			// Chunked framing is nothing for HTTP/1.0 (RFC 9112 §6.1).
			chunked = persistence(p) < persist10
			if !ok {
				status = 404
			}
		default:
			if size, ok = parseSize(path); !ok {
				status = 404
			}
		}
		switch {
		case status == 404:
			a[p] = errorAnswer(name, status, persistence(p))
		case path == "/small":
			a[p] = newAnswer(name, status, persistence(p), []byte(smallBody))
		case chunked:
			a[p] = chunkedAnswer(name, persistence(p), size)
		case size <= inlineBody:
			a[p] = newAnswer(name, status, persistence(p), plainSource[:size])
		default:
			a[p] = plainAnswer(name, persistence(p), size)
		}
	}
	return &a
}

const (
	smallBody = "hello\n"
	smallSize = int64(len(smallBody))
)

// parseSize parses "/" and a number with k, m or g, up to maxBody.
func parseSize(path string) (int64, bool) {
	digits, ok := strings.CutPrefix(path, "/")
	if !ok || digits == "" {
		return 0, false
	}
	shift := 0
	switch digits[len(digits)-1] {
	case 'k':
		shift = 10
	case 'm':
		shift = 20
	case 'g':
		shift = 30
	}
	if shift > 0 {
		digits = digits[:len(digits)-1]
	}
	n, ok := parseNumber([]byte(digits))
	if !ok || n > maxBody>>shift {
		return 0, false
	}
	return n << shift, true
}

var reasons = map[int]string{200: "OK", 400: "Bad Request", 404: "Not Found",
	431: "Request Header Fields Too Large", 501: "Not Implemented"}

// header builds a head with the framing field given.
func header(name string, status int, p persistence, framing string) answer {
	var a answer
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: origin\r\nDate: ", status, reasons[status])
	a.dateAt = len(b)
	b = fmt.Appendf(b, "%s\r\nContent-Type: text/plain\r\n%s\r\n%s: %s\r\n", dateLayout, framing, Field, name)
	switch p {
	case persist10:
		b = append(b, "Connection: keep-alive\r\n"...)
	case close11, close10:
		b = append(b, "Connection: close\r\n"...)
		a.close = true
	}
	a.text = append(b, "\r\n"...)
	a.headLen = len(a.text)
	return a
}

func sized(size int64) string { return "Content-Length: " + strconv.FormatInt(size, 10) }

// newAnswer is an answer with its body in text.
func newAnswer(name string, status int, p persistence, body []byte) answer {
	a := header(name, status, p, sized(int64(len(body))))
	a.text = append(a.text, body...)
	return a
}

func errorAnswer(name string, status int, p persistence) answer {
	return newAnswer(name, status, p, []byte(strings.ToLower(reasons[status])+"\n"))
}

// plainAnswer has a body from the shared buffer.
func plainAnswer(name string, p persistence, size int64) answer {
	a := header(name, 200, p, sized(size))
	a.source, a.size, a.file = plainSource, size, size >= fileBody
	return a
}

// chunkedAnswer has full chunks from the shared buffer and the last one, with what is left, in the tail.
func chunkedAnswer(name string, p persistence, size int64) answer {
	a := header(name, 200, p, "Transfer-Encoding: chunked")
	var tail []byte
	if rest := size % chunkBody; rest > 0 {
		tail = appendChunk(nil, plainSource[:rest])
	}
	tail = append(tail, "0\r\n\r\n"...)
	if size <= inlineBody {
		a.text = append(a.text, tail...)
		return a
	}
	a.source, a.size, a.tail = chunkSource, size/chunkBody*int64(fullChunk), tail
	return a
}
