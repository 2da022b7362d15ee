package upstream

import (
	"errors"
	"net/netip"
	"strings"

	"dyups/codec/conf"
)

// testOptions know a few names and refuse the variable $nosuch.
var testOptions = &Options{
	Compile: func(text string) (any, error) {
		if strings.Contains(text, "$nosuch") {
			return nil, errors.New(`unknown "nosuch" variable`)
		}
		return text, nil
	},
	Resolve: func(host string) ([]netip.Addr, error) {
		switch strings.ToLower(host) {
		case "one.test", "localhost":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case "multi.test":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, nil
		case "empty.test":
			return nil, nil
		}
		return nil, errors.New("no such host")
	},
	Resolver: func(d *conf.Directive) (*Resolver, error) {
		if d.Args[0].Text == "bad.test" {
			return nil, errors.New("has no name server")
		}
		return &Resolver{Servers: []string{d.Args[0].Text}, IPv4: true}, nil
	},
}
