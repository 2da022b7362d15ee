package upstream

import (
	"slices"
	"strconv"
	"strings"

	"dyups/codec/conf"
	"dyups/lb"
)

// The directives of the balancing methods. Of several in one block the last one counts, as in nginx.

// method makes the setter of a method without arguments.
func method(m lb.Method) func(*parsing, *conf.Directive) error {
	return func(p *parsing, d *conf.Directive) error {
		p.spec.setMethod(m, lb.Options{})
		return nil
	}
}

func (s *Spec) setMethod(m lb.Method, o lb.Options) {
	s.method, s.options, s.key, s.hashKey = m, o, "", nil
}

// supports refuses a server parameter that the method named so far has no place for: hashes and random choice know neither
// backups nor slow starts. As nginx does, it goes by the methods before the server, and so accepts the method behind it.
func (p *parsing) supports(w conf.Word, param string) error {
	switch m := p.spec.method; m {
	case lb.RoundRobin, lb.LeastConn, lb.LeastTime:
		return nil
	default:
		others := slices.DeleteFunc(slices.Clone(serverParams), func(s string) bool { return s == "backup" || s == "slow_start=" })
		return conf.Errorf(w.Pos, "balancing method %q does not support parameter %q; allowed with it: %s",
			methodNames[m], strings.TrimSuffix(param, "="), strings.Join(others, ", "))
	}
}

// hash reads "hash KEY [consistent [balance_factor=NUMBER]]".
func (p *parsing) hash(d *conf.Directive) error {
	m, o := lb.Hash, lb.Options{}
	if len(d.Args) > 1 {
		if d.Args[1].Text != "consistent" {
			return d.BadParam(1, "consistent")
		}
		m = lb.ConsistentHash
	}
	if len(d.Args) > 2 {
		key, v, valued := d.Param(2)
		if !valued || key != "balance_factor" {
			return d.BadParam(2, "balance_factor=")
		}
		var ok bool
		if o.BalanceFactor, ok = percent(v.Text); !ok || o.BalanceFactor <= 100 {
			return v.Invalid("a number above 1 with at most two decimals, such as 1.25")
		}
	}
	return p.keyed(d, m, o)
}

// percent reads a number with at most two decimals, times 100.
func percent(s string) (n int, ok bool) {
	whole, part, _ := strings.Cut(s, ".")
	if whole == "" || len(whole) > 5 || len(part) > 2 || strings.Trim(whole+part, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(whole + (part + "00")[:2])
	return n, err == nil
}

// maglev reads "maglev KEY".
func (p *parsing) maglev(d *conf.Directive) error { return p.keyed(d, lb.Maglev, lb.Options{}) }

// keyed sets a method that goes by the KEY which is the first argument.
func (p *parsing) keyed(d *conf.Directive, m lb.Method, o lb.Options) error {
	text := d.Args[0].Text
	var key any = text
	if p.opt.Compile != nil {
		var err error
		if key, err = p.opt.Compile(text); err != nil {
			return conf.Errorf(d.Args[0].Pos, "invalid key %q in %q directive: %v", text, d.Name.Text, err)
		}
	}
	p.spec.setMethod(m, o)
	p.spec.key, p.spec.hashKey = text, key
	return nil
}

// random reads "random [two [least_conn|least_time=header|least_time=last_byte]]".
func (p *parsing) random(d *conf.Directive) error {
	m, o := lb.Random, lb.Options{}
	if len(d.Args) > 0 {
		if d.Args[0].Text != "two" {
			return d.BadParam(0, "two")
		}
		m = lb.RandomTwo
	}
	if len(d.Args) > 1 {
		switch d.Args[1].Text {
		case "least_conn":
		case "least_time=header":
			m = lb.RandomTwoTime
		case "least_time=last_byte":
			m, o.LastByte = lb.RandomTwoTime, true
		default:
			return d.BadParam(1, "least_conn", "least_time=header", "least_time=last_byte")
		}
	}
	p.spec.setMethod(m, o)
	return nil
}

// leastTime reads "least_time header|last_byte [inflight]".
func (p *parsing) leastTime(d *conf.Directive) error {
	var o lb.Options
	switch d.Args[0].Text {
	case "header":
	case "last_byte":
		o.LastByte = true
	default:
		return d.BadParam(0, "header", "last_byte")
	}
	if len(d.Args) > 1 {
		if d.Args[1].Text != "inflight" {
			return d.BadParam(1, "inflight")
		}
		o.Inflight = true
	}
	p.spec.setMethod(lb.LeastTime, o)
	return nil
}

// methodArgs are the arguments of the method's directive.
func (s *Spec) methodArgs() []string {
	header := "header"
	if s.options.LastByte {
		header = "last_byte"
	}
	switch s.method {
	case lb.RandomTwo:
		return []string{"two", "least_conn"}
	case lb.RandomTwoTime:
		return []string{"two", "least_time=" + header}
	case lb.LeastTime:
		if s.options.Inflight {
			return []string{header, "inflight"}
		}
		return []string{header}
	case lb.Hash, lb.Maglev:
		return []string{s.key}
	case lb.ConsistentHash:
		if f := s.options.BalanceFactor; f > 0 {
			return []string{s.key, "consistent", "balance_factor=" + strconv.FormatFloat(float64(f)/100, 'f', -1, 64)}
		}
		return []string{s.key, "consistent"}
	}
	return nil
}
