package engine

import (
	"bytes"

	"dyups/codec"
	"dyups/engine/site"
)

// httpDate is the form of dates in fields (RFC 9110 section 5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// expire puts Expires and Cache-Control in place of those that head, an answer's head so far, has. Source: nginx,
// ngx_http_set_expires.
func (ex *exchange) expire(head []byte, e *site.Expires) []byte {
	when, age, on := e.At(&ex.r, fieldOf(head, "Last-Modified"))
	if !on {
		return head
	}
	head = dropField(dropField(head, "Expires"), "Cache-Control")
	head = when.UTC().AppendFormat(append(head, "Expires: "...), httpDate)
	if age < 0 {
		return append(head, "\r\nCache-Control: no-cache\r\n"...)
	}
	head = codec.AppendUint(append(head, "\r\nCache-Control: max-age="...), uint64(age))
	return append(head, '\r', '\n')
}

// fieldOf is the value of a field in a head that we have written, nil if it is not there.
func fieldOf(head []byte, name string) []byte {
	for at := lineEnd(head, 0); at < len(head); {
		end := lineEnd(head, at)
		if isField(head[at:end], name) {
			return bytes.TrimSpace(head[at+len(name)+1 : end])
		}
		at = end
	}
	return nil
}

// dropField takes every field of a name out of a head that we have written.
func dropField(head []byte, name string) []byte {
	kept := lineEnd(head, 0)
	for at := kept; at < len(head); {
		end := lineEnd(head, at)
		if !isField(head[at:end], name) {
			kept += copy(head[kept:], head[at:end])
		}
		at = end
	}
	return head[:kept]
}

// lineEnd is where the line that begins at ends, its end included.
func lineEnd(head []byte, at int) int {
	if i := bytes.IndexByte(head[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(head)
}

func isField(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && codec.EqualFold(line[:len(name)], name)
}
