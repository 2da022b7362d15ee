package bench

import (
	"embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyups/bench/churn"
)

//go:embed scenarios/*.txt
var files embed.FS

// errForm says that the arguments do not have the form of the keyword.
var errForm = fmt.Errorf("wrong form")

// parse reads the text of a scenario file. Errors begin with file and line.
func parse(file, text string) (*Scenario, error) {
	s := &Scenario{Name: scenarioName(file), File: file, Text: text, Method: "GET", Path: "/small", Connections: 64, Pipeline: 1,
		Upstreams: 1, Servers: 2, Proxies: defaultProxies, Workers: []int{1}, WarmUp: 300 * time.Millisecond,
		Full: Budget{Rounds: 3, Seconds: 1.5}}
	lines := make(map[string]int) // of what was set
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if name == "header" {
			if err := setHeader(s, rest); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, n, err)
			}
			continue
		}
		i := slices.IndexFunc(keywords, func(k keyword) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s:%d: cannot set %q: allowed are %s", file, n, name, keywordNames())
		}
		k := &keywords[i]
		if at, ok := lines[name]; ok && !k.again {
			return nil, fmt.Errorf("%s:%d: cannot set %q again: it is set in line %d", file, n, name, at)
		}
		lines[name] = n
		args := strings.Fields(rest)
		if len(args) == 0 {
			return nil, fmt.Errorf("%s:%d: cannot set %q to nothing: allowed is %s", file, n, name, k.form)
		}
		if err := k.set(s, args); err == errForm {
			return nil, fmt.Errorf("%s:%d: cannot set %q to %q: allowed is %s", file, n, name, strings.TrimSpace(rest), k.form)
		} else if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if key, err := s.validate(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, max(lines[key], 1), err)
	}
	return s, nil
}

func keywordNames() string {
	names := []string{"header"}
	for _, k := range keywords {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

// validate checks what concerns more than one line, and says which keyword is to blame.
func (s *Scenario) validate() (keyword string, err error) {
	switch {
	case s.Title == "":
		return "title", fmt.Errorf("cannot use a scenario without a title")
	case !strings.HasPrefix(s.Path, "/"):
		return "path", fmt.Errorf("cannot request path %q: it has to begin with a slash", s.Path)
	case s.WebSocket && (s.Fresh || s.Pipeline > 1):
		return "websocket", fmt.Errorf("cannot use a WebSocket with fresh connections or pipelining")
	case s.Fresh && s.Pipeline > 1:
		return "fresh", fmt.Errorf("cannot use fresh connections with pipelining")
	case s.Pipeline > 1 && s.Rate != Rate{}:
		return "rate", fmt.Errorf("cannot use a rate with pipelining")
	case s.WebSocket && s.Body == 0:
		return "websocket", fmt.Errorf("cannot use a WebSocket without a body")
	case s.Churn != nil && s.Churn.On == onOthers && s.Upstreams < 2:
		return "churn", fmt.Errorf("cannot update others than the loaded upstream: there is one alone")
	case s.Churn != nil && s.Churn.ByLoad && (s.Churn.Rate == 0 || s.Churn.Script == churn.Servers || s.Churn.Script == churn.Whole):
		return "churn", fmt.Errorf("cannot have the load send these updates: it sends reweigh and replace at a rate")
	case s.Pair && s.happens() == "":
		return "pair", fmt.Errorf("cannot pair proxies: nothing happens to them; there is churn, reload, fault, idle")
	case s.Rate.Of != "" && !slices.Contains(s.Proxies, s.Rate.Of):
		return "rate", fmt.Errorf("cannot take a share of the peak of %q: it does not take part", s.Rate.Of)
	}
	known := make(map[string]bool)
	for i := range s.Servers {
		known[originName(i)] = true
	}
	for _, d := range s.Delays {
		if d.Origin != "" && !known[d.Origin] {
			return "delay", fmt.Errorf("cannot delay origin %q: there is %s to %s", d.Origin, originName(0), originName(s.Servers-1))
		}
	}
	for _, f := range s.Faults {
		if f.Origin != "" && !known[f.Origin] {
			return "fault", fmt.Errorf("cannot break origin %q: there is %s to %s", f.Origin, originName(0), originName(s.Servers-1))
		}
	}
	return "", nil
}

// originName is that of server i of the upstreams.
func originName(i int) string { return "o" + strconv.Itoa(i) }

// one applies a parser to the only argument.
func one[T any](args []string, parse func(string) (T, error)) (v T, err error) {
	if len(args) != 1 {
		return v, errForm
	}
	return parse(args[0])
}

func word(to *string, args []string) error {
	if len(args) != 1 {
		return errForm
	}
	*to = args[0]
	return nil
}

func yes(to *bool, args []string) error {
	if len(args) != 1 || args[0] != "yes" && args[0] != "no" {
		return errForm
	}
	*to = args[0] == "yes"
	return nil
}

func count(to *int, args []string, least, most int) error {
	n, err := one(args, strconv.Atoi)
	if err != nil || n < least || n > most {
		return errForm
	}
	*to = n
	return nil
}

func seconds(to *float64, args []string) error {
	v, err := one(args, number)
	if err != nil || v < 0.1 || v > 3600 {
		return errForm
	}
	*to = v
	return nil
}

// number is above or equal to zero and finite.
func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 1e9 {
		return 0, errForm
	}
	return v, nil
}

// duration is above zero.
func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > time.Hour {
		return 0, errForm
	}
	return d, nil
}

// parseSize reads a number of bytes, with k, m or g for powers of 1024, up to 1g.
func parseSize(s string) (int64, error) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmg", s[n-1]); i >= 0 {
			shift, s = 10*(i+1), s[:n-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<30>>shift {
		return 0, errForm
	}
	return n << shift, nil
}
