package site

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dyups/codec"
	"dyups/codec/conf"
)

// proxySite is what the hot path is measured with: a few servers and locations, as an edge proxy has them.
const proxySite = `
	upstream up { server 127.0.0.1:1; }
	server { listen 127.0.0.1:80 default_server; server_name localhost; location / { return 204; } }
	server {
		listen 127.0.0.1:80;
		server_name www.example.com *.wild.example.com;
		proxy_set_header X-Real-IP $remote_addr;
		proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		location = /health { return 200 ok; }
		location /static/ { root /srv; }
		location /api/ { proxy_pass http://up; location /api/v2/ { proxy_pass http://up/v2/; } }
		location /var/ { proxy_pass http://$host; }
		location / { proxy_pass http://up; }
		location /rewritten/ { rewrite ^ /api/v2/x break; proxy_pass http://up; }
	}`

func mustCompile(tb testing.TB, text string) *Site {
	tb.Helper()
	s, err := compile(text, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustParse(tb testing.TB, r *Request, raw string) {
	tb.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n") + "\r\n"
	if _, err := codec.ParseRequest([]byte(raw), r.Head, &codec.Limits{}); err != nil {
		tb.Fatal(err)
	}
}

const browserHead = `GET /api/v2/items/17?page=2&sort=name HTTP/1.1
Host: www.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64)
Accept: text/html,application/xhtml+xml
Accept-Encoding: gzip, deflate, br
Accept-Language: en
Cookie: session=abcdef
Connection: keep-alive
`

// walkProxy is what the engine does for each proxied request.
func walkProxy(r *Request, t *Target, dst []byte) []byte {
	r.Reset()
	if Begin(r) != 0 {
		panic("begin")
	}
	if a := Route(r); a.Kind != DoProxy {
		panic("kind")
	}
	p := r.Loc.Proxy
	if code, _ := p.Target(r, t); code != 0 {
		panic("target")
	}
	for i := range p.SetHeaders {
		dst = p.SetHeaders[i].Value.Append(dst, r)
	}
	return dst
}

func TestAllocs(t *testing.T) {
	s := mustCompile(t, proxySite)
	f := func(target string) {
		t.Helper()
		r := testRequest(s, "127.0.0.1:80")
		mustParse(t, r, strings.Replace(browserHead, "/api/v2/items/17?page=2&sort=name", target, 1))
		var tg Target
		buf := make([]byte, 0, 4096)
		run := func() { buf = walkProxy(r, &tg, buf[:0]) }
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", target, n)
		}
	}
	f("/")
	f("/api/v2/items/17?page=2")
	f("/api/%41//x/../y")
	f("/api/v2/a%20b")
	f("/var/x?y")
	if !raceEnabled {
		f("/rewritten/x")
	}
}

func TestAllocsLog(t *testing.T) {
	s := mustCompile(t, `server { listen 127.0.0.1:80; access_log /show/a; }`)
	r := testRequest(s, "127.0.0.1:80")
	mustParse(t, r, browserHead)
	Begin(r)
	Route(r)
	format := r.Loc.AccessLogs[0].Format
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = format.Append(buf[:0], r) }); n != 0 {
		t.Errorf("a log line costs %v allocations", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	s := mustCompile(b, proxySite)
	f := func(name, target string) {
		b.Run(name, func(b *testing.B) {
			r := testRequest(s, "127.0.0.1:80")
			mustParse(b, r, strings.Replace(browserHead, "/api/v2/items/17?page=2&sort=name", target, 1))
			var tg Target
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				buf = walkProxy(r, &tg, buf[:0])
			}
		})
	}
	f("plain", "/api/items/17?page=2")
	f("prefix", "/api/v2/items/17?page=2")
	f("escaped", "/api/a%20b/../c")
	f("variable", "/var/x")
	f("rewrite", "/rewritten/x")
	b.Run("seed", func(b *testing.B) {
		s := mustCompile(b, "server { listen 8080; location / { proxy_pass http://$host; } }")
		r := testRequest(s, "8080")
		mustParse(b, r, "GET / HTTP/1.1\nHost: host1\n")
		var tg Target
		buf := make([]byte, 0, 4096)
		b.ReportAllocs()
		for b.Loop() {
			buf = walkProxy(r, &tg, buf[:0])
		}
	})
}

func BenchmarkLog(b *testing.B) {
	s := mustCompile(b, `server { listen 127.0.0.1:80; access_log /show/a; }`)
	r := testRequest(s, "127.0.0.1:80")
	mustParse(b, r, browserHead)
	Begin(r)
	Route(r)
	format := r.Loc.AccessLogs[0].Format
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = format.Append(buf[:0], r)
	}
}

func BenchmarkNameSet(b *testing.B) {
	s := newNameSet(hiddenByDefault)
	f := func(name string) {
		b.Run(name, func(b *testing.B) {
			n := []byte(name)
			b.ReportAllocs()
			for b.Loop() {
				s.Has(n)
			}
		})
	}
	f("Content-Type")
	f("Dato")
	f("Server")
	f("X-Accel-Buffering")
}

func TestNameSet(t *testing.T) {
	long := strings.Repeat("n", 40)
	s := newNameSet([]string{"Date", "SERVER", "x-a", "X-A", "Dote", long})
	f := func(name string, want bool) {
		t.Helper()
		if got := s.Has([]byte(name)); got != want {
			t.Errorf("Has(%q) = %v", name, got)
		}
	}
	f("date", true)
	f("DOTE", true)
	f("Server", true)
	f("x-a", true)
	f("x-b", false)
	f("", false)
	f("dat", false)
	f("date2", false)
	f(strings.ToUpper(long), true)
	f(long+"x", false)
	var zero NameSet
	if zero.Has([]byte("date")) || !zero.Empty() || s.Empty() {
		t.Error("the zero set must be empty")
	}
	var many []string
	for i := range 300 {
		many = append(many, "n"+string(rune('a'+i%26))+strings.Repeat("x", i/26))
	}
	s = newNameSet(many)
	for _, n := range many {
		f(n, true)
	}
}

func TestNormalise(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, ok := normalise(nil, []byte(in), true)
		if !ok {
			got = []byte("bad")
		}
		if string(got) != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
	f("/foo/bar%", "bad")
	f("/foo/bar%1", "bad")
	f("/%zz", "bad")
	f("/%00", "bad")
	f("/..", "bad")
	f("/a/../..", "bad")
	f("/a/..", "/")
	f("/a/.", "/a/")
	f("/.", "/")
	f("//a//", "/a/")
	f("/a/%2e%2E/b", "/b")
	f("/a%2f%2fb", "/a/b")
	f("/%252e", "/%2e")
	f("/...", "/...")
	f("/a/b/../../c", "/c")
}

func TestCheckPassword(t *testing.T) {
	const file = "# comment\n\nplain:{PLAIN}secret\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:note\r\n" +
		"ssha:{SSHA}EoOBJcM3Hcd5tTRCL3dgWFyR3sVzYWx0\n" +
		"apr1:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\nmd5:$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/\ncrypt:rqXexS6ZhobKA\n" +
		"sha256:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.\n" +
		"sha512:$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.\n" +
		"bcrypt:$2y$05$SN4oJYCTJDf687XtvZDqFOyUCqic3dq/3OiGs2fLmqIXuNB8lgRSO\nbroken:$2y$05$x\nempty:\nodd:$6$\n"
	f := func(user, password string, want bool) {
		t.Helper()
		if got := CheckPassword([]byte(file), []byte(user), []byte(password)); got != want {
			t.Errorf("CheckPassword(%q, %q) = %v", user, password, got)
		}
	}
	f("plain", "secret", true)
	f("plain", "Secret", false)
	f("plain", "", false)
	f("sha", "secret", true)
	f("sha", "x", false)
	f("apr1", "myPassword", true)
	f("apr1", "mypassword", false)
	f("md5", "password", true)
	f("crypt", "myPassword", false)
	for _, user := range []string{"sha256", "sha512", "bcrypt"} {
		f(user, "secret", true)
		f(user, "Secret", false)
	}
	f("broken", "secret", false)
	f("empty", "", false)
	f("odd", "", false)
	f("", "secret", false)
	f("nobody", "secret", false)
	f("# comment", "", false)
}

func TestErrorPageText(t *testing.T) {
	f := func(status int, tokens bool, want string) {
		t.Helper()
		if got := string(AppendErrorPage(nil, status, tokens, "1.0")); !strings.Contains(got, want) {
			t.Errorf("page of %d lacks %q: %q", status, want, got)
		}
	}
	f(502, true, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>dyups/1.0</center>\r\n</body>\r\n</html>\r\n")
	f(404, false, "<hr><center>dyups</center>")
	f(494, true, "<title>400 Request Header Or Cookie Too Large</title>")
	f(599, true, "<title>599</title>")
}

// FuzzConfig compiles whatever comes and, if it is accepted, sends a request to every address: nothing may panic.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/nginx/*.conf")
	for _, name := range files {
		text, _ := os.ReadFile(name)
		config, _, _ := strings.Cut(string(text), "\n----\n")
		f.Add(strings.NewReplacer("%PORT%", "80", "%BACKEND%", "81").Replace(config), "/a/b?c=d", "localhost")
	}
	f.Add(proxySite, "/api/%20", "www.example.com")
	f.Add("server { location / { try_files x; } }", "/", "")
	f.Fuzz(func(t *testing.T, text, target, host string) {
		if strings.Contains(text, "listen") && strings.Contains(text, "-") && len(text) > 1<<12 {
			t.Skip() // port ranges make many addresses
		}
		s, err := compile(text, func(conf.Pos, string) {})
		if err != nil {
			return
		}
		for _, l := range s.Listens {
			if !strings.Contains(l.Addr, ":") {
				continue
			}
			r := testRequest(s, l.Addr)
			fuzzOne(t, r, target, host)
		}
	})
}

// fuzzOne walks a request through everything that can be asked about it.
func fuzzOne(t *testing.T, r *Request, target, host string) {
	raw := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-For: 1.1.1.1\r\nAuthorization: Basic eDp5\r\n\r\n"
	if _, err := codec.ParseRequest([]byte(raw), r.Head, &codec.Limits{}); err != nil {
		BeginRefused(r)
		ErrorPage(r, err.Status)
		return
	}
	status := Begin(r)
	if status == 0 && (len(r.URI) == 0 || r.URI[0] != '/') {
		t.Fatalf("URI %q", r.URI)
	}
	a := Action{Kind: DoError, Status: status}
	if status == 0 {
		a = Route(r)
	}
	for n := 0; a.Kind == DoError || a.Kind == DoAuth; n++ {
		if n > 3 {
			t.Fatal("errors go round in circles")
		}
		if a.Kind == DoAuth {
			r.Authed = true
			a = Route(r)
			continue
		}
		next, ok := ErrorPage(r, a.Status)
		if !ok {
			break
		}
		a = next
	}
	var tg Target
	if a.Kind == DoProxy {
		if code, _ := r.Loc.Proxy.Target(r, &tg); code == 0 && len(tg.URI) == 0 {
			t.Fatal("empty target")
		}
		for _, h := range r.Loc.Proxy.SetHeaders {
			h.Value.Append(nil, r)
		}
		r.Loc.Proxy.RewriteLocation(nil, r, []byte("http://a/b"))
	}
	for _, h := range r.Loc.AddHeaders {
		h.Value.Append(nil, r)
	}
	for _, l := range r.Loc.AccessLogs {
		l.Format.Append(nil, r)
	}
	r.Loc.AppendFilename(nil, r)
	if r.p.depth != 0 {
		t.Fatalf("depth %d left", r.p.depth)
	}
}

// FuzzTarget checks that Begin takes any head the parser takes, and that normalising is idempotent: the escaped form
// of a normalised path normalises to itself.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "/a%20b/../c", "//x", "/%2e%2e", "http://h/x?y", "/a?b#c", "/.%2e/"} {
		f.Add(s, "h")
	}
	s, err := compile("server { listen 80; location / { return 200 $uri; } }", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target, host string) {
		r := testRequest(s, "80")
		fuzzOne(t, r, target, host)
		if r.Server == nil {
			t.Fatal("no server")
		}
		if len(r.URI) == 0 {
			return
		}
		again, ok := normalise(nil, AppendEscapedURI(nil, r.URI), true)
		if !ok || !bytes.Equal(again, r.URI) {
			t.Fatalf("%q normalises to %q, and that to %q", target, r.URI, again)
		}
	})
}

// TestValueOfAnotherSite: what was compiled for one site finds the same variables of a request of another, whatever else the two
// define: an upstream that a reload changes is also asked about requests from before it.
func TestValueOfAnotherSite(t *testing.T) {
	const end = "map $arg_k $key { default <$arg_k>; } server { listen 80; location / { set $mine $arg_m; proxy_pass http://127.0.0.1:1; } }"
	old, now := mustCompile(t, end), mustCompile(t, "map $arg_q $first { default 1; } map $arg_r $second { default 2; }"+end)
	for _, sites := range [][2]*Site{{old, now}, {now, old}} {
		v, err := sites[1].Compile("$key $mine")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(v.Append(nil, at(t, sites[0], "80", "/?k=7&m=8"))); got != "<7> 8" {
			t.Errorf("got %q", got)
		}
	}
}

// TestResolverTimeout: a timeout of 0 is none, and told from one that is not given.
func TestResolverTimeout(t *testing.T) {
	f := func(text string, http, server time.Duration) {
		t.Helper()
		s := mustCompile(t, "resolver 127.0.0.1; "+text+" return 200; }")
		if got := s.ResolverTimeout; got != http {
			t.Errorf("%q: %v at the http level, want %v", text, got, http)
		}
		if got := s.Locations[0].Resolver.Timeout; got != server {
			t.Errorf("%q: %v in the server, want %v", text, got, server)
		}
	}
	const none = -1
	f("server {", 30*time.Second, 30*time.Second)
	f("server { resolver_timeout 0;", 30*time.Second, none)
	f("resolver_timeout 0; server {", none, none)
	f("resolver_timeout 0; server { resolver_timeout 2s;", none, 2*time.Second)
}
