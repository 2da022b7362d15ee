package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
)

// reserved holds what keeps other processes from being given the same ports: see FreePort.
var reserved struct {
	sync.Mutex
	marks []net.Listener
}

// FreePort finds a TCP port of the loopback address for a program that is about to be started. No other caller is given it
// while this process lives, in this process or in another: an abstract unix socket of the port's name stands for it. Nor is it
// in the range from which the kernel takes the ports of outgoing connections, so that none of those comes first. Safe for
// concurrent use.
func FreePort() (int, error) {
	reserved.Lock()
	defer reserved.Unlock()
	from, to := listenPorts()
	for range 10 * (to - from) {
		port := from + rand.IntN(to-from)
		mark, err := net.Listen("unix", fmt.Sprintf("@dyups-port-%d", port))
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			mark.Close()
			continue
		}
		ln.Close()
		reserved.marks = append(reserved.marks, mark)
		return port, nil
	}
	return 0, errors.New("cannot find a free port")
}

// FreeAddr is FreePort with the loopback address before it.
func FreeAddr() (string, error) {
	port, err := FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// listenPorts gives the ports from which FreePort takes, the last one excluded: those between the well-known services and the
// kernel's ephemeral range, or all above 10000 where that range leaves less than a thousand.
func listenPorts() (from, to int) {
	const first, last, least = 10000, 1 << 16, 1000
	var low int
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &low); err != nil || low < first+least {
		return first, last
	}
	return first, low
}
