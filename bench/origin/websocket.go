package origin

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
)

// webSocketGUID is appended to the client's key (RFC 6455 §4.2.2).
const webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshake answers a request for "/ws".
func handshake(s *server, r *request, p persistence) *answer {
	if !r.webSocket || len(r.key) == 0 || p != persist11 {
		a := errorAnswer(s.spec.Name, 400, p)
		return &a
	}
	sum := sha1.Sum(append(append([]byte(nil), r.key...), webSocketGUID...))
	a := answer{upgrade: true}
	b := append(a.text, "HTTP/1.1 101 Switching Protocols\r\nServer: origin\r\nDate: "...)
	a.dateAt = len(b)
	b = append(b, dateLayout+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+Field+": "...)
	b = append(b, s.spec.Name...)
	b = append(b, "\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	a.text = append(b, "\r\n\r\n"...)
	a.headLen = len(a.text)
	return &a
}

// Opcodes of frames (RFC 6455 §5.2), and other bits of the two bytes they begin with.
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	finBit         = 0x80
	maskBit        = 0x80
	reservedBits   = 0x70
)

// frames is what is left of the frame that a client is sending. The zero value is between two frames.
type frames struct {
	left int64   // payload to come
	mask [4]byte // its next byte is masked with the first
	mute bool    // it is not echoed: a pong
	last bool    // it is a close frame
}

// stepSocket takes a frame's header or a piece of its payload. Frames go back as they come, fragments too; the text in them
// is not looked at.
func (l *loop) stepSocket(c *conn, data []byte) int {
	f := &c.frames
	n := 0
	if f.left > 0 {
		n = int(min(f.left, int64(len(data))))
		f.left -= int64(n)
		if !f.mute {
			at := len(l.out)
			l.out = append(l.out, data[:n]...)
			f.mask = unmask(l.out[at:], f.mask)
		}
	} else {
		h, ok := parseFrame(data)
		if !ok {
			l.out = append(l.out, finBit|opClose, 2, 1002>>8, 1002&0xff) // protocol error (RFC 6455 §7.4.1)
			c.phase = phaseLast
			return len(data)
		}
		if n = h.size; n == 0 {
			return 0
		}
		switch {
		case c.server.fault == faultHang:
			c.phase = phaseHung
			return len(data)
		case c.server.fault == faultReset:
			l.out = l.out[:0]
			l.reset(c)
			return len(data)
		}
		*f = frames{left: h.length, mask: h.mask, mute: h.op == opPong, last: h.op == opClose}
		if !f.mute {
			op := data[0]
			if h.op == opPing {
				op = finBit | opPong
			}
			l.out = appendFrame(l.out, op, h.length)
		}
	}
	if f.last && f.left == 0 {
		c.phase = phaseLast
	}
	return n
}

// frame is the header of a client's frame.
type frame struct {
	op     byte
	length int64
	mask   [4]byte
	size   int // of the header, 0: more is needed
}

// parseFrame reads a header, and checks what RFC 6455 §5 asks of a client.
func parseFrame(data []byte) (h frame, ok bool) {
	if len(data) < 2 {
		return h, true
	}
	h.op = data[0] &^ finBit
	control := h.op >= opClose
	length := data[1] &^ maskBit
	known := h.op <= opBinary || h.op >= opClose && h.op <= opPong
	if data[0]&reservedBits != 0 || !known || data[1]&maskBit == 0 || control && (length > 125 || data[0]&finBit == 0) {
		return h, false
	}
	size := 2 + 4
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if len(data) < size {
		return h, true
	}
	switch length {
	case 126:
		h.length = int64(binary.BigEndian.Uint16(data[2:]))
	case 127:
		h.length = int64(binary.BigEndian.Uint64(data[2:]))
	default:
		h.length = int64(length)
	}
	copy(h.mask[:], data[size-4:])
	h.size = size
	return h, h.length >= 0
}

// appendFrame appends a server's header: without mask.
func appendFrame(b []byte, first byte, length int64) []byte {
	switch {
	case length <= 125:
		return append(b, first, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, first, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(length))
	}
}

// unmask takes the mask off b in place, and returns the mask as the byte after b needs it.
func unmask(b []byte, mask [4]byte) [4]byte {
	half := uint64(binary.LittleEndian.Uint32(mask[:]))
	word := half<<32 | half
	n := len(b) &^ 7
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(b[i:])^word)
	}
	for i := n; i < len(b); i++ {
		b[i] ^= mask[i&3]
	}
	k := len(b) & 3
	return [4]byte{mask[k], mask[(k+1)&3], mask[(k+2)&3], mask[(k+3)&3]}
}
