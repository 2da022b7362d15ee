package site

import (
	"strings"
	"testing"
)

const cookieSite = `
	server {
		listen 80;
		server_name localhost;
		proxy_cookie_domain www.example.org .example.com;
		proxy_cookie_domain .$server_name.com en.$server_name.org;
		proxy_cookie_domain ~^(.+)\.net$ .$1.org;
		proxy_cookie_path /path/ /new/;
		proxy_cookie_path /$server_name/ /new/$server_name/;
		proxy_cookie_path ~^/regex/(.+)$ /$1;
		proxy_cookie_path ~*^/caseless/(.+)$ /$1;
		proxy_cookie_flags a secure httponly samesite=none;
		proxy_cookie_flags b nosecure nohttponly nosamesite;
		proxy_cookie_flags ~BAR httponly samesite=lax;
		proxy_cookie_flags v $arg_f samesite=strict;
		location / { proxy_pass http://up; location /own { proxy_pass http://up; proxy_cookie_path / "/own $arg_f/"; } }
		location /off { proxy_pass http://up; proxy_cookie_domain off; proxy_cookie_path off; proxy_cookie_flags off; }
		location /flagsoff { proxy_pass http://up; proxy_cookie_flags off; proxy_cookie_flags a secure; }
	}
	server { listen 81; location / { proxy_pass http://up; } }`

// at is a request that has come as far as its location.
func at(t testing.TB, s *Site, listen, target string) *Request {
	t.Helper()
	r := testRequest(s, listen)
	mustParse(t, r, "GET "+target+" HTTP/1.1\nHost: localhost\n")
	if Begin(r) != 0 || Route(r).Kind != DoProxy {
		t.Fatalf("%s is not proxied", target)
	}
	return r
}

// The answers are nginx's, except that it keeps empty attributes.
func TestCookies(t *testing.T) {
	s := mustCompile(t, cookieSite)
	f := func(target, cookie, want string) {
		t.Helper()
		r := at(t, s, "80", target)
		got := cookie
		if c := r.Loc.Proxy.Cookies; c != nil {
			got = string(c.Append(nil, r, []byte(cookie)))
		}
		if got != want {
			t.Errorf("%s of %s became %s, want %s", cookie, target, got, want)
		}
	}
	same := func(target, cookie string) { t.Helper(); f(target, cookie, cookie) }
	f("/", "c=d; Domain=www.EXAMPLE.org", "c=d; Domain=example.com")
	f("/", " c = d ; domain = .www.example.org ; PATH=/path/x", "c=d; domain=.example.com; PATH=/new/x")
	f("/", "c=d;Domain=.LocalHost.com", "c=d; Domain=.en.localhost.org")
	f("/", "c=d; Domain=WWW.a.NET;Max-Age=3", "c=d; Domain=.WWW.a.org; Max-Age=3")
	f("/", "c=d;Path=/localhost/z", "c=d; Path=/new/localhost/z")
	f("/", "c=d;;Path=/path/;", "c=d; Path=/new/")
	f("/", "c=d; Path=/regex/a/b", "c=d; Path=/a/b")
	f("/", "c=d; Path=/CaseLess/a", "c=d; Path=/a")
	f("/", "=d; Path=/path/", "=d; Path=/new/")
	same("/", "c=d;Path=/REGEX/a/b")
	same("/", "c=d;Path=/PATH/z")
	same("/", "c=d;Path=")
	same("/", "c=d;Path;Domain")
	same("/", "c=d; Domain=x.www.example.org;;")
	same("/", "c; Path=/path/") // no cookie
	same("/", "")

	f("/", "a=b", "a=b; Secure; HttpOnly; SameSite=None")
	f("/", "A=b;secure;HTTPONLY;SameSite", "A=b; secure; HTTPONLY; SameSite=None")
	f("/", "a=b; SameSite=none; Secure=1; Path=/path/", "a=b; SameSite=none; Secure=1; Path=/new/; HttpOnly")
	f("/", "b=1; Secure; HttpOnly; SameSite=Lax; Max-Age=3", "b=1; Max-Age=3")
	f("/", "foobar=1;samesite=none", "foobar=1; SameSite=Lax; HttpOnly")
	f("/?f=secure", "v=1", "v=1; Secure; SameSite=Strict")
	f("/?f=bad", "v=1", "v=1; SameSite=Strict")
	same("/", "aa=1; Secure")

	f("/own?f=x", "a=b; Path=/path/", "a=b; Path=/own x/path/; Secure; HttpOnly; SameSite=None")
	same("/off", "a=b; Domain=www.example.org; Path=/path/")
	f("/flagsoff", "a=b; Path=/path/", "a=b; Path=/new/")
	if at(t, s, "81", "/").Loc.Proxy.Cookies != nil {
		t.Error("a location without rules has some")
	}
}

// What a variable holds cannot end the field.
func TestCookieBreak(t *testing.T) {
	s := mustCompile(t, `server { listen 80; location ~ ^/([^z]*)$ { proxy_pass http://up; proxy_cookie_path / $1; } }`)
	r := at(t, s, "80", "/a%0d%0aSet-Cookie:%20x")
	if got := string(r.Loc.Proxy.Cookies.Append(nil, r, []byte("c=d; Path=/"))); strings.ContainsAny(got, "\r\n") {
		t.Errorf("a line end got into %q", got)
	}
}

func TestCookieErrors(t *testing.T) {
	f := func(directives, want string) {
		t.Helper()
		_, err := compile("server { listen 80;\nlocation / { proxy_pass http://up; "+directives+" } }", nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", directives, err, want)
		}
	}
	f("proxy_cookie_path on;", `t:2:54: invalid value "on" in "proxy_cookie_path" directive, it must be "off"`)
	f("proxy_cookie_path / /x; proxy_cookie_path off;",
		`t:2:60: "proxy_cookie_path" directive "off" stands beside another proxy_cookie_path of the same block, which it would undo`)
	f("proxy_cookie_domain ~( x;", "t:2:56: cannot compile regular expression \"(\": missing closing ): `(?i)(`; allowed is RE2 syntax, "+
		"so no look-around, no back references and no possessive quantifiers")
	f("proxy_cookie_flags a secur;", `t:2:57: invalid parameter "secur" in "proxy_cookie_flags" directive (did you mean "secure"?), `+
		"it takes secure, nosecure, httponly, nohttponly, samesite=strict, samesite=lax, samesite=none, nosamesite")
	f("proxy_cookie_flags a secure a a a;", `t:2:68: invalid number of arguments in "proxy_cookie_flags" directive: found 5, it takes 1 to 4`)
	f("proxy_cookie_flags a $nothing;", `t:2:57: unknown variable "$nothing", it is neither built in nor defined by set, map or a named capture`)
}

func TestCookieAllocs(t *testing.T) {
	s := mustCompile(t, cookieSite)
	r := at(t, s, "80", "/own?f=x")
	cookie, buf := []byte("a=b; Path=/path/; Domain=.localhost.com; SameSite=Lax"), make([]byte, 0, 512)
	keep := r.Loc.Proxy.Cookies
	if n := testing.AllocsPerRun(100, func() {
		r.p.bufs[0] = r.p.bufs[0][:0]
		buf = keep.Append(buf[:0], r, cookie)
	}); n != 0 {
		t.Errorf("a cookie costs %v allocations", n)
	}
}

// FuzzCookie: whatever a backend sends as a cookie, the outcome is one field's value, and the same when it is rewritten again
// by flags.
func FuzzCookie(f *testing.F) {
	s, err := compile(`server { listen 80; location / { proxy_pass http://up; proxy_cookie_flags ~. secure samesite=lax nohttponly; } }`, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []string{"a=b; Secure", ";;=;", "a=b;SameSite=x;HttpOnly", "a"} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, cookie string) {
		r := at(t, s, "80", "/")
		once := string(r.Loc.Proxy.Cookies.Append(nil, r, []byte(cookie)))
		if twice := string(r.Loc.Proxy.Cookies.Append(nil, r, []byte(once))); twice != once {
			t.Fatalf("%q became %q and then %q", cookie, once, twice)
		}
	})
}
