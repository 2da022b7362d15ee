package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dyups/bench/churn"
	"dyups/bench/origin"
	"dyups/bench/rival"
)

// keyword is one line of a scenario file.
type keyword struct {
	name  string
	form  string // what is allowed after the name, for error messages
	again bool   // may come more than once
	set   func(s *Scenario, args []string) error
}

// keywords in the order in which error messages list them. "header" is not among them: its value is taken as it stands.
var keywords = []keyword{
	{"title", "TEXT", false, func(s *Scenario, a []string) error { s.Title = strings.Join(a, " "); return nil }},
	{"path", "/PATH", false, func(s *Scenario, a []string) error { return word(&s.Path, a) }},
	{"method", "METHOD", false, func(s *Scenario, a []string) error { return word(&s.Method, a) }},
	{"body", "BYTES (1000, 1k, 1m)", false, func(s *Scenario, a []string) (err error) {
		s.Body, err = one(a, parseSize)
		return err
	}},
	{"connections", "1 to 10000", false, func(s *Scenario, a []string) error { return count(&s.Connections, a, 1, 10000) }},
	{"idle", "0 to 15000", false, func(s *Scenario, a []string) error { return count(&s.Idle, a, 0, 15000) }},
	{"rate", "N, or P% of PROXY, or N or P% of PROXY", false, setRate},
	{"fresh", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.Fresh, a) }},
	{"pipeline", "1 to 1000", false, func(s *Scenario, a []string) error { return count(&s.Pipeline, a, 1, 1000) }},
	{"websocket", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.WebSocket, a) }},
	{"upstreams", "1 to 100000", false, func(s *Scenario, a []string) error { return count(&s.Upstreams, a, 1, 100000) }},
	{"servers", "1 to 100", false, func(s *Scenario, a []string) error { return count(&s.Servers, a, 1, 100) }},
	{"by-host", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.ByHost, a) }},
	{"delay", "ORIGIN|all fixed|uniform|exponential|lognormal DURATION [sigma S]", true, setDelay},
	{"fault", "ORIGIN|all die|hang|reset after DURATION [every DURATION] for DURATION", true, setFault},
	{"churn", "reweigh|servers|replace|whole N a second|as acknowledged [from N clients|by the load] [on loaded|others|all]", false, setChurn},
	{"reload", "every DURATION", false, setReload},
	{"proxies", "NAME …", false, setProxies},
	{"pair", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.Pair, a) }},
	{"again", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.Again, a) }},
	{"workers", "N …, 1 to 64 each", false, setWorkers},
	{"apart", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.Apart, a) }},
	{"restart", "yes or no", false, func(s *Scenario, a []string) error { return yes(&s.Restart, a) }},
	{"rounds", "1 to 1000", false, func(s *Scenario, a []string) error { return count(&s.Full.Rounds, a, 1, 1000) }},
	{"seconds", "0.1 to 3600", false, func(s *Scenario, a []string) error { return seconds(&s.Full.Seconds, a) }},
	{"warm-up", "DURATION", false, func(s *Scenario, a []string) (err error) {
		s.WarmUp, err = one(a, duration)
		return err
	}},
	{"quick", "N rounds S seconds", false, setQuick},
}

// setHeader reads "Name: value". The fields that the generator writes itself are refused.
func setHeader(s *Scenario, text string) error {
	name, value, ok := strings.Cut(text, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("cannot set header %q: allowed is NAME: VALUE", text)
	}
	for _, own := range []string{"Host", "Content-Length", "Connection", "Transfer-Encoding", "Upgrade"} {
		if strings.EqualFold(name, own) {
			return fmt.Errorf("cannot set header %q: the load generator writes it", name)
		}
	}
	s.Fields = append(s.Fields, [2]string{name, value})
	return nil
}

func setRate(s *Scenario, a []string) error {
	var r Rate
	var err error
	if len(a) == 1 || len(a) == 5 && a[1] == "or" {
		if r.PerSecond, err = number(a[0]); err != nil || r.PerSecond == 0 {
			return errForm
		}
		a = a[min(2, len(a)):]
	}
	if len(a) > 0 {
		percent, ok := strings.CutSuffix(a[0], "%")
		if len(a) != 3 || a[1] != "of" || !ok {
			return errForm
		}
		if r.Share, err = number(percent); err != nil || r.Share <= 0 || r.Share > 1000 {
			return errForm
		}
		r.Share, r.Of = r.Share/100, a[2]
	}
	s.Rate = r
	return nil
}

// originArg is the name of one origin, "" for all.
func originArg(s string) string {
	if s == "all" {
		return ""
	}
	return s
}

func setDelay(s *Scenario, a []string) error {
	if len(a) != 3 && (len(a) != 5 || a[3] != "sigma" || a[1] != "lognormal") {
		return errForm
	}
	if !slices.Contains([]string{"fixed", "uniform", "exponential", "lognormal"}, a[1]) {
		return errForm
	}
	mean, err := duration(a[2])
	if err != nil {
		return err
	}
	d := origin.Delay{Kind: a[1], Mean: mean, Seed: 1}
	if len(a) == 5 {
		if d.Sigma, err = number(a[4]); err != nil {
			return err
		}
	}
	s.Delays = append(s.Delays, Delay{originArg(a[0]), d})
	return nil
}

func setFault(s *Scenario, a []string) error {
	if len(a) < 4 || len(a)%2 != 0 || !slices.Contains([]string{"die", "hang", "reset"}, a[1]) {
		return errForm
	}
	f := Fault{originArg(a[0]), origin.Fault{Kind: a[1]}}
	for ; len(a) > 2; a = append(a[:2:2], a[4:]...) {
		to := map[string]*time.Duration{"after": &f.After, "every": &f.Every, "for": &f.For}[a[2]]
		if to == nil || *to != 0 {
			return errForm
		}
		var err error
		if *to, err = duration(a[3]); err != nil {
			return err
		}
	}
	if f.For == 0 {
		return errForm
	}
	s.Faults = append(s.Faults, f)
	return nil
}

func setChurn(s *Scenario, a []string) error {
	c := Churn{Script: churn.Script(a[0]), Clients: 1, On: onAll}
	if len(a) < 3 || !slices.Contains([]churn.Script{churn.Reweigh, churn.Servers, churn.Replace, churn.Whole}, c.Script) {
		return errForm
	}
	var err error
	switch {
	case a[1] == "as" && a[2] == "acknowledged":
		a = a[3:]
	case len(a) >= 4 && a[2] == "a" && a[3] == "second":
		if c.Rate, err = number(a[1]); err != nil || c.Rate <= 0 {
			return errForm
		}
		a = a[4:]
	default:
		return errForm
	}
	if len(a) >= 3 && a[0] == "from" && (a[2] == "clients" || a[2] == "client") {
		if err := count(&c.Clients, a[1:2], 1, 1000); err != nil {
			return err
		}
		a = a[3:]
	} else if len(a) >= 3 && a[0] == "by" && a[1] == "the" && a[2] == "load" {
		c.ByLoad = true
		a = a[3:]
	}
	if len(a) == 2 && a[0] == "on" && slices.Contains([]string{onLoaded, onOthers, onAll}, a[1]) {
		c.On = a[1]
		a = nil
	}
	if len(a) > 0 {
		return errForm
	}
	s.Churn = &c
	return nil
}

func setReload(s *Scenario, a []string) (err error) {
	if len(a) != 2 || a[0] != "every" {
		return errForm
	}
	s.Reload, err = duration(a[1])
	return err
}

func setProxies(s *Scenario, a []string) error {
	for i, name := range a {
		if _, err := rival.ByName(name); err != nil {
			return err
		}
		if slices.Contains(a[:i], name) {
			return fmt.Errorf("cannot measure %q twice", name)
		}
	}
	s.Proxies = a
	return nil
}

func setWorkers(s *Scenario, a []string) error {
	s.Workers = nil
	for _, arg := range a {
		var n int
		if err := count(&n, []string{arg}, 1, 64); err != nil {
			return err
		}
		if slices.Contains(s.Workers, n) {
			return errForm
		}
		s.Workers = append(s.Workers, n)
	}
	return nil
}

func setQuick(s *Scenario, a []string) error {
	if len(a) != 4 || a[1] != "rounds" || a[3] != "seconds" {
		return errForm
	}
	if err := count(&s.Quick.Rounds, a[:1], 1, 1000); err != nil {
		return err
	}
	return seconds(&s.Quick.Seconds, a[2:3])
}
