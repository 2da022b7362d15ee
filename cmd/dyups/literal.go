package main

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"dyups/codec/conf"
)

// literal is a host name in a proxy_pass without variables that no upstream block of the file has. As in nginx it is
// looked up when the configuration is read.
type literal struct {
	host  string // as written
	port  uint16
	addrs []netip.Addr
}

// resolveLiterals finds the literals below ds and looks them up, all at once. upstreams holds the names of the file in
// lower case. A name that cannot be found is a warning, where nginx refuses to start: it may be that of an upstream
// which a command makes later. Until then requests to it are answered with 502.
func (c *configuration) resolveLiterals(ctx context.Context, ds []*conf.Directive, upstreams map[string]conf.Pos) error {
	places := map[literalKey]conf.Pos{}
	var bad error
	findLiterals(ds, func(host string, port uint16, hasPort bool, pos conf.Pos) {
		key := literalKey{host, port}
		if _, known := upstreams[strings.ToLower(host)]; known {
			if hasPort && bad == nil {
				bad = conf.Errorf(pos, "upstream %q may not have port %d: its servers have their own", host, port)
			}
			return
		}
		if _, seen := places[key]; !seen {
			places[key] = pos
			c.literals = append(c.literals, literal{host: host, port: port})
		}
	})
	if bad != nil {
		return bad
	}
	errs := make([]error, len(c.literals))
	var wg sync.WaitGroup
	for i := range c.literals {
		wg.Go(func() { c.literals[i].addrs, errs[i] = lookupHost(ctx, c.literals[i].host) })
	}
	wg.Wait()
	found := c.literals[:0]
	for i, l := range c.literals {
		if errs[i] != nil {
			pos := places[literalKey{l.host, l.port}]
			c.warnings = append(c.warnings, conf.Errorf(pos, "%v; requests get 502 until an upstream has this name", errs[i]).Error())
			continue
		}
		found = append(found, l)
	}
	c.literals = found
	return nil
}

type literalKey struct {
	host string
	port uint16
}

// findLiterals calls f for each proxy_pass at any depth that names a host: no variables, no address, no unix socket.
func findLiterals(ds []*conf.Directive, f func(host string, port uint16, hasPort bool, pos conf.Pos)) {
	for _, d := range ds {
		findLiterals(d.Block, f)
		if d.Name.Text != "proxy_pass" || len(d.Args) != 1 {
			continue
		}
		url := d.Args[0].Text
		if len(url) < 7 || !strings.EqualFold(url[:7], "http://") || strings.Contains(url, "$") {
			continue
		}
		host, _, _ := strings.Cut(url[7:], "/")
		host, _, _ = strings.Cut(host, "?")
		if strings.HasPrefix(host, "[") || strings.HasPrefix(host, "unix:") {
			continue
		}
		host, text, hasPort := strings.Cut(host, ":")
		port := 80
		if hasPort {
			port, _ = strconv.Atoi(text)
		}
		if _, err := netip.ParseAddr(host); err == nil || host == "" || port < 1 || port > 65535 {
			continue
		}
		f(host, uint16(port), hasPort, d.Args[0].Pos)
	}
}
