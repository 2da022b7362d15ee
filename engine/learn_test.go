package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"dyups/upstream"
)

// TestStickyLearn: a session that a backend begins stays with it; it moves, under its name, when the backend may not be used, and
// what no backend has begun is nobody's session.
func TestStickyLearn(t *testing.T) {
	member := func() string { // sets a session for /in, under the name in the query
		return httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
			a, fields := w.LocalAddr().String(), ""
			if req.URL.Path == "/in" {
				fields = "Set-Cookie: sid=" + req.URL.RawQuery + "; path=/\r\n"
			}
			if req.URL.Path == "/ws" {
				_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n"+
					"Set-Cookie: sid="+req.URL.RawQuery+"\r\nX-Who: "+a+"\r\n\r\n")
				return false
			}
			_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(a), a)
			return err == nil
		})
	}
	a, b, c := member(), member(), member()
	const sticky = "sticky learn create=$upstream_cookie_sid lookup=$cookie_sid lookup=$arg_sid zone=z:1m;"
	body := func(list ...string) string { return sticky + "server " + strings.Join(list, "; server ") + ";" }
	r := newRig(t, 2, "upstream u { "+body(a, b)+` }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection upgrade; } }`)
	home := map[string]string{}
	begin := func(name string) string {
		t.Helper()
		server, given := (&session{r: r}).ask("/in?" + name)
		if given != "sid="+name+"; path=/" {
			t.Errorf("the cookie is %q", given)
		}
		home[name] = server
		return server
	}
	stay := func(name string) {
		t.Helper()
		for range 3 {
			for _, s := range []session{{r, "sid=" + name}, {r, ""}, {r, "sid="}} {
				if server, given := s.ask("/?sid=" + name); server != home[name] || given != "" {
					t.Errorf("session %s goes to %s and not %s, cookie %q", name, server, home[name], given)
				}
			}
		}
	}
	seen := map[string]bool{begin("one"): true, begin("two"): true}
	if !seen[a] || !seen[b] {
		t.Errorf("sessions at %v", seen)
	}
	stay("one")
	stay("two")
	r.update("u", body(c, b, a+" weight=7"))
	stay("one")
	stay("two")
	r.update("u", body(home["one"]+" drain", c))
	stay("one")
	if home["two"], _ = (&session{r: r, cookie: "sid=two"}).ask("/"); home["two"] != c { // its server is gone
		t.Errorf("session two goes to %s", home["two"])
	}
	r.update("u", body(a, b, c))
	stay("one")
	stay("two")
	seen = map[string]bool{}
	for range 12 {
		server, _ := (&session{r: r, cookie: "sid=made-up"}).ask("/")
		seen[server] = true
	}
	if len(seen) != 3 {
		t.Errorf("a session that nobody has begun is at %v", seen)
	}
	ws := r.dial(0)
	ws.send("GET /ws?three HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
	resp, err := http.ReadResponse(ws.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	home["three"] = resp.Header.Get("X-Who")
	stay("three")
}

// TestStickyLearnHeader: a session is learned when its answer is over, and with "header" when it begins.
func TestStickyLearnHeader(t *testing.T) {
	f := func(param string, early bool) {
		t.Helper()
		release := make(chan struct{})
		member := func() string { // holds the end of its first answer back
			return httpOrigin(t, func(w net.Conn, req *http.Request, _ string) bool {
				_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nX-Who: %s\r\nContent-Length: 2\r\n\r\na", w.LocalAddr())
				<-release
				_, _ = io.WriteString(w, "b")
				return err == nil
			})
		}
		r := newRig(t, 1, "upstream u { sticky learn create=$arg_sid lookup=$arg_sid zone=z:1m "+param+"; server "+member()+
			"; server "+member()+"; }\nserver { listen 127.0.0.1:0; location / { proxy_pass http://u; } }")
		ask := func() (*http.Response, string) {
			t.Helper()
			c := r.dial(0)
			c.send("GET /?sid=one HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp, resp.Header.Get("X-Who")
		}
		first, at := ask()
		second, then := ask()
		if stays := at == then; stays != early {
			t.Errorf("%q: the second request, while the first is answered, stays is %v", param, stays)
		}
		close(release)
		for _, resp := range []*http.Response{first, second} {
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ab" {
				t.Errorf("%q, %v", body, err)
			}
		}
		_, home := ask()
		for range 4 {
			if _, now := ask(); now != home {
				t.Errorf("%q: the session is at %s and %s", param, home, now)
			}
		}
	}
	f("", false)
	f("header", true)
}

// TestStickyLearnLeft: the session of a client that leaves before its answer moves, and its time with it, as if that had come.
func TestStickyLearnLeft(t *testing.T) {
	for param, moves := range map[string]bool{"": true, "header": false} {
		asked := make(chan struct{}, 1)
		silent := origin(t, func(_ net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err == nil {
				asked <- struct{}{}
				_, _ = in.ReadByte() // until it is hung up
			}
		})
		a := namedOrigin(t)
		r := newRig(t, 1, fmt.Sprintf("upstream u { sticky learn create=$upstream_cookie_x lookup=$arg_sid zone=z:1m %s; server %s; server %s; }\n"+
			"server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }", param, a, silent))
		u := r.store.Load().Lookup([]byte("u"))
		u.Learned([]byte("one"), true, 0, upstream.NowNs())
		u.Servers[0].State.Bar()
		c := r.dial(0)
		c.send("GET /?sid=one HTTP/1.1\r\nHost: a\r\n\r\n")
		<-asked
		c.Close()
		wait(t, "the place to be given back", func() bool { return u.Servers[1].State.InFlight() == 0 })
		want := 0
		if moves {
			want = 1
		}
		if got := u.Session([]byte("one"), upstream.NowNs()); len(got) != 1 || got[0] != want {
			t.Errorf("%q: the session is at %v, want %d", param, got, want)
		}
	}
}

// TestStickyLearnIntercepted: an error that an error page takes the place of is an answer of the session's server like any other, but
// with "header", which it does not come to.
func TestStickyLearnIntercepted(t *testing.T) {
	bad := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, err := io.WriteString(w, "HTTP/1.1 500 X\r\nContent-Length: 0\r\nSet-Cookie: sid=one\r\n\r\n")
		return err == nil
	})
	for param, want := range map[string]int{"": 1, "header": 0} {
		r := newRig(t, 1, "upstream u { sticky learn create=$upstream_cookie_sid lookup=$cookie_sid zone=z:1m "+param+"; server "+bad+`; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; error_page 500 =200 /own; proxy_intercept_errors on; }
location /own { return 200 own; } }`)
		(&session{r: r}).ask("/")
		u := r.store.Load().Lookup([]byte("u"))
		if got := u.Session([]byte("one"), upstream.NowNs()); len(got) != want {
			t.Errorf("%q: the session is at %v", param, got)
		}
	}
}
