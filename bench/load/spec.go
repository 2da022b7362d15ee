package load

import (
	"time"

	"dyups/bench/churn"
)

// Spec is one run of load against one address. It travels as JSON to the generator's process.
type Spec struct {
	Addr        string      `json:"addr"`             // host:port of the proxy
	Spread      []string    `json:"spread,omitempty"` // instead of Addr, which connections go to in turn
	WebSocket   bool        `json:"websocket"`        // upgrade each connection, then echo messages of BodySize bytes over it
	Method      string      `json:"method"`           // "" is GET
	Path        string      `json:"path"`             // request target
	Host        string      `json:"host"`             // Host field; "" is Addr
	Hosts       int         `json:"hosts"`            // above 0: requests take the Host fields u0 … u(Hosts-1) in turn, in a fixed shuffled order
	Fields      [][2]string `json:"fields"`           // further header fields
	BodySize    int         `json:"body_size"`        // bytes of the request body, with Content-Length; of a WebSocket message
	Connections int         `json:"connections"`      // that carry requests
	Idle        int         `json:"idle"`             // further connections, each silent after one request and its answer
	Fresh       bool        `json:"fresh"`            // a new connection for each request, closed after its answer ("Connection: close" is sent)
	Pipeline    int         `json:"pipeline"`         // requests under way on one connection; 0 is 1
	Rate        float64     `json:"rate"`             // requests a second, open loop with intended start times; 0: closed loop

	WarmUp   time.Duration `json:"warm_up"`  // dropped from every figure of the result
	Duration time.Duration `json:"duration"` // measured, after WarmUp
	Interval time.Duration `json:"interval"` // width of a point of the series; 0: 100 ms
	Timeout  time.Duration `json:"timeout"`  // for one answer, and for a connect; 0: 10 s

	WantStatus int         `json:"want_status"`       // 0 is 200 (101 for a WebSocket handshake); another status is an error of kind "status"
	WantLength int64       `json:"want_length"`       // bytes of the answer's body; below 0: not checked. Another length is of kind "length"
	Updates    *churn.Talk `json:"updates,omitempty"` // said beside the load, from its loop, until the end; nil: nothing

	OriginField string `json:"origin_field"` // name of the response field in which origins name themselves; "": not counted
}

// Result is what one run saw, without the warm-up. All times are of the client: from the moment the request was to be
// sent (open loop: the intended one; closed loop: when it was written, or on a new connection when that was begun) to the last byte of its
// answer. Requests, Bytes and Series are about the answers that came in the measured part, Latency, Status, Origins and Errors about the requests that belong to it.
type Result struct {
	Requests  int64            `json:"requests"`  // answers that came in the measured part, complete and right
	Bytes     int64            `json:"bytes"`     // of their bodies
	After     int64            `json:"after_end"` // right answers that came after the end: in Latency, Status and Origins alone
	Elapsed   time.Duration    `json:"elapsed"`
	PerSecond float64          `json:"per_second"`
	Rate      float64          `json:"rate"` // Spec.Rate
	Latency   Latency          `json:"latency"`
	Errors    map[string]int64 `json:"errors"`            // by kind, see Err…; empty without errors
	Example   string           `json:"example"`           // the first error in words, "" without errors
	Status    map[int]int64    `json:"status"`            // answers by status, the wrong ones too
	Origins   map[string]int64 `json:"origins"`           // right answers by the origin that named itself
	Series    []Point          `json:"series"`            // in order of time, without gaps
	Start     int64            `json:"start"`             // of the measured part, poll.Now
	Behind    time.Duration    `json:"behind"`            // open loop: the most that the generator itself was late in sending though a connection was free
	Updates   *churn.Sample    `json:"updates,omitempty"` // what came of Spec.Updates, those of the warm-up too
	Dropped   int64            `json:"dropped"`           // open loop: requests still waiting for a free connection at the end; they count as errors of kind "late"
}

// Kinds of errors.
const (
	ErrConnect  = "connect"  // no connection
	ErrRead     = "read"     // reset and other read errors
	ErrWrite    = "write"    // write errors
	ErrTimeout  = "timeout"  // no complete answer in Spec.Timeout, or in the wait for the last ones
	ErrClosed   = "closed"   // the connection ended before the answer was complete
	ErrProtocol = "protocol" // the answer could not be parsed
	ErrStatus   = "status"   // a status other than WantStatus
	ErrLength   = "length"   // a body of another length than WantLength
	ErrLate     = "late"     // see Result.Dropped
)

// Latency sums up a histogram with three significant digits, 1 µs to 100 s. Times are microseconds.
type Latency struct {
	Count  int64      `json:"count"`
	Mean   float64    `json:"mean_us"`
	P50    float64    `json:"p50_us"`
	P90    float64    `json:"p90_us"`
	P99    float64    `json:"p99_us"`
	P999   float64    `json:"p999_us"`
	P9999  float64    `json:"p9999_us"`
	Max    float64    `json:"max_us"`
	Curve  []Quantile `json:"curve"`            // for a plot by percentile: 0, then denser and denser towards 1
	Packed string     `json:"packed,omitempty"` // HdrHistogram's own compressed form (V2, base64): can be added up
}

// Quantile is one point of a latency curve.
type Quantile struct {
	Q  float64 `json:"q"` // 0 to 1
	Us float64 `json:"us"`
}

// Point is one interval of the series.
type Point struct {
	At       float64 `json:"at"` // seconds since Result.Start, the begin of the interval
	Requests int64   `json:"requests"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Max      float64 `json:"max_us"`
	Errors   int64   `json:"errors"`
}
