package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"dyups/upstream"
)

// TestChecks: a server that fails its checks gets no requests, though it would answer; the interface says why, an update and a
// reload leave it as it is, and it comes back when it passes.
func TestChecks(t *testing.T) {
	var ill atomic.Bool
	one := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/check" && ill.Load() {
			w.WriteHeader(503)
		}
		w.Write([]byte("one"))
	})
	two := origin(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("two")) })
	const check = "check interval=20 rise=1 fall=2 timeout=10000 type=http; check_http_send \"GET /check HTTP/1.0\\r\\n\\r\\n\";\n"
	conf := "upstream a { " + check + "server " + one + "; server " + two + "; }\n" + edge +
		"server { listen 127.0.0.1:{page}; location / { check_status csv; location /html { check_status; } location /api { dyups_interface; } } }\n"
	p := serve(t, conf)
	seen := func() string {
		all := map[string]bool{}
		for range 6 {
			all[get(t, p.addr("proxy"), "a").body] = true
		}
		switch {
		case all["one"] && all["two"]:
			return "both"
		case all["two"]:
			return "two"
		}
		return "other"
	}
	p.until("both to pass", func() bool { return seen() == "both" })
	ill.Store(true)
	p.until("one to fail", func() bool { return seen() == "two" })
	p.until("word of it", func() bool {
		return strings.Contains(p.errorLog(), "[notice]") && strings.Contains(p.errorLog(), "server "+one+" is unhealthy: it has failed 2 checks (http), the last: status 503")
	})
	out := `"address":"` + one + `","weight":1,"max_conns":0,"max_fails":1,"fail_timeout":10,"backup":false,"down":false,"out":"unhealthy"`
	if text := mustAPI(t, p.addr("api"), "GET", "/upstream/a?format=json", ""); !strings.Contains(text, out) {
		t.Errorf("the interface says %s, want %s", text, out)
	}
	page := func(path string) string { return api(t, p.addr("page"), "GET", path, "").body }
	if text := page("/"); !strings.Contains(text, "0,a,"+one+",down,0,") || !strings.Contains(text, "1,a,"+two+",up,") {
		t.Errorf("the page says %q", text)
	}
	if text := page("/html?status=up"); !strings.Contains(text, "server number: 1,") || !strings.Contains(text, "<td>"+two+"</td><td>up</td>") {
		t.Errorf("the page says %q", text)
	}
	if text := page("/api/list"); text != "a\n" {
		t.Errorf("an interface below the page says %q", text)
	}
	p.reload()
	if s := seen(); s != "two" {
		t.Errorf("after a reload requests go to %s", s)
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", check+"server "+two+" weight=2; server "+one+";")
	if s := seen(); s != "two" {
		t.Errorf("after an update requests go to %s", s)
	}
	ill.Store(false)
	p.until("both to pass again", func() bool { return seen() == "both" })
	if text := mustAPI(t, p.addr("api"), "GET", "/detail?format=short", ""); !strings.Contains(text, "check interval=20 rise=1 fall=2 timeout=10000 default_down=true type=http;\ncheck_http_send \"GET /check HTTP/1.0\\r\\n\\r\\n\";\n") {
		t.Errorf("the listing is %q", text)
	}
}

// TestHealthCheckTold: -t says which upstream of a health_check is not there, and where match blocks are wrong.
func TestHealthCheckTold(t *testing.T) {
	for conf, want := range map[string]string{
		"server { location / { proxy_pass http://nobody; health_check; } }": `upstream "nobody" of "health_check" is not in the files; it is checked once a command defines it`,
		"match a { status 200; } match a { status 200; }":                   `duplicate match block "a", the first is at 2:14`,
		"match \"\" { status 200; }":                                        `invalid value "" in "match" directive, it must be a name`,
		"check interval=1;":                                                 `"check" directive is not allowed here; it is allowed in upstream`,
		"upstream u { root /x; }":                                           `"root" directive is not allowed here; it is allowed in http, server, location, if; allowed here: check, `,
		"match a { status x; }":                                             `invalid value "x" in "status" directive`,
		"upstream u { server 127.0.0.1:1; } server { location / { proxy_pass http://u; health_check match=a; } }": `the name of a match block`,
	} {
		name := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(name, []byte("events { }\nhttp { "+conf+" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		l := &loader{opt: &options{config: name}, root: t.TempDir() + "/"}
		c, err := l.load(context.Background())
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = strings.Join(c.warnings, "\n")
		}
		if !strings.Contains(got, want) || !strings.Contains(got, name+":2:") {
			t.Errorf("%s: %q, want %q with its place", conf, got, want)
		}
	}
}

// TestHealthCheckTwice: all health_checks of locations for one upstream hold for it, those that are the same once.
func TestHealthCheckTwice(t *testing.T) {
	f := func(first, second string, want int) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "c")
		text := "events { }\nhttp { match a { status 200; } upstream u { server 127.0.0.1:1; }\nserver { listen 1;\n" +
			"location /a { proxy_pass http://u; " + first + " }\nlocation /b { proxy_pass http://U; " + second + " } } }\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := &loader{opt: &options{config: name}, root: t.TempDir() + "/"}
		c, err := l.load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.checks.checks("u")); got != want {
			t.Errorf("%q and %q: %d checks, want %d", first, second, got, want)
		}
	}
	f("health_check host=x;", "health_check host=x interval=5000ms;", 1)
	f("health_check host=x mandatory;", "health_check host=x mandatory persistent;", 1)
	f("health_check type=tcp;", "health_check type=tcp;", 1)
	f("health_check;", "health_check;", 1) // the Host of both is the upstream's name
	f("proxy_set_header Host x; health_check match=a;", "health_check match=a host=x;", 1)
	f("health_check host=x;", "health_check host=x uri=/b;", 2)
	f("health_check host=x;", "health_check host=y;", 2)
	f("health_check type=tcp;", "health_check type=tcp mandatory;", 2)
	f("health_check host=x; health_check host=x uri=/a;", "health_check host=x; health_check type=tcp;", 3)
}

// TestHealthCheckHost: a health_check of a location asks for the Host of proxy_set_header as far as that is known beforehand, and those
// of several upstreams that ask for the same one are one check.
func TestHealthCheckHost(t *testing.T) {
	f := func(server, header string, want ...string) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "c")
		text := "match a { status 200; }\nmatch b { status 200; }\nserver { listen 1; " + server + header
		for _, u := range []string{"a", "b"} {
			text += " location /" + u + " { proxy_pass http://" + u + "; health_check match=" + u + "; }"
			text = "upstream " + u + " { server 127.0.0.1:1; }\n" + text
		}
		if err := os.WriteFile(name, []byte("events { }\nhttp { "+text+" } }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		l := &loader{opt: &options{config: name}, root: t.TempDir() + "/"}
		c, err := l.load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[upstream.Check]bool{}
		for _, u := range []string{"a", "b"} {
			check := c.checks.checks(u)[0]
			seen[check.Question()] = true
			_, host, _ := strings.Cut(check.Send, "\r\nHost: ")
			host, _, _ = strings.Cut(host, "\r\n")
			if !slices.Contains(want, host) {
				t.Errorf("%s%s: Host of %s is %q, want %q", server, header, u, host, want)
			}
		}
		if len(seen) != len(want) {
			t.Errorf("%s%s: %d checks, want %d", server, header, len(seen), len(want))
		}
	}
	f("", "", "a", "b")
	f("server_name www.test;", "", "a", "b")
	f("", "proxy_set_header Host app.test;", "app.test")
	f("server_name *.test _ .Www.test x.test;", "proxy_set_header Host $host;", "www.test")
	f("server_name www.test;", "proxy_set_header host $http_host;", "www.test")
	f("server_name www.test;", "proxy_set_header Host ${server_name};", "www.test")
	f("", "proxy_set_header Host $host;", "localhost")
	f("server_name www.test;", "proxy_set_header Host $proxy_host;", "a", "b")
	f("server_name www.test;", "proxy_set_header Host $arg_x;", "a", "b")
	f("server_name www.test;", "proxy_set_header Host '';", "a", "b")
}

// TestHealthCheck: a health_check of a location holds for its upstream however that is defined, by file or command, and judges
// answers by the match block; one that stands in a command counts instead.
func TestHealthCheck(t *testing.T) {
	var ill atomic.Bool
	var host atomic.Value
	one := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/check":
			host.Store(r.Host)
			if ill.Load() {
				w.Write([]byte("dying"))
				return
			}
			w.Write([]byte("all is well"))
		case "/none":
			w.WriteHeader(404)
		default:
			w.Write([]byte("one"))
		}
	})
	const match = "match good { status 200-299; header Content-Type ~ ^text/; body ~ well$; }\n"
	p := serve(t, match+"upstream a { server "+one+"; }\n"+edge+
		"server { listen 127.0.0.1:{page}; location / { proxy_pass http://a; health_check interval=20ms mandatory uri=/check match=good; } location /s { check_status csv; } }\n")
	answers := func() string { return get(t, p.addr("proxy"), "a").body }
	p.until("the first check", func() bool { return answers() == "one" })
	if h := host.Load(); h != "a" {
		t.Errorf("checks are for host %v", h)
	}
	ill.Store(true)
	p.until("a check to fail", func() bool { return answers() != "one" })
	p.until("word of it", func() bool {
		return strings.Contains(p.errorLog(), "server "+one+` is unhealthy: it has failed 1 checks (http a/check, match good), the last: body, by "well$"`)
	})
	p.reload()
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", "server "+one+" weight=2;")
	if answers() == "one" {
		t.Error("after a reload and an update requests go to a server that is ill")
	}
	if text := mustAPI(t, p.addr("api"), "GET", "/detail?format=short", ""); strings.Contains(text, "health_check") {
		t.Errorf("the listing shows what the upstream does not say: %q", text)
	}
	if text := api(t, p.addr("page"), "GET", "/s", "").body; !strings.Contains(text, "0,a,"+one+",down,0,") {
		t.Errorf("the page says %q", text)
	}
	ill.Store(false)
	p.until("a check to pass", func() bool { return answers() == "one" })
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", "server "+one+"; health_check interval=20ms uri=/none;")
	p.until("another check to fail", func() bool { return answers() != "one" })
	if text := mustAPI(t, p.addr("api"), "GET", "/detail?format=short", ""); !strings.Contains(text, "health_check interval=20ms uri=/none;\n") {
		t.Errorf("the listing is %q", text)
	}
	if a := api(t, p.addr("api"), "POST", "/upstream/a", "server "+one+"; health_check match=bad;"); a.status != 400 || !strings.Contains(a.body, "the name of a match block") {
		t.Errorf("an unknown match block: %d %q", a.status, a.body)
	}
	mustAPI(t, p.addr("api"), "POST", "/upstream/a", "server "+one+"; health_check interval=20ms uri=/check match=good;")
	p.until("the check of a command to pass", func() bool { return answers() == "one" })
}
