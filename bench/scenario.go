package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dyups/bench/churn"
	"dyups/bench/origin"
)

// Scenario is one scenario file; README.md describes the format. Everything is set: parse fills in the defaults. It is
// read only afterwards.
type Scenario struct {
	Name  string // of the file, without the number before it and ".txt" behind it
	File  string // as it was found, for error messages
	Text  string // the whole file
	Title string

	Method, Path string
	Body         int64 // bytes of the request body, or of a WebSocket message
	Fields       [][2]string
	Connections  int
	Idle         int // silent connections besides
	Rate         Rate
	Fresh        bool
	Pipeline     int
	WebSocket    bool

	Upstreams int // in the table
	Servers   int // of each upstream
	ByHost    bool
	Delays    []Delay
	Faults    []Fault

	Churn  *Churn        // nil: no updates
	Reload time.Duration // from one reload to the next; 0: none

	Proxies []string
	Pair    bool  // each proxy takes part without and with what happens to it
	Again   bool  // dyups takes part a second time, without what happens
	Workers []int // each proxy takes part with each number of workers
	Apart   bool  // dyups also takes part as so many processes of one worker
	Restart bool  // proxies are started for this scenario and stopped after it

	WarmUp time.Duration
	Full   Budget
	Quick  Budget // no rounds: not part of the quick suite
}

// Budget is how long a scenario runs.
type Budget struct {
	Rounds  int
	Seconds float64 // of a round, without its warm-up
}

// Rate is that of an open loop; the zero value is a closed loop. With both an absolute rate and a share, the share counts
// where the peak is below the rate.
type Rate struct {
	PerSecond float64
	Share     float64 // of the peak that the proxy Of reached in a closed loop of the same run
	Of        string
}

// Delay belongs to one origin, or with an empty name to all.
type Delay struct {
	Origin string
	origin.Delay
}

// Fault belongs to one origin, or with an empty name to all.
type Fault struct {
	Origin string
	origin.Fault
}

// Churn is how upstreams are updated while requests are sent.
type Churn struct {
	Script  churn.Script
	Rate    float64 // updates a second of all clients; 0: as fast as they are acknowledged
	Clients int
	On      string // onLoaded, onOthers or onAll
	ByLoad  bool   // the load generator sends them from its own loop
}

// Which upstreams are updated.
const (
	onLoaded = "loaded" // the first one, which the requests go to
	onOthers = "others" // all but the first one
	onAll    = "all"
)

// defaultProxies take part where a scenario names none.
var defaultProxies = []string{"nginx", "haproxy", "caddy", "goproxy", "dyups"}

// happens says in one word what happens to the proxies of a scenario besides requests, "" for nothing. It is the end of
// the names of those contenders that it happens to.
func (s *Scenario) happens() string {
	switch {
	case s.Churn != nil:
		return "churn"
	case s.Reload > 0:
		return "reload"
	case len(s.Faults) > 0:
		return "faults"
	case s.Idle > 0:
		return "idle"
	}
	return ""
}

// length is that of the bodies the origins answer with, below zero where it is not known beforehand; see package origin.
func (s *Scenario) length() int64 {
	path, _, _ := strings.Cut(strings.TrimPrefix(s.Path, "/chunked"), "?")
	if s.WebSocket || s.Method == "HEAD" {
		return -1
	}
	if path == "/small" {
		return 6
	}
	if n, err := parseSize(strings.TrimPrefix(path, "/")); err == nil {
		return n
	}
	return -1
}

// stamps tells whether the origins note when requests arrive, for the look at servers that are removed.
func (s *Scenario) stamps() bool { return s.Churn != nil && s.Churn.Script == churn.Servers }

// setup says in a few words what proxies are configured for, and what kind of origins they have: those of one setup are
// started once for all its scenarios.
func (s *Scenario) setup() string {
	text := fmt.Sprintf("%d upstreams of %d servers", s.Upstreams, s.Servers)
	if s.ByHost {
		text += " by host"
	}
	if s.stamps() {
		text += ", arrivals stamped"
	}
	for _, d := range s.Delays {
		text += fmt.Sprintf(", delay %q %+v", d.Origin, d.Delay)
	}
	for _, f := range s.Faults {
		text += fmt.Sprintf(", fault %q %+v", f.Origin, f.Fault)
	}
	return text
}

// scenarioName is the name of a scenario in a file.
func scenarioName(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".txt")
	if number, rest, ok := strings.Cut(name, "-"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
		return rest
	}
	return name
}

// builtIn is every scenario of the bench, in the order of the full suite.
func builtIn() ([]*Scenario, error) {
	entries, err := files.ReadDir("scenarios")
	if err != nil {
		return nil, fmt.Errorf("cannot list the scenarios: %w", err)
	}
	var all []*Scenario
	for _, e := range entries {
		file := "scenarios/" + e.Name()
		text, err := files.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read scenario %q: %w", file, err)
		}
		s, err := parse(file, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// pick takes scenarios by name or, with a slash or ".txt" in it, by file.
func pick(all []*Scenario, names []string) ([]*Scenario, error) {
	var picked []*Scenario
	for _, name := range names {
		if strings.Contains(name, "/") || strings.HasSuffix(name, ".txt") {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("cannot read scenario %q: %w", name, err)
			}
			s, err := parse(name, string(text))
			if err != nil {
				return nil, err
			}
			picked = append(picked, s)
			continue
		}
		i := slices.IndexFunc(all, func(s *Scenario) bool { return s.Name == name })
		if i < 0 {
			var known []string
			for _, s := range all {
				known = append(known, s.Name)
			}
			return nil, fmt.Errorf("cannot run scenario %q: there is %s, or a file (./mine.txt)", name, strings.Join(known, ", "))
		}
		picked = append(picked, all[i])
	}
	for i, s := range picked {
		if slices.ContainsFunc(picked[:i], func(o *Scenario) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("cannot run scenario %q twice in one run", s.Name)
		}
	}
	return picked, nil
}
