package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The recorded behaviour of the module, as far as it shows at a proxy or needs a whole server: the cases that send a
// request through the proxy, and those whose answer is not the interface's own. The other cases are replayed in admin.

type goldenCase struct {
	ID      string
	Kind    string
	Config  string
	Needs   []string
	Setup   []goldenStep
	Request goldenStep
	Expect  goldenAnswer
	After   []struct {
		Request goldenStep
		Expect  goldenAnswer
	}
}

type goldenStep struct {
	Target, Op, Method, Path, Raw string
	Version                       string `json:"http_version"`
	Headers                       map[string]string
	Body                          *string
	Chunk                         int `json:"chunk_size"`
	Gen                           *struct {
		Prefix, Unit, Suffix string
		Count                int
	} `json:"body_gen"`
	ExpectStatus int `json:"expect_status"`
}

type goldenAnswer struct {
	Status int
	Reason string
	Subset map[string]string `json:"headers_subset"`
	Absent []string          `json:"headers_absent"`
	Title  string            `json:"body_html_title"`
	Body   *string
	Regex  string `json:"body_regex"`
}

// notAsRecorded are cases left out here, and why. "incidental" and "defect" cases are left out altogether.
var notAsRecorded = map[string]string{
	"px-fixed-pass":                "a literal proxy_pass sees changed upstreams, too",
	"px-fixed-pass-after-delete":   "a literal proxy_pass sees changed upstreams, too",
	"shm-post":                     "there is no shared memory that could be full",
	"shm-delete":                   "there is no shared memory that could be full",
	"shm-delete-missing":           "replayed in admin",
	"shm-post-bad":                 "replayed in admin",
	"shm-body-larger-than-zone":    "a command larger than the queue is refused with 409",
	"many-detail":                  "replayed in admin",
	"px-resolver-after-delete":     "needs a backend on port 80; TestRunTimeNames has it with a port",
	"px-max-fails-reset-by-repost": "failure marks of a server that stays are kept",
	"bal-check":                    "active checks came later",
	"bal-sticky":                   "sticky sessions came later",
	"seq-hash-consistent-weights":  "the ring is made of the addresses, ports and all, and the ports here are others",
}

// goldenPort finds the ports of the recorded surroundings where they stand in texts.
var goldenPort = regexp.MustCompile(`((?:127\.0\.0\.\d+|\[::1\]|localhost|listen):?)(80[89]\d)\b`)

// TestGolden replays the cases on the wire.
func TestGolden(t *testing.T) {
	base, cases := loadGolden(t)
	s := newSurroundings(t)
	ran := 0
	for _, c := range cases {
		steps := append(append([]goldenStep{}, c.Setup...), c.Request)
		for _, a := range c.After {
			steps = append(steps, a.Request)
		}
		proxied := slices.ContainsFunc(steps, func(q goldenStep) bool { return q.Op == "" && q.Target != "iface" })
		own := c.Expect.Title != "" || c.Request.Raw != "" || c.Config != "std"
		if c.Kind != "contract" || !proxied && !own || notAsRecorded[c.ID] != "" || slices.Contains(c.Needs, "process-control") {
			continue
		}
		ran++
		t.Run(c.ID, func(t *testing.T) { s.replay(t, c, base[c.Config]) })
	}
	if ran < 50 {
		t.Errorf("%d cases ran, want 50 at least", ran)
	}
}

func loadGolden(t *testing.T) (configs map[string]string, cases []*goldenCase) {
	t.Helper()
	data, err := os.ReadFile("../../admin/testdata/dyups-golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	var base struct {
		Configs map[string]struct {
			Conf string `json:"nginx_conf"`
		}
	}
	if err := json.Unmarshal(head, &base); err != nil {
		t.Fatal(err)
	}
	configs = map[string]string{}
	for name, c := range base.Configs {
		configs[name] = c.Conf
	}
	for line := range bytes.Lines(rest) {
		c := &goldenCase{}
		if err := json.Unmarshal(line, c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	return configs, cases
}

// surroundings are the backends and the name server of the recordings, on ports that are free.
type surroundings struct {
	ports map[string]string // recorded port -> ours
	unix  string            // for /tmp/dyg/be.sock
	dns   string
}

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	s := &surroundings{ports: map[string]string{}, dns: newNameServer(t)}
	for _, port := range []string{"8088", "8089", "8090"} {
		s.ports[port] = fmt.Sprint(freePort(t))
		serveRecorded(t, "tcp", "127.0.0.1:"+s.ports[port], port+"\n")
	}
	dir, err := os.MkdirTemp("", "dyg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.unix = filepath.Join(dir, "be.sock")
	serveRecorded(t, "unix", s.unix, "unix\n")
	return s
}

// serveRecorded is one backend of the recordings: its name for every path, what it was sent for /host, and the serial
// of the connection and of the request on it for /conn.
func serveRecorded(t *testing.T, network, addr, name string) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	serials, requests := map[string]int{}, map[string]int{}
	originOn(t, ln, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch {
		case strings.HasPrefix(r.URL.Path, "/host"):
			fmt.Fprintf(w, "%s|%s|%s\n", r.Host, r.Header.Get("Connection"), r.Proto)
		case strings.HasPrefix(r.URL.Path, "/conn"):
			mu.Lock()
			defer mu.Unlock()
			if serials[r.RemoteAddr] == 0 {
				serials[r.RemoteAddr] = len(serials) + 1
			}
			requests[r.RemoteAddr]++
			fmt.Fprintf(w, "%d %d\n", serials[r.RemoteAddr], requests[r.RemoteAddr])
		case strings.HasPrefix(r.URL.Path, "/e500") && name == "8088\n":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(500)
			io.WriteString(w, "<html><title>500 Internal Server Error</title></html>\n")
		default:
			io.WriteString(w, name)
		}
	})
}

// ours puts our ports in place of the recorded ones.
func (s *surroundings) ours(text string) string {
	text = strings.ReplaceAll(text, "/tmp/dyg/be.sock", s.unix)
	text = strings.ReplaceAll(text, "resolver 127.0.0.1 ", "resolver "+s.dns+" ")
	return goldenPort.ReplaceAllStringFunc(text, func(m string) string {
		port := m[len(m)-4:]
		if s.ports[port] == "" {
			return m
		}
		return m[:len(m)-4] + s.ports[port]
	})
}

func (s *surroundings) replay(t *testing.T, c *goldenCase, config string) {
	config = s.ours(config)
	config = strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:{proxy}", "127.0.0.1:8081", "127.0.0.1:{iface}",
		"127.0.0.1:8082", "127.0.0.1:{fixed}", "<PREFIX>/nginx.pid", "{dir}/pid", "<PREFIX>", "{dir}",
		"/tmp/dyg/htpasswd", "{dir}/htpasswd", "http {", "http {\ndyups_detail full;\ndyups_reload reset;").Replace(config)
	p := prepare(t, config)
	p.mayComplain = true
	p.write("htpasswd", "user:$apr1$abc$0123456789012345678901\n")
	p.run("-p", p.dir, "-c", "dyups.conf")
	p.waitReady()
	for i, q := range c.Setup {
		if q.Op != "" {
			p.reload()
			continue
		}
		if a := s.play(t, p, q); a.StatusCode != q.ExpectStatus {
			t.Errorf("setup %d, %s %s: %d, want %d", i, q.Method, q.Path, a.StatusCode, q.ExpectStatus)
		}
	}
	s.compare(t, "request", &c.Request, s.play(t, p, c.Request), &c.Expect)
	for i, a := range c.After {
		s.compare(t, fmt.Sprintf("step %d after", i), &a.Request, s.play(t, p, a.Request), &a.Expect)
	}
}

// play sends one step and reads the response.
func (s *surroundings) play(t *testing.T, p *proc, q goldenStep) *recorded {
	t.Helper()
	w := dial(t, p.addr(q.Target))
	defer w.Close()
	method := q.Method
	text := q.Raw
	if text == "" {
		version := q.Version
		if version == "" {
			version = "1.1"
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/%s\r\n", method, q.Path, version)
		for k, v := range q.Headers {
			fmt.Fprintf(&b, "%s: %s\r\n", k, v)
		}
		body, has := "", q.Body != nil || q.Gen != nil
		if q.Body != nil {
			body = s.ours(*q.Body)
		} else if q.Gen != nil {
			body = s.ours(q.Gen.Prefix + strings.Repeat(q.Gen.Unit, q.Gen.Count) + q.Gen.Suffix)
		}
		switch {
		case q.Chunk > 0:
			b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
			for len(body) > 0 {
				n := min(q.Chunk, len(body))
				fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
				body = body[n:]
			}
			b.WriteString("0\r\n\r\n")
		case has:
			if q.Headers["Content-Length"] == "" {
				fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
			}
			b.WriteString("\r\n" + body)
		default:
			b.WriteString("\r\n")
		}
		text = b.String()
	} else {
		sized := s.ours(text)
		grown := len(sized) - len(text)
		text = regexp.MustCompile(`Content-Length: \d+`).ReplaceAllStringFunc(sized, func(m string) string {
			var n int
			fmt.Sscanf(m, "Content-Length: %d", &n)
			return fmt.Sprintf("Content-Length: %d", n+grown)
		})
	}
	io.WriteString(w, text) // a server that refuses the body may have closed already
	resp, err := http.ReadResponse(bufio.NewReader(w), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s of %s: %v", method, q.Path, q.Headers["Host"], err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, q.Path, err)
	}
	return &recorded{resp, string(body)}
}

// recorded is a response with its body.
type recorded struct {
	*http.Response
	body string
}

// compare checks a response. Bodies of the interface are compared where they are fixed texts only: listings differ in
// order and in ports, and are replayed in admin.
func (s *surroundings) compare(t *testing.T, what string, q *goldenStep, got *recorded, want *goldenAnswer) {
	t.Helper()
	if want.Status == 500 && want.Body != nil && *want.Body == "add server failed" {
		if got.StatusCode != 400 || !strings.HasPrefix(got.body, "add server failed: ") {
			t.Errorf("%s: %d %q, want a refusal", what, got.StatusCode, got.body)
		}
		return
	}
	if got.StatusCode != want.Status {
		t.Errorf("%s: %d, want %d; %q", what, got.StatusCode, want.Status, got.body)
		return
	}
	listing := q.Target == "iface" && q.Method == "GET" && want.Title == ""
	for k, v := range want.Subset {
		h := got.Header.Get(k)
		if k == "Connection" && h == "" && !got.Close { // ReadResponse takes the field away
			h = "keep-alive"
		}
		if k == "Connection" && got.Close {
			h = "close"
		}
		if k == "Content-Length" && (want.Title != "" || listing || got.Request != nil && got.Request.Method == "HEAD") {
			continue
		}
		if h != v {
			t.Errorf("%s: field %s is %q, want %q", what, k, h, v)
		}
	}
	for _, k := range want.Absent {
		if v := got.Header.Get(k); v != "" {
			t.Errorf("%s: field %s is %q, want none", what, k, v)
		}
	}
	switch {
	case want.Title != "":
		if !strings.Contains(got.body, want.Title) && q.Method != "HEAD" {
			t.Errorf("%s: page without %q: %q", what, want.Title, got.body)
		}
	case listing:
	case want.Body != nil:
		if got.body != *want.Body {
			t.Errorf("%s: body %q, want %q", what, got.body, *want.Body)
		}
	case want.Regex != "":
		if !regexp.MustCompile(want.Regex).MatchString(got.body) {
			t.Errorf("%s: body %q does not match %s", what, got.body, want.Regex)
		}
	}
}
