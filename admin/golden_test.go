package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"dyups/codec/conf"
	"dyups/upstream"
)

// The recorded cases: testdata/dyups-golden.jsonl, whose first line explains every field.

type goldenBase struct {
	Configs map[string]struct {
		Conf string `json:"nginx_conf"`
	} `json:"configs"`
}

type goldenCase struct {
	ID      string       `json:"id"`
	Kind    string       `json:"kind"`
	Config  string       `json:"config"`
	Setup   []goldenStep `json:"setup"`
	Request goldenStep   `json:"request"`
	Expect  goldenAnswer `json:"expect"`
	After   []struct {
		Request goldenStep   `json:"request"`
		Expect  goldenAnswer `json:"expect"`
	} `json:"after"`
}

type goldenStep struct {
	Target       string            `json:"target"`
	Op           string            `json:"op"`
	Method       string            `json:"method"`
	Path         string            `json:"path"`
	Headers      map[string]string `json:"headers"`
	Raw          string            `json:"raw"`
	RawParts     []string          `json:"raw_parts"`
	Body         *string           `json:"body"`
	BodyParts    []string          `json:"body_parts"`
	ChunkSize    int               `json:"chunk_size"`
	ExpectStatus int               `json:"expect_status"`
	BodyGen      *struct {
		Prefix, Unit, Suffix string
		Count                int
	} `json:"body_gen"`
}

type goldenAnswer struct {
	Status int               `json:"status"`
	Subset map[string]string `json:"headers_subset"`
	Absent []string          `json:"headers_absent"`
	Title  string            `json:"body_html_title"`
	Body   *string           `json:"body"`
	Latin1 *string           `json:"body_latin1"`
	Prefix string            `json:"body_prefix"`
	Regex  string            `json:"body_regex"`
}

// departures are the steps that are answered otherwise than recorded, and how; doc.go argues each. The key is the case,
// with "+N" for its step N after the request.
var departures = func() map[string]departure {
	const refusedInclude = `add server failed: 1:24: "include" directive is not allowed here; it is allowed in configuration files`
	full := func(addr string) string {
		return "server " + addr + " weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0\n"
	}
	host1, host2 := "host1\n"+full("127.0.0.1:8088")+"\n", "host2\n"+full("127.0.0.1:8089")+"\n"
	success := departure{200, "success"}
	ok := func(text string) departure { return departure{200, text} }
	return map[string]departure{
		// A validator that the interface does not have.
		"get-if-none-match": ok("host1\nhost2\n"),
		// No files.
		"gr-include-glob-none":   {400, refusedInclude},
		"gr-include-glob-none+0": ok(host1 + host2),
		// Every variable that dyups has, and none poisons.
		"bal-hash-uri":              success,
		"bal-hash-indexed":          success,
		"bal-hash-indexed+0":        ok(host1 + host2 + "dy\n" + full("127.0.0.1:8088") + full("127.0.0.1:8089") + "\n"),
		"bal-hash-poison":           success,
		"bal-hash-poison+0":         success,
		"bal-hash-poison+1":         ok("host1\nhost2\ndy\nother\n"),
		"bal-hash-poison+3":         success,
		"bal-hash-poison+4":         ok("host2\ndy\nother\nhost1\n"),
		"bal-hash-poison-unknown+0": success,
		"bal-hash-poison-unknown+1": ok("host1\nhost2\nother\n"),
		// Parameters that came later.
		"srv-slow-start":   success,
		"srv-slow-start+0": ok(host1 + host2 + "dy\n" + strings.TrimSuffix(full("127.0.0.1:8088"), "\n") + " slow_start=30\n\n"),
		"bal-check":        success,
		"bal-check+0":      ok(host1 + host2 + "dy\n" + full("127.0.0.1:8088") + full("127.0.0.1:8089") + "\n"),
		"bal-sticky":       success,
		"bal-sticky+0":     ok(host1 + host2 + "dy\n" + full("127.0.0.1:8088") + full("127.0.0.1:8089") + "\n"),
		"srv-route":        success,
		"srv-route+0":      ok(host1 + host2 + "dy\n" + strings.TrimSuffix(full("127.0.0.1:8088"), "\n") + " route=a\n\n"),
		"srv-route+1":      ok("server 127.0.0.1:8088\n"),
		"srv-slow-start+1": ok("server 127.0.0.1:8088\n"),
		// Order of creation.
		"upd-static+0":            ok("host1\nhost2\n"),
		"upd-static+1":            ok("host1\n" + full("127.0.0.1:8089") + "\n" + host2),
		"upd-static-again+0":      ok("host1\nhost2\n"),
		"upd-static-again+1":      ok("host1\n" + full("127.0.0.1:8090") + "\n" + host2),
		"upd-identical-static+0":  ok("host1\nhost2\n"),
		"upd-identical-static+1":  ok(host1 + host2),
		"upd-order-update-first":  ok("host1\nhost2\na\nb\nc\n"),
		"upd-order-delete-readd":  ok("host1\nhost2\na\nc\nd\n"),
		"upd-order-mix":           ok("host1\na\nb\nc\nhost2\n"),
		"upd-order-after-proxied": ok("host1\nhost2\na\nb\nc\n"),
		"upd-order-many-updates":  ok("host1\nhost2\na\nb\n"),
		// The whole body.
		"body-split-3+0":           ok("server 127.0.0.1:8088\nserver 127.0.0.1:8089\nserver 127.0.0.1:8090\n"),
		"body-split-3-with-head+0": ok("server 127.0.0.1:8088\nserver 127.0.0.1:8089\nserver 127.0.0.1:8090\n"),
		"body-split-mid-token":     success,
		"body-split-mid-token+0":   ok("server 127.0.0.1:8088\nserver 127.0.0.1:8089\n"),
		// Names that are looked up while dyups runs; here nobody looks them up.
		"srv-resolve":   success,
		"srv-resolve+0": ok(host1 + host2 + "dy\n" + strings.TrimSuffix(full("one.test:8088"), "\n") + " resolve\n\n"),
		"srv-resolve+1": ok("server one.test:8088\n"),
		"srv-service":   success,
		"srv-service+0": ok(host1 + host2 + "dy\n" + strings.TrimSuffix(full("one.test"), "\n") + " resolve service=http\n\n"),
		"srv-service+1": ok("server one.test\n"),
		// No other processes.
		"shm-post":                    success,
		"shm-delete":                  success,
		"shm-body-larger-than-zone":   {409, "wait and try again\n"},
		"shm-body-larger-than-zone+0": {404, ""},
	}
}()

type departure struct {
	status int
	body   string
}

// elsewhere are cases whose answer is the server's, not the interface's.
func elsewhere(c *goldenCase) string {
	switch {
	case c.Config == "deny" || c.Config == "auth":
		return "access rules"
	case c.Request.Raw != "" || len(c.Request.RawParts) > 0:
		return "raw bytes"
	case c.Request.Target == "iface" && slices.Contains([]int{400, 413, 414}, c.Expect.Status) && c.Expect.Title != "":
		return "answered before the interface"
	case c.Request.Method == "TRACE" || c.Request.Method == "CONNECT":
		return "answered before the interface"
	}
	for _, s := range c.Setup {
		if s.Op == "killworker" {
			return "process control"
		}
	}
	return ""
}

func loadGolden(t *testing.T) (goldenBase, []*goldenCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/dyups-golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	var base goldenBase
	if err := json.Unmarshal(head, &base); err != nil {
		t.Fatal(err)
	}
	var cases []*goldenCase
	for line := range bytes.Lines(rest) {
		c := &goldenCase{}
		if err := json.Unmarshal(line, c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	return base, cases
}

// TestGolden replays what concerns the interface of every recorded case. Steps through a proxy are left out: a case
// counts as whole when it has none.
func TestGolden(t *testing.T) {
	base, cases := loadGolden(t)
	static := map[string][]upstream.Change{}
	for name, c := range base.Configs {
		static[name] = staticUpstreams(t, c.Conf)
	}
	whole, partly, left := 0, 0, map[string][]string{}
	unused := map[string]bool{}
	for id := range departures {
		unused[id] = true
	}
	for _, c := range cases {
		if why := elsewhere(c); why != "" {
			left[why] = append(left[why], c.ID)
			continue
		}
		r := newReplay(t, c.Config, static[c.Config])
		skipped := false
		step := func(key string, s *goldenStep, want *goldenAnswer) {
			switch {
			case s.Op != "":
				r.reload(t)
			case s.Target != "iface":
				skipped = true
			default:
				delete(unused, key)
				r.step(t, c, key, s, want)
			}
		}
		for i := range c.Setup {
			s := &c.Setup[i]
			step(fmt.Sprintf("%s-%d", c.ID, i), s, &goldenAnswer{Status: s.ExpectStatus})
		}
		step(c.ID, &c.Request, &c.Expect)
		for i := range c.After {
			step(fmt.Sprintf("%s+%d", c.ID, i), &c.After[i].Request, &c.After[i].Expect)
		}
		r.admin.Close()
		if skipped {
			partly++
		} else {
			whole++
		}
	}
	for id := range unused {
		t.Errorf("departure %q matches no step", id)
	}
	t.Logf("%d cases: %d whole, %d without their proxied steps", len(cases), whole, partly)
	for why, ids := range left {
		t.Logf("not here (%s): %d: %s", why, len(ids), strings.Join(ids, " "))
	}
}

// zone resolves the names of the recordings; drop.test, whose queries were never answered, fails at once.
func zone(host string) ([]netip.Addr, error) {
	switch strings.ToLower(host) {
	case "one.test", "dnshost", "localhost":
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	case "multi.test":
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, nil
	}
	return nil, errors.New("host not found")
}

func testOptions() upstream.Options {
	return upstream.Options{
		Compile: func(text string) (any, error) {
			if strings.Contains(text, "$nosuchvariable") {
				return nil, errors.New("unknown variable")
			}
			return text, nil
		},
		Resolve: zone,
	}
}

// staticUpstreams reads the upstream blocks of a configuration.
func staticUpstreams(t *testing.T, text string) []upstream.Change {
	t.Helper()
	ds, err := conf.Parse("nginx.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	opt := testOptions()
	var out []upstream.Change
	for _, h := range ds {
		if h.Name.Text != "http" {
			continue
		}
		for _, d := range h.Block {
			if d.Name.Text != "upstream" {
				continue
			}
			name := d.Args[0].Text
			spec, err := upstream.ParseBlock(name, d.Block, &opt)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, upstream.Change{Name: name, Spec: spec, Source: "file"})
		}
	}
	return out
}

type replay struct {
	admin  *Admin
	static []upstream.Change
	serve  fasthttp.RequestHandler
}

func newReplay(t *testing.T, config string, static []upstream.Change) *replay {
	t.Helper()
	cfg := Config{Store: upstream.NewStore(), Options: testOptions()}
	opt := HandlerOptions{DetailFull: true}
	switch config {
	case "prefix":
		opt.Prefix = "/dyups/"
	case "rewrite":
		opt.Path = func(ctx *fasthttp.RequestCtx) []byte { return bytes.TrimPrefix(ctx.Path(), []byte("/dyups")) }
	case "shm12k":
		cfg.QueueBytes = 12 << 10
	}
	r := &replay{admin: New(cfg), static: static}
	r.serve = r.admin.Handler(opt)
	r.reload(t)
	return r
}

func (r *replay) reload(t *testing.T) {
	t.Helper()
	if err := replace(r.admin, r.static); err != nil {
		t.Fatal(err)
	}
}

// step sends one request and compares. A recorded 500 for a refused body is answered 400 with the reason behind it.
func (r *replay) step(t *testing.T, c *goldenCase, key string, s *goldenStep, want *goldenAnswer) {
	t.Helper()
	ctx := s.ctx(t)
	r.serve(ctx)
	got, body := overWire(t, s.Method, ctx)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s (%s): %s %s: %s; got %d %.300q", key, c.Kind, s.Method, s.Path, fmt.Sprintf(format, args...), got.StatusCode, body)
	}
	if d, ok := departures[key]; ok {
		if got.StatusCode != d.status || body != d.body {
			fail("want (departure) %d %q", d.status, d.body)
		}
		return
	}
	refused := want.Status == 500 && (want.Body == nil || *want.Body == "add server failed")
	if refused && got.StatusCode == 400 {
		if !regexp.MustCompile(`^add server failed: \d+:\d+: .`).MatchString(body) {
			fail("want a reason with line and column")
		}
		return
	}
	if got.StatusCode != want.Status {
		fail("want status %d", want.Status)
		return
	}
	if want.Title != "" {
		if ctx.UserValue(StockPageKey) != true || body != "" {
			fail("want the stock page %q", want.Title)
		}
		return
	}
	for _, name := range []string{"Content-Length", "Content-Type"} {
		if v, ok := want.Subset[name]; ok && got.Header.Get(name) != v {
			fail("%s: %q, want %q", name, got.Header.Get(name), v)
		}
	}
	for _, name := range want.Absent {
		if v, ok := got.Header[name]; ok {
			fail("field %s: %q, want none", name, v)
		}
	}
	for _, w := range []*string{want.Body, want.Latin1} {
		if w != nil && body != string(latin1(*w)) {
			fail("want body %.300q", *w)
		}
	}
	if !strings.HasPrefix(body, want.Prefix) {
		fail("want body %q...", want.Prefix)
	}
	if want.Regex != "" && !regexp.MustCompile("^(?:"+want.Regex+")").MatchString(body) {
		fail("want body like %q", want.Regex)
	}
}

// overWire writes the response the way fasthttp does and reads it with net/http.
func overWire(t *testing.T, method string, ctx *fasthttp.RequestCtx) (*http.Response, string) {
	t.Helper()
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	if err := errors.Join(ctx.Response.Write(w), w.Flush()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(&buf), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// ctx builds the request as bytes and has fasthttp read them.
func (s *goldenStep) ctx(t *testing.T) *fasthttp.RequestCtx {
	t.Helper()
	body, has := s.body()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", s.Method, latin1(s.Path))
	for k, v := range s.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", k, latin1(v))
	}
	switch {
	case !has:
		b.WriteString("\r\n")
	case s.ChunkSize > 0:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for part := range slices.Chunk(body, s.ChunkSize) {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		}
		b.WriteString("0\r\n\r\n")
	default:
		if s.Headers["Content-Length"] == "" {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		}
		b.WriteString("\r\n")
		b.Write(body)
	}
	ctx := &fasthttp.RequestCtx{}
	br := bufio.NewReader(&b)
	err := ctx.Request.Read(br)
	if err == nil && ctx.Request.MayContinue() {
		err = ctx.Request.ContinueReadBody(br, 0)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", s.Method, s.Path, err)
	}
	return ctx
}

func (s *goldenStep) body() (body []byte, has bool) {
	switch g := s.BodyGen; {
	case g != nil:
		return latin1(g.Prefix + strings.Repeat(g.Unit, g.Count) + g.Suffix), true
	case s.BodyParts != nil:
		return latin1(strings.Join(s.BodyParts, "")), true
	case s.Body != nil:
		return latin1(*s.Body), true
	}
	return nil, false
}

// latin1 gives the bytes of a recorded text, one for each character.
func latin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}
