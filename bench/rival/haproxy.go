package rival

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"dyups/bench/churn"
)

// haproxyConfig is HAProxy's counterpart of nginxConfig: %[1]d threads, %[2]d open files, %[3]d connections, %[4]s the
// folder, %[5]s the address to listen on, %[6]s where requests go, %[7]d idle connections to a server (-1: no bound).
// Settings that are not plain; all but the measurements are from configuration.txt of 2.6:
//
//   - http-reuse always: "can provide a significant performance increase over the safe strategy".
//   - Bodies by splice(2) stay in the kernel: 380 to 470 µs of CPU at 1 MB (4 rounds) against a median of 900 µs without (3
//     rounds), under the same reservations as nginx's buffers. At 100 KB it was 49 µs (5 rounds), and 82 µs together with a
//     tune.bufsize of 64 KiB (4 rounds), so the buffers stay at their default.
//   - tune.pipesize: the kernel's pipes hold 64 KiB by default, and "when using TCP splicing, it can improve performance to
//     increase pipe sizes". A megabyte is what dyups asks for, and the most that Linux gives a plain user (fs.pipe-max-size).
//   - tune.pool-*-fd-ratio: connections to servers are not kept once a fifth of the open files is in use, which idle clients
//     alone would do.
//   - option redispatch 1 and retry-on: a request that a dead origin did not answer goes to another one at once, as with the
//     others. By default only a failed connection is tried again, on the same server after a second, and "retries" stays at its 3.
//     All that retry-on names costs a copy of each request.
//   - no strict-limits: the number of files wanted counts two sockets and two pipes for each connection that may be; the
//     scenarios stay below the limit, and HAProxy would refuse to start.
//   - The options -W (master-worker, which a reload needs) and -q: otherwise each server added or removed is four lines on
//     standard error.
const haproxyConfig = `global
    nbthread %[1]d
    no numa-cpu-mapping
    no strict-limits
    ulimit-n %[2]d
    maxconn %[3]d
    stats socket %[4]s/api.sock mode 600 level admin expose-fd listeners
    stats maxconn 1000
    stats timeout 1h
    tune.pool-low-fd-ratio 90
    tune.pool-high-fd-ratio 95
    tune.pipesize 1048576
defaults
    mode http
    balance roundrobin
    option http-keep-alive
    option splice-request
    option splice-response
    http-reuse always
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-keep-alive 1h
    default-server pool-max-conn %[7]d
frontend f
    bind %[5]s
    %[6]s
`

// haproxy has no methods that differ by instance.
type haproxy struct{}

func (haproxy) Name() string                { return "haproxy" }
func (haproxy) Install() string             { return "install the package haproxy" }
func (haproxy) Find(*Setup) (string, error) { return find("haproxy") }
func (haproxy) Version(path string) string  { return versionOf("haproxy", path, "-v") }

func (haproxy) Start(_ context.Context, path string, s *Setup) (Proxy, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	// sun_path of unix(7) holds 108 bytes, and HAProxy binds to a longer temporary name first.
	if sock := filepath.Join(s.Dir, "api.sock"); len(sock) > 90 {
		return nil, fmt.Errorf("cannot start haproxy: the path of its socket, %q, is longer than 90 bytes", sock)
	}
	file := filepath.Join(s.Dir, "proxy.conf")
	sample, rest := shown(s)
	if err := write(s.Dir, "proxy.conf", haproxyText(s)); err != nil {
		return nil, err
	}
	i, err := launch("haproxy", path, s, haproxyText(sample)+rest, "-W", "-db", "-q", "-f", file)
	if err != nil {
		return nil, err
	}
	return &haproxyProxy{instance: i, path: path, keep: haproxyKeep(s), parked: make(map[string]bool)}, nil
}

// haproxyKeep is pool-max-conn.
func haproxyKeep(s *Setup) int {
	if !s.ByHost {
		return -1
	}
	return keepConns(s)
}

func haproxyText(s *Setup) string {
	target := "default_backend " + s.Upstreams[0].Name
	if s.ByHost {
		target = "use_backend %[req.hdr(host),host_only]"
	}
	limit := fileLimit()
	var b strings.Builder
	fmt.Fprintf(&b, haproxyConfig, s.workers(), limit, min(16384, limit*8/10), s.Dir, s.Addr, target, haproxyKeep(s))
	for _, u := range s.Upstreams {
		fmt.Fprintf(&b, "backend %s\n", u.Name)
		for _, v := range u.Servers {
			fmt.Fprintf(&b, "    server %s %s weight %d\n", v.Addr, v.Addr, v.Weight)
		}
	}
	return b.String()
}

// haproxyProxy is a running HAProxy: a master process and a worker.
type haproxyProxy struct {
	*instance
	path    string
	keep    int
	reloads atomic.Int64 // how often; the commands of a client have to go to the newest worker

	mu     sync.Mutex
	parked map[string]bool // servers in maintenance that could not be deleted yet
}

// Logs checks the configuration of a HAProxy that ended without a word, which is what -q makes of an error.
func (p *haproxyProxy) Logs() string {
	if p.Running() {
		return p.instance.Logs()
	}
	return p.instance.Logs() + "; -c says: " + versionOf("", p.path, "-c", "-f", filepath.Join(p.setup.Dir, "proxy.conf"))
}

// park notes that a server stays in maintenance, and unpark whether it did.
func (p *haproxyProxy) park(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked[server] = true
}

func (p *haproxyProxy) unpark(server string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.parked[server]
	delete(p.parked, server)
	return was
}

func (p *haproxyProxy) socket() string { return filepath.Join(p.setup.Dir, "api.sock") }

// Reload sends SIGUSR2 to the master and waits until a worker with another process id answers on the stats socket: it is
// bound by a worker that has read the whole configuration.
func (p *haproxyProxy) Reload(ctx context.Context) error {
	was, err := p.worker()
	if err != nil {
		return err
	}
	if err := p.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	err = p.until(ctx, "reload haproxy", func() (bool, error) {
		now, err := p.worker()
		return err == nil && now != was, nil // between the two workers nobody may answer
	})
	if err == nil {
		p.reloads.Add(1)
		p.table.fill(p.setup.Upstreams)
		p.mu.Lock()
		clear(p.parked)
		p.mu.Unlock()
	}
	return err
}

// worker is the process id of the worker that answers on the stats socket.
func (p *haproxyProxy) worker() (string, error) {
	c, err := dialStats(p.socket(), dialLine)
	if err != nil {
		return "", err
	}
	defer c.close()
	replies, err := c.ask("show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(replies[0]) {
		if pid, ok := strings.CutPrefix(line, "Pid: "); ok {
			return strings.TrimSpace(pid), nil
		}
	}
	return "", fmt.Errorf("cannot find the worker of haproxy in %.100q", replies[0])
}

func (p *haproxyProxy) Updater() (churn.Updater, error) {
	return &haproxyUpdater{proxy: p, dial: dialLine}, nil
}

// Rehearsal implements Rehearsal.
func (p *haproxyProxy) Rehearsal() (churn.Updater, *churn.Talk) {
	t := &churn.Talk{}
	return &haproxyUpdater{proxy: p, dial: onStage(t, string(prompt))}, t
}

// haproxyUpdater sends commands of the runtime API (management.txt, section 9.3). Servers are named by their addresses.
type haproxyUpdater struct {
	proxy   *haproxyProxy
	dial    dialer
	conn    *statsConn // nil: not open
	reloads int64      // of the proxy, when conn was opened
}

// send sends commands at once and checks that each was taken: these answer with nothing, or with one of the two
// messages of success.
func (u *haproxyUpdater) send(commands ...string) error {
	replies, err := u.replies(commands...)
	if err != nil {
		return err
	}
	for i, r := range replies {
		if r != "" && r != "New server registered." && r != "Server deleted." {
			return fmt.Errorf("cannot %s: %q", commands[i], r)
		}
	}
	return nil
}

func (u *haproxyUpdater) replies(commands ...string) ([]string, error) {
	if n := u.proxy.reloads.Load(); u.conn != nil && n != u.reloads {
		u.Close()
	}
	if u.conn == nil {
		u.reloads = u.proxy.reloads.Load()
		var err error
		if u.conn, err = dialStats(u.proxy.socket(), u.dial); err != nil {
			return nil, err
		}
	}
	replies, err := u.conn.ask(commands...)
	if err != nil {
		u.Close()
		return nil, fmt.Errorf("cannot %s: %w", commands[0], err)
	}
	return replies, nil
}

func (u *haproxyUpdater) Reweigh(_ context.Context, name string, s churn.Server) error {
	list, err := u.proxy.table.get(name)
	if err != nil {
		return err
	}
	if err := u.send("set server " + name + "/" + s.Addr + " weight " + strconv.Itoa(s.Weight)); err != nil {
		return err
	}
	u.proxy.table.set(name, with(list, s))
	return nil
}

// Add registers a server, which starts in maintenance, and enables it (management.txt, "add server"). One that is parked is
// there already.
func (u *haproxyUpdater) Add(_ context.Context, name string, s churn.Server) error {
	list, err := u.proxy.table.get(name)
	if err != nil {
		return err
	}
	server := name + "/" + s.Addr
	if u.proxy.unpark(server) {
		err = u.send("set server "+server+" weight "+strconv.Itoa(s.Weight), "set server "+server+" state ready")
		if err != nil {
			u.proxy.park(server)
		}
	} else {
		err = u.send(fmt.Sprintf("add server %s %s weight %d pool-max-conn %d", server, s.Addr, s.Weight, u.proxy.keep),
			"enable server "+server)
	}
	if err != nil {
		return err
	}
	u.proxy.table.set(name, with(list, s))
	return nil
}

// Remove puts a server into maintenance, from when on it gets no new request, and tries to delete it. That is refused for
// as long as it has a connection, idle ones included (management.txt, "del server"), under load for seconds; such a
// server is parked until it is added again.
func (u *haproxyUpdater) Remove(_ context.Context, name, addr string) error {
	list, err := u.proxy.table.get(name)
	if err == nil {
		list, err = without(list, addr)
	}
	if err != nil {
		return err
	}
	server := name + "/" + addr
	replies, err := u.replies("set server "+server+" state maint", "del server "+server)
	if err != nil {
		return err
	}
	if replies[0] != "" {
		return fmt.Errorf("cannot put server %s into maintenance: %q", server, replies[0])
	}
	if replies[1] != "Server deleted." {
		if !strings.Contains(replies[1], "connections attached") {
			return fmt.Errorf("cannot delete server %s: %q", server, replies[1])
		}
		u.proxy.park(server)
	}
	u.proxy.table.set(name, list)
	return nil
}

// Replace changes what differs, server by server: their order says nothing here. What is new comes before what goes.
func (u *haproxyUpdater) Replace(ctx context.Context, name string, servers []churn.Server) error {
	list, err := u.proxy.table.get(name)
	if err != nil {
		return err
	}
	was := make(map[string]int, len(list))
	for _, s := range list {
		was[s.Addr] = s.Weight
	}
	var weights []string
	for _, s := range servers {
		if w, ok := was[s.Addr]; !ok {
			if err := u.Add(ctx, name, s); err != nil {
				return err
			}
		} else if w != s.Weight {
			weights = append(weights, "set server "+name+"/"+s.Addr+" weight "+strconv.Itoa(s.Weight))
		}
		delete(was, s.Addr)
	}
	if len(weights) > 0 {
		if err := u.send(weights...); err != nil {
			return err
		}
	}
	for addr := range was {
		if err := u.Remove(ctx, name, addr); err != nil {
			return err
		}
	}
	u.proxy.table.set(name, servers)
	return nil
}

func (u *haproxyUpdater) Create(context.Context, string, []churn.Server) error {
	return fmt.Errorf("haproxy 2.6 makes no backends at run time: %w", churn.ErrUnsupported)
}

func (u *haproxyUpdater) Delete(context.Context, string) error {
	return fmt.Errorf("haproxy 2.6 removes no backends at run time: %w", churn.ErrUnsupported)
}

func (u *haproxyUpdater) Close() error {
	if u.conn != nil {
		u.conn.close()
		u.conn = nil
	}
	return nil
}

// dialStats opens the stats socket in interactive mode: many commands on one connection.
func dialStats(path string, dial dialer) (*statsConn, error) {
	conn, err := dial("unix", path, updateTimeout)
	if err != nil {
		return nil, fmt.Errorf("cannot open the stats socket: %w", err)
	}
	c := &statsConn{conn: conn}
	if _, err := c.ask("prompt"); err != nil {
		c.close()
		return nil, fmt.Errorf("cannot open the stats socket: %w", err)
	}
	return c, nil
}
