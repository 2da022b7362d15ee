package result

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// findNotes says what makes the figures of a run mean less than they seem to.
func (r *Run) findNotes() []string {
	var list []string
	list = append(list, r.bottleneckNotes()...)
	for _, name := range r.Contenders {
		samples := r.of(name)
		for _, n := range []string{errorNote(samples), updateNote(samples), removalNote(samples), behindNote(samples), rateNote(samples), spreadNote(samples)} {
			if n != "" {
				list = append(list, name+": "+n)
			}
		}
	}
	if n := r.disturbedNote(); n != "" {
		list = append(list, n)
	}
	return list
}

// bottleneckNotes says where the load and not the proxy was the limit. Where both share their cores, sides mean nothing.
func (r *Run) bottleneckNotes() []string {
	var load, neither []string
	for _, name := range r.Contenders {
		samples := r.of(name)
		l, n := 0, 0
		for _, s := range samples {
			switch {
			case s.ProxyCore == s.LoadCore && s.ProxyCore.Busy > 0:
			case s.Bottleneck == "load" || s.Bottleneck == "both":
				l++
			case s.Bottleneck == "neither" && !open(s):
				n++
			}
		}
		if l > 0 {
			load = append(load, fmt.Sprintf("%s (%d of %d rounds)", name, l, len(samples)))
		}
		if n > 0 {
			neither = append(neither, fmt.Sprintf("%s (%d of %d rounds)", name, n, len(samples)))
		}
	}
	var list []string
	if len(load) > 0 {
		list = append(list, "the load core was saturated with "+strings.Join(load, ", ")+
			": there requests/s is a lower bound, latency is partly the load's own, and CPU time stays comparable")
	}
	if len(neither) > 0 {
		list = append(list, "neither core was saturated with "+strings.Join(neither, ", ")+": something else was waited for")
	}
	return list
}

// open tells whether a round was one of an open loop.
func open(s *Sample) bool { return s.Load.Rate > 0 }

func errorNote(samples []*Sample) string {
	kinds := make(map[string]int64)
	example := ""
	for _, s := range samples {
		for k, n := range s.Load.Errors {
			kinds[k] += n
		}
		if example == "" {
			example = s.Load.Example
		}
	}
	failed, parts := int64(0), []string(nil)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		if kinds[k] > 0 {
			failed += kinds[k]
			parts = append(parts, fmt.Sprintf("%s %d", k, kinds[k]))
		}
	}
	if failed == 0 {
		return ""
	}
	all := failed + total(samples, func(s *Sample) int64 { return s.Load.Latency.Count }) // also of those after the end
	note := fmt.Sprintf("%d of %d requests failed (%s)", failed, all, strings.Join(parts, ", "))
	if example != "" {
		note += "; the first: " + example
	}
	return note
}

func updateNote(samples []*Sample) string {
	var failed, sent int64
	example := ""
	for _, s := range samples {
		c := s.Churn
		if c == nil {
			continue
		}
		if c.Unsupported != "" {
			return "no updates of this kind: " + c.Unsupported
		}
		failed, sent = failed+c.Failed, sent+c.Sent
		if example == "" {
			example = c.Example
		}
	}
	if failed == 0 {
		return ""
	}
	note := fmt.Sprintf("%d of %d updates failed", failed, sent)
	if example != "" {
		note += "; the first: " + example
	}
	return note
}

func removalNote(samples []*Sample) string {
	var late, all int64
	var most time.Duration
	for _, s := range samples {
		if c := s.Churn; c != nil {
			late, all, most = late+c.Late, all+c.Removals, max(most, c.LateMax)
		}
	}
	if late == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d removed servers were still reached by a request after the removal was acknowledged, by up to %s",
		late, all, duration(micros(most)))
}

// behindFrom is from when on it matters that the generator itself is late.
const behindFrom = time.Millisecond

func behindNote(samples []*Sample) string {
	n, most := 0, time.Duration(0)
	for _, s := range samples {
		if s.Load.Behind >= behindFrom {
			n++
		}
		most = max(most, s.Load.Behind)
	}
	note := ""
	if n > 0 {
		note = fmt.Sprintf("in %d of %d rounds the generator itself was late by up to %s: the highest latencies are partly its own",
			n, len(samples), duration(micros(most)))
	}
	if d := total(samples, func(s *Sample) int64 { return s.Load.Dropped }); d > 0 {
		if note != "" {
			note += "; "
		}
		note += fmt.Sprintf("the rate was not kept, %d requests were due and never sent", d)
	}
	return note
}

// afterFrom is the share of the answers to an open loop from which on it matters that they came after the end.
const afterFrom = 0.01

// rateNote says when the answers to an open loop fell behind its rate. What was under way at the end is no sign of that where as
// many answers to requests of the warm-up came in the measured part.
func rateNote(samples []*Sample) string {
	n, after, all := 0, int64(0), int64(0)
	for _, s := range samples {
		l := &s.Load
		least := afterFrom * float64(l.Latency.Count)
		if open(s) && float64(l.After) > least && float64(l.Latency.Count-l.Requests) > least {
			n, after, all = n+1, after+l.After, all+l.Latency.Count
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("in %d of %d rounds the rate was not kept: %d of %d answers came after the end", n, len(samples), after, all)
}

const (
	// unevenFrom is the share of an origin's even part from which on it counts as wrongly used.
	unevenFrom = 0.1
	// unusedFrom is the even part from which on it is no chance that an origin got nothing.
	unusedFrom = 5
)

// spreadNote says when origins of equal weight did not get equally many requests, or one of them none at all. Rounds in
// which something happened to them or to their weights are left out.
func spreadNote(samples []*Sample) string {
	counts := make(map[string]int64)
	all := int64(0)
	for _, s := range samples {
		if len(s.Even) == 0 || s.Churn != nil || len(s.Events) > 0 {
			continue
		}
		for _, name := range s.Even {
			counts[name] += 0
		}
		for name, n := range s.Load.Origins {
			counts[name] += n
			all += n
		}
	}
	if len(counts) < 2 || all == 0 {
		return ""
	}
	even := float64(all) / float64(len(counts))
	names := slices.Sorted(maps.Keys(counts))
	var parts []string
	wrong := false
	for _, name := range names {
		n := float64(counts[name])
		// What a round begins and ends with, and chance where there are few requests, are not counted.
		wrong = wrong || math.Abs(n-even) > max(unevenFrom*even, 5*math.Sqrt(even)) || n == 0 && even >= unusedFrom
		if len(parts) < 8 {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", name, 100*n/float64(all)))
		}
	}
	if !wrong {
		return ""
	}
	if len(names) > len(parts) {
		parts = append(parts, "…")
	}
	return fmt.Sprintf("uneven spread over %d origins of equal weight: %s", len(names), strings.Join(parts, ", "))
}

// disturbed is the share of a core from which on what others took of it is worth a note.
const disturbed = 0.05

// disturbedNote says how much of both cores went to others. It concerns all contenders alike.
func (r *Run) disturbedNote() string {
	n, foreign, steal := 0, 0.0, 0.0
	for i := range r.Samples {
		s := &r.Samples[i]
		f, st := max(s.ProxyCore.Foreign, s.LoadCore.Foreign), max(s.ProxyCore.Steal, s.LoadCore.Steal)
		if f > disturbed || st > disturbed {
			n++
		}
		foreign, steal = max(foreign, f), max(steal, st)
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("disturbed: in %d of %d rounds other processes or the hypervisor took more than %.0f %% of a core "+
		"(worst: other processes %.0f %%, hypervisor %.0f %%); repeat it on a quiet machine",
		n, len(r.Samples), 100*disturbed, 100*min(foreign, 1), 100*min(steal, 1))
}

// duration writes a time given in µs with its unit.
func duration(us float64) string {
	switch a := math.Abs(us); {
	case a >= 999_500:
		return number(us/1e6, 3) + " s"
	case a >= 999.5:
		return number(us/1e3, 3) + " ms"
	}
	return number(us, 3) + " µs"
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
