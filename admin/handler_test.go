package admin

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"dyups/upstream"
)

func TestRoutes(t *testing.T) {
	a, _ := newAdmin(t, 0)
	if err := replace(a, staticUpstreams(t, "http { upstream h { server 127.0.0.1:1; } }")); err != nil {
		t.Fatal(err)
	}
	at := func(prefix string) func(method, uri, body string, status int, text string) {
		h := a.Handler(HandlerOptions{Prefix: prefix})
		return func(method, uri, body string, status int, text string) {
			t.Helper()
			ctx := call(h, method, uri, body)
			if ctx.Response.StatusCode() != status || string(ctx.Response.Body()) != text {
				t.Errorf("%q: %s %s: %d %q, want %d %q", prefix, method, uri, ctx.Response.StatusCode(), ctx.Response.Body(), status, text)
			}
			if ct := ctx.Response.Header.ContentType(); len(ct) > 0 {
				t.Errorf("%q: %s %s: Content-Type %q", prefix, method, uri, ct)
			}
			stock := method == "GET" && uri == "/"
			if (ctx.UserValue(StockPageKey) == true) != stock {
				t.Errorf("%q: %s %s: stock page %v", prefix, method, uri, !stock)
			}
		}
	}
	f := at("")
	f("GET", "/list", "-", 200, "h\n")
	f("GET", "/list/", "-", 200, "h\n")
	f("GET", "/LIST/x/y", "-", 200, "h\n")
	f("GET", "/detail", "-", 200, "h\nserver 127.0.0.1:1\n\n")
	f("GET", "/detail?format=short", "-", 200, "h\nserver 127.0.0.1:1\n\n")
	f("GET", "/detail?format=full", "-", 200,
		"h\nserver 127.0.0.1:1 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0\n\n")
	f("GET", "/upstream/H", "-", 200, "server 127.0.0.1:1\n")
	f("GET", "/upstream/H?format=full", "-", 200, "server 127.0.0.1:1\n")
	f("GET", "/upstream/H?format=body", "-", 200, "server 127.0.0.1:1;\n")
	f("GET", "/detail?format=body", "-", 200, "h\nserver 127.0.0.1:1;\n\n")
	f("GET", "/upstream/x?format=body", "-", 404, "")
	f("GET", "/", "-", 404, "")
	f("GET", "/x", "-", 404, "")
	f("GET", "/upstream", "-", 404, "")
	f("GET", "/upstream/h/h", "-", 404, "")
	f("HEAD", "/list", "-", 405, "")
	f("POST", "/", "-", 204, "")
	f("POST", "/upstream/h", "-", 204, "")
	f("POST", "/upstream/a/b", "x", 404, "not support this interface")
	f("POST", "/x/h", "x", 404, "not support this api")
	f("DELETE", "/upstream/a/b", "-", 405, "not support this interface")
	f("DELETE", "/x/h", "-", 405, "not support this api")
	f("DELETE", "/upstream/x", "-", 404, "not found uptream")

	for _, prefix := range []string{"/dyups", "/dyups/", "/a/b/"} {
		f, p := at(prefix), strings.TrimSuffix(prefix, "/")
		f("GET", p+"/list", "-", 200, "h\n")
		f("GET", p+"/upstream/h", "-", 200, "server 127.0.0.1:1\n")
		f("GET", p, "-", 404, "")
		f("GET", p+"/", "-", 404, "")
		f("GET", p+"list", "-", 404, "")
		f("GET", "/", "-", 404, "")
		f("POST", p+"/upstream/new", "server 127.0.0.1:2;", 200, "success")
		f("DELETE", p+"/upstream/new", "-", 200, "success")
	}
	f("DELETE", "/upstream/h", "-", 200, "success")
	f("GET", "/list", "-", 204, "")
	f("GET", "/detail", "-", 204, "")
}

// TestRefused looks at the places: line and column of what is wrong, as clients see them.
func TestRefused(t *testing.T) {
	a, s := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{})
	f := func(body, place string) {
		t.Helper()
		gen := s.Load().Generation()
		ctx := call(h, "POST", "/upstream/x", body)
		text := string(ctx.Response.Body())
		if ctx.Response.StatusCode() != 400 || !strings.HasPrefix(text, "add server failed: "+place) {
			t.Errorf("%q: %d %q, want 400 at %s", body, ctx.Response.StatusCode(), text, place)
		}
		if s.Load().Generation() != gen {
			t.Errorf("%q changed the table", body)
		}
	}
	f("", "1:1: ")
	f("server 127.0.0.1:80;\n  foo bar;", "2:3: ")
	f("server 127.0.0.1:80 weight=0;", "1:28: ")
	f("server 127.0.0.1:0;", "1:8: ")
	f("server nx.test;", "1:8: ")
	f("server 127.0.0.1; include /etc/passwd;", "1:19: ")
	f("server 127.0.0.1; } upstream evil { server 127.0.0.1;", "1:19: ")
	f("server 127.0.0.1; root /tmp;", "1:19: ")
	f("server 127.0.0.1;\n keepalive 1;\n keepalive 2;", "3:2: \"keepalive\" directive is duplicate, first at 2:2")
	f("server 127.0.0.1; \"abc", "1:23: unexpected end of file, expecting the closing '\"' of the parameter at 1:19")
}

// TestPostBack posts what GET lists and wants the same listing.
func TestPostBack(t *testing.T) {
	a, s := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{})
	f := func(body string) {
		t.Helper()
		if got := call(h, "POST", "/upstream/x", body); got.Response.StatusCode() != 200 {
			t.Errorf("%q: %d %q", body, got.Response.StatusCode(), got.Response.Body())
			return
		}
		checkPostBack(t, h, s)
	}
	f("server 127.0.0.1:80;")
	f("server 127.0.0.1:80; server [::1]:8080 weight=3 max_fails=0 fail_timeout=90s backup;")
	f("server one.test; server unix:/tmp/a.sock max_conns=7 down;")
	f("ip_hash; server 127.0.0.1:1; server 127.0.0.1:2; keepalive 16;")
	f("hash $arg_k consistent; server 127.0.0.1:1; keepalive 4; keepalive_timeout 5s;")
	f("random two least_conn; server 127.0.0.1:1;")
	f("server \"127.0.0.1:80\" 'weight=2' \"fail_timeout=1h 30m\";")
	f("least_conn; keepalive 2; keepalive_requests 10; keepalive_time 1m; server 127.0.0.1:1;")
}

// checkPostBack posts the short listing of every upstream under another name and compares the listings.
func checkPostBack(t *testing.T, h fasthttp.RequestHandler, s *upstream.Store) {
	t.Helper()
	s.Load().All(func(u *upstream.Upstream) bool {
		for _, full := range []bool{false, true} {
			short := string(u.AppendDetail(nil, false))
			ctx := call(h, "POST", "/upstream/copy", short)
			copied := s.Load().Lookup([]byte("copy"))
			if ctx.Response.StatusCode() != 200 || copied == nil {
				t.Errorf("listing %q does not post back: %d %q", short, ctx.Response.StatusCode(), ctx.Response.Body())
				return false
			}
			if want, got := u.AppendDetail(nil, full), copied.AppendDetail(nil, full); !bytes.Equal(want, got) {
				t.Errorf("listing %q posts back as %q", want, got)
			}
		}
		return true
	})
	call(h, "DELETE", "/upstream/copy", "-")
}

func TestFromListing(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := string(fromListing([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("server a\n", "server a;\n")
	f("server a weight=2\n\nserver b\n\n", "server a weight=2;\n\nserver b;\n\n")
	f("server a\r\n", "server a;\n")
	f("server a", "")
	f("server a;\n", "")
	f("server a\nserver b;\n", "")
	f("server a\nweight=2\n", "")
	f("server a # c\n", "")
	f("server a\nip_hash;\n", "")
	f("", "")
}

func TestJSON(t *testing.T) {
	a, _ := newAdmin(t, 0)
	if err := replace(a, staticUpstreams(t, `http { upstream h { ip_hash; server one.test:1 weight=2 fail_timeout=3; } }`)); err != nil {
		t.Fatal(err)
	}
	h := a.Handler(HandlerOptions{DetailFull: true})
	f := func(uri, accept, want string) {
		t.Helper()
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetRequestURI(uri)
		ctx.Request.Header.Set("Accept", accept)
		h(ctx)
		body := ctx.Response.Body()
		isJSON := string(ctx.Response.Header.ContentType()) == "application/json"
		if isJSON != json.Valid(body) || isJSON != (want != "") {
			t.Errorf("%s, Accept %q: Content-Type %q of %q", uri, accept, ctx.Response.Header.ContentType(), body)
		}
		if !strings.Contains(string(body), want) {
			t.Errorf("%s, Accept %q: %q without %q", uri, accept, body, want)
		}
	}
	const server = `"servers":[{"server":"one.test:1","address":"127.0.0.1:1","weight":2,"max_conns":0,"max_fails":1,"fail_timeout":3,"backup":false,"down":false}]}`
	f("/list?format=json", "", `"upstreams":["h"]}`)
	f("/list", "text/html, Application/JSON;q=0.1", `"upstreams":["h"]}`)
	f("/detail", "application/json", `{"name":"h","method":"ip_hash","source":"file","body":"server one.test:1 weight=2 fail_timeout=3s;\nip_hash;\n"`)
	f("/detail", "application/json", server)
	f("/upstream/h?format=json", "", server)
	f("/detail?format=full", "application/json", "")
	f("/detail?format=text", "*/*", "")
	f("/list", "application/json;q=0", "")
	f("/list", "application/json; q=0.00", "")
	f("/list", "application/json5", "")
	f("/upstream/x", "application/json", "")
	f("/x?format=json", "application/json", "")

	call(h, "POST", "/upstream/y", "server 127.0.0.1:1 slow_start=90s route=a; server 127.0.0.1:2 drain; sticky route $arg_a;")
	f("/upstream/y?format=json", "", `"fail_timeout":10,"slow_start":90,"backup":false,"down":false,"route":"a"}`)
	f("/upstream/y?format=json", "", `"down":false,"drain":true,"out":"draining"}]}`)
	const full = " weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0"
	want := "y\nserver 127.0.0.1:1" + full + " slow_start=90 route=a\nserver 127.0.0.1:2" + full + " drain\n\n"
	if got := string(call(h, "GET", "/detail", "-").Response.Body()); !strings.HasSuffix(got, want) {
		t.Errorf("the full form is %q, want it to end with %q", got, want)
	}
}

// TestUnresolved: a line whose name has no address is listed where it stands, also before its first look-up has ended.
func TestUnresolved(t *testing.T) {
	a, _ := newAdmin(t, 0)
	var failures []string
	a.fails = func(names []upstream.Name) []string { return append([]string(nil), failures...) }
	h := a.Handler(HandlerOptions{})
	call(h, "POST", "/upstream/x", "server a.test down resolve; server 127.0.0.1:1; server b.test backup service=s resolve;")
	f := func(first, second string) {
		t.Helper()
		const rest = `"max_conns":0,"max_fails":1,"fail_timeout":10,"backup":`
		want := `"servers":[{"server":"a.test","address":"","weight":1,` + rest + `false,"down":true,"out":"unresolved","resolve":true,"resolve_error":"` + first + `"},` +
			`{"server":"127.0.0.1:1","address":"127.0.0.1:1","weight":1,` + rest + `false,"down":false},` +
			`{"server":"b.test","address":"","weight":1,` + rest + `true,"down":false,"out":"unresolved","resolve":true,"service":"s","resolve_error":"` + second + `"}]`
		if got := string(call(h, "GET", "/upstream/x?format=json", "-").Response.Body()); !strings.Contains(got, want) {
			t.Errorf("listed as %s, want %s", got, want)
		}
		if got, want := string(call(h, "GET", "/detail?format=full", "-").Response.Body()), "down=1 resolve unresolved=\""+first+"\"\n"; !strings.Contains(got, want) {
			t.Errorf("listed as %s, want %s", got, want)
		}
	}
	failures = []string{"why", ""}
	f("why", "b.test is being looked up")
	failures = []string{"", "why"}
	f("a.test is being looked up", "why")
}

// TestStatus: what the process holds, as it is and not as it is read.
func TestStatus(t *testing.T) {
	a, s := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{Prefix: "/x"})
	call(h, "POST", "/x/upstream/u", "server 127.0.0.1:1;")
	read := func() (v statusView) {
		t.Helper()
		ctx := call(h, "GET", "/x/Status", "-")
		if err := json.Unmarshal(ctx.Response.Body(), &v); err != nil || string(ctx.Response.Header.ContentType()) != "application/json" {
			t.Fatalf("%v in %s", err, ctx.Response.Body())
		}
		return v
	}
	before := read()
	if before.PID != os.Getpid() || before.Generation != s.Load().Generation() || before.Upstreams != 1 || before.Threads < 2 ||
		before.Descriptors < 3 || before.DescriptorsLimit < uint64(before.Descriptors) || before.ResidentBytes < 1<<20 {
		t.Errorf("status %+v", before)
	}
	const n = 100
	quit := make(chan bool)
	var work sync.WaitGroup
	for range n {
		work.Go(func() { <-quit })
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if now := read(); now.Goroutines < before.Goroutines+n-10 || now.Descriptors < before.Descriptors+n-10 {
		t.Errorf("with %d more goroutines and descriptors: %+v, before %+v", n, now, before)
	}
	close(quit)
	work.Wait()
	for method, want := range map[string]int{"HEAD": 405, "POST": 404, "DELETE": 405} {
		if got := call(h, method, "/x/status", "a").Response.StatusCode(); got != want {
			t.Errorf("%s: %d, want %d", method, got, want)
		}
	}
	if got := call(h, "GET", "/x/status/u", "-").Response.StatusCode(); got != 404 {
		t.Errorf("a path below: %d", got)
	}
}

// TestBody: what "?format=body" shows makes the same upstream, names and all.
func TestBody(t *testing.T) {
	a, _ := newAdmin(t, 0)
	h := a.Handler(HandlerOptions{})
	f := func(body string) {
		t.Helper()
		if text := string(call(h, "POST", "/upstream/a", body).Response.Body()); text != "success" {
			t.Fatalf("%q: %s", body, text)
		}
		shown := string(call(h, "GET", "/upstream/a?format=body", "-").Response.Body())
		if text := string(call(h, "POST", "/upstream/b", shown).Response.Body()); text != "success" {
			t.Fatalf("%q is shown as %q: %s", body, shown, text)
		}
		json := func(name string) string {
			text := string(call(h, "GET", "/upstream/"+name+"?format=json", "-").Response.Body())
			return strings.TrimPrefix(text, `{"name":"`+name+`"`)
		}
		if json("a") != json("b") {
			t.Errorf("%q: %s is not %s", body, json("b"), json("a"))
		}
	}
	f("server one.test weight=2 slow_start=9s route=r; server 127.0.0.1; hash $uri consistent balance_factor=1.5; sticky route $uri;")
	f("server 127.0.0.1:1 drain; queue 3 timeout=1500ms; keepalive 0; check interval=9 type=http; check_http_send 'GET / HTTP/1.0\\r\\n\\r\\n\"';")
	f("server 127.0.0.1:1 down max_fails=0; health_check interval=1500ms mandatory persistent port=9; panic_threshold 9%; zone z 64k;")
}

// FuzzUpdate posts any bytes under any name: never a panic, never anything but the documented statuses, nothing
// changed unless 200, and then the listing posts back as the same upstream.
func FuzzUpdate(f *testing.F) {
	f.Add("x", []byte("server 127.0.0.1:80;"))
	f.Add("a b", []byte("ip_hash; server one.test weight=2 backup; server 127.0.0.1 down;\n# c"))
	f.Add("\xff\n", []byte("server 127.0.0.1\nserver unix:/a b\n"))
	f.Add("..", []byte("hash \"$a b\" consistent; server 'unix:/a b;{}\"' max_fails=0; keepalive 3;"))
	f.Add("x", []byte("zone z 64k; random two; server multi.test; server \"unix:a\\\\b\";"))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		a, s := newAdmin(t, 0)
		h := a.Handler(HandlerOptions{Path: func(ctx *fasthttp.RequestCtx) []byte { return ctx.UserValue("p").([]byte) }})
		send := func(method string) (int, string) {
			ctx := &fasthttp.RequestCtx{}
			ctx.SetUserValue("p", []byte("/upstream/"+name))
			ctx.Request.Header.SetMethod(method)
			ctx.Request.Header.SetContentLength(len(body))
			ctx.Request.SetBody(body)
			h(ctx)
			return ctx.Response.StatusCode(), string(ctx.Response.Body())
		}
		gen := s.Load().Generation()
		status, text := send("POST")
		if status != 200 {
			if status != 400 && status != 404 || s.Load().Generation() != gen || s.Load().Len() != 0 {
				t.Fatalf("status %d %q, generation %d then %d", status, text, gen, s.Load().Generation())
			}
			return
		}
		u := s.Load().Lookup([]byte(strings.Trim(name, "/")))
		if u == nil {
			t.Fatalf("status 200, and no upstream %q", name)
		}
		a.Delete("copy")
		if s.Load().Len() == 0 {
			return // the name was "copy"
		}
		checkPostBack(t, a.Handler(HandlerOptions{}), s)
		if status, text := send("DELETE"); status != 200 || s.Load().Len() != 0 {
			t.Fatalf("DELETE: %d %q, %d left", status, text, s.Load().Len())
		}
	})
}
