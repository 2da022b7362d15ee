package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"dyups/upstream"
)

// session is a browser: it keeps the cookie that it is given.
type session struct {
	r      *rig
	cookie string
}

// ask gives the server that answers; given is the Set-Cookie field that came with it.
func (s *session) ask(target string) (server, given string) {
	s.r.t.Helper()
	c := s.r.dial(0)
	defer c.Close()
	head := "GET " + target + " HTTP/1.1\r\nHost: a\r\n"
	if s.cookie != "" {
		head += "Cookie: other=1; " + s.cookie + "\r\n"
	}
	c.send(head + "\r\n")
	resp, body := c.read("GET")
	if resp.StatusCode != 200 {
		s.r.t.Fatalf("%s with %q: %d", target, s.cookie, resp.StatusCode)
	}
	if given = resp.Header.Get("Set-Cookie"); given != "" {
		s.cookie, _, _ = strings.Cut(given, ";")
	}
	return body, given
}

// namedOrigin answers with its address.
func namedOrigin(t *testing.T) string {
	return httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		a := w.LocalAddr().String()
		_, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(a), a)
		return err == nil
	})
}

func stickyRig(t *testing.T, sticky string, servers ...string) *rig {
	return newRig(t, 1, "upstream u { "+sticky+" server "+strings.Join(servers, "; server ")+`; }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; } }`)
}

// TestStickyCookie: sessions stay with their server whatever is added, drained or reweighed; one whose server is gone or fails
// moves once; cookies tell nothing and cannot be made up.
func TestStickyCookie(t *testing.T) {
	var addrs []string
	for range 4 {
		addrs = append(addrs, namedOrigin(t))
	}
	const sticky = "sticky cookie srv path=/p httponly samesite=lax expires=1h domain=$host secret=x;"
	r := stickyRig(t, sticky, addrs[:2]...)
	var all []*session
	home := map[*session]string{}
	for range 10 {
		s := &session{r: r}
		server, given := s.ask("/")
		for _, want := range []string{"srv=", "; expires=", "; max-age=3600; domain=a; httponly; samesite=lax; path=/p"} {
			if !strings.Contains(given, want) {
				t.Fatalf("the cookie is %q, want %q in it", given, want)
			}
		}
		if _, port, _ := net.SplitHostPort(server); strings.Contains(given, port) || len(strings.TrimPrefix(s.cookie, "srv=")) != 32 {
			t.Errorf("the cookie is %q", given)
		}
		all, home[s] = append(all, s), server
	}
	// stay asks in the name of every session, and wants those that had a server of moving on another one, with a new cookie; the
	// others get theirs again, to last from now on.
	stay := func(what string, moving ...string) {
		t.Helper()
		for _, s := range all {
			moves := len(moving) > 0 && strings.Contains(strings.Join(moving, " "), home[s])
			for n := range 3 {
				was := s.cookie
				server, given := s.ask("/")
				if moves && n == 0 {
					if server == home[s] || s.cookie == was {
						t.Errorf("%s: a session is still with %s, cookie %q", what, server, given)
					}
					home[s] = server
				} else if server != home[s] || s.cookie != was || !strings.Contains(given, "; max-age=3600;") {
					t.Errorf("%s: a session goes to %s and not to %s, cookie %q", what, server, home[s], given)
				}
			}
		}
	}
	stay("at first")
	r.update("u", sticky+"server "+strings.Join(addrs, "; server ")+";")
	stay("two more servers")
	r.update("u", sticky+"least_conn; server "+addrs[3]+" weight=5; server "+addrs[1]+"; server "+addrs[0]+" weight=9; server "+addrs[2]+";")
	stay("another order, method and weights")
	drained := home[all[0]]
	r.update("u", sticky+"server "+strings.ReplaceAll(strings.Join(addrs, "; server ")+";", drained+";", drained+" drain;"))
	stay("one drains")
	for range 12 {
		s := &session{r: r}
		if server, _ := s.ask("/"); server == drained {
			t.Error("a new session goes to the server that drains")
		}
	}
	r.update("u", sticky+"server "+strings.ReplaceAll(strings.Join(addrs, "; server ")+";", drained+";", drained+" down;"))
	stay("it is down", drained)
	s := &session{r: r, cookie: "srv=" + strings.Repeat("0", 32)}
	if s.ask("/"); s.cookie == "srv="+strings.Repeat("0", 32) {
		t.Error("a cookie that was made up is taken")
	}
	other := stickyRig(t, "sticky cookie srv secret=y;", addrs...)
	s = &session{r: other, cookie: all[0].cookie}
	if s.ask("/"); s.cookie == all[0].cookie {
		t.Error("a cookie of another secret is taken")
	}
}

// TestStickyRetry: the server of a session that fails is left, and the cookie names the one that answered.
func TestStickyRetry(t *testing.T) {
	good := namedOrigin(t)
	bad := origin(t, func(net.Conn, *bufio.Reader) {}) // closes what it accepts
	r := stickyRig(t, "sticky cookie srv secret=x;", good, bad+" max_fails=0")
	u := r.store.Load().Lookup([]byte("u"))
	s := &session{r: r, cookie: "srv=" + u.Sticky.Value(1)}
	if server, given := s.ask("/"); server != good || given != "srv="+u.Sticky.Value(0) {
		t.Errorf("answered by %s with cookie %q", server, given)
	}
	if server, given := s.ask("/"); server != good || given != "srv="+u.Sticky.Value(0) {
		t.Errorf("then answered by %s with cookie %q", server, given)
	}
}

// TestStickyRoute: the first value that is not empty names the server; one that names none leaves it to the method.
func TestStickyRoute(t *testing.T) {
	a, b := namedOrigin(t), namedOrigin(t)
	r := stickyRig(t, "sticky route $cookie_route $arg_route;", a+" route=a", b+" route=b")
	f := func(cookie, target, want string) {
		t.Helper()
		seen := map[string]bool{}
		for range 4 {
			s := &session{r: r, cookie: cookie}
			server, given := s.ask(target)
			if seen[server] = true; given != "" {
				t.Errorf("a cookie is set: %q", given)
			}
		}
		if want != "" && (len(seen) != 1 || !seen[want]) || want == "" && len(seen) != 2 {
			t.Errorf("%s with %q goes to %v, want %q", target, cookie, seen, want)
		}
	}
	f("", "/?route=a", a)
	f("", "/?route=b", b)
	f("route=b", "/?route=a", b)
	f("route=c", "/?route=a", "")
	f("", "/", "")
}

// TestStickyNameCase: the name of the cookie may have capitals.
func TestStickyNameCase(t *testing.T) {
	r := stickyRig(t, "sticky cookie My-Session;", namedOrigin(t), namedOrigin(t))
	s := &session{r: r}
	home, given := s.ask("/")
	if !strings.HasPrefix(given, "My-Session=") {
		t.Errorf("the cookie is %q", given)
	}
	for range 4 {
		if server, again := s.ask("/"); server != home || again != given {
			t.Errorf("answered by %s and not %s, cookie %q", server, home, again)
		}
	}
}

// TestStickyDrainFails: a session whose server drains and fails moves to another one within the request.
func TestStickyDrainFails(t *testing.T) {
	good := namedOrigin(t)
	bad := httpOrigin(t, func(net.Conn, *http.Request, string) bool { return false })
	r := stickyRig(t, "sticky cookie srv;", good, bad+" drain")
	st := r.store.Load().Lookup([]byte("u")).Sticky
	s := &session{r: r, cookie: "srv=" + st.Value(1)}
	if server, given := s.ask("/"); server != good || given != "srv="+st.Value(0) {
		t.Errorf("answered by %s with cookie %q", server, given)
	}
}

// TestStickySeveral: of servers of one route the first that may be used serves all its sessions. The route itself is taken as a cookie
// as well, and the cookie that is given is not the route.
func TestStickySeveral(t *testing.T) {
	a, b, c := namedOrigin(t), namedOrigin(t), namedOrigin(t)
	for _, cookie := range []string{"route", "hash", "name"} {
		sticky := "sticky cookie s;"
		if cookie == "route" {
			sticky = "sticky route $cookie_s;"
		}
		r := stickyRig(t, sticky, a+" route=x", b+" route=x", c)
		sent, set := "s=x", ""
		if st := r.store.Load().Lookup([]byte("u")).Sticky; st.Cookie != "" {
			set = "s=" + st.Value(0)
		}
		if cookie == "hash" {
			sent = set
		}
		f := func(want string) {
			t.Helper()
			for range 8 {
				if server, given := (&session{r: r, cookie: sent}).ask("/"); server != want || given != set {
					t.Errorf("%s: answered by %s with cookie %q, want %s and %q", cookie, server, given, want, set)
				}
			}
		}
		f(a)
		r.update("u", sticky+"server "+a+" route=x down; server "+b+" route=x; server "+c+";")
		f(b)
	}
}

// TestStickyPassed: cookies of the backend stay behind the one of the session, sessions hold for WebSockets, for answers with
// X-Accel-Redirect and for those of our own that take the place of the server's; an answer without a server sets nothing.
func TestStickyPassed(t *testing.T) {
	const ours = "s=[0-9a-f]{32}"
	f := func(answer, target string, status int, want ...string) {
		t.Helper()
		answers := strings.Split(answer, "|") // to the first request and those behind it
		var asked atomic.Int64
		a := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
			_, err := io.WriteString(w, answers[min(int(asked.Add(1)), len(answers))-1]+"\r\n")
			return err == nil && answer != ""
		})
		r := newRig(t, 1, `upstream u { server `+a+`; sticky cookie s; } upstream v { server `+a+` down; sticky cookie s; }
server { listen 127.0.0.1:0; location /own { return 200 own; } location @more { proxy_pass http://u;
proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
location /more { error_page 500 = @more; proxy_intercept_errors on; proxy_pass http://u; }
location /none { proxy_pass http://v; } location / { error_page 404 /own; proxy_intercept_errors on; proxy_pass http://u;
proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }`)
		c := r.dial(0)
		c.send("GET " + target + " HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		set := resp.Header["Set-Cookie"]
		if !regexp.MustCompile("^"+strings.Join(want, " ")+"$").MatchString(strings.Join(set, " ")) || resp.StatusCode != status {
			t.Errorf("%q: status %d, cookies %q", answer, resp.StatusCode, set)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: own=1\r\n", "/", 200, ours, "own=1")
	f("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n", "/", 101, ours)
	f("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: /own\r\n", "/", 200, ours)
	f("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", "/", 404, ours)
	f("", "/own", 200)
	f("", "/none", 502)
	f("", "/", 502, ours)
	f("HTTP/1.1 500 X\r\nContent-Length: 0\r\nSet-Cookie: own=1\r\n", "/more", 500, ours, ours, "own=1")
	f("HTTP/1.1 500 X\r\nContent-Length: 0\r\nSet-Cookie: own=1\r\nX-Accel-Redirect: /own\r\n", "/more", 200, ours, ours, "own=1")
	f("HTTP/1.1 500 X\r\nContent-Length: 0\r\n|HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n", "/more", 101, ours, ours)
}

// TestStickyQueue: requests of a session wait for their turn like all others, except for a server that drains, which nobody else
// waits for; a session whose server is full goes elsewhere.
func TestStickyQueue(t *testing.T) {
	g, h := newGate(t), newGate(t)
	const conf = "server %s max_conns=1 route=g%s; server %s max_conns=1 route=h; queue 4; sticky route $arg_r;"
	r := newRig(t, 2, "upstream u {"+fmt.Sprintf(conf, g.addr, "", h.addr)+"}\nserver { listen 127.0.0.1:0; location / { proxy_pass http://u; } }")
	first := r.ask("/0?r=g")
	g.next(t)
	second := r.ask("/1?r=g")
	if p := h.next(t); p != "/1" {
		t.Fatalf("%s arrives", p)
	}
	third := r.ask("/2")
	r.waiting(1)
	fourth := r.ask("/3?r=g")
	r.waiting(2)
	g.leave <- true
	first.want(200, "/0")
	if p := g.next(t); p != "/2" {
		t.Fatalf("%s goes before its turn", p)
	}
	r.update("u", fmt.Sprintf(conf, g.addr, " drain", h.addr))
	fifth := r.ask("/4")
	r.waiting(2)
	g.leave <- true
	third.want(200, "/2")
	if p := g.next(t); p != "/3" {
		t.Fatalf("%s goes to the server that drains", p)
	}
	g.leave <- true
	fourth.want(200, "/3")
	r.waiting(1)
	sixth := r.ask("/5?r=g") // passes the one that waits for h
	if p := g.next(t); p != "/5" {
		t.Fatalf("%s goes to the server that drains", p)
	}
	g.leave <- true
	sixth.want(200, "/5")
	h.leave <- true
	second.want(200, "/1")
	if p := h.next(t); p != "/4" {
		t.Fatalf("%s arrives", p)
	}
	h.leave <- true
	fifth.want(200, "/4")
	r.waiting(0)
	wait(t, "all places to be given back", func() bool {
		n := int64(0)
		for _, s := range r.store.Load().Lookup([]byte("u")).Servers {
			n += s.State.InFlight()
		}
		return n == 0
	})
}

// TestStickyAttributes: what variables give is at most the value of one attribute.
func TestStickyAttributes(t *testing.T) {
	a := namedOrigin(t)
	f := func(params, target, want string) {
		t.Helper()
		r := stickyRig(t, "sticky cookie s "+params+";", a)
		if _, given := (&session{r: r}).ask(target); !regexp.MustCompile("^s=[0-9a-f]{32}" + want + "$").MatchString(given) {
			t.Errorf("%s, %s: the cookie is %q, want %q in it", params, target, given, want)
		}
	}
	f("", "/", "")
	f("expires=max path=/x secure", "/", "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000; secure; path=/x")
	f("expires=0 path=/x", "/", "; expires=[A-Z][a-z]{2}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9:]{8} GMT; max-age=0; path=/x")
	f("expires=20y", "/", "; expires=[A-Z][a-z]{2}, [0-9]{2}-[A-Z][a-z]{2}-20[0-9]{2} [0-9:]{8} GMT; max-age=630720000")
	f("domain=.$arg_d httponly samesite=$arg_s", "/?d=test&s=None", "; domain=.test; httponly; samesite=None")
	f("domain=$arg_d samesite=$arg_s", "/", "")
	f("domain=$arg_d samesite=$arg_s secure", "/?d=a;path=/&s=x;b", "; secure; samesite=strict")
	f("samesite=LAX", "/", "; samesite=LAX")
	f("path=/x samesite=lax secure httponly domain=$host expires=max", "/",
		"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000; domain=a; httponly; secure; samesite=lax; path=/x")
}

// TestStickyBackup: a session is on a backup only while no primary may be used, within a request as well; then it moves.
func TestStickyBackup(t *testing.T) {
	a, b, c := namedOrigin(t), namedOrigin(t), namedOrigin(t)
	bad := origin(t, func(net.Conn, *bufio.Reader) {}) // closes what it accepts
	for _, sticky := range []string{"sticky cookie s secret=x;", "sticky route $cookie_s;", "sticky learn create=$cookie_s lookup=$cookie_s zone=z:1m;"} {
		const list = "server %s route=a max_fails=0; server %s route=b backup; server %s route=c backup;"
		r := newRig(t, 1, "upstream u { "+sticky+fmt.Sprintf(list, a, b, c)+" }\nserver { listen 127.0.0.1:0; location / { proxy_pass http://u; } }")
		up := func() *upstream.Upstream { return r.store.Load().Lookup([]byte("u")) }
		s := &session{r: r, cookie: "s=c"}
		cookie := ""
		if up().Sticky.Cookie != "" {
			s.cookie = "s=" + up().Sticky.Value(2)
			cookie = "s=" + up().Sticky.Value(0)
		} else if up().Sticky.Learn != nil {
			up().Learned([]byte("c"), true, 2, upstream.NowNs())
		}
		stays := func(what, want string) {
			t.Helper()
			for range 3 {
				if server, _ := s.ask("/"); server != want {
					t.Errorf("%s%s: answered by %s, want %s", sticky, what, server, want)
				}
			}
		}
		up().Servers[0].State.Bar()
		stays("the primary is out", c)
		r.update("u", sticky+fmt.Sprintf(list, bad, b, c))
		stays("the primary fails", c)
		r.update("u", sticky+fmt.Sprintf(list, bad, b, c+" drain"))
		stays("the primary fails, the backup drains", c)
		r.update("u", sticky+fmt.Sprintf(list, a, b, c))
		if server, given := s.ask("/"); server != a || given != cookie {
			t.Errorf("%sthe primary is back: answered by %s, cookie %q", sticky, server, given)
		}
		stays("then", a)
		if up().Sticky.Learn != nil {
			up().Servers[0].State.Bar()
			if server, _ := s.ask("/"); server == a {
				t.Errorf("%sanswered by a server that is out", sticky)
			}
		}
	}
}

// TestDrainTries: a server that drains is no other one to go to, so the last answer is the client's; to a session on one it is a try
// beside those at the others.
func TestDrainTries(t *testing.T) {
	failing := httpOrigin(t, func(w net.Conn, _ *http.Request, _ string) bool {
		_, err := io.WriteString(w, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nmine")
		return err == nil
	})
	other := namedOrigin(t)
	f := func(servers, proxy, cookie string, status int, want string) {
		t.Helper()
		r := newRig(t, 1, "upstream u { sticky route $cookie_s; "+servers+` }
server { listen 127.0.0.1:0; location / { proxy_pass http://u; proxy_next_upstream error timeout http_500; `+proxy+" } }")
		c := r.dial(0)
		c.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: s=" + cookie + "\r\n\r\n")
		if resp, body := c.read("GET"); resp.StatusCode != status || body != want {
			t.Errorf("%s %s cookie %q: %d %q, want %d %q", servers, proxy, cookie, resp.StatusCode, body, status, want)
		}
	}
	one := "server " + failing + " route=f; server " + other + " route=o drain;"
	f(one, "", "", 500, "mine")
	f(one, "", "o", 200, other)
	f(one, "", "f", 500, "mine")
	f("server "+failing+" backup; server "+failing+"; server "+other+" drain;", "", "", 500, "mine")
	f("server "+failing+" max_fails=0; server "+failing+"; server "+other+" drain down;", "", "", 500, "mine")
	back := "server " + failing + " route=f drain; server " + other + " route=o;"
	f(back, "", "f", 200, other)
	f(back, "proxy_next_upstream_tries 1;", "f", 500, "mine")
	f(back, "proxy_next_upstream_tries 2;", "f", 200, other)
	f("server "+failing+" route=f drain; server "+failing+"; server "+failing+"; server "+other+" backup;", "proxy_next_upstream_tries 3;", "f", 500, "mine")
	f("server "+failing+" route=f drain; server "+failing+"; server "+failing+"; server "+other+" backup;", "proxy_next_upstream_tries 4;", "f", 200, other)
	f("server "+failing+" route=f drain;", "", "f", 500, "mine")
}

// TestStickyGone: the backups of a session mean nothing to a try that follows at an upstream which a change has made another.
func TestStickyGone(t *testing.T) {
	came, leave := make(chan bool), make(chan bool)
	bad := origin(t, func(net.Conn, *bufio.Reader) { // closes what it accepts, when told
		came <- true
		<-leave
	})
	good := namedOrigin(t)
	r := stickyRig(t, "sticky route $cookie_s;", good, good, good+" route=x backup", bad+" route=x")
	first := r.store.Load().Lookup([]byte("u")).Spec()
	for range 2 { // the server that a client is asked of first goes by its number
		c := r.dial(0)
		c.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: s=x\r\n\r\n")
		<-came
		r.update("u", "server "+good+" down; server "+good+" backup;")
		leave <- true
		c.want(200, good)
		if errs := r.store.Apply([]upstream.Change{{Name: "u", Spec: first}}); errs[0] != nil {
			t.Fatal(errs[0])
		}
	}
}
