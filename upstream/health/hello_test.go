package health

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHello: a server is well for ssl_hello when it answers with a ServerHello, whatever it would ask of a client after that.
func TestHello(t *testing.T) {
	b := newBench(t)
	check := func(addr string, up bool) {
		t.Helper()
		b.set("u", "check interval=10 rise=1 fall=1 timeout=5000 type=ssl_hello; server "+addr+";")
		u := b.upstream("u")
		b.until("a check of "+addr, func() bool {
			b.c.mu.Lock()
			defer b.c.mu.Unlock()
			p := b.c.probers[targetOf(u.Servers[0], u.Checks[0])]
			return p.known && p.rises+p.falls > 1
		})
		if got := b.picks("u") == "0"; got != up {
			t.Errorf("well %v, want %v", got, up)
		}
	}
	f := func(conf *tls.Config, up bool) {
		t.Helper()
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.TLS = conf
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		defer srv.Close()
		check(srv.Listener.Addr().String(), up)
	}
	f(&tls.Config{}, true)
	f(&tls.Config{MinVersion: tls.VersionTLS13}, true)
	f(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, true)
	f(&tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}, true)
	f(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}, true)
	for _, id := range []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA} {
		f(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{id}}, true)
	}
	// It has no certificate to offer, which it says by an alert.
	f(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return &tls.Config{}, nil }}, false)
	if lines := b.log(); !strings.Contains(lines, "the last: an alert instead of a ServerHello: tls: ") {
		t.Errorf("the log says %s", lines)
	}

	g := func(answer string, up bool) {
		t.Helper()
		check(answering(t, answer), up)
	}
	g("\x16\x03\x01\x00\x2a\x02\x00", true)
	g("\x16\x03\x01\x00\x2a\x01\x00", false) // a ClientHello, its own
	g("\x17\x03\x03\x00\x2a\x02\x00", false)
	g("\x16\x03", false)
	g("", false)
	g("HTTP/1.1 400 Bad Request\r\n\r\n", false)
}

// TestHelloDHE: servers that speak nothing but what crypto/tls does not are offered it, in a ClientHello that is still well formed.
func TestHelloDHE(t *testing.T) {
	var offered []uint16
	plain := capture(t, func(c net.Conn) net.Conn { return c })
	ours := capture(t, func(c net.Conn) net.Conn { return &helloConn{Conn: c} })
	server, client := net.Pipe()
	defer server.Close()
	go func() {
		_, _ = client.Write(ours)
		_ = client.Close()
	}()
	_ = tls.Server(readOnly{server}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		offered = h.CipherSuites
		return nil, io.EOF
	}}).Handshake()
	if n := len(suitesDHE) / 2; len(offered) < n || offered[len(offered)-n] != 0x009e || len(ours) != len(plain)+len(suitesDHE) {
		t.Errorf("%d bytes offer %#04x", len(ours), offered)
	}
	end := bytes.Index(ours, []byte(suitesDHE))
	for n := range end { // what is cut short before the end of its list stays as it is
		if got := offerDHE(plain[:n]); len(got) != n {
			t.Fatalf("%d bytes became %d", n, len(got))
		}
	}
	if got := offerDHE([]byte("GET / HTTP/1.1")); string(got) != "GET / HTTP/1.1" {
		t.Errorf("%q", got)
	}
}

// readOnly is a connection into which everything can be written.
type readOnly struct{ net.Conn }

func (readOnly) Write(p []byte) (int, error) { return len(p), nil }

// capture is the ClientHello that is sent over a connection.
func capture(t *testing.T, over func(net.Conn) net.Conn) []byte {
	t.Helper()
	server, client := net.Pipe()
	go func() {
		_ = tls.Client(over(client), helloConfig).Handshake()
	}()
	defer client.Close()
	defer server.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// answering is the address of a server that says the same to everyone who has begun to speak, and hangs up.
func answering(t *testing.T, answer string) string {
	t.Helper()
	return talking(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := in.ReadByte(); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	})
}

// talking is the address of a server whose connections are served by serve, and closed then.
func talking(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return ln.Addr().String()
}
