package rival

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"dyups/bench/churn"
)

// dyupsOwn is the server of the interface. %s is its address.
const dyupsOwn = `server {
    listen %s;
    location / {
        dyups_interface;
    }
}
`

// dyups reads nginx's configuration; see nginxConfig.
type dyups struct{}

func (dyups) Name() string    { return "dyups" }
func (dyups) Install() string { return "build it and say where it is" }

func (dyups) Find(s *Setup) (string, error) {
	if s.Binary == "" {
		return "", fmt.Errorf("cannot find the program dyups: nothing says where it is")
	}
	path, err := filepath.Abs(s.Binary)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot find the program dyups: %w", err)
	}
	return path, nil
}

func (dyups) Version(path string) string { return versionOf("dyups", path, "-v") }

func (dyups) Start(_ context.Context, path string, s *Setup) (Proxy, error) {
	if _, _, err := net.SplitHostPort(s.API); err != nil {
		return nil, fmt.Errorf("cannot start dyups with interface address %q: %w", s.API, err)
	}
	if s.Apart {
		return startApart(path, s)
	}
	text, args, err := writeNginx(s, fmt.Sprintf(dyupsOwn, s.API))
	if err != nil {
		return nil, err
	}
	i, err := launch("dyups", path, s, text, args...)
	if err != nil {
		return nil, err
	}
	i.logFiles = []string{filepath.Join(s.Dir, "error.log")}
	return &dyupsProxy{instance: i, tail: keepText(s)}, nil
}

// startApart starts a process for each worker, as children of a shell, so that they are one tree and one group.
func startApart(path string, s *Setup) (Proxy, error) {
	command, text := "", ""
	all := []string{"-c", "", path}
	for w := range s.workers() {
		one := *s
		one.Workers, one.Dir = 1, filepath.Join(s.Dir, strconv.Itoa(w))
		one.Addr, one.API = Address(s.Addr, w), Address(s.API, w)
		if err := os.Mkdir(one.Dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot start dyups: %w", err)
		}
		t, args, err := writeNginx(&one, fmt.Sprintf(dyupsOwn, one.API))
		if err != nil {
			return nil, err
		}
		command += `"$0"`
		for _, a := range args {
			all = append(all, a)
			command += fmt.Sprintf(` "${%d}"`, len(all)-3)
		}
		command += " & "
		text += t
	}
	all[1] = command + "wait"
	i, err := launch("dyups", "/bin/sh", s, text, all...)
	if err != nil {
		return nil, err
	}
	return &dyupsProxy{instance: i, tail: keepText(s)}, nil
}

// dyupsProxy is a running dyups.
type dyupsProxy struct {
	*instance
	tail string
}

// Reload waits for what the log says last about a reload: the last request of the replaced configuration has ended.
func (p *dyupsProxy) Reload(ctx context.Context) error {
	file := p.logFiles[0]
	was, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the log of dyups: %w", err)
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	err = p.until(ctx, "reload dyups", func() (bool, error) {
		b, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		b = b[min(len(was), len(b)):]
		if bytes.Contains(b, []byte("the configuration in force stays")) {
			return false, fmt.Errorf("it was refused: %s", p.Logs())
		}
		return bytes.Contains(b, []byte("exited with code 0")), nil
	})
	if err == nil {
		p.table.fill(p.setup.Upstreams)
	}
	return err
}

func (p *dyupsProxy) Updater() (churn.Updater, error) { return p.updater(dialLine), nil }

// Rehearsal implements Rehearsal.
func (p *dyupsProxy) Rehearsal() (churn.Updater, *churn.Talk) {
	t := &churn.Talk{}
	return p.updater(onStage(t, "")), t
}

func (p *dyupsProxy) updater(dial dialer) churn.Updater {
	w := newWire(p.setup.API, dial)
	return &listUpdater{
		table: &p.table,
		put: func(_ context.Context, name string, servers []churn.Server) error {
			w.body = appendServers(w.body[:0], servers, p.tail)
			return w.call("POST", "/upstream/"+name, "", w.body)
		},
		del: func(_ context.Context, name string) error {
			return w.call("DELETE", "/upstream/"+name, "", nil)
		},
		end: w.Close,
	}
}
