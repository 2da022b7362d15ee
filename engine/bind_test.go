package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// TestProxyBind: connections come from the address that proxy_bind names, and an idle one serves only requests that want the same.
func TestProxyBind(t *testing.T) {
	addr := httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
		host, _, _ := net.SplitHostPort(w.RemoteAddr().String())
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(host), host)
		return err == nil
	})
	r := newRig(t, 1, `upstream u { server `+addr+`; server `+addr+`; }
server { listen 127.0.0.1:0; proxy_bind 127.0.0.2;
	location / { proxy_pass http://u; }
	location /off { proxy_bind off; proxy_pass http://u; }
	location /var { proxy_bind $arg_b; proxy_pass http://u; }
	location /away { proxy_bind 192.0.2.1; proxy_pass http://u; } }`)
	f := func(path string, status int, want string) {
		t.Helper()
		c := r.dial(0)
		defer c.Close()
		if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		c.want(status, want)
	}
	for range 3 {
		f("/", 200, "127.0.0.2")
		f("/off", 200, "127.0.0.1")
		f("/var?b=127.0.0.3", 200, "127.0.0.3")
		f("/var?b=127.0.0.2:0", 200, "127.0.0.2")
		f("/var", 200, "127.0.0.1")
		f("/var?b=nowhere", 200, "127.0.0.1")
	}
	if !r.logged(`invalid local address "nowhere"`) {
		t.Error("an address that is none is not logged")
	}
	for range 3 {
		f("/away", 500, "")
	}
	if !r.logged("bind(192.0.2.1) failed (99: Cannot assign requested address) while connecting to upstream") {
		t.Error("an address that is not this machine's is not logged")
	}
	for range 2 { // neither server is to blame
		f("/", 200, "127.0.0.2")
	}
	for _, s := range r.store.Load().Lookup([]byte("u")).Servers {
		// A client may have its answer before the loop is through with the request.
		wait(t, "no request to be left at a server", func() bool { return s.State.InFlight() == 0 })
	}
}
