package site

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dyups/codec"
	"dyups/codec/conf"
)

var rewriteGolden = flag.Bool("rewrite", false, "accept the answers as they are now")

// TestGolden runs the scripts in testdata: a configuration (the inside of http), then requests and what becomes of
// them. A request block names the listening address and may give from=ADDR:PORT|unix and tries=LABEL:STATUS,...
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runScript(t, f) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var s *Site
	blocks := strings.Split(string(text), "\n-- ")
	out.WriteString(blocks[0])
	for i := 1; i < len(blocks); i++ {
		head, body, _ := strings.Cut(blocks[i], "\n")
		kind, arg, _ := strings.Cut(strings.TrimSuffix(head, " --"), " ")
		if kind == "want" {
			continue
		}
		fmt.Fprintf(&out, "\n-- %s\n%s", head, body)
		want := ""
		switch kind {
		case "config":
			var warnings strings.Builder
			s, err = compile(body, func(p conf.Pos, msg string) { fmt.Fprintf(&warnings, "warn %v: %s\n", p, msg) })
			want = warnings.String()
			if err != nil {
				want += "error " + err.Error() + "\n"
			}
		case "request":
			if s == nil {
				t.Fatalf("%s: request without a site", file)
			}
			want = serve(t, s, arg, body)
		default:
			t.Fatalf("%s: unknown block %q", file, kind)
		}
		if kind == "request" || want != "" {
			fmt.Fprintf(&out, "\n-- want --\n%s", want)
		}
	}
	if got := out.String(); got != string(text) {
		if *rewriteGolden {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("%s differs; now it is:\n%s", file, got)
	}
}

// compile makes a site of the inside of an http block.
func compile(text string, warn func(conf.Pos, string)) (*Site, error) {
	ds, err := conf.Parse("t", []byte(text))
	if err != nil {
		return nil, err
	}
	env := &Env{Prefix: "/p/", ConfDir: "/c", Warn: warn}
	env.LookupHost = func(host string) ([]netip.Addr, error) {
		if host == "known.test" {
			return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
		}
		return nil, fmt.Errorf("no such host")
	}
	return New(ds, env)
}

// testRequest is a request as the engine would hold it.
func testRequest(s *Site, listen string) *Request {
	r := &Request{Head: new(codec.RequestHead)}
	for _, l := range s.Listens {
		if l.Addr == listen || strings.HasSuffix(l.Addr, ":"+listen) {
			r.Listen = l
		}
	}
	clock := time.Unix(1700000000, 125e6).UTC()
	r.Now = func() time.Time { return clock }
	r.Start = clock.Add(-1234 * time.Millisecond)
	r.ConnStart = clock.Add(-5 * time.Second)
	r.ConnSerial, r.ConnRequests = 7, 2
	r.Remote = netip.MustParseAddrPort("127.0.0.1:40000")
	if r.Listen != nil && r.Listen.Network != "unix" {
		local := netip.MustParseAddrPort(r.Listen.Addr)
		if local.Addr().IsUnspecified() {
			local = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), local.Port())
		}
		r.LocalAddr = func() netip.AddrPort { return local }
	}
	return r
}

// serve runs one request to its end and writes down what happened.
func serve(t *testing.T, s *Site, arg, text string) string {
	t.Helper()
	words := strings.Fields(arg)
	r := testRequest(s, words[0])
	if r.Listen == nil {
		return "no listen " + words[0] + "\n"
	}
	password := ""
	for _, w := range words[1:] {
		key, val, _ := strings.Cut(w, "=")
		switch key {
		case "from":
			if r.RemoteUnix = val == "unix"; r.RemoteUnix {
				r.Remote = netip.AddrPort{}
			} else {
				r.Remote = netip.MustParseAddrPort(val)
			}
		case "users":
			password = val
		case "tries":
			setTries(r, val)
		}
	}
	text = strings.TrimRight(text, "\n") + "\n\n"
	if _, err := codec.ParseRequest([]byte(strings.ReplaceAll(text, "\n", "\r\n")), r.Head, &codec.Limits{}); err != nil {
		return "parser says " + err.Msg + "\n"
	}
	var b strings.Builder
	var a Action
	if status := Begin(r); status != 0 {
		fmt.Fprintf(&b, "begin %d\n", status)
		a = Action{Kind: DoError, Status: status}
	} else {
		a = Route(r)
	}
	for n := 0; n < 5; n++ {
		if a.Kind == DoAuth {
			fmt.Fprintf(&b, "auth realm=%q file=%s\n", a.AuthRealm, a.AuthFile)
			user, pass, ok := r.Credentials()
			if r.Authed = ok && CheckPassword([]byte(password), user, pass); r.Authed {
				a = Route(r)
				continue
			}
			a = Action{Kind: DoError, Status: 401, AuthRealm: a.AuthRealm}
		}
		if a.Kind != DoError {
			break
		}
		fmt.Fprintf(&b, "error %d%s\n", a.Status, prefixed(": ", a.Why))
		next, ok := ErrorPage(r, a.Status)
		if !ok {
			fmt.Fprintf(&b, "stock page %d", r.Status)
			if a.AuthRealm != nil {
				fmt.Fprintf(&b, " realm=%q", a.AuthRealm)
			}
			b.WriteString("\n")
			a.Kind = DoError
			break
		}
		a = next
	}
	show(&b, r, a)
	return b.String()
}

func prefixed(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}

func setTries(r *Request, spec string) {
	for i, one := range strings.Split(spec, ",") {
		label, status, _ := strings.Cut(one, "/")
		tr := Try{Label: label, ConnectNs: 1e6, HeaderNs: -1, ResponseNs: 2_500_000, BytesSent: 10, BytesReceived: 20, ResponseSize: 5}
		fmt.Sscan(status, &tr.Status)
		if strings.HasPrefix(label, ":") {
			tr.Label, tr.AfterRedirect = label[1:], i > 0
		}
		r.Tries = append(r.Tries, tr)
	}
}

// show writes an action and, below it, what the location adds.
func show(b *strings.Builder, r *Request, a Action) {
	switch a.Kind {
	case DoProxy:
		var t Target
		p := r.Loc.Proxy
		status, why := p.Target(r, &t)
		if status != 0 {
			fmt.Fprintf(b, "proxy fails %d: %s\n", status, why)
			return
		}
		fmt.Fprintf(b, "proxy %s %s to %q", r.MethodName(), t.URI, t.Name)
		if t.HasPort {
			fmt.Fprintf(b, " port %d", t.Port)
		}
		if t.Unix != "" {
			fmt.Fprintf(b, " unix %s", t.Unix)
		}
		fmt.Fprintf(b, "\n")
		for _, h := range p.SetHeaders {
			fmt.Fprintf(b, "  > %s: %s\n", h.Name, h.Value.Append(nil, r))
		}
	case DoLocal:
		fmt.Fprintf(b, "local %s", [...]string{"static", "proxy", "echo", "interface"}[r.Loc.Content])
		if r.Loc.Content == Static {
			fmt.Fprintf(b, " %s type %s", r.Loc.AppendFilename(nil, r), r.Loc.TypeOf(r.URI))
		}
		fmt.Fprintf(b, " in %q\n", r.Loc.Name)
		for _, v := range r.Loc.Echo {
			fmt.Fprintf(b, "  | %s\n", v.Append(nil, r))
		}
	case DoReturn:
		fmt.Fprintf(b, "return %d", a.Status)
		if a.ContentType != nil {
			fmt.Fprintf(b, " %s", a.ContentType)
		}
		if a.HasBody {
			fmt.Fprintf(b, " %q", a.Body)
		}
		if a.Location != nil {
			fmt.Fprintf(b, " location %s", a.Location)
		}
		if a.AuthRealm != nil {
			fmt.Fprintf(b, " realm=%q", a.AuthRealm)
		}
		b.WriteString("\n")
		r.Status = a.Status
	case DoClose:
		b.WriteString("close\n")
	}
	for _, h := range r.Loc.AddHeaders {
		if v := h.Value.Append(nil, r); len(v) > 0 {
			fmt.Fprintf(b, "  < %s: %s\n", h.Name, bytes.TrimSpace(v))
		}
	}
	for _, l := range r.Loc.AccessLogs {
		if strings.HasPrefix(l.Path, "/show/") {
			fmt.Fprintf(b, "  log %s\n", l.Format.Append(nil, r))
		}
	}
}
