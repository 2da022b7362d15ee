package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What of the results of nginx and dyups has to be the same. Each comparison gives the first step that differs and how.
// Placement by hashes is compared whole. Round robin is, as long as all may be used that could be at the start: when that
// changes, nginx goes on with the weights that its servers have come to, lowered for a while after a failure, and dyups
// with the same turn at another position (lb: "What is exact", "Where it differs from nginx").

// parts cuts a result into its status and the servers tried.
func parts(result string) (status string, tries []string) {
	status, addrs, _ := strings.Cut(result, " ")
	return status, strings.Split(addrs, ", ")
}

// sameSequence: the same servers are tried in the same order.
func sameSequence(_ *balanceCase, want, got []string) (int, string) {
	for i := range want {
		if want[i] != got[i] {
			return i, "another server or status"
		}
	}
	return 0, ""
}

// sameLast is sameSequence but for the order of failed tries within a request: these are all primaries there are.
func sameLast(c *balanceCase, want, got []string) (int, string) {
	sorted := func(results []string) []string {
		out := make([]string, len(results))
		for i, r := range results {
			status, tries := parts(r)
			slices.Sort(tries[:len(tries)-1])
			out[i] = fmt.Sprint(status, tries)
		}
		return out
	}
	return sameSequence(c, sorted(want), sorted(got))
}

// sameTurn: the statuses are the same at each step, dead servers are tried the same number of times in all, and so is
// "no live upstreams" answered; over the last whole turns each living server gets its weight on both.
func sameTurn(c *balanceCase, want, got []string) (int, string) {
	weights, turn := map[string]int{}, 0
	for _, s := range c.servers {
		if !s.dead {
			weights[s.addr] = s.weight
			turn += s.weight
		}
	}
	window := 0
	if turn > 0 {
		window = quickSteps / 2 / turn * turn
	}
	count := func(results []string) map[string]int {
		n := map[string]int{}
		for i, r := range results {
			_, tries := parts(r)
			for _, addr := range tries {
				if weights[addr] == 0 || i >= len(results)-window {
					n[addr]++
				}
			}
		}
		return n
	}
	for i := range want {
		a, _ := parts(want[i])
		if b, _ := parts(got[i]); a != b {
			return i, "another status"
		}
	}
	a, b := count(want), count(got)
	if !maps.Equal(a, b) {
		return 0, fmt.Sprintf("nginx has %v, dyups %v, the last %d requests to living servers counted", a, b, window)
	}
	for addr, w := range weights {
		if b[addr] != w*window/turn {
			return len(want) - window, fmt.Sprintf("%s has %d of %d requests and weight %d", addr, b[addr], window, w)
		}
	}
	return 0, ""
}

// sameFilling: the same order until the first server is full, then the same servers in any order until the first one is
// released; from there on, one server at a time having places, the same order again.
func sameFilling(c *balanceCase, want, got []string) (int, string) {
	free := map[string]int{}
	for _, s := range c.servers {
		free[s.addr] = s.max
	}
	full, released := 0, slices.IndexFunc(c.steps, func(s balanceStep) bool { return s.release != "" })
	for ; full < released; full++ {
		_, tries := parts(want[full])
		if free[tries[0]]--; free[tries[0]] == 0 {
			full++
			break
		}
	}
	anyOrder := func(results []string) []string {
		out := slices.Clone(results)
		slices.Sort(out[full:released])
		return out
	}
	return sameSequence(c, anyOrder(want), anyOrder(got))
}

// sameLoads: at each step the server chosen has the same load, and the servers chosen one after another while the load is
// the same are the same in any order: between equals nginx decides by picks before, dyups by its rotation.
func sameLoads(c *balanceCase, want, got []string) (int, string) {
	weights := map[string]int{}
	for _, s := range c.servers {
		weights[s.addr] = s.weight
	}
	theirs, ours := map[string]int{}, map[string]int{}
	load, equals := -1.0, 0
	for i, s := range c.steps {
		if s.release != "" {
			if !maps.Equal(theirs, ours) {
				return equals, "other servers among those that are equal"
			}
			delete(theirs, s.release)
			delete(ours, s.release)
			load = -1
			continue
		}
		take := func(conns map[string]int, result string) float64 {
			_, tries := parts(result)
			addr := tries[len(tries)-1]
			if weights[addr] == 0 {
				return -1 // refused
			}
			conns[addr]++
			return float64(conns[addr]-1) / float64(weights[addr])
		}
		before := maps.Equal(theirs, ours)
		a, b := take(theirs, want[i]), take(ours, got[i])
		if a != b {
			return i, fmt.Sprintf("%v requests in flight for a unit of weight at nginx's server, %v at ours", a, b)
		}
		if a != load {
			if !before {
				return equals, "other servers among those that are equal"
			}
			load, equals = a, i
		}
	}
	if !maps.Equal(theirs, ours) {
		return equals, "other servers among those that are equal"
	}
	return 0, ""
}
