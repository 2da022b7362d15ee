package rival

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// awaitTimeout is how long Await waits unless ctx has a deadline.
const awaitTimeout = 10 * time.Second

// Await waits until the proxy accepts connections: until the deadline of ctx, ten seconds without one. Many upstreams take
// longer. A proxy that ends is an error at once.
func Await(ctx context.Context, p Proxy) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, awaitTimeout)
		defer cancel()
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.DialTimeout("tcp4", p.Addr(), time.Second)
		if err == nil {
			return c.Close()
		}
		if !p.Running() {
			return fmt.Errorf("cannot reach the proxy: it has ended: %s", p.Logs())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot reach the proxy: it does not accept connections: %w: %s", err, p.Logs())
		case <-again.C:
		}
	}
}

// Check is what answers are to be like.
type Check struct {
	Path    string
	Length  int      // of the body; below 0: any
	Hosts   []string // Host fields, each of which has to be answered; nil: the proxy's address
	Field   string   // field of the answer in which origins name themselves
	Origins []string // names that have to come up under the first host
}

// CheckAnswers sends requests one after another and checks status and length of each answer, and that each origin was
// reached. It asks each host once, the first one until all origins came up, but at most a hundred times for each origin.
func CheckAnswers(ctx context.Context, p Proxy, c Check) error {
	client := &fasthttp.HostClient{Addr: p.Addr(), MaxConns: 1}
	defer client.CloseIdleConnections()
	hosts := c.Hosts
	if len(hosts) == 0 {
		hosts = []string{p.Addr()}
	}
	missing := make(map[string]bool)
	for _, name := range c.Origins {
		missing[name] = true
	}
	seen := make(map[string]int)
	for n := 0; n == 0 || len(missing) > 0; n++ {
		if n >= 100*len(c.Origins) && n > 0 {
			return fmt.Errorf("cannot use the proxy: %d requests to %q did not reach all of %q: %v", n, hosts[0], c.Origins, seen)
		}
		origin, err := c.ask(ctx, client, hosts[0])
		if err != nil {
			return err
		}
		seen[origin]++
		delete(missing, origin)
	}
	for _, host := range hosts[1:] {
		if _, err := c.ask(ctx, client, host); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one request and returns the origin's name.
func (c *Check) ask(ctx context.Context, client *fasthttp.HostClient, host string) (origin string, err error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + host + c.Path)
	if err := client.DoTimeout(req, resp, 10*time.Second); err != nil {
		return "", fmt.Errorf("cannot use the proxy: a request to %q failed: %w", host, err)
	}
	if resp.StatusCode() != fasthttp.StatusOK {
		return "", fmt.Errorf("cannot use the proxy: a request to %q was answered with status %d", host, resp.StatusCode())
	}
	if got := len(resp.Body()); c.Length >= 0 && got != c.Length {
		return "", fmt.Errorf("cannot use the proxy: an answer from %q has %d bytes, want %d", host, got, c.Length)
	}
	return string(resp.Header.Peek(c.Field)), nil
}
