package upstream

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyups/codec/conf"
)

// HealthCheckContext is what a health_check takes from where it stands.
type HealthCheckContext struct {
	Host    string        // of the requests
	Timeout time.Duration // of a check, unless it has a timeout= of its own; 0: a minute
	// Match gives the text of the match block of a name. nil: there are none.
	Match func(name string) (text string, ok bool)
}

// defaultCheckTimeout is that of proxy_read_timeout.
const defaultCheckTimeout = time.Minute

// ParseHealthCheck reads "health_check [interval=] [jitter=] [fails=] [passes=] [uri=] [port=] [type=http|tcp|ssl_hello]
// [mandatory [persistent]] [match=] [keepalive_time=] [timeout=] [host=]", as NGINX Plus has it (timeout= and host= are our own).
func ParseHealthCheck(d *conf.Directive, in HealthCheckContext) (*Check, error) {
	c := &Check{
		Plus: true, Type: CheckHTTP, Interval: 5 * time.Second, Timeout: in.Timeout, Rise: 1, Fall: 1, Alive: defaultCheck.Alive,
		KeepaliveRequests: 1,
	}
	if c.Timeout == 0 {
		c.Timeout = defaultCheckTimeout
	}
	persistent := -1
	ofHTTP := -1 // a parameter of http checks
	for i := range d.Args {
		key, v, valued := d.Param(i)
		var err error
		switch {
		case valued && key == "interval":
			if c.Interval, err = v.Time(); err == nil && c.Interval <= 0 {
				err = v.Invalid("a time above 0")
			}
		case valued && key == "timeout":
			if c.Timeout, err = v.Time(); err == nil && c.Timeout <= 0 {
				err = v.Invalid("a time above 0")
			}
		case valued && key == "jitter":
			c.Jitter, err = v.Time()
		case valued && key == "fails":
			c.Fall, err = v.Int(1, 1<<20)
		case valued && key == "passes":
			c.Rise, err = v.Int(1, 1<<20)
		case valued && key == "port":
			var n int
			n, err = v.Int(1, 65535)
			c.Port = uint16(n)
		case valued && key == "uri":
			ofHTTP, c.URI = i, v.Text
			if !strings.HasPrefix(v.Text, "/") || !isVisible(v.Text) {
				err = v.Invalid("a path that begins with \"/\"")
			}
		case valued && key == "host":
			ofHTTP, c.Host = i, v.Text
			if v.Text == "" || !isVisible(v.Text) || strings.Contains(v.Text, "$") {
				err = v.Invalid("what stands in the Host field of the checks, such as www.example.com; it has no variables")
			}
		case valued && key == "type":
			c.Type, err = checkType(v)
		case valued && key == "match":
			ofHTTP, c.MatchName = i, v.Text
			ok := false
			if in.Match != nil {
				c.Match, ok = in.Match(v.Text)
			}
			if !ok {
				err = v.Invalid("the name of a match block of the http block")
			}
		case valued && key == "keepalive_time":
			ofHTTP = i
			c.KeepaliveTime, err = v.Time()
		case !valued && key == "mandatory":
			c.DefaultDown = true
		case !valued && key == "persistent":
			persistent, c.Persistent = i, true
		default:
			err = d.BadParam(i, "interval=", "jitter=", "fails=", "passes=", "uri=", "port=", "type=", "mandatory", "persistent", "match=",
				"keepalive_time=", "timeout=", "host=")
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case persistent >= 0 && !c.DefaultDown:
		return nil, conf.Errorf(d.Args[persistent].Pos, "\"persistent\" stands without \"mandatory\" in \"health_check\", it is allowed beside that")
	case ofHTTP >= 0 && c.Type != CheckHTTP:
		return nil, conf.Errorf(d.Args[ofHTTP].Pos, "parameter %q of \"health_check\" is for type=http, found type=%s", d.Args[ofHTTP].Text, c.Type)
	}
	host := in.Host
	if c.Host != "" {
		host = c.Host
	}
	if host == "" || !isVisible(host) {
		host = "localhost"
	}
	if c.Type == CheckHTTP {
		if c.URI == "" {
			c.URI = "/"
		}
		c.Send = "GET " + c.URI + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: dyups (health check)\r\n"
		if c.KeepaliveTime > 0 {
			c.KeepaliveRequests = math.MaxInt
		} else {
			c.Send += "Connection: close\r\n"
		}
		c.Send += "\r\n"
	}
	return c, nil
}

func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// Matcher compiles Match; nil where there is none.
func (c *Check) Matcher() *Match {
	if c.MatchName == "" {
		return nil
	}
	return compileMatch(c.Match)
}

// healthCheck reads a health_check that stands in the block.
func (p *parsing) healthCheck(d *conf.Directive) error {
	const brief = 4 // are soon read
	if p.opt.Brief && len(p.health) == brief {
		p.long = true
		return ErrLengthy
	}
	c, err := ParseHealthCheck(d, HealthCheckContext{Host: p.name, Match: p.opt.Match})
	if err != nil {
		return err
	}
	p.healthAt = d
	p.health, err = AddCheck(p.health, c, d)
	return err
}

// AddCheck appends c, that of d, to checks unless it is one of them.
func AddCheck(checks []*Check, c *Check, d *conf.Directive) ([]*Check, error) {
	switch {
	case slices.ContainsFunc(checks, func(o *Check) bool { return o.Question() == c.Question() }):
		return checks, nil
	case len(checks) == MaxChecks:
		return nil, d.Errorf("is one too many, an upstream has at most %d different ones", MaxChecks)
	}
	return append(checks, c), nil
}

// settleChecks chooses between what the block says of checks and what is said elsewhere.
func (p *parsing) settleChecks() error {
	s := p.spec
	switch {
	case !p.checked:
		s.checks = p.health
	case p.health != nil:
		return p.healthAt.Errorf("stands beside \"check\", an upstream has one of them")
	}
	if s.checks == nil && p.opt.Inherited != nil {
		s.checks = p.opt.Inherited(p.name)
		s.inherited = s.checks != nil
	}
	return nil
}

// healthCheck is the statement of a check of this kind, what is the default left out.
func (c *Check) healthCheck() *conf.Directive {
	var args []string
	add := func(yes bool, arg string) {
		if yes {
			args = append(args, arg)
		}
	}
	add(c.Interval != 5*time.Second, "interval="+milliseconds(c.Interval))
	add(c.Jitter != 0, "jitter="+milliseconds(c.Jitter))
	add(c.Fall != 1, "fails="+strconv.Itoa(c.Fall))
	add(c.Rise != 1, "passes="+strconv.Itoa(c.Rise))
	add(c.URI != "" && c.URI != "/", "uri="+c.URI)
	add(c.Port != 0, "port="+strconv.Itoa(int(c.Port)))
	add(c.Type != CheckHTTP, "type="+c.Type.String())
	add(c.DefaultDown, "mandatory")
	add(c.Persistent, "persistent")
	add(c.MatchName != "", "match="+c.MatchName)
	add(c.KeepaliveTime != 0, "keepalive_time="+milliseconds(c.KeepaliveTime))
	add(c.Timeout != defaultCheckTimeout, "timeout="+milliseconds(c.Timeout))
	add(c.Host != "", "host="+c.Host)
	return statement("health_check", args...)
}

// panicThreshold reads "panic_threshold PERCENT%".
func (p *parsing) panicThreshold(d *conf.Directive) error {
	text, ok := strings.CutSuffix(d.Args[0].Text, "%")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 1 || n > 100 {
		return d.Value(0).Invalid("a share from 1% to 100%")
	}
	p.spec.panic = n
	return nil
}
