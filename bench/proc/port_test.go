package proc

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// TestFreePort: many callers at once get ports of their own, and each can be opened.
func TestFreePort(t *testing.T) {
	from, to := listenPorts()
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			port, err := FreePort()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[port] || port < from || port >= to {
				t.Errorf("port %d of %d to %d, given before: %v", port, from, to, seen[port])
			}
			seen[port] = true
			ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Error(err)
				return
			}
			ln.Close()
		})
	}
	wg.Wait()
}

// TestFreePortTaken: a port that another process holds is not given.
func TestFreePortTaken(t *testing.T) {
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("unix", fmt.Sprintf("@dyups-port-%d", port)); err == nil {
		ln.Close()
		t.Errorf("port %d is not marked as given", port)
	}
}
