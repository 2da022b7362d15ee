package result

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"dyups/bench/churn"
	"dyups/bench/load"
)

// made is a report made up for tests: all of it follows from its arguments. Figures have the size of real ones.
func made() *Report {
	r := &Report{
		Date: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC), Command: []string{"dyupsbench", "-suite", "full"}, Commit: "0123456789ab-dirty",
		Machine: Machine{CPU: "Made-Up CPU @ 2.80GHz", Cores: 2, Memory: 8 << 30, Arch: "amd64", Kernel: "6.18.0", Go: "go1.26.8",
			Limits: []string{"net.core.somaxconn = 4096", "open files = 1048576"}},
		LoadCPU: 1,
		Programs: []Program{{"nginx", "nginx/1.22.1", "# 1 upstream\nworker_processes 1;\n"}, {"haproxy", "HAProxy 2.6.12", "nbthread 1\n"},
			{"caddy", "v2.6.2", "{}"}, {"goproxy", "go1.26.8", "-"}, {"dyups", "dyups/1.0", "worker_processes 1;\n"},
			{"dyups", "dyups/1.0", "# 10,000 upstreams\nworker_processes 1;\n"}},
		Notes: []string{"net.ipv4.tcp_tw_reuse is off"},
		Goals: []Goal{
			{"CPU per request, 64 connections", "≤ 0.80 of nginx", 0.8, true, Spread{0.74, 0.71, 0.79}, true, "small-64: dyups / nginx"},
			{"throughput with 1,000 updates a second on 10,000 upstreams", "≥ 0.97 of without", 0.97, false, Spread{0.951, 0.93, 0.99}, false,
				"churn-1000: dyups+churn / dyups"},
			{"updates a second from 16 clients", "≥ 20,000", 20000, false, Spread{31234, 31234, 31234}, true, "update-rate: dyups+churn"},
		},
	}
	five := []madeOf{{"nginx", 16, 5.2}, {"haproxy", 18.1, 9}, {"caddy", 84, 62}, {"goproxy", 61, 44}, {"dyups", 11.9, 18}}
	small := madeRun("small-64", "Small answers, 64 keep-alive connections", 5, five, 6)
	small.Skipped = []Skip{{"dyups-old", "there is no second binary"}}
	large := madeRun("answer-1m", "Answers of 1 MB", 3, []madeOf{{"nginx", 880, 6}, {"haproxy", 650, 9}, {"dyups", 470, 18}}, 1<<20)
	churned := madeRun("churn-1000", "1,000 updates a second on 10,000 upstreams", 3,
		[]madeOf{{"haproxy", 19, 30}, {"haproxy+churn", 23, 31}, {"dyups", 12, 64}, {"dyups+churn", 12.9, 71}}, 6)
	for i := range churned.Samples {
		if s := &churned.Samples[i]; base(s.Contender) != s.Contender {
			s.Churn = &churn.Sample{Script: churn.Reweigh, Clients: 1, Sent: 2400, PerSecond: 1000,
				P50us: 140, P90us: 300, P99us: 820, MaxUs: 1900}
			for k := range 1000 {
				s.Churn.At = append(s.Churn.At, float64(k)*0.002)
			}
		}
	}
	reload := madeRun("reload", "A reload each second", 2,
		[]madeOf{{"nginx", 17, 6}, {"nginx+reload", 29, 11}, {"haproxy", 18, 9}, {"haproxy+reload", 35, 14},
			{"dyups", 12, 18}, {"dyups+reload", 13, 19}}, 6)
	for i := range reload.Samples {
		if s := &reload.Samples[i]; base(s.Contender) != s.Contender {
			s.Events = []Event{{0.5, "reload, done after 31 ms"}, {1.5, "reload, done after 28 ms"}}
		}
	}
	reload.Samples[1].Load.Errors = map[string]int64{load.ErrClosed: 3, load.ErrRead: 1}
	reload.Samples[1].Load.Example = "connection 7: closed by peer"
	r.Runs = []Run{small, large, churned, reload}
	r.Finish()
	return r
}

// madeOf is a contender: CPU time of a request in µs, resident memory in MiB.
type madeOf struct {
	name     string
	cpu, rss float64
}

// madeRun makes up a run. The last contender is limited by the load's core.
func madeRun(name, title string, rounds int, who []madeOf, body int64) Run {
	r := Run{Scenario: name, Title: title, Text: "title  " + title + "\npath   /small\n", Rounds: rounds}
	rnd := rand.New(rand.NewPCG(1, uint64(len(name))))
	noise := func(v, share float64) float64 { return v * math.Exp(share*rnd.NormFloat64()) }
	for _, w := range who {
		r.Contenders = append(r.Contenders, w.name)
	}
	for round := 1; round <= rounds; round++ {
		for i, w := range who {
			s := Sample{Round: round, Contender: w.name, CPUUs: noise(w.cpu, 0.04), RSSPeak: int64(noise(w.rss*1.1, 0.01) * (1 << 20)),
				Switches: noise(0.02, 0.3), ProxyCore: CoreUse{Busy: 0.99}, LoadCore: CoreUse{Busy: 0.8}, Bottleneck: "proxy"}
			if i == len(who)-1 {
				s.ProxyCore.Busy, s.LoadCore.Busy, s.Bottleneck = 0.9, 0.98, "load"
			}
			s.UserUs = s.CPUUs * 0.25
			s.SystemUs = s.CPUUs - s.UserUs
			s.Load = madeLoad(1e6/s.CPUUs*s.ProxyCore.Busy, noise, body)
			s.CPUPerMB = s.CPUUs / (float64(body) / (1 << 20))
			for k := range 21 {
				s.RSS = append(s.RSS, Reading{float64(k) * 0.1, int64(noise(w.rss*(1+0.002*float64(k)), 0.005) * (1 << 20))})
			}
			r.Samples = append(r.Samples, s)
		}
	}
	return r
}

// madeLoad makes up what a closed loop of 64 connections saw within two seconds.
func madeLoad(perSecond float64, noise func(v, share float64) float64, body int64) load.Result {
	n := int64(perSecond * 2)
	mean := 64 / perSecond * 1e6
	at := func(q float64) float64 { return noise(mean*(0.8+0.25*-math.Log10(max(1-q, 1/float64(n)))), 0.02) }
	l := load.Result{Requests: n, Bytes: n * body, Elapsed: 2 * time.Second, PerSecond: perSecond,
		Latency: load.Latency{Count: n, Mean: mean, P50: at(0.5), P90: at(0.9), P99: at(0.99),
			P999: at(0.999), P9999: at(0.9999), Max: 1.2 * at(1)},
		Origins: map[string]int64{"o0": n / 2, "o1": n - n/2}}
	for k := 0.0; k < 5; k += 0.1 {
		if q := 1 - math.Pow(10, -k); q <= 1-1/float64(n) {
			v := mean * (0.8 + 0.25*k)
			l.Latency.Curve = append(l.Latency.Curve, load.Quantile{Q: q, Us: v})
		}
	}
	l.Latency.Curve = append(l.Latency.Curve, load.Quantile{Q: 1, Us: l.Latency.Max})
	for k := range 20 {
		n, p99 := int64(noise(perSecond/10, 0.03)), noise(l.Latency.P99, 0.2)
		l.Series = append(l.Series, load.Point{At: float64(k) * 0.1, Requests: n, P50: mean, P99: p99})
	}
	return l
}

// hostile is a name that would be trouble if it reached a page as it is.
const hostile = `<script>alert("x")</script>'"&` + "`${1}"

// nasty is a report that is all names of that kind, and without a sound figure.
func nasty() *Report {
	r := &Report{Commit: hostile, Command: []string{hostile},
		Machine:  Machine{CPU: hostile, Kernel: hostile, Go: hostile, Limits: []string{hostile}},
		Programs: []Program{{hostile, hostile, hostile}}, Skipped: []Skip{{hostile, hostile}}, Notes: []string{hostile},
		Goals: []Goal{{Title: hostile, Target: hostile, Source: hostile, Measured: Spread{math.NaN(), math.Inf(-1), math.Inf(1)}}}}
	run := Run{Scenario: hostile, Title: hostile, Text: hostile, Rounds: 1, Contenders: []string{hostile, "nobody"}}
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, math.MaxFloat64} {
		run.Samples = append(run.Samples, Sample{Round: i + 1, Contender: hostile, CPUUs: v, UserUs: v, SystemUs: v, CPUPerMB: v, Switches: v,
			ProxyCore: CoreUse{v, v, v}, RSS: []Reading{{v, 1}, {1, -1}}, Events: []Event{{v, hostile}}, Bottleneck: hostile,
			Load: load.Result{PerSecond: v, Errors: map[string]int64{hostile: 1}, Example: hostile,
				Latency: load.Latency{P50: v, P99: v, Max: v, Curve: []load.Quantile{{Q: v, Us: 1}, {Q: 0.5, Us: v}, {Q: 2, Us: 3}}},
				Series:  []load.Point{{At: v, Requests: 1, P99: v}, {At: 1, Requests: -1, P99: v}}, Origins: map[string]int64{hostile: 1000, "o": 1}},
			Churn: &churn.Sample{At: []float64{v, 1}, Failed: 1, Example: hostile, P99us: v, PerSecond: v}})
	}
	r.Runs = []Run{run}
	return r
}

// lengths makes a run whose lines have so many points.
func lengths(n int) *Run {
	r := &Run{Scenario: "s", Title: fmt.Sprintf("%d points", n), Rounds: 1, Contenders: []string{"a", "b+churn"}}
	for i, name := range r.Contenders {
		s := Sample{Round: 1, Contender: name, CPUUs: float64(n), UserUs: float64(n) / 2, SystemUs: float64(n) / 2,
			Churn: &churn.Sample{}, Load: load.Result{Elapsed: time.Duration(n) * 100 * time.Millisecond, PerSecond: 10}}
		for k := range n {
			v := float64(k%97+1) * math.Pow(10, float64(i+k%3))
			s.Load.Latency.Curve = append(s.Load.Latency.Curve, load.Quantile{Q: 1 - 1/float64(k+1), Us: v})
			s.Load.Series = append(s.Load.Series, load.Point{At: float64(k) / 10, Requests: int64(k + 1), P99: v})
			s.RSS = append(s.RSS, Reading{float64(k) / 10, int64(v * 1e6)})
			s.Churn.At = append(s.Churn.At, float64(k)/10)
			s.Events = append(s.Events, Event{float64(k) / 10, "reload"})
		}
		r.Samples = append(r.Samples, s)
	}
	return r
}
