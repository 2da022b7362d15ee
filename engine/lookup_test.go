package engine

import (
	"strings"
	"testing"
)

const silent = `server { listen 127.0.0.1:0; resolver 127.0.0.1; resolver_timeout 1h; location / { proxy_pass http://$host; } }`

// unlimited is silent with look-ups that may take for ever.
var unlimited = strings.Replace(silent, "1h", "0", 1)

// TestLookupLeft: a request whose client leaves while its name is looked up ends, and the look-up with it.
func TestLookupLeft(t *testing.T) {
	for _, conf := range []string{silent, unlimited} {
		r := newRig(t, 1, conf)
		c := r.dial(0)
		c.send("GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n")
		wait(t, "the look-up", func() bool { return resolving.Load() == 1 })
		c.Close()
		wait(t, "its end", func() bool { return resolving.Load() == 0 })
		if !r.logged("client prematurely closed connection") {
			t.Error("the log does not say that the client left")
		}
	}
}

// TestLookupClosed: look-ups end with the engine.
func TestLookupClosed(t *testing.T) {
	for _, conf := range []string{silent, unlimited} {
		r := newRig(t, 1, conf)
		c := r.dial(0)
		c.send("GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n")
		wait(t, "the look-up", func() bool { return resolving.Load() == 1 })
		r.e.Close()
		if n := resolving.Load(); n != 0 {
			t.Errorf("%d look-ups have outlived the engine", n)
		}
	}
}
