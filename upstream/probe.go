package upstream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyups/codec/conf"
)

// CheckType is how an active check asks a server.
type CheckType uint8

// The types of checks, named after the values of type=.
const (
	CheckTCP      CheckType = iota // the server accepts a connection
	CheckHTTP                      // it answers Send with a status of Alive
	CheckSSLHello                  // it answers a ClientHello with a ServerHello
)

var checkTypes = []string{CheckTCP: "tcp", CheckHTTP: "http", CheckSSLHello: "ssl_hello"}

func (t CheckType) String() string { return checkTypes[t] }

// Check is an active check of the servers of an upstream, as nginx_upstream_check_module has it. It is a value: two that are
// equal check alike.
type Check struct {
	Type              CheckType
	Interval, Timeout time.Duration
	Rise, Fall        int // checks in a row that make a server healthy, or unhealthy
	DefaultDown       bool
	Port              uint16 // to ask instead of the server's own; 0: none
	Send              string // request of CheckHTTP
	Alive             uint8  // bit n: a status of n hundred and something is well
	KeepaliveRequests int    // on one connection of CheckHTTP

	Plus             bool          // it is a health_check, as NGINX Plus has it
	Jitter           time.Duration // what may be added to Interval, of a health_check
	KeepaliveTime    time.Duration // how long one connection may serve, of a health_check of type http; 0: one request
	URI, Host        string        // that Send asks for, of a health_check of type http; Host only if host= says so
	Persistent       bool          // as written: health is kept in any case
	MatchName, Match string        // name and text of the match block; "" instead of one: Alive decides
}

// Question is the check without what makes no difference to what a server is asked and how its answers are taken: two checks that
// have the same one can be one.
func (c Check) Question() Check {
	c.Host, c.Persistent = "", false // Send has the Host
	if c.MatchName != "" {
		c.MatchName = "match"
	}
	return c
}

// Title tells checks of one upstream apart: "tcp, port 81", or of a health_check "http www.test/path, match ok".
func (c *Check) Title() string {
	s := c.Type.String()
	if c.URI != "" {
		s += " " + c.host() + c.URI
	}
	if c.Port != 0 {
		s += ", port " + strconv.Itoa(int(c.Port))
	}
	if c.MatchName != "" {
		s += ", match " + c.MatchName
	}
	return s
}

// host is the Host of what a health_check sends.
func (c *Check) host() string {
	_, s, _ := strings.Cut(c.Send, "\r\nHost: ")
	s, _, _ = strings.Cut(s, "\r\n")
	return s
}

// MaxChecks is how many health_checks an upstream has at most.
const MaxChecks = 32

// defaultCheck is the module's.
var defaultCheck = Check{
	Interval: 30 * time.Second, Timeout: time.Second, Rise: 2, Fall: 5, DefaultDown: true,
	Send: "GET / HTTP/1.0\r\n\r\n", Alive: 1<<2 | 1<<3, KeepaliveRequests: 1,
}

// aliveNames are the arguments of check_http_expect_alive, by hundreds.
var aliveNames = []string{1: "http_1xx", 2: "http_2xx", 3: "http_3xx", 4: "http_4xx", 5: "http_5xx"}

const maxMilliseconds = 1 << 31

// check reads "check [interval=] [fall=] [rise=] [timeout=] [default_down=] [type=] [port=]", times in milliseconds.
func (p *parsing) check(d *conf.Directive) error {
	c := p.checks()
	for i := range d.Args {
		key, v, valued := d.Param(i)
		var n int
		var err error
		switch {
		case valued && key == "interval":
			c.Interval, err = inMilliseconds(v)
		case valued && key == "timeout":
			c.Timeout, err = inMilliseconds(v)
		case valued && key == "rise":
			c.Rise, err = v.Int(1, 1<<20)
		case valued && key == "fall":
			c.Fall, err = v.Int(1, 1<<20)
		case valued && key == "port":
			n, err = v.Int(1, 65535)
			c.Port = uint16(n)
		case valued && key == "default_down":
			var word string
			word, err = v.Enum("true", "false")
			c.DefaultDown = word == "true"
		case valued && key == "type":
			c.Type, err = checkType(v)
		default:
			return d.BadParam(i, "interval=", "rise=", "fall=", "timeout=", "default_down=", "type=", "port=")
		}
		if err != nil {
			return err
		}
	}
	p.checked = true
	return nil
}

// inMilliseconds reads a time of check, which has no unit.
func inMilliseconds(v conf.Value) (time.Duration, error) {
	n, err := v.Int(1, maxMilliseconds)
	if err != nil {
		return 0, v.Invalid(fmt.Sprintf("a whole number of milliseconds from 1 to %d", maxMilliseconds))
	}
	return time.Duration(n) * time.Millisecond, nil
}

func checkType(v conf.Value) (CheckType, error) {
	word, err := v.Enum(checkTypes...)
	return CheckType(max(0, slices.Index(checkTypes, word))), err
}

// checks is what the check directives of the block say so far; their order does not matter.
func (p *parsing) checks() *Check {
	if p.spec.checks == nil {
		c := defaultCheck
		p.spec.checks = []*Check{&c}
	}
	return p.spec.checks[0]
}

func (p *parsing) checkSend(d *conf.Directive) error {
	p.checks().Send = d.Args[0].Text
	return nil
}

func (p *parsing) checkAlive(d *conf.Directive) error {
	c := p.checks()
	c.Alive = 0
	for i := range d.Args {
		word, err := d.Enum(i, aliveNames[1:]...)
		if err != nil {
			return err
		}
		c.Alive |= 1 << (word[len("http_")] - '0')
	}
	return nil
}

func (p *parsing) checkKeepalive(d *conf.Directive) (err error) {
	p.checks().KeepaliveRequests, err = d.Int(0, 1, 1<<30)
	return err
}

// directives are the statements of a check, what is the default of a check_* directive left out.
func (c *Check) directives() []*conf.Directive {
	if c.Plus {
		return []*conf.Directive{c.healthCheck()}
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	args := []string{"interval=" + ms(c.Interval), "rise=" + strconv.Itoa(c.Rise), "fall=" + strconv.Itoa(c.Fall),
		"timeout=" + ms(c.Timeout), "default_down=" + strconv.FormatBool(c.DefaultDown), "type=" + c.Type.String()}
	if c.Port != 0 {
		args = append(args, "port="+strconv.Itoa(int(c.Port)))
	}
	ds := []*conf.Directive{statement("check", args...)}
	if c.Send != defaultCheck.Send {
		ds = append(ds, statement("check_http_send", c.Send))
	}
	if c.Alive != defaultCheck.Alive {
		var words []string
		for n := 1; n < len(aliveNames); n++ {
			if c.Alive>>n&1 != 0 {
				words = append(words, aliveNames[n])
			}
		}
		ds = append(ds, statement("check_http_expect_alive", words...))
	}
	if c.KeepaliveRequests != defaultCheck.KeepaliveRequests {
		ds = append(ds, statement("check_keepalive_requests", strconv.Itoa(c.KeepaliveRequests)))
	}
	return ds
}

// Why says why server i gets no request at nowNs that is not bound to it: "down", "draining", "unhealthy" (an active check),
// "failed" (max_fails), "full" (max_conns) or "backup" (others go first); "" when nothing stands in the way. A lone server is never
// failed.
func (u *Upstream) Why(i int, nowNs int64) string {
	why := u.ownWhy(i, nowNs)
	if why != "" || !u.Servers[i].Backup {
		return why
	}
	for k, s := range u.Servers {
		if !s.Backup && u.ownWhy(k, nowNs) == "" {
			return "backup"
		}
	}
	return ""
}

// ownWhy is Why by the server itself, whatever the others are.
func (u *Upstream) ownWhy(i int, nowNs int64) string {
	s := u.Servers[i]
	l := &s.State.live
	switch {
	case s.Down:
		return "down"
	case s.Drain:
		return "draining"
	case l.Barred():
		return "unhealthy"
	case len(u.Servers) > 1 && l.Out(nowNs, s.MaxFails, int64(s.FailTimeout)):
		return "failed"
	case s.MaxConns > 0 && l.InFlight() >= int64(s.MaxConns):
		return "full"
	}
	return ""
}
