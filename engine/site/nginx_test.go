package site

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dyups/bench/proc"
	"dyups/codec"
)

// The configurations of testdata/nginx stand above a line "----", as the inside of http; below it is one request a
// line: target, host and further fields cut by "|"; a method may stand before the target. The .want file beside each
// has the answers, which are nginx's and ours; a proxied request is answered by a backend that tells what it was sent.

// TestRecorded holds this package's answers against the recorded ones.
func TestRecorded(t *testing.T) {
	for _, file := range nginxConfs(t) {
		config, requests := readConf(t, file, "18080", "18081")
		s := mustCompile(t, config)
		var out strings.Builder
		for _, line := range requests {
			fmt.Fprintf(&out, "%s\n\t%s\n", line, askSite(s, "18080", rawRequest(line)))
		}
		wantFile := strings.TrimSuffix(file, ".conf") + ".want"
		want, _ := os.ReadFile(wantFile)
		if out.String() == string(want) {
			continue
		}
		if *rewriteGolden {
			if err := os.WriteFile(wantFile, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s differs; now it is:\n%s", wantFile, out.String())
	}
}

// TestAgainstNginx holds this package's answers against those of an nginx in PATH.
func TestAgainstNginx(t *testing.T) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("no nginx in PATH")
	}
	_, backend, _ := net.SplitHostPort(startBackend(t))
	for _, file := range nginxConfs(t) {
		free, err := proc.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		port := strconv.Itoa(free)
		config, requests := readConf(t, file, port, backend)
		s := mustCompile(t, config)
		startNginx(t, bin, config, port)
		for _, line := range requests {
			raw := rawRequest(line)
			if ours, theirs := askSite(s, port, raw), askNginx(t, "127.0.0.1:"+port, raw); ours != theirs {
				t.Errorf("%s: %s\n  ours:  %s\n  nginx: %s", file, line, ours, theirs)
			}
		}
	}
}

func nginxConfs(t *testing.T) []string {
	files, err := filepath.Glob("testdata/nginx/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	return files
}

// readConf reads a configuration and its requests, with the ports filled in.
func readConf(t *testing.T, file, port, backend string) (config string, requests []string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("%PORT%", port, "%BACKEND%", backend).Replace(string(text))
	config, rest, ok := strings.Cut(filled, "\n----\n")
	if !ok {
		t.Fatalf("%s has no line ----", file)
	}
	return config, strings.Split(strings.TrimSpace(rest), "\n")
}

func rawRequest(line string) string {
	parts := strings.Split(line, "|")
	method := "GET"
	if m, rest, ok := strings.Cut(parts[0], " "); ok {
		method, parts[0] = m, rest
	}
	raw := method + " " + parts[0] + " HTTP/1.1\r\nConnection: close\r\n"
	if len(parts) == 1 {
		raw += "Host: localhost\r\n"
	}
	for i, p := range parts[1:] {
		if i == 0 {
			p = "Host: " + p
		}
		raw += p + "\r\n"
	}
	return raw + "\r\n"
}

// startBackend answers every request with its method, target, Host and the X-... fields it has.
func startBackend(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := bufio.NewReader(c)
				var lines []string
				for {
					line, err := b.ReadString('\n')
					line = strings.TrimSpace(line)
					if err != nil || line == "" {
						break
					}
					lines = append(lines, line)
				}
				if len(lines) == 0 {
					return
				}
				words := strings.Fields(lines[0])
				body := "proxied " + strings.Join(words[:len(words)-1], " ")
				for _, prefix := range []string{"Host:", "X-Set"} { // ours sends Host first
					for _, f := range lines[1:] {
						if strings.HasPrefix(f, prefix) {
							body += " " + f
						}
					}
				}
				fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}()
		}
	}()
	return l.Addr().String()
}

func startNginx(t *testing.T, bin, config, port string) {
	dir := t.TempDir()
	main := "daemon off; master_process off; pid " + dir + "/pid; error_log " + dir + "/error.log;\nevents { }\nhttp { access_log off; root " + dir +
		"; client_body_temp_path " + dir + "/b; proxy_temp_path " + dir + "/p; fastcgi_temp_path " + dir + "/f; uwsgi_temp_path " + dir +
		"/u; scgi_temp_path " + dir + "/s;\n" + config + "\n}\n"
	if err := os.WriteFile(dir+"/nginx.conf", []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-p", dir, "-c", dir+"/nginx.conf", "-e", dir+"/error.log")
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(dir + "/error.log")
			t.Fatalf("nginx does not start: %s%s", errs.String(), text)
		}
	}
}

func askNginx(t *testing.T, addr, raw string) string {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, raw)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "closed"
	}
	body, _ := io.ReadAll(resp.Body)
	out := fmt.Sprint(resp.StatusCode)
	if loc := resp.Header.Get("Location"); loc != "" {
		out += " location " + loc
	}
	if strings.HasPrefix(string(body), "<html>") {
		body = nil
	}
	out += fmt.Sprintf(" %q", body)
	for _, k := range []string{"X-A", "X-B", "X-C"} {
		for _, v := range resp.Header.Values(k) {
			out += " " + k + ": " + v
		}
	}
	return out
}

// askSite gives our answer in the form of askNginx.
func askSite(s *Site, port, raw string) string {
	r := testRequest(s, "127.0.0.1:"+port)
	r.Now = time.Now
	local := netip.MustParseAddrPort("127.0.0.1:" + port)
	r.LocalAddr = func() netip.AddrPort { return local }
	var a Action
	if _, err := codec.ParseRequest([]byte(raw), r.Head, &codec.Limits{}); err != nil {
		BeginRefused(r)
		a = Action{Kind: DoError, Status: err.Status}
	} else if status := Begin(r); status != 0 {
		a = Action{Kind: DoError, Status: status}
	} else {
		a = Route(r)
	}
	status, body, location := 0, "", ""
loop:
	for {
		switch a.Kind {
		case DoError:
			next, ok := ErrorPage(r, a.Status)
			if !ok {
				status = r.Status
				break loop
			}
			a = next
		case DoLocal: // there are no files
			a = Action{Kind: DoError, Status: 404}
		case DoProxy:
			var t Target
			if code, _ := r.Loc.Proxy.Target(r, &t); code != 0 {
				a = Action{Kind: DoError, Status: code}
				continue
			}
			method := r.MethodName()
			if m := r.Loc.Proxy.Method; m != nil {
				method = m.Append(nil, r)
			}
			body = fmt.Sprintf("proxied %s %s", method, t.URI)
			for _, h := range r.Loc.Proxy.SetHeaders {
				if v := h.Value.Append(nil, r); len(v) > 0 && (h.Name == "Host" || strings.HasPrefix(h.Name, "X-Set")) {
					body += fmt.Sprintf(" %s: %s", h.Name, v)
				}
			}
			status = r.FinalStatus(200)
			break loop
		case DoReturn:
			status, body, location = a.Status, string(a.Body), string(a.Location)
			break loop
		case DoClose:
			return "closed"
		default:
			return fmt.Sprintf("kind %d", a.Kind)
		}
	}
	out := fmt.Sprint(status)
	if location != "" {
		out += " location " + location
	}
	if status == 204 || status == 304 {
		body = ""
	}
	out += fmt.Sprintf(" %q", body)
	var lines []string
	for _, k := range []string{"X-A", "X-B", "X-C"} {
		for _, h := range r.Loc.AddHeaders {
			if v := h.Value.Append(nil, r); h.Name == k && len(v) > 0 && (h.Always || plainStatus(status)) {
				lines = append(lines, " "+k+": "+string(v))
			}
		}
	}
	return out + strings.Join(lines, "")
}

// plainStatus reports whether add_header without always applies.
func plainStatus(s int) bool {
	switch s {
	case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308:
		return true
	}
	return false
}
