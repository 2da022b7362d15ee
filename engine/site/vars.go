package site

import (
	"net/netip"
	"strings"
)

// ClaimedVersion is $nginx_version: the level of nginx whose behaviour this one follows.
const ClaimedVersion = "1.26.3"

// builtin is every variable of a fixed name.
var builtin = map[string]getter{
	// the request
	"host":            varHost,
	"uri":             bytesOf(func(r *Request) []byte { return r.URI }),
	"document_uri":    bytesOf(func(r *Request) []byte { return r.URI }),
	"request_uri":     bytesOf(func(r *Request) []byte { return r.p.requestURI }),
	"args":            bytesOf(func(r *Request) []byte { return r.Args }),
	"query_string":    bytesOf(func(r *Request) []byte { return r.Args }),
	"is_args":         varIsArgs,
	"request_method":  bytesOf((*Request).MethodName),
	"request":         bytesOf((*Request).RequestLine),
	"server_protocol": varProtocol,
	"scheme":          text("http"),
	"https":           text(""),
	"content_length":  varContentLength,
	"content_type":    varContentType,
	"request_body":    bytesOf(func(r *Request) []byte { return r.Body }),
	"request_body_file": func(dst []byte, r *Request) ([]byte, bool) {
		return append(dst, r.BodyFile...), r.BodyFile != ""
	},
	"request_id":         varRequestID,
	"request_length":     number(func(r *Request) int64 { return r.RequestLength }),
	"request_completion": func(dst []byte, r *Request) ([]byte, bool) { return appendIf(dst, r.Complete, "OK", ""), true },
	"request_filename":   func(dst []byte, r *Request) ([]byte, bool) { return r.location().AppendFilename(dst, r), true },
	"document_root":      func(dst []byte, r *Request) ([]byte, bool) { return r.location().AppendRoot(dst, r), true },
	"realpath_root":      func(dst []byte, r *Request) ([]byte, bool) { return r.location().AppendRoot(dst, r), true },
	"remote_user":        varRemoteUser,

	// the connection
	"remote_addr":         varRemoteAddr,
	"remote_port":         func(dst []byte, r *Request) ([]byte, bool) { return appendPort(dst, r.Remote.Port()), true },
	"binary_remote_addr":  varBinaryRemoteAddr,
	"realip_remote_addr":  varRealIPAddr,
	"realip_remote_port":  varRealIPPort,
	"server_addr":         varServerAddr,
	"server_port":         func(dst []byte, r *Request) ([]byte, bool) { return appendPort(dst, r.localAddr().Port()), true },
	"server_name":         func(dst []byte, r *Request) ([]byte, bool) { return append(dst, r.Server.Name...), true },
	"connection":          number(func(r *Request) int64 { return int64(r.ConnSerial) }),
	"connection_requests": number(func(r *Request) int64 { return int64(r.ConnRequests) }),
	"connection_time":     func(dst []byte, r *Request) ([]byte, bool) { return appendMillis(dst, r.now().Sub(r.ConnStart)), true },
	"pipe":                func(dst []byte, r *Request) ([]byte, bool) { return appendIf(dst, r.Pipelined, "p", "."), true },
	"limit_rate":          number(func(r *Request) int64 { return r.p.limitRate }),
	"proxy_add_x_forwarded_for": func(dst []byte, r *Request) ([]byte, bool) {
		dst, found := appendFields(dst, r, "x_forwarded_for", ", ")
		if found {
			dst = append(dst, ", "...)
		}
		return varRemoteAddr(dst, r)
	},

	// the answer
	"status":          varStatus,
	"bytes_sent":      number(func(r *Request) int64 { return r.BytesSent }),
	"body_bytes_sent": number(func(r *Request) int64 { return r.BodyBytesSent }),
	"request_time":    func(dst []byte, r *Request) ([]byte, bool) { return appendMillis(dst, r.now().Sub(r.Start)), true },
	"msec":            varMsec,
	"time_local":      varTimeLocal,
	"time_iso8601":    varTimeISO,

	// the upstream
	"proxy_host": bytesOf(func(r *Request) []byte { return r.ProxyHost }),
	"proxy_port": func(dst []byte, r *Request) ([]byte, bool) {
		return appendPort(dst, r.ProxyPort), r.ProxyHost != nil
	},
	"upstream_addr":            tries(func(dst []byte, t *Try) []byte { return append(dst, t.Label...) }),
	"upstream_status":          tries(func(dst []byte, t *Try) []byte { return appendStatus(dst, t.Status) }),
	"upstream_connect_time":    tries(func(dst []byte, t *Try) []byte { return appendNs(dst, t.ConnectNs) }),
	"upstream_header_time":     tries(func(dst []byte, t *Try) []byte { return appendNs(dst, t.HeaderNs) }),
	"upstream_response_time":   tries(func(dst []byte, t *Try) []byte { return appendNs(dst, t.ResponseNs) }),
	"upstream_response_length": tries(func(dst []byte, t *Try) []byte { return appendInt(dst, t.ResponseSize) }),
	"upstream_bytes_sent":      tries(func(dst []byte, t *Try) []byte { return appendInt(dst, t.BytesSent) }),
	"upstream_bytes_received":  tries(func(dst []byte, t *Try) []byte { return appendInt(dst, t.BytesReceived) }),

	// the process
	"nginx_version": text(ClaimedVersion),
	"hostname":      func(dst []byte, _ *Request) ([]byte, bool) { return append(dst, hostname...), true },
	"pid":           varPid,
}

// family returns the getter of a name that belongs to a family (http_NAME ...), nil if it does not.
func family(name string) getter {
	for _, f := range []struct {
		prefix string
		make   func(rest string) getter
	}{
		{"http_", requestField},
		{"sent_http_", sentField},
		{"upstream_http_", upstreamField},
		{"upstream_cookie_", upstreamCookie},
		{"cookie_", requestCookie},
		{"arg_", requestArg},
	} {
		if rest, ok := strings.CutPrefix(name, f.prefix); ok {
			return f.make(rest)
		}
	}
	return nil
}

// bytesOf is the getter of bytes that are there as they stand; nil: not found.
func bytesOf(f func(*Request) []byte) getter {
	return func(dst []byte, r *Request) ([]byte, bool) {
		b := f(r)
		return append(dst, b...), b != nil
	}
}

// text is the getter of a constant.
func text(s string) getter {
	return func(dst []byte, _ *Request) ([]byte, bool) { return append(dst, s...), true }
}

// number is the getter of an integer.
func number(f func(*Request) int64) getter {
	return func(dst []byte, r *Request) ([]byte, bool) { return appendInt(dst, f(r)), true }
}

func appendIf(dst []byte, cond bool, yes, no string) []byte {
	if cond {
		return append(dst, yes...)
	}
	return append(dst, no...)
}

// appendPort appends a port; 0, as for a unix socket, is nothing.
func appendPort(dst []byte, port uint16) []byte {
	if port == 0 {
		return dst
	}
	return appendInt(dst, int64(port))
}

// location is r.Loc, or the default server's settings before there is one.
func (r *Request) location() *Location {
	if r.Loc != nil {
		return r.Loc
	}
	return r.Listen.Default.Root
}

// localAddr is the connection's own address, zero for a unix socket.
func (r *Request) localAddr() netip.AddrPort {
	if r.LocalAddr == nil {
		return netip.AddrPort{}
	}
	return r.LocalAddr()
}
