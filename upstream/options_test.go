package upstream

import (
	"errors"
	"net/netip"
	"strings"
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
}
