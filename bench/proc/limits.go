package proc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit lifts the soft limit on open files to the hard one, for this process and all it starts from then on,
// and makes sure that it is at least need.
func RaiseFileLimit(need uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("cannot read the limit on open files: %w", err)
	}
	if l.Max < need {
		return fmt.Errorf("cannot open %d files: the limit is %d (ulimit -Hn)", need, l.Max)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("cannot raise the limit on open files: %w", err)
	}
	return nil
}

// What the hardest scenarios need.
const (
	idleConnections = 10_000                  // open at the same time
	freshPerSecond  = 20_000                  // new connections
	filesNeeded     = idleConnections + 2_000 // an idle client has no connection to an origin
)

// limits are the kernel's settings that a run depends on; -1 stands for one that cannot be read.
type limits struct {
	somaxconn, synBacklog, timeWaitReuse, timestamps int64
	portFirst, portLast                              int64
	files                                            uint64 // hard limit
	loopbackMTU                                      int64
	governors                                        []string // of the cores, without repetition
	congestion                                       string   // net.ipv4.tcp_congestion_control
}

// CheckLimits reads the kernel's limits that a run depends on, as "name = value", and says in words which are too small
// for 10,000 idle connections or 20,000 new ones a second, or make figures unsteady.
func CheckLimits() (settings, warnings []string) {
	l := readLimits()
	return l.settings(), l.warnings()
}

func readLimits() limits {
	l := limits{
		somaxconn:     sysctl("net/core/somaxconn", 0),
		synBacklog:    sysctl("net/ipv4/tcp_max_syn_backlog", 0),
		timeWaitReuse: sysctl("net/ipv4/tcp_tw_reuse", 0),
		timestamps:    sysctl("net/ipv4/tcp_timestamps", 0),
		portFirst:     sysctl("net/ipv4/ip_local_port_range", 0),
		portLast:      sysctl("net/ipv4/ip_local_port_range", 1),
		loopbackMTU:   -1,
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		l.files = files.Max
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			l.loopbackMTU = int64(i.MTU)
			break
		}
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		l.congestion = strings.TrimSpace(string(b))
	}
	names, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
	seen := make(map[string]bool)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if g := strings.TrimSpace(string(b)); err == nil && !seen[g] {
			seen[g] = true
			l.governors = append(l.governors, g)
		}
	}
	return l
}

// sysctl is one of the numbers in a file under /proc/sys.
func sysctl(name string, field int) int64 {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return -1
	}
	f := strings.Fields(string(b))
	if len(f) <= field {
		return -1
	}
	n, err := strconv.ParseInt(f[field], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (l *limits) settings() []string {
	number := func(n int64) string {
		if n < 0 {
			return "unknown"
		}
		return strconv.FormatInt(n, 10)
	}
	governor := strings.Join(l.governors, ", ")
	if governor == "" {
		governor = "none" // usual in a virtual machine
	}
	return []string{
		"net.core.somaxconn = " + number(l.somaxconn),
		"net.ipv4.ip_local_port_range = " + number(l.portFirst) + " " + number(l.portLast),
		"net.ipv4.tcp_max_syn_backlog = " + number(l.synBacklog),
		"net.ipv4.tcp_tw_reuse = " + number(l.timeWaitReuse),
		"net.ipv4.tcp_timestamps = " + number(l.timestamps),
		"net.ipv4.tcp_congestion_control = " + l.congestion,
		fmt.Sprintf("open files (hard) = %d", l.files),
		"loopback MTU = " + number(l.loopbackMTU),
		"CPU governor = " + governor,
	}
}

func (l *limits) warnings() []string {
	var w []string
	warn := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if l.somaxconn >= 0 && l.somaxconn < 1024 {
		warn("net.core.somaxconn = %d is too small for bursts of new connections: want 1024 or more", l.somaxconn)
	}
	if l.synBacklog >= 0 && l.synBacklog < 256 {
		warn("net.ipv4.tcp_max_syn_backlog = %d is too small for bursts of new connections: want 256 or more", l.synBacklog)
	}
	if l.portFirst >= 0 && l.portLast >= 0 {
		l.warnPorts(l.portLast-l.portFirst+1, warn)
	}
	if strings.HasPrefix(l.congestion, "bbr") {
		warn("net.ipv4.tcp_congestion_control = %s paces every segment by a timer, over loopback too: large bodies cost more than on a network, "+
			"above all in a virtual machine", l.congestion)
	}
	if l.files < filesNeeded {
		warn("the hard limit of %d open files is too small for %d idle connections: want %d or more", l.files, idleConnections, filesNeeded)
	}
	if l.loopbackMTU >= 0 && l.loopbackMTU < 16384 {
		warn("the loopback MTU of %d makes large answers dear: 65536 is usual", l.loopbackMTU)
	}
	for _, g := range l.governors {
		if g != "performance" {
			warn("the CPU governor is %q: clock frequencies, and with them CPU times, will vary; want performance", g)
		}
	}
	return w
}

// warnPorts judges the range of ephemeral ports. One closed by this side waits for a minute, unless tcp_tw_reuse (which
// needs time stamps) gives it back after a second; every connection of a run goes from 127.0.0.1 to one address.
func (l *limits) warnPorts(ports int64, warn func(string, ...any)) {
	if ports < idleConnections+1_000 {
		warn("net.ipv4.ip_local_port_range has %d ports, too few for %d idle connections", ports, idleConnections)
	}
	switch {
	case l.timeWaitReuse == 0 || l.timestamps == 0:
		if ports < 60*freshPerSecond {
			warn("net.ipv4.tcp_tw_reuse = %d with net.ipv4.tcp_timestamps = %d: %d ports allow %d new connections a second to one address, not %d",
				l.timeWaitReuse, l.timestamps, ports, ports/60, freshPerSecond)
		}
	case ports < freshPerSecond+1_000:
		warn("net.ipv4.ip_local_port_range has %d ports, too few for %d new connections a second to one address", ports, freshPerSecond)
	}
}
