package bench

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"dyups/bench/rival"
)

// Options is one run.
type Options struct {
	Suite     string   // "full" or "quick": which scenarios, and how long each
	Scenarios []string // by name or file; none: all of the suite
	Proxies   []string // these and no others, in every scenario; none: those that the scenarios name

	// What stands in place of the scenarios' own; 0: their own.
	Rounds      int
	Seconds     float64
	Connections int
	Rate        float64

	Dyups    string // path of the dyups binary
	OldDyups string // of a second one, which takes part wherever dyups does, as "dyups-old"; "": none
	ProxyCPU int
	LoadCPU  int

	Progress io.Writer // what is being done; nil: nothing is told
}

// Suites.
const (
	suiteFull  = "full"
	suiteQuick = "quick"
)

// Validate checks ranges and names, not what the machine has.
func (o *Options) Validate() error {
	if o.Suite != suiteFull && o.Suite != suiteQuick {
		return fmt.Errorf("cannot run suite %q: there is full, quick", o.Suite)
	}
	for _, v := range []struct {
		name           string
		got, least, up float64
	}{
		{"rounds", float64(o.Rounds), 1, 1000},
		{"seconds", o.Seconds, 0.1, 3600},
		{"connections", float64(o.Connections), 1, 10000},
		{"rate", o.Rate, 1, 1e7},
	} {
		if v.got != 0 && (v.got < v.least || v.got > v.up || math.IsNaN(v.got)) {
			return fmt.Errorf("cannot run with %s %g: allowed are %g to %g", v.name, v.got, v.least, v.up)
		}
	}
	for _, cpu := range []int{o.ProxyCPU, o.LoadCPU} {
		if cpu < 0 || cpu > 1023 {
			return fmt.Errorf("cannot run on core %d: allowed are 0 to 1023", cpu)
		}
	}
	if o.ProxyCPU == o.LoadCPU {
		return fmt.Errorf("cannot run proxy and load on the same core %d: the bench needs two", o.ProxyCPU)
	}
	for i, name := range o.Proxies {
		if _, err := rival.ByName(name); err != nil {
			return err
		}
		if slices.Contains(o.Proxies[:i], name) {
			return fmt.Errorf("cannot measure %q twice in one run", name)
		}
	}
	_, err := o.plan()
	return err
}

// item is one scenario of a plan, with everything that Options say about it.
type item struct {
	*Scenario
	Budget
	contenders []contender
}

// plan is what a run does, in this order.
func (o *Options) plan() ([]item, error) {
	all, err := builtIn()
	if err != nil {
		return nil, err
	}
	chosen := all
	if len(o.Scenarios) > 0 {
		if chosen, err = pick(all, o.Scenarios); err != nil {
			return nil, err
		}
	}
	var items []item
	for _, s := range chosen {
		it := item{Scenario: s, Budget: s.Full}
		if o.Suite == suiteQuick {
			if it.Budget = s.Quick; it.Rounds == 0 && len(o.Scenarios) == 0 {
				continue
			}
			if it.Rounds == 0 { // asked for by name, though it is not in the suite
				it.Budget = Budget{Rounds: 2, Seconds: 1}
			}
		}
		o.override(&it)
		it.contenders = it.contend(o.OldDyups != "")
		items = append(items, it)
	}
	return items, nil
}

// override puts what the options say in the place of what the scenario says.
func (o *Options) override(it *item) {
	s := *it.Scenario
	if o.Rounds > 0 {
		it.Rounds = o.Rounds
	}
	if o.Seconds > 0 {
		it.Seconds = o.Seconds
	}
	if o.Connections > 0 {
		s.Connections = o.Connections
	}
	if o.Rate > 0 {
		s.Rate = Rate{PerSecond: o.Rate}
	}
	if len(o.Proxies) > 0 {
		s.Proxies = o.Proxies
	}
	it.Scenario = &s
}

// contender is one column of a report: a proxy with a number of workers, with or without what happens in the scenario.
type contender struct {
	name    string // "dyups", "dyups+churn", "dyups-old", "dyups+2w", "dyups+again"
	label   string // of the proxy: "dyups", "dyups-old"
	program string // by which package rival knows it
	workers int
	apart   bool // the workers are processes
	happens bool
}

// contend lists the contenders of a scenario.
func (s *Scenario) contend(old bool) []contender {
	var list []contender
	happens := []bool{s.happens() != ""}
	if s.Pair {
		happens = []bool{false, true}
	}
	for _, program := range s.Proxies {
		labels := []string{program}
		if program == "dyups" && old {
			labels = []string{oldDyups, program}
		}
		for _, label := range labels {
			for _, workers := range s.Workers {
				for _, h := range happens {
					c := contender{name: label, label: label, program: program, workers: workers, happens: h}
					if h {
						c.name += "+" + s.happens()
					}
					if workers > 1 {
						c.name += fmt.Sprintf("+%dw", workers)
					}
					list = append(list, c)
					if s.Apart && workers > 1 && program == "dyups" {
						c.apart = true
						c.name = c.name[:len(c.name)-1] + "p"
						list = append(list, c)
					}
				}
			}
		}
		if s.Again && program == "dyups" {
			list = append(list, contender{name: program + again, label: program, program: program, workers: s.Workers[0]})
		}
	}
	return list
}

// findDyups makes sure that the dyups binaries are there which a plan needs. Another proxy may be missing: it is skipped.
func (o *Options) findDyups(items []item) error {
	for i := range items {
		for _, c := range items[i].contenders {
			if c.program != "dyups" {
				continue
			}
			path, err := filepath.Abs(o.binary(c))
			if err == nil && o.binary(c) == "" {
				err = errors.New("nothing says where it is")
			}
			if err == nil {
				_, err = exec.LookPath(path)
			}
			if err != nil {
				return fmt.Errorf("cannot find the program of %s: %w; build it and say where it is", c.label, err)
			}
		}
	}
	return nil
}

// binary is the path of a contender's dyups.
func (o *Options) binary(c contender) string {
	if c.label == oldDyups {
		return o.OldDyups
	}
	return o.Dyups
}

// again ends the name of the contender that takes part a second time.
const again = "+again"

// oldDyups is the contender of Options.OldDyups.
const oldDyups = "dyups-old"

// What a plan is estimated with, from runs on two cores: the estimates are for people, and for the test that
// keeps the suites within their bounds.
const (
	turnOverhead  = 60 * time.Millisecond  // of each round of a contender, besides warm-up and seconds
	idleOverhead  = 150 * time.Microsecond // for each idle connection of such a round
	startOverhead = 200 * time.Millisecond // of each proxy that is started
	tableOverhead = 8 * time.Microsecond   // for each server of its configuration
)

// processKey tells which contenders share a process: those with the same key in the same scenario. Silent connections
// leave their traces in a process's memory, so they have one of their own.
func (s *Scenario) processKey(c contender) string {
	key := fmt.Sprintf("%s %dw", c.label, c.workers)
	if c.apart {
		key += " apart"
	}
	if s.Idle > 0 && c.happens {
		key += " idle"
	}
	return key
}

// estimate is how long an item takes, without the start of proxies.
func (it *item) estimate() time.Duration {
	turn := it.WarmUp + time.Duration(it.Seconds*1e9) + turnOverhead
	total := time.Duration(len(it.contenders)*it.Rounds) * turn
	if it.Rate.Share > 0 {
		total += turn
	}
	for _, c := range it.contenders {
		if c.happens {
			total += time.Duration(it.Rounds*it.Idle) * idleOverhead
		}
	}
	return total
}

// estimate is how long a plan takes.
func estimate(items []item) time.Duration {
	total := 2 * time.Second // origins, generator, report
	running := make(map[string]bool)
	setup := ""
	for i := range items {
		it := &items[i]
		total += it.estimate()
		if it.setup() != setup || it.Restart {
			clear(running)
			setup = it.setup()
		}
		for _, c := range it.contenders {
			if key := it.processKey(c); !running[key] {
				running[key] = true
				total += startOverhead + time.Duration(it.Upstreams*it.Servers)*tableOverhead
			}
		}
		if it.Restart {
			clear(running)
		}
	}
	return total
}
