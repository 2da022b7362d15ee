package resolve

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"dyups/upstream"
)

// How long an answer is good that comes without a time to live.
const (
	hostsTTL = 10 * time.Second // from the hosts file: it may be edited, and reading it costs little
	plainTTL = 30 * time.Second // from net.DefaultResolver
)

// system looks names up as the machine is configured to: localhost and the hosts file first, then the name servers, search
// list and ndots of resolv.conf (resolver(5)). They are asked here and not by the standard library because that does not
// tell the time to live; it is used only where there is no resolv.conf. Both files are read again when they change.
type system struct {
	hosts  watched[map[string][]netip.Addr]
	conf   watched[*dns.ClientConfig]
	port   string // of the name servers
	plain  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	lookup *Resolver
}

func newSystem(r *Resolver) *system {
	return &system{
		hosts: watched[map[string][]netip.Addr]{path: "/etc/hosts", parse: parseHosts},
		conf:  watched[*dns.ClientConfig]{path: "/etc/resolv.conf", parse: parseConf},
		port:  "53", plain: net.DefaultResolver.LookupNetIP, lookup: r,
	}
}

// addresses looks up the addresses of host.
func (s *system) addresses(ctx context.Context, cfg *Config, host string) (answer, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	hosts, _ := s.hosts.get() // without the file nothing is in it
	addrs := hosts[name]
	if addrs == nil && (name == "localhost" || strings.HasSuffix(name, ".localhost")) { // RFC 6761 section 6.3
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if addrs != nil {
		return answer{addrs, s.lookup.now().Add(hostsTTL)}, nil
	}
	conf, err := s.conf.get()
	if errors.Is(err, fs.ErrNotExist) {
		return s.plainly(ctx, cfg, host)
	}
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = s.each(cfg, conf, host, func(cfg *Config, name string) (err error) {
		a, err = s.lookup.lookup(ctx, cfg, name)
		return err
	})
	return a, err
}

// service looks up the servers of a service; see lookupService.
func (s *system) service(ctx context.Context, cfg *Config, name string, known []upstream.Address) (
	addrs []upstream.Address, missed []string, expires time.Time, err error) {
	conf, err := s.conf.get()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, time.Time{}, errors.New("SRV records need a \"resolver\" directive where there is no " + s.conf.path)
	}
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	err = s.each(cfg, conf, name, func(cfg *Config, name string) (err error) {
		addrs, missed, expires, err = s.lookup.lookupService(ctx, cfg, name, known)
		return err
	})
	return addrs, missed, expires, err
}

// each tries the names that the search list makes of name until one is found. A name that cannot be had, for whatever
// reason but lack of time, is followed by the next one; the error is then that of a failure, if there was any.
func (s *system) each(cfg *Config, conf *dns.ClientConfig, name string, try func(cfg *Config, name string) error) error {
	own := *cfg
	own.System, own.IPv4, own.IPv6 = true, true, true
	own.Servers = nil
	for _, server := range conf.Servers {
		own.Servers = append(own.Servers, net.JoinHostPort(server, s.port))
	}
	if own.Servers == nil { // resolver(5): the name server on this machine
		own.Servers = []string{net.JoinHostPort("127.0.0.1", s.port)}
	}
	var failure error
	for _, candidate := range conf.NameList(name) {
		err := try(&own, candidate)
		var e *Error
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &e) || e.Timeout():
			return err
		case e.Code != codeNotFound && failure == nil:
			failure = &Error{name, e.Code}
		}
	}
	if failure == nil {
		failure = &Error{name, codeNotFound}
	}
	return failure
}

// plainly asks the standard library.
func (s *system) plainly(ctx context.Context, cfg *Config, host string) (answer, error) {
	ctx, cancel := bounded(ctx, cfg)
	defer cancel()
	addrs, err := s.plain(ctx, "ip", host)
	var de *net.DNSError
	switch {
	case errors.As(err, &de) && de.IsNotFound:
		return answer{}, &Error{host, codeNotFound}
	case errors.As(err, &de) && de.IsTimeout:
		return answer{}, &Error{host, codeTimedOut}
	case err != nil:
		return answer{}, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return answer{addrs, s.lookup.now().Add(plainTTL)}, nil
}

// watched is a file that is read again when its time or size has changed.
type watched[T any] struct {
	path  string
	parse func([]byte) (T, error)

	mu    sync.Mutex
	mod   time.Time
	size  int64
	value T
}

func (w *watched[T]) get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var none T
	info, err := os.Stat(w.path)
	if err != nil {
		return none, err
	}
	if info.ModTime().Equal(w.mod) && info.Size() == w.size && !w.mod.IsZero() {
		return w.value, nil
	}
	text, err := os.ReadFile(w.path)
	if err != nil {
		return none, err
	}
	value, err := w.parse(text)
	if err != nil {
		return none, err
	}
	w.mod, w.size, w.value = info.ModTime(), info.Size(), value
	return value, nil
}

func parseConf(text []byte) (*dns.ClientConfig, error) {
	return dns.ClientConfigFromReader(bytes.NewReader(text))
}

// parseHosts reads a hosts file: an address and its names a line (hosts(5)). Addresses with a zone are left out, for no
// server line could have one.
func parseHosts(text []byte) (map[string][]netip.Addr, error) {
	hosts := map[string][]netip.Addr{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		for _, name := range words[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if addr := addr.Unmap(); !slices.Contains(hosts[name], addr) {
				hosts[name] = append(hosts[name], addr)
			}
		}
	}
	return hosts, nil
}
