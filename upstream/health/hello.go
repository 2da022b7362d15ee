package health

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// helloConfig offers all that there is, and offerDHE the rest: which of it a server would choose does not matter, but that it chooses.
var helloConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: allSuites()}

func allSuites() (ids []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}

// What a record of TLS begins with (RFC 8446 sections 4 and 5.1): type, version, length, and type of the handshake message or level
// and description of the alert.
const (
	recordAlert     = 21
	recordHandshake = 22
	serverHello     = 2
)

// errHello ends a handshake when the answer to its ClientHello has begun.
var errHello = errors.New("no more is wanted")

// suitesDHE are those that need what crypto/tls does not have: ephemeral Diffie-Hellman over integers, with RSA (RFC 5246, 5288, 7905).
const suitesDHE = "\x00\x9e\x00\x9f\xcc\xaa\x00\x67\x00\x6b\x00\x33\x00\x39\x00\x16"

// offerDHE gives a ClientHello (RFC 8446 sections 4.1.2 and 5.1) with suitesDHE behind its own suites. What is none, it leaves as it is.
func offerDHE(record []byte) []byte {
	const session = 5 + 4 + 2 + 32 // record, handshake, version, random
	if len(record) <= session || record[0] != recordHandshake {
		return record
	}
	suites := session + 1 + int(record[session])
	if len(record) < suites+2 {
		return record
	}
	end := suites + 2 + int(binary.BigEndian.Uint16(record[suites:]))
	if len(record) < end {
		return record
	}
	more := slices.Insert(slices.Clone(record), end, []byte(suitesDHE)...)
	for _, at := range [...]int{3, 7, suites} { // the lengths of the record, of the message (its lower two bytes), of the list
		binary.BigEndian.PutUint16(more[at:], binary.BigEndian.Uint16(more[at:])+uint16(len(suitesDHE)))
	}
	return more
}

// helloConn is a connection on which an answer is read as far as its first record tells what it is.
type helloConn struct {
	net.Conn
	start [7]byte
	whole bool
}

func (c *helloConn) Write(p []byte) (int, error) {
	if _, err := c.Conn.Write(offerDHE(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *helloConn) Read([]byte) (int, error) {
	if _, err := io.ReadFull(c.Conn, c.start[:]); err != nil {
		return 0, err
	}
	c.whole = true
	return 0, errHello
}

// hello sends a ClientHello. A server that begins its answer with a ServerHello speaks TLS, whatever else it wants of a client: the
// handshake is broken off there, as the module does.
func hello(ctx context.Context, conn net.Conn) error {
	c := &helloConn{Conn: conn}
	err := tls.Client(c, helloConfig).HandshakeContext(ctx)
	switch first := c.start[0]; {
	case !c.whole:
		return err
	case first == recordHandshake && c.start[5] == serverHello:
		return nil
	case first == recordAlert:
		return fmt.Errorf("an alert instead of a ServerHello: %w", tls.AlertError(c.start[6]))
	}
	return fmt.Errorf("no ServerHello: the answer begins with %q", c.start[:])
}
