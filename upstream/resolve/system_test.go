package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dyups/upstream"
)

// machine is a system whose files and name servers are the test's.
type machine struct {
	*system
	t   *testing.T
	dir string
}

func newMachine(t *testing.T) *machine {
	r := New(0)
	t.Cleanup(r.Close)
	m := &machine{newSystem(r), t, t.TempDir()}
	m.hosts.path, m.conf.path = filepath.Join(m.dir, "hosts"), filepath.Join(m.dir, "resolv.conf")
	m.plain = func(context.Context, string, string) ([]netip.Addr, error) {
		t.Error("the standard library was asked")
		return nil, nil
	}
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) look(host string) string {
	m.t.Helper()
	a, err := m.addresses(context.Background(), &Config{Timeout: 10 * time.Second}, host)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, addr := range a.addrs {
		out = append(out, addr.String())
	}
	return strings.Join(out, " ")
}

// Names are looked up as the system would: hosts first, then name servers with the search list; the files may change.
func TestSystem(t *testing.T) {
	s := newStub(t, "one.inner.test. 60 A 127.0.0.1", "one. 60 A 127.0.0.9", "deep.name. 60 A 127.0.0.2",
		"deep.name.inner.test. 60 A 127.0.0.9", "half. 60 A 127.0.0.3", "six.outer.test. 60 AAAA ::6",
		"_http._tcp.svc.outer.test. 60 SRV 0 1 81 one.inner.test.")
	m := newMachine(t)
	host, port, _ := net.SplitHostPort(s.addr)
	m.port = port
	m.write(m.conf.path, "search inner.test outer.test\nnameserver "+host+"\n")
	m.write(m.hosts.path, "127.0.0.7 Listed listed.alias # comment\n::7\tlisted\n127.0.0.7 listed\nnonsense listed\nfe80::1%lo listed\n")
	f := func(host, want string) {
		t.Helper()
		if got := m.look(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	f("LISTED", "127.0.0.7 ::7")
	f("listed.alias.", "127.0.0.7")
	f("localhost", "127.0.0.1 ::1")
	f("a.localhost", "127.0.0.1 ::1")
	f("one", "127.0.0.1")
	f("one.", "127.0.0.9")
	f("deep.name", "127.0.0.2")
	f("six", "::6")
	f("half.", "127.0.0.3")                                     // AAAA is refused: one family is enough here
	f("fail", "fail could not be resolved (2: Server failure)") // after fail.inner.test, which does not exist
	f("nowhere", "nowhere could not be resolved (3: Host not found)")
	m.write(m.hosts.path, "127.0.0.8 one\n127.0.0.5 localhost\n")
	f("one", "127.0.0.8")
	f("localhost", "127.0.0.5")
	m.write(m.conf.path, "search inner.test\noptions ndots:2\nnameserver "+host+"\n")
	f("deep.name", "127.0.0.9")
	m.write(m.conf.path, "search outer.test\nnameserver "+host+"\n")
	addrs, _, _, err := m.service(context.Background(), new(Config), "_http._tcp.svc", nil)
	if err != nil || list(addrs) != "127.0.0.1:81" {
		t.Errorf("service: %s, %v", list(addrs), err)
	}
}

// The first name server is asked first, the next one when it fails; that a name does not exist is an answer.
func TestSystemServers(t *testing.T) {
	first, second := newStub(t, "one. 60 A 127.0.0.1", "fail. 60 A 127.0.0.1"), newStub(t, "one. 60 A 127.0.0.2", "only. 60 A 127.0.0.2")
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{first.addr, second.addr}, IPv4: true, System: true, Timeout: 10 * time.Second}
	for range 3 {
		if got := text(t, r, cfg, "one"); got != "127.0.0.1" {
			t.Errorf("one is %s", got)
		}
		if got := text(t, r, cfg, "only"); got != "only could not be resolved (3: Host not found)" {
			t.Errorf("only is %s", got)
		}
		r.mu.Lock()
		clear(r.cache)
		r.mu.Unlock()
	}
	first.sick.Store(true)
	if got := text(t, r, cfg, "only"); got != "127.0.0.2" {
		t.Errorf("with a first server that fails only is %s", got)
	}
	second.sick.Store(true)
	if got := text(t, r, cfg, "one"); got != "one could not be resolved (2: Server failure)" {
		t.Errorf("with servers that fail one is %s", got)
	}
}

// Without resolv.conf the standard library is asked; it tells no time to live, so one is made up.
func TestSystemPlain(t *testing.T) {
	m := newMachine(t)
	now := time.Unix(1000, 0)
	m.lookup.now = func() time.Time { return now }
	m.plain = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		switch host {
		case "one":
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		case "slow":
			return nil, &net.DNSError{IsTimeout: true}
		}
		return nil, &net.DNSError{IsNotFound: true}
	}
	a, err := m.addresses(context.Background(), new(Config), "one")
	if err != nil || a.addrs[0].String() != "127.0.0.1" || a.expires.Sub(now) != plainTTL {
		t.Errorf("%+v, %v", a, err)
	}
	for host, code := range map[string]int{"slow": codeTimedOut, "none": codeNotFound} {
		_, err := m.addresses(context.Background(), new(Config), host)
		var e *Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v, want code %d", host, err, code)
		}
	}
	if _, _, _, err := m.service(context.Background(), new(Config), "_http._tcp.a", nil); err == nil || !strings.Contains(err.Error(), m.conf.path) {
		t.Errorf("a service without resolv.conf: %v", err)
	}
}

// Names without a resolver go to the system.
func TestNamesBySystem(t *testing.T) {
	s := newStub(t, "a.test. 0 A 127.0.0.1")
	m := newMachine(t)
	host, port, _ := net.SplitHostPort(s.addr)
	m.port = port
	m.write(m.conf.path, "nameserver "+host+"\n")
	n := NewNames(m.lookup, nil)
	n.system = m.system
	defer n.Close()
	answers, errs := n.Look(context.Background(), nil, []upstream.Name{{Host: "a.test"}, {Host: "b.test"}})
	if list(answers[0]) != "127.0.0.1" || answers[1] != nil || errs[1] == nil {
		t.Errorf("answers %v, errors %v", answers, errs)
	}
}
