package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The upstreams and requests of TestBalanceAgainstNginx, generated from a fixed seed; only the ports of the backends
// differ from run to run.

// balanceCase is an upstream and what is asked of it.
type balanceCase struct {
	name, kind string
	method     []string
	servers    []balanceServer
	steps      []balanceStep
}

// balanceServer is a server of it. Zero values are nginx's defaults, but for fails: with -1 max_fails is 0.
type balanceServer struct {
	addr               string
	weight, max, fails int
	down, backup, dead bool
}

// balanceStep is one request, or the release of those that a server holds.
type balanceStep struct {
	key, from string // value of $arg_k, client address
	hold      bool   // the backend keeps it until a release or the end
	release   string // address of a server
}

func (s *balanceServer) String() string {
	text := "server " + s.addr
	if s.weight > 1 {
		text += fmt.Sprint(" weight=", s.weight)
	}
	if s.max > 0 {
		text += fmt.Sprint(" max_conns=", s.max)
	}
	if s.fails != 0 {
		text += fmt.Sprint(" max_fails=", max(s.fails, 0))
	}
	text += " fail_timeout=1h"
	if s.down {
		text += " down"
	}
	if s.backup {
		text += " backup"
	}
	return text + ";"
}

// block is the upstream block.
func (c *balanceCase) block() string {
	var b strings.Builder
	fmt.Fprintf(&b, "upstream %s {\n\tzone %s 64k;\n", c.name, c.name)
	for _, line := range c.method {
		fmt.Fprintf(&b, "\t%s\n", line)
	}
	for i := range c.servers {
		fmt.Fprintf(&b, "\t%s\n", &c.servers[i])
	}
	b.WriteString("}\n")
	return b.String()
}

// balanceDice generates cases.
type balanceDice struct {
	*rand.Rand
	living, dead []string
}

const quickSteps = 40

// generateCases makes five upstreams of each of ten kinds.
func generateCases(living, dead []string) []*balanceCase {
	d := &balanceDice{rand.New(rand.NewPCG(1, 22)), living, dead}
	methods := [][]string{{"ip_hash;"}, {"hash $arg_k;"}, {"hash $arg_k consistent;"}}
	kinds := []struct {
		name string
		make func(c *balanceCase, i int)
	}{
		{"round robin", func(c *balanceCase, _ int) { d.rotating(c, nil) }},
		{"round robin, dead servers", func(c *balanceCase, i int) { d.losing(c, i, nil) }},
		{"round robin, backups", func(c *balanceCase, i int) { d.backups(c, i) }},
		{"round robin, max_conns", func(c *balanceCase, _ int) { d.filling(c) }},
		{"ip_hash", func(c *balanceCase, _ int) { d.placing(c, methods[0]) }},
		{"hash", func(c *balanceCase, _ int) { d.placing(c, methods[1]) }},
		{"hash consistent", func(c *balanceCase, _ int) { d.placing(c, methods[2]) }},
		{"hashes, max_conns", func(c *balanceCase, i int) { d.crowding(c, methods[i%3]) }},
		{"least_conn, all idle", func(c *balanceCase, i int) {
			if i%2 == 0 {
				d.rotating(c, []string{"least_conn;"})
			} else {
				d.losing(c, i, []string{"least_conn;"})
			}
		}},
		{"least_conn", func(c *balanceCase, i int) { d.loading(c, i) }},
	}
	var cases []*balanceCase
	for _, k := range kinds {
		for i := range 5 {
			c := &balanceCase{name: fmt.Sprint("u", len(cases)), kind: k.name}
			k.make(c, i)
			cases = append(cases, c)
		}
	}
	return cases
}

// pick takes n living servers with weights up to most.
func (d *balanceDice) pick(n, most int) []balanceServer {
	servers := make([]balanceServer, n)
	for i, k := range d.Perm(len(d.living))[:n] {
		servers[i] = balanceServer{addr: d.living[k], weight: 1 + d.IntN(most)}
	}
	return servers
}

// spoil adds n dead servers, each with its own max_fails from least to 2.
func (d *balanceDice) spoil(servers []balanceServer, n, least int) []balanceServer {
	for _, k := range d.Perm(len(d.dead))[:n] {
		s := balanceServer{addr: d.dead[k], weight: 1 + d.IntN(3), dead: true, fails: least + d.IntN(3-least)}
		if s.fails == 0 {
			s.fails = -1
		}
		servers = slices.Insert(servers, d.IntN(len(servers)+1), s)
	}
	return servers
}

// ask adds n requests with keys and client addresses of their own, IPv4 and IPv6.
func (d *balanceDice) ask(c *balanceCase, n int, hold bool) {
	for range n {
		from := fmt.Sprintf("%d.%d.%d.%d", 1+d.IntN(223), d.IntN(256), d.IntN(256), d.IntN(256))
		if d.IntN(3) == 0 {
			from = fmt.Sprintf("2001:db8:%x::%x", d.IntN(65536), d.IntN(65536))
		}
		key := fmt.Sprintf("%x", d.IntN(1<<(4*d.IntN(8))))
		c.steps = append(c.steps, balanceStep{key: key, from: from, hold: hold})
	}
}

func (c *balanceCase) free(addr string) { c.steps = append(c.steps, balanceStep{release: addr}) }

// rotating has weights and servers marked down.
func (d *balanceDice) rotating(c *balanceCase, method []string) {
	c.method, c.servers = method, d.pick(2+d.IntN(7), 7)
	if k := d.IntN(2 * len(c.servers)); k < len(c.servers) && len(c.servers) > 2 {
		c.servers[k].down = true
	}
	d.ask(c, quickSteps, false)
}

// losing has servers that refuse; the last of five has no others.
func (d *balanceDice) losing(c *balanceCase, i int, method []string) {
	c.method = method
	if i == 4 {
		c.servers = d.spoil(nil, 4, 1)
	} else {
		c.servers = d.spoil(d.pick(2+d.IntN(3), 3), 1+d.IntN(3), 1)
	}
	d.ask(c, quickSteps, false)
}

// backups has primaries that are all down, refuse, or are full.
func (d *balanceDice) backups(c *balanceCase, i int) {
	all := d.pick(3+d.IntN(6), 4)
	n := 1 + d.IntN(2) // primaries
	for k := n; k < len(all); k++ {
		all[k].backup = true
	}
	switch i % 3 {
	case 0:
		for k := range n {
			all[k].down = true
		}
		d.ask(c, quickSteps, false)
	case 1:
		all = append(d.spoil(nil, 1+n, 1), all[n:]...)
		d.ask(c, quickSteps, false)
	case 2:
		full := 0
		for k := range n {
			all[k].weight, all[k].max = 1, 2
			full += 2
		}
		d.ask(c, full, true)
		d.ask(c, quickSteps-full, false)
	}
	c.servers = all
}

// filling fills all servers up to max_conns and beyond, and then one of them again.
func (d *balanceDice) filling(c *balanceCase) {
	c.servers = d.pick(2+d.IntN(5), 3)
	for k := range c.servers {
		s := &c.servers[k]
		s.max = 1 + d.IntN(4)
		d.ask(c, s.max, true)
	}
	d.ask(c, 2, true)
	for _, k := range d.Perm(len(c.servers))[:2] {
		s := &c.servers[k]
		c.free(s.addr)
		d.ask(c, s.max+1, true)
	}
}

// placing has weights, servers marked down and servers that refuse.
func (d *balanceDice) placing(c *balanceCase, method []string) {
	c.method = method
	c.servers = d.pick(2+d.IntN(5), 5)
	if len(c.servers) > 3 {
		c.servers[d.IntN(len(c.servers))].down = true
	}
	c.servers = d.spoil(c.servers, d.IntN(3), 0)
	d.ask(c, quickSteps, false)
	for k := range quickSteps / 8 {
		c.steps[8*k].key = "" // goes by round robin
	}
}

// crowding has places for half of the requests that are held, so that the others go where the hash takes them next.
func (d *balanceDice) crowding(c *balanceCase, method []string) {
	c.method = method
	c.servers = d.pick(3+d.IntN(4), 3)
	places := 0
	for k := range c.servers {
		c.servers[k].max = 2 + d.IntN(4)
		places += c.servers[k].max
	}
	d.ask(c, places/2, true)
	d.ask(c, 10, false)
	c.free(c.servers[0].addr)
	d.ask(c, 4, true)
	c.free(c.servers[1].addr)
	d.ask(c, 16, false)
}

// loading holds requests until all have the same load, frees one server after another, and loads it again.
func (d *balanceDice) loading(c *balanceCase, i int) {
	c.method = []string{"least_conn;"}
	c.servers = d.pick(2+d.IntN(4), 4)
	turns := 1 + d.IntN(3)
	for k := range c.servers {
		s := &c.servers[k]
		n := turns * s.weight
		if i%2 == 1 && k == 0 {
			s.max = n - n/2
			n = s.max
		}
		d.ask(c, n, true)
	}
	for _, k := range d.Perm(len(c.servers)) {
		s := &c.servers[k]
		c.free(s.addr)
		n := turns * s.weight
		if s.max > 0 {
			n = s.max
		}
		d.ask(c, n, true)
	}
}
