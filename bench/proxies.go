package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// upstreamName is the upstream that all proxies balance over and that updates replace.
const upstreamName = "b"

// nginxConfig is the configuration of nginx and dyups, the same bytes for both. %[1]s is the upstream's content.
//
// Settings that are not plain: the limits on requests for a connection are out of reach, so that keep-alive is never
// interrupted. Temporary files are off, because otherwise nginx writes parts of large answers to disk when the client is
// slower than the origin. The buffers are those of six settings tried with which nginx was cheapest at 1 MB: about 450 µs
// of CPU a request (5 rounds in three runs), against a median of 840 µs with its defaults (8 4k, 4 rounds). The runs were
// not paired and the machine was busy, so the numbers justify the choice and nothing finer; small answers were not used
// to choose.
const nginxConfig = `daemon off;
worker_processes 1;
pid proxy.pid;
error_log error.log warn;
events {
    worker_connections 16384;
}
http {
    include own.conf;
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 100000000;
    client_body_temp_path client_body;
    proxy_temp_path proxy_temp;
    upstream ` + upstreamName + ` {
%[1]s    }
    server {
        include listen.conf;
        location / {
            proxy_pass http://` + upstreamName + `;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 128k;
            proxy_max_temp_file_size 0;
        }
    }
}
`

// nginxOwn keeps the temporary folders that Debian builds in out of /var/lib, which only root may write.
const nginxOwn = `fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
`

// dyupsOwn is the server of the interface. %s is its address.
const dyupsOwn = `server {
    listen %s;
    location / {
        dyups_interface;
    }
}
`

// haproxyConfig is HAProxy's counterpart of nginxConfig. %s: listening address, addresses of both origins. With
// splice-response bodies stay in the kernel: 380 to 470 µs of CPU at 1 MB (4 rounds) against a median of 900 µs without
// (3 rounds), under the same reservations as nginx's buffers. At 100 KB it was 49 µs (5 rounds), and 82 µs together with a
// tune.bufsize of 64 KiB (4 rounds), so the buffers stay at their default.
const haproxyConfig = `global
    nbthread 1
    no numa-cpu-mapping
defaults
    mode http
    option http-keep-alive
    option splice-response
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend f
    bind %s
    default_backend ` + upstreamName + `
backend ` + upstreamName + `
    balance roundrobin
    server a %s
    server b %s
`

// upstreamBodies are the content of the upstream: what the configuration says, and what an update turns it into (the
// other order and another weight).
func upstreamBodies(origins [2]string) [2]string {
	const keep = "keepalive 64;\nkeepalive_requests 100000000;\n"
	return [2]string{
		"server " + origins[0] + ";\nserver " + origins[1] + ";\n" + keep,
		"server " + origins[1] + " weight=2;\nserver " + origins[0] + ";\n" + keep,
	}
}

// program is a proxy the bench knows.
type program struct {
	name    string
	install string // what to do when it is missing
	// write puts the configuration into dir, for a proxy that listens on addr (api: its interface, if it has one), and
	// returns the program's arguments.
	write func(dir, addr, api string, origins [2]string) ([]string, error)
	api   bool // takes updates through a dyups interface
}

var programs = []program{
	{name: "nginx", install: "install the package nginx",
		write: func(dir, addr, _ string, origins [2]string) ([]string, error) {
			return writeNginx(dir, addr, nginxOwn, origins)
		}},
	{name: "haproxy", install: "install the package haproxy",
		write: func(dir, addr, _ string, origins [2]string) ([]string, error) {
			file := filepath.Join(dir, "proxy.conf")
			text := fmt.Sprintf(haproxyConfig, addr, origins[0], origins[1])
			return []string{"-db", "-f", file}, os.WriteFile(file, []byte(text), 0o644)
		}},
	{name: "dyups", install: "build it or say where it is with -dyups", api: true,
		write: func(dir, addr, api string, origins [2]string) ([]string, error) {
			return writeNginx(dir, addr, fmt.Sprintf(dyupsOwn, api), origins)
		}},
}

// writeNginx writes the configuration of a program that reads nginx's language.
func writeNginx(dir, addr, own string, origins [2]string) ([]string, error) {
	content := "        " + strings.TrimSuffix(strings.ReplaceAll(upstreamBodies(origins)[0], "\n", "\n        "), "        ")
	for name, text := range map[string]string{
		"proxy.conf":  fmt.Sprintf(nginxConfig, content),
		"listen.conf": "listen " + addr + ";\n",
		"own.conf":    own,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return []string{"-p", dir, "-c", filepath.Join(dir, "proxy.conf"), "-e", filepath.Join(dir, "error.log")}, nil
}

// programByName finds a program the bench knows.
func programByName(name string) (*program, error) {
	var known []string
	for i := range programs {
		if programs[i].name == name {
			return &programs[i], nil
		}
		known = append(known, programs[i].name)
	}
	return nil, fmt.Errorf("cannot measure %q: there is %s", name, strings.Join(known, ", "))
}

// find looks for a program on the search path and in /usr/sbin, which the path of plain users often lacks. A name with
// a slash is taken as it is.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil && !strings.Contains(name, "/") {
		if p, e := exec.LookPath("/usr/sbin/" + name); e == nil {
			return p, nil
		}
	}
	return path, err
}

// versionOf runs a program for its version. Of the lines it prints it returns the one that begins with its name and
// "version" (dyups prints before it which nginx it follows), or else the first. wrk prints it and fails, so the exit
// status says nothing.
func versionOf(name, path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(strings.ToLower(line), name+" version") {
			return line
		}
	}
	return lines[0]
}

// proxy is a running one.
type proxy struct {
	*process
	program *program
	dir     string
	addr    string // where it listens
	api     string // where its interface listens
	config  string // the text of its configuration, included files and all
}

// freeAddr is a loopback address nobody listens on now. The proxy opens it a moment later; the kernel hands out other
// ports first, so nobody else takes it in practice.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// startProxy starts the program at path on one core, in a new folder in root, and waits until it answers the scenario
// rightly. Only a working proxy is returned.
func startProxy(ctx context.Context, prog *program, path, root string, cpu int, origins [2]string, sc *Scenario) (*proxy, error) {
	px := &proxy{program: prog, dir: filepath.Join(root, prog.name)}
	// nginx's worker is another user than its master and has to reach its temporary folders.
	if err := os.Mkdir(px.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", prog.name, err)
	}
	var err error
	if px.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if px.api, err = freeAddr(); err != nil {
		return nil, err
	}
	args, err := prog.write(px.dir, px.addr, px.api, origins)
	if err != nil {
		return nil, fmt.Errorf("cannot write the configuration of %q: %w", prog.name, err)
	}
	px.readConfig()
	if px.process, err = newProcess(prog.name, filepath.Join(px.dir, "output.log"), path, args...); err != nil {
		return nil, err
	}
	if err := px.start(cpu); err != nil {
		return nil, err
	}
	if err = px.await(ctx); err == nil {
		err = checkAnswers(px.addr, sc)
	}
	if err == nil {
		err = checkPinned(px.cmd.Process.Pid, cpu)
	}
	if err != nil {
		px.stop()
		return nil, fmt.Errorf("cannot start %q: %w: %s", prog.name, err, px.logs())
	}
	return px, nil
}

// readConfig collects the files as they were written, for the report.
func (p *proxy) readConfig() {
	for _, name := range []string{"proxy.conf", "listen.conf", "own.conf"} {
		if b, err := os.ReadFile(filepath.Join(p.dir, name)); err == nil {
			p.config += "# " + name + "\n" + string(b)
		}
	}
}

// logs is the end of what the proxy printed and logged.
func (p *proxy) logs() string {
	s := p.logTail()
	if b, err := os.ReadFile(filepath.Join(p.dir, "error.log")); err == nil && len(b) > 0 {
		s += "; error.log: " + tail(filepath.Join(p.dir, "error.log"))
	}
	return s
}

// await waits until the proxy accepts connections, ten seconds at most.
func (p *proxy) await(ctx context.Context) error {
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.DialTimeout("tcp4", p.addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended with %s", p.cmd.ProcessState)
		case <-late.C:
			return fmt.Errorf("it does not accept connections: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// checkAnswers sends the scenario's request eight times and checks status and body of each answer and that both origins
// were reached.
func checkAnswers(addr string, sc *Scenario) error {
	client := &fasthttp.HostClient{Addr: addr, MaxConns: 1}
	defer client.CloseIdleConnections()
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	seen := make(map[string]int)
	for range 8 {
		req.Reset()
		resp.Reset()
		req.Header.SetMethod(sc.Method)
		req.SetRequestURI("http://" + addr + sc.Path)
		for _, f := range sc.Fields {
			req.Header.Set(f[0], f[1])
		}
		req.SetBody(sc.Body)
		if err := client.DoTimeout(req, resp, 5*time.Second); err != nil {
			return fmt.Errorf("a request failed: %w", err)
		}
		if resp.StatusCode() != fasthttp.StatusOK {
			return fmt.Errorf("a request was answered with status %d", resp.StatusCode())
		}
		if !bytes.Equal(resp.Body(), answers[sc.Path]) {
			return fmt.Errorf("an answer has a wrong body of %d bytes, want %d", len(resp.Body()), len(answers[sc.Path]))
		}
		seen[string(resp.Header.Peek(originField))]++
	}
	for _, name := range originNames {
		if seen[name] == 0 {
			return fmt.Errorf("eight requests did not reach origin %q: %v", name, seen)
		}
	}
	return nil
}
