package upstream

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxUnixPath is the longest path of a unix socket: sun_path holds 108 bytes with the closing zero (unix(7)).
const maxUnixPath = 107

// defaultPort is the port of an address without one.
const defaultPort = 80

// place is where a server line points: a unix socket, an address, or a host name that has to be looked up.
type place struct {
	unix string
	addr netip.Addr
	host string
	port uint16
}

// parsePlace reads the ADDRESS of a server line: unix:PATH, IPv4, [IPv6] or a host name, with or without a port.
// The error says what is wrong and what is allowed, without the address. Source: nginx, ngx_inet.c (ngx_parse_url).
func parsePlace(s string) (place, error) {
	if isUnix(s) {
		return parseUnix(s[len("unix:"):])
	}
	if strings.HasPrefix(s, "[") {
		return parseIPv6(s)
	}
	if strings.ContainsAny(s, "/?") {
		return place{}, fmt.Errorf("invalid host in upstream %q, it must be an address or a name without scheme and path", s)
	}
	host, port, found := strings.Cut(s, ":")
	p := place{port: defaultPort}
	if found {
		n, err := parsePort(s, port)
		if err != nil {
			return place{}, err
		}
		p.port = n
	}
	if host == "" {
		return place{}, fmt.Errorf("no host in upstream %q, it must be an address or a name", s)
	}
	if a, ok := parseIPv4(host); ok {
		p.addr = a
		return p, nil
	}
	if !isHostName(host) {
		return place{}, fmt.Errorf("%w, it must be ADDRESS[:PORT], [V6][:PORT], unix:PATH, or NAME[:PORT] of letters, digits, \"-\", \"_\" and dots", notFound(s))
	}
	p.host = host
	return p, nil
}

// isUnix reports whether an address is that of a unix socket.
func isUnix(s string) bool {
	const prefix = "unix:"
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func parseUnix(path string) (place, error) {
	switch {
	case path == "":
		return place{}, fmt.Errorf("no path in the unix domain socket, it must be unix:PATH")
	case len(path) > maxUnixPath:
		return place{}, fmt.Errorf("too long path in the unix domain socket: found %d bytes, allowed are %d", len(path), maxUnixPath)
	case strings.IndexByte(path, 0) >= 0:
		return place{}, fmt.Errorf("NUL byte in the path of a unix domain socket")
	}
	return place{unix: path}, nil
}

func parseIPv6(s string) (place, error) {
	host, rest, closed := strings.Cut(s[1:], "]")
	if !closed || rest != "" && rest[0] != ':' {
		return place{}, fmt.Errorf("invalid host in upstream %q, an IPv6 address must be [ADDRESS] or [ADDRESS]:PORT", s)
	}
	p := place{port: defaultPort}
	if rest != "" {
		n, err := parsePort(s, rest[1:])
		if err != nil {
			return place{}, err
		}
		p.port = n
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return place{}, fmt.Errorf("invalid IPv6 address in upstream %q, it must be eight groups of hexadecimal digits, :: for zeros, without a zone", s)
	}
	p.addr = a
	return p, nil
}

func parsePort(s, port string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimLeft(port, "0"), 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("invalid port in upstream %q, it must be a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// parseIPv4 reads an IPv4 address: four decimal numbers, leading zeros without meaning (nginx reads 0177.0.0.1 as
// 177.0.0.1), or what else getaddrinfo takes for one: one to four numbers in decimal, octal or hexadecimal, the last
// of which fills what is left (127.1, 0x7f000001; inet_aton(3)).
func parseIPv4(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return a, true // no leading zeros, and nothing to allocate
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	if a, ok := joinIPv4(parts, 10); ok && len(parts) == 4 {
		return a, true
	}
	return joinIPv4(parts, 0)
}

// joinIPv4 puts an address together from numbers of base 10, or, with base 0, of the base that their prefix tells.
func joinIPv4(parts []string, base int) (netip.Addr, bool) {
	var sum uint64
	for i, p := range parts {
		width := 8
		if i == len(parts)-1 {
			width = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(p, 10, 64)
		if base == 0 {
			n, err = parseC(p)
		}
		if err != nil || n >= 1<<width {
			return netip.Addr{}, false
		}
		sum = sum<<width | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// parseC reads a number as C writes it: 0x for hexadecimal, 0 for octal.
func parseC(s string) (uint64, error) {
	switch {
	case len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x':
		return strconv.ParseUint(s[2:], 16, 64)
	case len(s) > 1 && s[0] == '0':
		return strconv.ParseUint(s[1:], 8, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

// isHostName reports whether a name may be looked up at all.
func isHostName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != ""
}

func notFound(s string) error { return fmt.Errorf("host not found in upstream %q", s) }
