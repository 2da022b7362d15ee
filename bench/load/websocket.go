package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
)

// Every connection uses the same key and the same mask, so that its messages are made once.
const (
	wsKey    = "ZHl1cHMgYmVuY2ggbG9hZA=="
	wsSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
)

var wsMask = [4]byte{0x5a, 0x13, 0xc4, 0x2e}

// wsAccept is the answer to wsKey (RFC 6455, section 4.2.2).
func wsAccept() string {
	sum := sha1.Sum([]byte(wsKey + wsSuffix))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// wsMessage is a binary message of n bytes as a client sends it, and as it comes back (RFC 6455, section 5.2).
func wsMessage(n int) (sent, echoed []byte) {
	payload := bytes.Repeat([]byte("0123456789abcde\n"), n/16+1)[:n]
	head := func(mask byte) []byte {
		b := []byte{0x82}
		switch {
		case n < 126:
			return append(b, mask|byte(n))
		case n < 1<<16:
			return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
		}
		return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	echoed = append(head(0), payload...)
	sent = append(head(0x80), wsMask[:]...)
	for i, c := range payload {
		sent = append(sent, c^wsMask[i%4])
	}
	return sent, echoed
}

// echo compares what has come with the message that is expected; n is how much was used.
func (c *conn) echo(r *run, p []byte) (n int, done, ok bool) {
	want := r.echoed[c.got:]
	n = min(len(want), len(p))
	if !bytes.Equal(p[:n], want[:n]) {
		return n, false, false
	}
	c.got += n
	if c.got < len(r.echoed) {
		return n, false, true
	}
	c.got = 0
	return n, true, true
}
