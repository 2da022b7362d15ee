package upstream

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dyups/codec/conf"
)

// Match is the compiled inside of a match block: what an answer to a health check must be like. All of its tests must pass. It is
// immutable.
type Match struct {
	tests []func(*http.Response) error
	body  []bodyTest
}

type bodyTest struct {
	re  *regexp.Regexp
	not bool
}

// ParseMatch compiles the inside of a match block: status, header and body, as NGINX Plus has them.
func ParseMatch(ds []*conf.Directive) (*Match, error) {
	m := new(Match)
	for _, d := range ds {
		var err error
		switch {
		case d.HasBlock:
			err = d.Errorf("takes no block")
		case d.Name.Text == "status":
			err = m.status(d)
		case d.Name.Text == "header":
			err = m.header(d)
		case d.Name.Text == "body":
			err = m.bodyTest(d)
		case d.Name.Text == "require":
			err = d.Errorf("is not supported by this version, a match block takes status, header and body")
		default:
			err = conf.Errorf(d.Name.Pos, "unknown directive %q in match block, it takes status, header and body", d.Name.Text)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// compileMatch is ParseMatch of a text that it accepted before.
func compileMatch(text string) *Match {
	ds, err := conf.Parse("match", []byte(text))
	if err == nil {
		var m *Match
		if m, err = ParseMatch(ds); err == nil {
			return m
		}
	}
	panic("BUG: a checked match block is refused: " + err.Error())
}

// status reads "status [!] CODE|FIRST-LAST...".
func (m *Match) status(d *conf.Directive) error {
	first := 0
	not := len(d.Args) > 0 && d.Args[0].Text == "!"
	if not {
		first = 1
	}
	var ranges [][2]int
	for i := first; i < len(d.Args); i++ {
		from, to, ranged := strings.Cut(d.Args[i].Text, "-")
		if !ranged {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
			return d.Value(i).Invalid("a status from 100 to 999, or a range such as 200-399")
		}
		ranges = append(ranges, [2]int{a, b})
	}
	if ranges == nil {
		return d.Errorf("names no status, it takes [!] CODE|FIRST-LAST...")
	}
	m.tests = append(m.tests, func(r *http.Response) error {
		in := slices.ContainsFunc(ranges, func(x [2]int) bool { return x[0] <= r.StatusCode && r.StatusCode <= x[1] })
		if in == not {
			return fmt.Errorf("status %d", r.StatusCode)
		}
		return nil
	})
	return nil
}

// header reads "header NAME", "header ! NAME" and "header NAME OP VALUE". Of several fields of a name one is enough for = and ~,
// and none may be there for != and !~.
func (m *Match) header(d *conf.Directive) error {
	var words []string
	for _, a := range d.Args {
		words = append(words, a.Text)
	}
	var name, op string
	var holds func(string) bool
	switch {
	case len(words) == 1 && words[0] != "!":
		name, op, holds = words[0], "", func(string) bool { return true }
	case len(words) == 2 && words[0] == "!":
		name, op, holds = words[1], "!", func(string) bool { return true }
	case len(words) == 3 && (words[1] == "=" || words[1] == "!="):
		name, op, holds = words[0], words[1], func(v string) bool { return v == words[2] }
	case len(words) == 3 && (words[1] == "~" || words[1] == "!~"):
		re, err := compileRegexp(d.Args[2])
		if err != nil {
			return err
		}
		name, op, holds = words[0], words[1], re.MatchString
	default:
		return d.Errorf("is malformed, it takes NAME, ! NAME, or NAME OP VALUE with OP =, !=, ~ or !~")
	}
	not := strings.HasPrefix(op, "!")
	m.tests = append(m.tests, func(r *http.Response) error {
		if slices.ContainsFunc(r.Header.Values(name), holds) == not {
			return fmt.Errorf("header %q", strings.Join(words, " "))
		}
		return nil
	})
	return nil
}

// bodyTest reads "body ~ RE" and "body !~ RE".
func (m *Match) bodyTest(d *conf.Directive) error {
	if len(d.Args) != 2 || d.Args[0].Text != "~" && d.Args[0].Text != "!~" {
		return d.Errorf("is malformed, it takes ~ REGEX or !~ REGEX")
	}
	re, err := compileRegexp(d.Args[1])
	m.body = append(m.body, bodyTest{re, d.Args[0].Text == "!~"})
	return err
}

func compileRegexp(w conf.Word) (*regexp.Regexp, error) {
	re, err := regexp.Compile(w.Text)
	if err != nil {
		return nil, conf.Errorf(w.Pos, "cannot compile regular expression %q: %v; allowed is RE2 syntax", w.Text, err)
	}
	return re, nil
}

// WantsBody reports whether Body has something to say.
func (m *Match) WantsBody() bool { return len(m.body) > 0 }

// Head tests status and header; the error says which test failed.
func (m *Match) Head(r *http.Response) error {
	for _, t := range m.tests {
		if err := t(r); err != nil {
			return err
		}
	}
	return nil
}

// Body tests the first bytes of the body.
func (m *Match) Body(text []byte) error {
	for _, t := range m.body {
		if t.re.Match(text) == t.not {
			return fmt.Errorf("body, by %q", t.re.String())
		}
	}
	return nil
}
