package site

import (
	"strings"
)

// names finds the server for a host among those of one listening address: the exact name, else the longest leading
// wildcard, else the longest trailing one, else the first regular expression. Source: nginx,
// ngx_http_find_virtual_server.
type names struct {
	exact map[string]*Server
	head  map[string]*Server // "*.example.com" under ".example.com"
	tail  map[string]*Server // "www.example.*" under "www.example."
	res   []nameRegex
}

type nameRegex struct {
	re  *regex
	srv *Server
}

// find returns the server for host, or def. It may set captures.
func (n *names) find(r *Request, host []byte, def *Server) *Server {
	if n == nil {
		return def
	}
	if s := n.exact[string(host)]; s != nil {
		return s
	}
	if len(host) == 0 {
		return def
	}
	if len(n.head) > 0 {
		for i := 1; i < len(host); i++ {
			if host[i] == '.' {
				if s := n.head[string(host[i:])]; s != nil {
					return s
				}
			}
		}
	}
	if len(n.tail) > 0 {
		for i := len(host) - 2; i > 0; i-- {
			if host[i] == '.' {
				if s := n.tail[string(host[:i+1])]; s != nil {
					return s
				}
			}
		}
	}
	for i := range n.res {
		if n.res[i].re.match(r, host) {
			return n.res[i].srv
		}
	}
	return def
}

// add enters a name, lower-cased already, of srv. It reports false when another server has it already.
func (n *names) add(name serverName, srv *Server) bool {
	put := func(m *map[string]*Server, key string) bool {
		if *m == nil {
			*m = map[string]*Server{}
		}
		if s := (*m)[key]; s != nil {
			return s == srv
		}
		(*m)[key] = srv
		return true
	}
	switch t := name.text; {
	case name.re != nil:
		n.res = append(n.res, nameRegex{name.re, srv})
		return true
	case strings.HasPrefix(t, "*."):
		return put(&n.head, t[1:])
	case strings.HasPrefix(t, "."):
		a, b := put(&n.head, t), put(&n.exact, t[1:])
		return a && b
	case strings.HasSuffix(t, ".*"):
		return put(&n.tail, t[:len(t)-1])
	default:
		return put(&n.exact, t)
	}
}

// serverName is one name of a server_name directive.
type serverName struct {
	text  string // lower case; as written for a regular expression
	shown string // what $server_name is
	re    *regex
}
