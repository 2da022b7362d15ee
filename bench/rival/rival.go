package rival

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"dyups/bench/churn"
)

// Setup is what every proxy of a run is configured for, each in its own language.
type Setup struct {
	Dir       string     // folder of this proxy alone; exists, mode 0755
	Addr      string     // loopback address to listen on
	API       string     // loopback address of its interface for updates, if it has one over TCP
	Upstreams []Upstream // the first is where requests go, unless ByHost
	ByHost    bool       // requests go to the upstream that the Host field names
	CPU       int        // core to run on; below 0: any. With more workers than one, as many cores from this one on
	Workers   int        // worker processes, threads or loops; 1 unless the scenario is about scaling
	Apart     bool       // the workers are processes that share nothing, each at an address of its own; see Address. dyups alone knows it
	Binary    string     // path of the program where it is not looked for (dyups; two builds compared)
}

// Address is where worker i of a Setup with Apart listens if the first one does at addr: on the loopback address i further.
func Address(addr string, i int) string {
	a := netip.MustParseAddrPort(addr)
	ip := a.Addr().As4()
	ip[3] += byte(i)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), a.Port()).String()
}

// Upstream is a named list of servers.
type Upstream = churn.Upstream

// Program is a kind of proxy the bench knows. Implementations hold no state; Start may be called more than once.
type Program interface {
	Name() string    // "nginx", "nginx-reload", "haproxy", "caddy", "goproxy", "dyups", "bare"
	Install() string // what to do when it is missing: "install the package nginx"
	Find(s *Setup) (path string, err error)
	Version(path string) string
	// Start writes the configuration and starts the program; it does not wait until it answers.
	Start(ctx context.Context, path string, s *Setup) (Proxy, error)
}

// Proxy is a running one. Its methods are safe for concurrent use; Stop may be called twice.
type Proxy interface {
	PID() int         // leader of its process tree
	Addr() string     // where it listens for requests
	Settings() string // configuration and arguments for the report; of many upstreams the first few stand for all
	Running() bool
	Logs() string                     // the end of what it printed and logged, in one line
	Reload(ctx context.Context) error // as on SIGHUP, the configuration unchanged; ErrUnsupported where there is none
	Updater() (churn.Updater, error)  // a further client for updates; ErrUnsupported where there is none
	Stop()
}

// All is every proxy the bench knows, in the order of a report.
func All() []Program {
	return []Program{nginx{}, nginx{reload: true}, haproxy{}, caddy{}, goproxy{}, dyups{}}
}

// ByName finds a program, one of All or bare, which is none of the proxies; the error names those there are.
func ByName(name string) (Program, error) {
	var known []string
	for _, p := range append(All(), bare{}) {
		if p.Name() == name {
			return p, nil
		}
		known = append(known, p.Name())
	}
	return nil, fmt.Errorf("cannot measure %q: there is %s", name, strings.Join(known, ", "))
}
