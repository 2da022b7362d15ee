package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// helloConfig offers all that there is: which of it a server would choose does not matter, but that it chooses.
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

// helloConn is a connection on which an answer is read as far as its first record tells what it is.
type helloConn struct {
	net.Conn
	start [7]byte
	whole bool
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
