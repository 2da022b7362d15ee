package health

import (
	"bufio"
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
