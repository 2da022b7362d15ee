package rival

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"dyups/bench/churn"
	"dyups/bench/proc"
)

// updateTimeout bounds one update: beyond it the proxy has failed. Reading a configuration of 10,000 upstreams anew takes
// seconds.
const updateTimeout = 60 * time.Second

// pollEvery is how often a sign of a finished reload is looked for.
const pollEvery = time.Millisecond

// instance is what all running proxies have in common.
type instance struct {
	*proc.Process
	setup    Setup
	settings string
	logFiles []string // besides the output
	table    table
}

func (i *instance) Addr() string     { return i.setup.Addr }
func (i *instance) Settings() string { return i.settings }

// Logs is the end of the output and of the program's own log files.
func (i *instance) Logs() string {
	s := i.LogTail()
	for _, file := range i.logFiles {
		if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
			b = b[max(0, len(b)-1024):]
			s += "; " + filepath.Base(file) + ": " + strings.Join(strings.Split(strings.TrimSpace(string(b)), "\n"), "; ")
		}
	}
	return s
}

// launch starts the program in its folder. text is its configuration for the report.
func launch(name, path string, s *Setup, text string, args ...string) (*instance, error) {
	i, err := prepare(name, path, s, text, args...)
	if err != nil {
		return nil, err
	}
	return i, i.StartOn(cores(s)...)
}

// allocator keeps glibc (mallopt(3)) from giving memory back to the system after each large request, and having it faulted in anew by
// the next: in a virtual machine 1 MB through nginx cost 280 µs of CPU or 1,000, as its heap happened to lie, and costs 300 with
// this. All proxies get it; those that allocate by themselves do not care.
var allocator = [][2]string{{"MALLOC_TRIM_THRESHOLD_", "268435456"}, {"MALLOC_MMAP_THRESHOLD_", "268435456"}}

// prepare is launch without the start.
func prepare(name, path string, s *Setup, text string, args ...string) (*instance, error) {
	p, err := proc.New(name, filepath.Join(s.Dir, "output.log"), path, args...)
	if err != nil {
		return nil, err
	}
	i := &instance{Process: p, setup: *s}
	for _, e := range allocator {
		p.Setenv(e[0], e[1])
	}
	i.settings = "# " + strings.Join(append([]string{path}, args...), " ") + "\n" + text
	i.table.fill(s.Upstreams)
	return i, nil
}

// cores are those that the workers get: from Setup.CPU on, around the end to the first one. Go programs and HAProxy take
// their number of threads from them unless told otherwise.
func cores(s *Setup) []int {
	if s.CPU < 0 {
		return nil
	}
	var cpus []int
	for i := range min(max(s.Workers, 1), runtime.NumCPU()) {
		cpus = append(cpus, (s.CPU+i)%max(runtime.NumCPU(), s.CPU+1))
	}
	return cpus
}

// check refuses what no program can start with.
func (s *Setup) check() error {
	if len(s.Upstreams) == 0 {
		return fmt.Errorf("cannot start a proxy without upstreams")
	}
	for _, u := range s.Upstreams {
		if len(u.Servers) == 0 {
			return fmt.Errorf("cannot start a proxy with upstream %q: it has no servers", u.Name)
		}
	}
	if s.Addr == "" {
		return fmt.Errorf("cannot start a proxy without an address to listen on")
	}
	return nil
}

// workers is Setup.Workers, 1 if it is not set.
func (s *Setup) workers() int { return max(s.Workers, 1) }

// fileLimit is the hard limit on open files, to which programs raise theirs.
func fileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Max, 1<<20))
}

// manyConns is more idle connections than any scenario has requests under way, so that nobody closes one to open it again. nginx
// counts them by upstream, dyups by server and loop, so a bound that is reached means something else to each.
// nginx allocates a place for each of them in every upstream when it starts, so 10,000 upstreams have 64 each.
const manyConns = 1024

// keepConns is how many idle connections a proxy may keep to one server of one upstream, 0 for none: see doc.go. Where all
// requests go to the first upstream the others have none.
func keepConns(s *Setup) int {
	if !s.ByHost {
		return min(manyConns, max(64, 640_000/len(s.Upstreams)))
	}
	servers := 0
	for _, u := range s.Upstreams {
		servers += len(u.Servers)
	}
	return min(manyConns, fileLimit()/5/servers)
}

// shown is the part of the upstreams that stands for all of them in the report, and what to say about the others.
func shown(s *Setup) (*Setup, string) {
	const enough = 3
	if len(s.Upstreams) <= 2*enough {
		return s, ""
	}
	c := *s
	c.Upstreams = s.Upstreams[:enough]
	return &c, fmt.Sprintf("# and %d further upstreams of the same form\n", len(s.Upstreams)-enough)
}

// find looks for a program on the search path and in /usr/sbin, which the path of plain users often lacks.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		if p, e := exec.LookPath("/usr/sbin/" + name); e == nil {
			return p, nil
		}
		return "", fmt.Errorf("cannot find the program %q: %w", name, err)
	}
	return path, nil
}

// versionOf runs a program for its version. Of the lines it prints it returns the one that begins with its name and
// "version" (dyups prints before it which nginx it follows), or else the first.
func versionOf(name, path string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(strings.ToLower(line), name+" version") {
			return line
		}
	}
	return lines[0]
}

// write puts a file of the configuration into the proxy's folder.
func write(dir, name, text string) error {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return fmt.Errorf("cannot write the configuration: %w", err)
	}
	return nil
}

// until asks again and again until ok, an error, or the end of updateTimeout, of ctx or of the program.
func (i *instance) until(ctx context.Context, what string, ok func() (bool, error)) error {
	late := time.Now().Add(updateTimeout)
	for {
		done, err := ok()
		switch {
		case err != nil:
			return fmt.Errorf("cannot %s: %w", what, err)
		case done:
			return nil
		case !i.Running():
			return fmt.Errorf("cannot %s: the program has ended: %s", what, i.Logs())
		case ctx.Err() != nil:
			return fmt.Errorf("cannot %s: %w", what, context.Cause(ctx))
		case time.Now().After(late):
			return fmt.Errorf("cannot %s: it took longer than %v: %s", what, updateTimeout, i.Logs())
		}
		time.Sleep(pollEvery)
	}
}

// table is what the updaters of a proxy know of its upstreams. Its lists are never written again.
type table struct {
	mu    sync.RWMutex
	lists map[string][]churn.Server
}

// fill forgets all changes: a reload has returned to the configuration file.
func (t *table) fill(upstreams []Upstream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lists = make(map[string][]churn.Server, len(upstreams))
	for _, u := range upstreams {
		t.lists[u.Name] = u.Servers
	}
}

// get is the list of an upstream; an unknown name is an error.
func (t *table) get(name string) ([]churn.Server, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.lists[name]
	if !ok {
		return nil, fmt.Errorf("cannot update upstream %q: there is none", name)
	}
	return l, nil
}

// set makes servers the list of an upstream; nil removes it.
func (t *table) set(name string, servers []churn.Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if servers == nil {
		delete(t.lists, name)
		return
	}
	t.lists[name] = servers
}

// with is a list with a server added, or with its weight changed if it is there.
func with(list []churn.Server, s churn.Server) []churn.Server {
	out := make([]churn.Server, 0, len(list)+1)
	found := false
	for _, l := range list {
		if l.Addr == s.Addr {
			l, found = s, true
		}
		out = append(out, l)
	}
	if !found {
		out = append(out, s)
	}
	return out
}

// without is a list without a server. An upstream has to keep one.
func without(list []churn.Server, addr string) ([]churn.Server, error) {
	out := make([]churn.Server, 0, len(list))
	for _, l := range list {
		if l.Addr != addr {
			out = append(out, l)
		}
	}
	if len(out) == len(list) {
		return nil, fmt.Errorf("cannot remove server %q: there is none", addr)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot remove server %q: it is the last one", addr)
	}
	return out, nil
}
