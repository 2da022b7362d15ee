package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// maxBodies bounds the bytes of all bodies together: each host has its request, with its body, in memory.
const maxBodies = 1 << 30

// makeRequests makes the bytes of every request that will be sent.
func (r *run) makeRequests() {
	s := &r.spec
	hosts := []string{s.Host}
	if s.Hosts > 0 {
		hosts = hosts[:0]
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(s.Hosts) {
			hosts = append(hosts, fmt.Sprintf("u%d", i))
		}
	}
	for _, host := range hosts {
		r.requests = append(r.requests, s.request(host, s.Fresh))
	}
	if r.silent = r.requests[0]; s.Fresh {
		r.silent = s.request(hosts[0], false)
	}
	if len(r.requests) == 1 && s.Pipeline > 1 {
		r.batch = bytes.Repeat(r.requests[0], s.Pipeline)
	}
	if s.WebSocket {
		r.sent, r.echoed = wsMessage(s.BodySize)
	}
}

// request is a whole request: the handshake of a WebSocket, or one with its body.
func (s *Spec) request(host string, closes bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", s.Method, s.Path, host)
	for _, f := range s.Fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	switch {
	case s.WebSocket:
		fmt.Fprintf(&b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", wsKey)
		return b.Bytes()
	case closes:
		b.WriteString("Connection: close\r\n")
	}
	if s.BodySize > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", s.BodySize)
	}
	b.WriteString("\r\n")
	b.Write(bytes.Repeat([]byte("0123456789abcde\n"), s.BodySize/16+1)[:s.BodySize])
	return b.Bytes()
}
