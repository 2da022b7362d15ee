package site

import (
	"net/netip"
	"time"

	"dyups/codec"
	"dyups/codec/conf"
)

// Site is the meaning of one http block. Immutable after New; read by every loop.
type Site struct {
	Listens      []*Listen
	Upstreams    []*conf.Directive // the upstream blocks, in file order; the roof parses them
	Matches      []*conf.Directive // match blocks
	HealthChecks []HealthCheck
	Dyups        Dyups
	Logs         []string // every distinct access log path (absolute), opened at start
	// Resolver is the "resolver" of the http level, nil: none; ResolverTimeout its "resolver_timeout", as in Resolver.Timeout.
	Resolver        *Resolver
	ResolverTimeout time.Duration
	// Locations holds every location that can answer a request: server levels, locations, and the inside of if and
	// limit_except blocks. Set Location.Handler through it before the site is used.
	Locations []*Location
	scope     *scope
}

// Dyups is what the dyups_* directives of the http level say.
type Dyups struct {
	ReadMsgTimeout time.Duration // 1s
	ShmZoneSize    int64         // 2m
	ReloadReset    bool          // a reload undoes what commands have done
	Coalesce       bool          // true: loops under load sleep a moment so as to be woken less often
}

// HealthCheck is a health_check of a location, for the roof to read.
type HealthCheck struct {
	Directive *conf.Directive
	Upstream  string        // that proxy_pass names
	Host      string        // of proxy_set_header where it is known beforehand, else the upstream's name
	Timeout   time.Duration // proxy_read_timeout
}

// Listen is one listening address and the servers behind it.
type Listen struct {
	Network   string // "tcp", "tcp4", "tcp6" or "unix"
	Addr      string // "0.0.0.0:8080", "[::]:80", "127.0.0.1:80", "/path"
	Backlog   int    // 0: default (511)
	ReusePort bool
	Default   *Server
	names     *names
	vars      int // number of variable slots a request of this site needs
}

// Server is one virtual server.
type Server struct {
	Name                string // first server_name, "" if none
	ClientHeaderTimeout time.Duration
	HeaderBufferSize    int64 // client_header_buffer_size
	LargeBuffers        int   // large_client_header_buffers
	LargeBufferSize     int64
	Underscores         bool      // underscores_in_headers
	IgnoreInvalid       bool      // ignore_invalid_headers
	Root                *Location // the server level's own settings, used where no location matches or before one is found
	routes              *routes
	mergeSlashes        bool
}

// Content says who answers in a location.
type Content uint8

// The kinds of content.
const (
	Static Content = iota // files below root
	Proxy
	Echo
	Interface // dyups_interface, or check_status if CheckStatus is set
)

// Location is one location (or the server level) with everything inherited and compiled.
type Location struct {
	Name    string // as written: "/", "= /x", "~ re", "@name"
	Prefix  string // the path prefix it matches, "" for regular expressions and named ones
	Content Content
	Proxy   *ProxyConf // when Content == Proxy
	Echo    []*Value   // each argument list joined by one space, one entry a directive; "\n" after each
	// Handler is for the engine's roof: what it made of this location's Content. Set once before the site is used.
	Handler any

	CheckStatus     string // form of check_status: "html", "csv" or "json"; "": dyups_interface
	DyupsDetailFull bool
	Root            *Value // root (absolute), nil: default html below the prefix
	Alias           bool
	Index           []string
	DefaultType     string
	Types           map[string]string // extension -> media type

	KeepaliveTimeout  time.Duration
	KeepaliveHeader   time.Duration // value of the Keep-Alive header, 0: none
	KeepaliveRequests int
	KeepaliveTime     time.Duration
	DisableMSIE6      bool
	DisableSafari     bool
	ClientBodyTimeout time.Duration
	SendTimeout       time.Duration
	MaxBodySize       int64 // client_max_body_size, 0: no bound
	BodyBufferSize    int64
	BodyInFile        BodyInFile
	BodyTempPath      string // absolute folder
	ServerTokens      bool
	AddHeaders        []AddHeader
	Expires           *Expires    // nil: off
	AddTrailers       []AddHeader // add_trailer
	LimitRate         *Value      // limit_rate; nil: none
	LimitRateAfter    *Value      // limit_rate_after; nil: 0
	AccessLogs        []AccessLog // empty: off
	Resolver          *Resolver   // nil: none

	// ResetTimedout, LingeringClose ("on", "off", "always"), LingeringTime and LingeringTimeout are the directives of
	// those names; ChunkedEncoding is chunked_transfer_encoding, NotFoundLog is log_not_found.
	ResetTimedout    bool
	LingeringClose   string
	LingeringTime    time.Duration
	LingeringTimeout time.Duration
	ChunkedEncoding  bool
	NotFoundLog      bool

	routing
}

// BodyInFile is client_body_in_file_only.
type BodyInFile uint8

// The values of client_body_in_file_only.
const (
	BodyFileOff BodyInFile = iota
	BodyFileClean
	BodyFileOn
)

// Resolver is the resolver directive.
type Resolver struct {
	Addrs      []string // host:port
	Valid      time.Duration
	IPv4, IPv6 bool
	Timeout    time.Duration // below 0: none, as "resolver_timeout 0" says
}

// AddHeader is one add_header or add_trailer.
type AddHeader struct {
	Name   string
	Value  *Value
	Always bool
	// Replaces: the answer has one such field at most, which this one takes the place of, be it only to take it away.
	Replaces bool
}

// AccessLog is one access_log.
type AccessLog struct {
	Path   string // absolute; "" when PathValue is set
	Format *Value // log_format with escaping compiled in, without line end
	If     *Value // nil: always; "" or "0": not logged
	// PathValue is a path with variables; nil for a plain one. A relative result is below the prefix.
	PathValue *Value
}

// HeaderLine is one proxy_set_header; an empty result drops the field.
type HeaderLine struct {
	Name  string
	ID    codec.FieldID
	Value *Value
}

// Next is the bit set of proxy_next_upstream.
type Next uint16

// The reasons to go to the next server.
const (
	NextError Next = 1 << iota
	NextTimeout
	NextInvalidHeader
	Next500
	Next502
	Next503
	Next504
	Next403
	Next404
	Next429
	NextNonIdempotent
	NextOff
)

// ProxyConf is proxy_pass and its family at one location.
type ProxyConf struct {
	Upstream string // no variable in the host part: its name as written ("host1", "127.0.0.1", "[::1]"), else ""
	pass     *Value // the whole of proxy_pass when it has variables, else nil

	Bind             *Value // proxy_bind: ADDRESS[:PORT] that connections come from; nil: the kernel chooses
	BindTransparent  bool   // ... also one that is not this machine's
	HTTP10           bool   // proxy_http_version 1.0
	ConnectTimeout   time.Duration
	SendTimeout      time.Duration
	ReadTimeout      time.Duration
	Next             Next
	NextTries        int
	NextTimeout      time.Duration
	InterceptErrors  bool
	IgnoreAbort      bool // proxy_ignore_client_abort: a request goes on without its client until its answer begins
	SocketKeepalive  bool // proxy_socket_keepalive: connections to servers have SO_KEEPALIVE
	PassTrailers     bool // proxy_pass_trailers: a client that asks for trailers gets them
	Buffering        bool
	RequestBuffering bool
	BufferSize       int64
	LimitRate        *Value // proxy_limit_rate: bytes a second that are read of a response, a size; nil: as many as come
	BuffersTotal     int64  // proxy_buffers: number times size
	// SetHeaders in the order they are sent: proxy_set_header merged with the defaults (Host $proxy_host first;
	// "Connection" is only here when configured). Overrides holds their names: client fields of these names are not passed on.
	SetHeaders []HeaderLine
	Overrides  NameSet
	// OwnLength and OwnCoding: Content-Length, or Transfer-Encoding, is among them, and stands for that of the body.
	OwnLength, OwnCoding bool
	// Hide: response fields not passed to the client (proxy_hide_header, minus proxy_pass_header, plus nginx's defaults).
	Hide NameSet

	Cookies *CookieRules // proxy_cookie_domain, proxy_cookie_path and proxy_cookie_flags; nil: cookies go as they are

	Method      *Value // proxy_method; nil: the request's own
	PassHeaders bool   // proxy_pass_request_headers: client fields are sent on
	PassBody    bool   // proxy_pass_request_body
	// IgnoreAccelRedirect: proxy_ignore_headers X-Accel-Redirect.
	IgnoreAccelRedirect bool
	IgnoreAccelRate     bool   // X-Accel-Limit-Rate
	SetBody             *Value // proxy_set_body: sent in place of the client's body; nil: that is sent
	MaxTempFileSize     int64  // proxy_max_temp_file_size, bytes; 0: no temporary file
	BusyBuffersSize     int64  // proxy_busy_buffers_size, bytes

	fixed     *fixedTarget
	prefix    string // the part of the request's path that the URI of proxy_pass stands for
	redirects []redirectRule
}

// Target is where one request goes, in views into the request's memory.
type Target struct {
	Name    []byte // upstream or host name, as evaluated, without port; for unix: "unix:/path"
	Port    uint16 // explicit port, 0: none
	Unix    string
	Host    []byte // $proxy_host
	URI     []byte // complete request target to send (path and query), never empty
	HasPort bool
}

// Try is one attempt at an upstream server, for $upstream_addr and friends. Times are in ns, -1: "-".
type Try struct {
	Label                                  string
	Status                                 int // 0: "-"
	ConnectNs, HeaderNs, ResponseNs        int64
	BytesSent, BytesReceived, ResponseSize int64
	AfterRedirect                          bool // separated from the one before by " : " instead of ", "
}

// Request is one request while it is worked on. The engine keeps one in each exchange and reuses it: Reset keeps memory.
// Only one goroutine touches it at a time.
type Request struct {
	// Set by the engine before Begin.
	Head         *codec.RequestHead
	Listen       *Listen
	Remote       netip.AddrPort // client address; zero for a unix socket
	RemoteUnix   bool
	LocalAddr    func() netip.AddrPort // the connection's own address, asked for only when a variable needs it
	ConnSerial   uint64
	ConnRequests int
	ConnStart    time.Time
	Start        time.Time
	Now          func() time.Time // the loop's cached clock

	// Set by Begin and Route.
	Server   *Server
	Loc      *Location
	Host     []byte       // lower case, no port, no trailing dot; empty when none was sent ($host then is Server.Name)
	URI      []byte       // $uri: decoded and normalised
	Args     []byte       // $args
	Internal int          // internal redirects so far; more than 10 is 500
	Method   codec.Method // changed to GET by error_page
	Authed   bool         // auth_basic passed
	User     []byte       // $remote_user
	// ErrStatus is the status that the final answer has to carry whatever the location that answers says, as
	// error_page demands; 0: none. FinalStatus applies it.
	ErrStatus int

	// Set by the engine as the request goes on.
	Status        int   // of the answer; 0 before it is known
	BytesSent     int64 // to the client, head included
	BodyBytesSent int64
	RequestLength int64
	Tries         []Try
	Response      *codec.ResponseHead // of the last backend, nil if none
	SentHead      []byte              // the serialised answer head, for $sent_http_NAME
	Body          []byte              // $request_body when it is in memory
	BodyFile      string              // $request_body_file
	ProxyHost     []byte              // $proxy_host, set from Target
	ProxyPort     uint16              // $proxy_port
	Complete      bool                // $request_completion is "OK"
	Pipelined     bool                // $pipe is "p"

	p private
}

// Kind is what is to be done with a request.
type Kind uint8

// The kinds of action.
const (
	DoProxy  Kind = iota // r.Loc.Proxy
	DoLocal              // r.Loc.Content: Static, Echo or Interface
	DoReturn             // return: Status with Body, or a redirect to Location
	DoError              // a status of dyups' own; ask ErrorPage
	DoAuth               // check r.Loc's password file with the request's credentials, set Authed, Route again
	DoClose              // 444: close without a word
)

// Action is the outcome of Route. Its slices are in the request's memory or in the site: valid until Reset.
type Action struct {
	Kind   Kind
	Status int    // final: ErrStatus is applied
	Body   []byte // DoReturn
	// HasBody: Body is the answer's body, even when it is empty. Without it a DoReturn gets the stock page of its status.
	HasBody     bool
	Location    []byte // DoReturn with a redirect, complete
	ContentType []byte // DoReturn; nil: none
	AuthRealm   []byte // DoAuth and DoError 401
	AuthFile    string // DoAuth: absolute path of the password file
	Why         string // DoError: what the error log should say; "": nothing
}
