package bench

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Load is what wrk saw in one round.
type Load struct {
	Requests     int64         // answers received
	Elapsed      time.Duration // by wrk's own clock
	PerSecond    float64
	P50, P99     time.Duration
	SocketErrors int64 // connect, read, write and timeout
	BadStatus    int64 // answers of status 400 and above
}

var (
	wrkRequests  = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([0-9.]+(?:us|ms|s|m|h)),`)
	wrkPerSecond = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)`)
	wrkQuantile  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([0-9.]+(?:us|ms|s|m|h))\s*$`)
	wrkSocket    = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus    = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// parseWrk reads what wrk 4 prints with --latency. The two error lines are printed only when there were errors.
func parseWrk(out string) (Load, error) {
	var l Load
	fail := func(what string) (Load, error) {
		return l, fmt.Errorf("cannot find %s in what wrk printed: %q", what, out)
	}
	m := wrkRequests.FindStringSubmatch(out)
	if m == nil {
		return fail("the number of requests")
	}
	var err error
	number := func(s string) (n int64) {
		if err == nil {
			n, err = strconv.ParseInt(s, 10, 64)
		}
		return n
	}
	span := func(s string) (d time.Duration) {
		if err == nil {
			d, err = time.ParseDuration(s)
		}
		return d
	}
	l.Requests, l.Elapsed = number(m[1]), span(m[2])
	if m = wrkPerSecond.FindStringSubmatch(out); m == nil {
		return fail("requests a second")
	}
	if err == nil {
		l.PerSecond, err = strconv.ParseFloat(m[1], 64)
	}
	quantiles := wrkQuantile.FindAllStringSubmatch(out, -1)
	if len(quantiles) != 2 {
		return fail("the 50 % and 99 % latencies")
	}
	l.P50, l.P99 = span(quantiles[0][2]), span(quantiles[1][2])
	if m = wrkSocket.FindStringSubmatch(out); m != nil {
		for _, s := range m[1:] {
			l.SocketErrors += number(s)
		}
	}
	if m = wrkStatus.FindStringSubmatch(out); m != nil {
		l.BadStatus = number(m[1])
	}
	if err != nil {
		return l, fmt.Errorf("cannot parse what wrk printed: %w", err)
	}
	return l, nil
}

// wrk is the load generator: one thread, on one core.
type wrk struct {
	path        string
	script      string // Lua file of the scenario
	logFile     string
	cpu         int
	connections int
	seconds     int
}

// run loads url for one round and returns what wrk saw and the CPU time it took. wrk is killed when ctx ends or when it
// stays ten seconds beyond its time.
func (w *wrk) run(ctx context.Context, url string) (Load, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.seconds+10)*time.Second)
	defer cancel()
	if err := os.Remove(w.logFile); err != nil && !os.IsNotExist(err) {
		return Load{}, 0, fmt.Errorf("cannot run wrk: %w", err)
	}
	p, err := newProcess("wrk", w.logFile, w.path, "-t1", "-c"+strconv.Itoa(w.connections), "-d"+strconv.Itoa(w.seconds)+"s",
		"--latency", "-s", w.script, url)
	if err != nil {
		return Load{}, 0, err
	}
	if err := p.start(w.cpu); err != nil {
		return Load{}, 0, err
	}
	defer p.stop()
	select {
	case <-p.done:
	case <-ctx.Done():
		return Load{}, 0, fmt.Errorf("cannot finish a round of wrk: %w", context.Cause(ctx))
	}
	out, err := os.ReadFile(w.logFile)
	if err != nil {
		return Load{}, 0, fmt.Errorf("cannot read what wrk printed: %w", err)
	}
	state := p.cmd.ProcessState
	if !state.Success() {
		return Load{}, 0, fmt.Errorf("cannot finish a round of wrk: %s: %s", state, strings.TrimSpace(string(out)))
	}
	l, err := parseWrk(string(out))
	return l, state.UserTime() + state.SystemTime(), err
}
