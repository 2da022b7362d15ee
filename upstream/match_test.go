package upstream

import (
	"net/http"
	"strings"
	"testing"

	"dyups/codec/conf"
)

// TestMatch: which answers pass which tests, also when the text is read again from print.
func TestMatch(t *testing.T) {
	const answer = "200 A=x A=y: hello"
	for _, c := range []struct{ block, answer, want string }{
		{"", answer, ""},
		{"status 200;", answer, ""},
		{"status 204 300-399;", answer, "status 200"},
		{"status 204 200-399;", answer, ""},
		{"status ! 200 500;", answer, "status 200"},
		{"status ! 201-599;", answer, ""},
		{"header A;", answer, ""},
		{"header a = y;", answer, ""},
		{"header A = z;", answer, `header "A = z"`},
		{"header A != y;", answer, `header "A != y"`},
		{"header A != z;", answer, ""},
		{"header A ~ ^[yz]$;", answer, ""},
		{"header A !~ x;", answer, `header "A !~ x"`},
		{"header B;", answer, `header "B"`},
		{"header ! B;", answer, ""},
		{"header ! A;", answer, `header "! A"`},
		{"body ~ ell;", answer, ""},
		{"body ~ \"^hello; world\";", answer, `body, by "^hello; world"`},
		{"body !~ ell;", answer, `body, by "ell"`},
		{"status 200; header A = x; body !~ bye;", answer, ""},
		{"status 200; header A = x; body !~ bye;", "200 A=x: goodbye", `body, by "bye"`},
	} {
		ds, err := conf.Parse("", []byte(c.block))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMatch(ds); err != nil {
			t.Errorf("%q: %v", c.block, err)
			continue
		}
		m := compileMatch(string(conf.Print(ds)))
		head, body, _ := strings.Cut(c.answer, ": ")
		resp := &http.Response{StatusCode: 200, Header: http.Header{}}
		for _, f := range strings.Fields(head)[1:] {
			k, v, _ := strings.Cut(f, "=")
			resp.Header.Add(k, v)
		}
		if err = m.Head(resp); err == nil {
			err = m.Body([]byte(body))
		}
		if got := errorText(err); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.block, c.answer, got, c.want)
		}
	}
}

// TestMatchRefused: what a match block must not say, and where the error points.
func TestMatchRefused(t *testing.T) {
	for block, want := range map[string]string{
		"status;":            `1:1: "status" directive names no status, it takes [!] CODE|FIRST-LAST...`,
		"status 200-100;":    `1:8: invalid value "200-100" in "status" directive, it must be a status from 100 to 999, or a range such as 200-399`,
		"status x;":          `1:8: invalid value "x" in "status" directive, it must be a status from 100 to 999, or a range such as 200-399`,
		"header;":            `1:1: "header" directive is malformed, it takes NAME, ! NAME, or NAME OP VALUE with OP =, !=, ~ or !~`,
		"header A == b;":     `1:1: "header" directive is malformed, it takes NAME, ! NAME, or NAME OP VALUE with OP =, !=, ~ or !~`,
		"header A ~ (;":      "1:12: cannot compile regular expression \"(\": error parsing regexp: missing closing ): `(`; allowed is RE2 syntax",
		"body = x;":          `1:1: "body" directive is malformed, it takes ~ REGEX or !~ REGEX`,
		"require $x;":        `1:1: "require" directive is not supported by this version, a match block takes status, header and body`,
		"status 200; foo x;": `1:13: unknown directive "foo" in match block, it takes status, header and body`,
		"status 200 { }":     `1:1: "status" directive takes no block`,
	} {
		ds, err := conf.Parse("t", []byte(block))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = ParseMatch(ds); errorText(err) != "t:"+want {
			t.Errorf("%q: %q, want %q", block, errorText(err), "t:"+want)
		}
	}
}

// TestHealthCheck: what is read from a block is printed so that it is read alike, what is inherited is not printed, and mistakes
// are told.
func TestHealthCheck(t *testing.T) {
	opt := &Options{
		Match:     func(name string) (string, bool) { return "status 204;\n", name == "ok" },
		Inherited: func(name string) []*Check { c := defaultCheck; return []*Check{&c} },
	}
	const server = "server 127.0.0.1:1;\n"
	parse := func(body string) (*Spec, error) {
		ds, err := conf.Parse("t", []byte(server+body))
		if err != nil {
			t.Fatal(err)
		}
		return ParseBlock("Up", ds, opt)
	}
	for _, body := range []string{
		"",
		"health_check;\n",
		"health_check interval=10s jitter=500ms fails=3 passes=2 uri=/x?y=z port=81 mandatory persistent match=ok timeout=2s;\n",
		"health_check uri=/x host=www.test:8080;\n",
		"health_check match=ok keepalive_time=60s timeout=2s;\n",
		"health_check type=tcp;\n",
		"health_check;\npanic_threshold 50%;\n",
		"health_check;\nhealth_check uri=/x;\nhealth_check port=81 type=tcp;\n",
	} {
		s, err := parse(body)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(s.AppendBody(nil)); text != server+body {
			t.Errorf("%q is printed as %q", body, text)
		}
		if got := s.inherited; got != (body == "") {
			t.Errorf("%q: inherited %v", body, got)
		}
	}
	s, _ := parse("health_check uri=/a match=ok;")
	if c := s.checks[0]; c.Send != "GET /a HTTP/1.1\r\nHost: Up\r\nUser-Agent: dyups (health check)\r\nConnection: close\r\n\r\n" || c.Match != "status 204;\n" || c.DefaultDown {
		t.Errorf("check %+v", c)
	}
	s, _ = parse("health_check uri=/a match=ok; health_check match=ok uri=/a persistent mandatory; health_check uri=/a match=ok interval=5000ms;")
	if len(s.checks) != 2 { // the third is the first
		t.Errorf("%d checks", len(s.checks))
	}
	s, _ = parse("health_check host=www.test;")
	if c := s.checks[0]; c.Send != "GET / HTTP/1.1\r\nHost: www.test\r\nUser-Agent: dyups (health check)\r\nConnection: close\r\n\r\n" {
		t.Errorf("check %+v", c)
	}
	for body, want := range map[string]string{
		"health_check host=$host;":                 `2:19: invalid value "$host" of parameter "host" in "health_check" directive, it must be what stands in the Host field of the checks, such as www.example.com; it has no variables`,
		"health_check host=a type=tcp;":            `2:14: parameter "host=a" of "health_check" is for type=http, found type=tcp`,
		"health_check match=no;":                   `2:20: invalid value "no" of parameter "match" in "health_check" directive, it must be the name of a match block of the http block`,
		"health_check type=tcp keepalive_time=1s;": `2:23: parameter "keepalive_time=1s" of "health_check" is for type=http, found type=tcp`,
		"health_check keepalive_time=x;":           `2:29: invalid value "x" of parameter "keepalive_time" in "health_check" directive, it must be a time such as 500ms, 10s, 1m30s or 1d; a plain number is seconds`,
		"health_check uri=x;":                      `2:18: invalid value "x" of parameter "uri" in "health_check" directive, it must be a path that begins with "/"`,
		"health_check persistent;":                 `2:14: "persistent" stands without "mandatory" in "health_check", it is allowed beside that`,
		"health_check type=tcp uri=/;":             `2:23: parameter "uri=/" of "health_check" is for type=http, found type=tcp`,
		"health_check interval=0;":                 `2:23: invalid value "0" of parameter "interval" in "health_check" directive, it must be a time above 0`,
		"panic_threshold 0%;":                      `2:17: invalid value "0%" in "panic_threshold" directive, it must be a share from 1% to 100%`,
		"check interval=9; health_check;":          `2:19: "health_check" directive stands beside "check", an upstream has one of them`,
	} {
		if _, err := parse(body); errorText(err) != "t:"+want {
			t.Errorf("%q: %q, want %q", body, errorText(err), "t:"+want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
