package origin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upgrade opens a WebSocket, with the key and the answer of RFC 6455 §1.3.
func (r *rig) upgrade() *client {
	r.t.Helper()
	c := r.dial()
	c.send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	h := resp.Header
	if resp.StatusCode != 101 || h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || h.Get(Field) != "a" ||
		h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" {
		r.t.Fatalf("got %d %v", resp.StatusCode, h)
	}
	return c
}

// clientFrame is a masked frame.
func clientFrame(first byte, payload []byte) []byte {
	b := appendFrame(nil, first, int64(len(payload)))
	b[1] |= maskBit
	mask := [4]byte{0xa1, 0x02, 0xf3, 0x44}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i&3])
	}
	return b
}

// frame reads a frame and checks it.
func (c *client) frame(first byte, payload []byte) {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	var head [10]byte
	read := func(n int) []byte {
		if _, err := io.ReadFull(c.Reader, head[:n]); err != nil {
			c.t.Fatal(err)
		}
		return head[:n]
	}
	b := read(2)
	length := uint64(b[1])
	if b[0] != first || length&maskBit != 0 {
		c.t.Fatalf("got frame % x, want first byte %x", b, first)
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(read(2)))
	case 127:
		length = binary.BigEndian.Uint64(read(8))
	}
	got := make([]byte, length)
	if _, err := io.ReadFull(c.Reader, got); err != nil || !bytes.Equal(got, payload) {
		c.t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(payload))
	}
}

func TestWebSocketEcho(t *testing.T) {
	c := serve(t, one("a")).upgrade()
	for _, size := range []int{0, 1, 7, 125, 126, 1000, 65535, 65536, 70_000, 3 << 20} {
		payload := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		for _, first := range []byte{0x81, 0x82} {
			go c.Conn.Write(clientFrame(first, payload))
			c.frame(first, payload)
		}
	}
	// Fragments with a ping between them, and a pong that nobody asked for.
	var b []byte
	b = append(b, clientFrame(0x01, []byte("one"))...)
	b = append(b, clientFrame(0x89, []byte("ping"))...)
	b = append(b, clientFrame(0x8a, []byte("pong"))...)
	b = append(b, clientFrame(0x80, []byte("two"))...)
	b = append(b, clientFrame(0x88, []byte{0x03, 0xe8, 'b', 'y', 'e'})...)
	b = append(b, clientFrame(0x81, []byte("after the end"))...)
	c.send(string(b))
	c.frame(0x01, []byte("one"))
	c.frame(0x8a, []byte("ping"))
	c.frame(0x80, []byte("two"))
	c.frame(0x88, []byte{0x03, 0xe8, 'b', 'y', 'e'})
	c.closed()
}

func TestWebSocketSplit(t *testing.T) {
	r := serve(t, one("a"))
	c := r.upgrade()
	payload := bytes.Repeat([]byte("x"), 130)
	b := append(clientFrame(0x82, payload), clientFrame(0x89, []byte("p"))...)
	for cut := range len(b) {
		c.send(string(b[:cut]))
		time.Sleep(20 * time.Microsecond)
		c.send(string(b[cut:]))
		c.frame(0x82, payload)
		c.frame(0x8a, []byte("p"))
	}
	c.send(string(clientFrame(0x88, nil)))
	c.frame(0x88, nil)
	c.closed()
	if got := r.seen("a").Requests; got != 1 {
		t.Fatalf("got %d requests", got)
	}
}

func TestWebSocketRefuses(t *testing.T) {
	r := serve(t, one("a"))
	f := func(frame ...byte) {
		t.Helper()
		c := r.upgrade()
		c.send(string(frame))
		c.frame(0x88, []byte{0x03, 0xea})
		c.closed()
	}
	f(0x81, 0x01, 'x')                                   // not masked
	f(0xc1, 0x80, 0, 0, 0, 0)                            // reserved bit
	f(0x83, 0x80, 0, 0, 0, 0)                            // reserved opcode
	f(0x8b, 0x80, 0, 0, 0, 0)                            // reserved opcode
	f(0x09, 0x80, 0, 0, 0, 0)                            // fragmented ping
	f(0x89, 0xfe, 0, 126)                                // long ping
	f(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4) // negative length
	c := r.dial()
	c.send("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
	c.answer("GET", 400, 12)
}

func TestWebSocketFaults(t *testing.T) {
	f := func(kind string) (*rig, *client) {
		t.Helper()
		r := serve(t, withFaults(Fault{Kind: kind, For: long}))
		c := r.upgrade()
		r.ask(command{Cmd: "begin"})
		c.Conn.Write(clientFrame(0x81, []byte(strings.Repeat("x", 1000))))
		return r, c
	}
	_, c := f("reset")
	if _, err := c.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v", err)
	}
	_, c = f("die")
	if _, err := c.ReadByte(); err == nil {
		t.Fatal("the dead answered")
	}
	r, c := f("hang")
	other := r.dial()
	other.send("GET /small HTTP/1.1\r\n\r\n")
	r.until("a", func(s Seen) bool { return s.Requests == 2 })
	r.ask(command{Cmd: "end"})
	if b, err := c.ReadByte(); err == nil {
		t.Fatalf("got %x", b)
	}
}

func TestUnmask(t *testing.T) {
	for size := range 40 {
		for cut := range size + 1 {
			b := bytes.Repeat([]byte{1, 2, 3}, 20)[:size]
			mask := [4]byte{9, 8, 7, 6}
			want := make([]byte, size)
			for i := range b {
				want[i] = b[i] ^ mask[i%4]
			}
			mask = unmask(b[:cut], mask)
			unmask(b[cut:], mask)
			if !bytes.Equal(b, want) {
				t.Fatalf("size %d cut at %d: got % x", size, cut, b)
			}
		}
	}
}
