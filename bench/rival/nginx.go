package rival

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"dyups/bench/churn"
)

// nginxConfig is the configuration of nginx and dyups, the same bytes for both: %[1]d worker processes, %[2]d open files,
// %[3]d connections, %[4]s where requests go, %[5]s the Connection field to origins. Settings that are not plain:
//
//   - keepalive_requests is out of reach, so that connections are never interrupted; its default is 1000
//     (ngx_http_core_module).
//   - keepalive in an upstream takes effect with HTTP/1.1 and an empty Connection field only (ngx_http_upstream_module,
//     "keepalive"); the WebSocket location passes the upgrade on as nginx's document "WebSocket proxying" says.
//   - proxy_max_temp_file_size 0: otherwise nginx writes parts of large answers to disk when the client is slower than
//     the origin. proxy_request_buffering off: otherwise it writes request bodies larger than 16k to disk first.
//   - proxy_buffer_size, proxy_buffers and proxy_busy_buffers_size: nginx allocates them whole and touches what it reads, so
//     their size costs small answers nothing, and saves a system call for each further buffer. In rounds that alternate with
//     4 times 128k behind a first buffer of 32k, answers of 100 KB took 0.75 of the CPU, because they fit in the first
//     buffer, of 64 MB 0.92, of 1 MB 0.99, small ones 0.95. dyups reads a body as it comes, whatever these say.
//   - client_body_buffer_size is what nginx reads of a request body at once: with its default, 16k, an upload of 1 MB took
//     six to seven times the CPU.
//   - error_log notice: no line for a request that goes well, a few for a reload.
const nginxConfig = `daemon off;
worker_processes %[1]d;
worker_rlimit_nofile %[2]d;
pid proxy.pid;
error_log error.log notice;
events {
    worker_connections %[3]d;
}
http {
    include own.conf;
    include upstreams.conf;
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path client_body;
    proxy_temp_path proxy_temp;
    proxy_http_version 1.1;
    client_body_buffer_size 256k;
    proxy_buffer_size 256k;
    proxy_buffers 4 256k;
    proxy_busy_buffers_size 512k;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    server {
        include listen.conf;
        location / {
            proxy_pass http://%[4]s;
            proxy_set_header Connection "%[5]s";
        }
        location /ws {
            proxy_pass http://%[4]s;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }
    }
}
`

// nginxOwn keeps the temporary folders that Debian builds in out of /var/lib, which only root may write.
const nginxOwn = `fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
`

// upstreamsFile is the included file with the upstreams.
const upstreamsFile = "upstreams.conf"

// nginx is the program itself; with reload, its updates are reloads.
type nginx struct{ reload bool }

func (n nginx) Name() string {
	if n.reload {
		return "nginx-reload"
	}
	return "nginx"
}

func (nginx) Install() string             { return "install the package nginx" }
func (nginx) Find(*Setup) (string, error) { return find("nginx") }
func (nginx) Version(path string) string  { return versionOf("nginx", path, "-v") }

func (n nginx) Start(_ context.Context, path string, s *Setup) (Proxy, error) {
	text, args, err := writeNginx(s, nginxOwn)
	if err != nil {
		return nil, err
	}
	i, err := launch(n.Name(), path, s, text, args...)
	if err != nil {
		return nil, err
	}
	i.logFiles = []string{filepath.Join(s.Dir, "error.log")}
	p := &nginxProxy{instance: i, reload: n.reload}
	p.blocks.fill(s)
	return p, nil
}

// writeNginx writes the configuration of a program that reads nginx's language, and gives it for the report with the
// program's arguments.
func writeNginx(s *Setup, own string) (text string, args []string, err error) {
	if err := s.check(); err != nil {
		return "", nil, err
	}
	target, connection := s.Upstreams[0].Name, ""
	if s.ByHost {
		target = "$host"
	}
	if keepConns(s) == 0 {
		connection = "close"
	}
	listen := "listen " + s.Addr
	if s.workers() > 1 {
		listen += " reuseport" // a queue of new connections for each worker (ngx_http_core_module, "listen")
	}
	limit := fileLimit()
	conf := fmt.Sprintf(nginxConfig, s.workers(), limit, min(16384, limit*8/10), target, connection)
	sample, rest := shown(s)
	for _, f := range []struct{ name, text, shown string }{
		{"proxy.conf", conf, conf},
		{"listen.conf", listen + ";\n", listen + ";\n"},
		{"own.conf", own, own},
		{upstreamsFile, nginxUpstreams(s), nginxUpstreams(sample) + rest},
	} {
		if err := write(s.Dir, f.name, f.text); err != nil {
			return "", nil, err
		}
		text += "# " + f.name + "\n" + f.shown
	}
	return text, []string{"-p", s.Dir, "-c", filepath.Join(s.Dir, "proxy.conf"), "-e", filepath.Join(s.Dir, "error.log")}, nil
}

// nginxUpstreams is the file with the upstreams.
func nginxUpstreams(s *Setup) string {
	var b []byte
	tail := keepText(s)
	for _, u := range s.Upstreams {
		b = appendBlock(b, u.Name, u.Servers, tail)
	}
	return string(b)
}

// keepText is the end of each upstream's content: nginx counts idle connections of an upstream, so they are as many as
// keepConns allows for all of its servers.
func keepText(s *Setup) string {
	n := keepConns(s)
	if n == 0 {
		return ""
	}
	if s.ByHost {
		n *= len(s.Upstreams[0].Servers)
	}
	return "keepalive " + strconv.Itoa(n) + "; keepalive_requests 100000000;\n"
}

func appendBlock(b []byte, name string, servers []churn.Server, tail string) []byte {
	b = append(append(append(b, "upstream "...), name...), " {\n"...)
	return append(appendServers(b, servers, tail), "}\n"...)
}

// appendServers writes the content of an upstream block.
func appendServers(b []byte, servers []churn.Server, tail string) []byte {
	for _, s := range servers {
		b = append(append(b, "server "...), s.Addr...)
		if s.Weight != 1 {
			b = strconv.AppendInt(append(b, " weight="...), int64(s.Weight), 10)
		}
		b = append(b, ";\n"...)
	}
	return append(b, tail...)
}

// nginxProxy is a running nginx. Changes that come while a reload is under way wait for the next one and are
// acknowledged by it together.
type nginxProxy struct {
	*instance
	reload bool
	turn   sync.Mutex // one reload after another

	mu      sync.Mutex // guards what follows
	blocks  blocks
	changes int // made to blocks so far
	loaded  int // of these, how many the last reload that succeeded has read
}

// blocks is the file with the upstreams, kept in pieces.
type blocks struct {
	order []string
	text  map[string][]byte
	tail  string
}

func (b *blocks) fill(s *Setup) {
	b.tail, b.text = keepText(s), make(map[string][]byte, len(s.Upstreams))
	for _, u := range s.Upstreams {
		b.order = append(b.order, u.Name)
		b.text[u.Name] = appendBlock(nil, u.Name, u.Servers, b.tail)
	}
}

// set replaces, adds or, without servers, removes one upstream.
func (b *blocks) set(name string, servers []churn.Server) {
	_, known := b.text[name]
	if len(servers) == 0 {
		delete(b.text, name)
		for i, n := range b.order {
			if n == name {
				b.order = append(b.order[:i:i], b.order[i+1:]...)
				break
			}
		}
		return
	}
	if !known {
		b.order = append(b.order, name)
	}
	b.text[name] = appendBlock(nil, name, servers, b.tail)
}

func (b *blocks) bytes() []byte {
	var all bytes.Buffer
	for _, name := range b.order {
		all.Write(b.text[name])
	}
	return all.Bytes()
}

func (p *nginxProxy) Updater() (churn.Updater, error) {
	if !p.reload {
		return nil, fmt.Errorf("nginx without modules has no interface for updates: %w", churn.ErrUnsupported)
	}
	return &listUpdater{table: &p.table, put: p.put, del: p.del}, nil
}

func (p *nginxProxy) put(ctx context.Context, name string, servers []churn.Server) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	p.blocks.set(name, servers)
	p.changes++
	mine := p.changes
	p.mu.Unlock()
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	now, text := p.changes, []byte(nil)
	done := p.loaded >= mine
	if !done {
		text = p.blocks.bytes()
	}
	p.mu.Unlock()
	if done {
		return nil
	}
	if err := os.WriteFile(filepath.Join(p.setup.Dir, upstreamsFile), text, 0o644); err != nil {
		return fmt.Errorf("cannot write the upstreams: %w", err)
	}
	if err := p.hup(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	p.mu.Lock()
	p.loaded = now
	p.mu.Unlock()
	return nil
}

func (p *nginxProxy) del(ctx context.Context, name string) error { return p.put(ctx, name, nil) }

func (p *nginxProxy) Reload(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.hup(ctx)
}

// hup reloads and waits for the sign described in doc.go. The order of events is that of ngx_master_process_cycle: new
// workers are started, the master sleeps for 100 ms, then it tells the old ones to end.
func (p *nginxProxy) hup(ctx context.Context) error {
	old := make(map[int]bool)
	err := p.until(ctx, "find the workers of nginx", func() (bool, error) {
		clear(old)
		for _, pid := range children(p.PID()) {
			if serving(pid) {
				old[pid] = true
			}
		}
		return len(old) >= p.setup.workers(), nil
	})
	if err != nil {
		return err
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return p.until(ctx, "reload nginx", func() (bool, error) {
		fresh := 0
		for _, pid := range children(p.PID()) {
			if !serving(pid) {
				continue
			}
			if old[pid] {
				return false, nil
			}
			fresh++
		}
		return fresh >= p.setup.workers(), nil
	})
}

// children are the processes that a single-threaded process has forked. A kernel without CONFIG_PROC_CHILDREN gives none.
func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// serving tells whether a process is a worker of nginx that takes new connections, by its title (ngx_setproctitle).
func serving(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.HasPrefix(b, []byte("nginx: worker process")) && !bytes.Contains(b, []byte("shutting down"))
}
