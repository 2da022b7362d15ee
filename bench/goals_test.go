package bench

import (
	"strings"
	"testing"
	"time"

	"dyups/bench/churn"
	"dyups/bench/load"
	"dyups/bench/result"
)

// made is a round made up for tests.
func made(round int, contender string, set func(s *result.Sample)) result.Sample {
	s := result.Sample{Round: round, Contender: contender, Load: load.Result{Requests: 1, Elapsed: time.Second}}
	set(&s)
	return s
}

func TestGoals(t *testing.T) {
	cpu := func(v float64) func(*result.Sample) { return func(s *result.Sample) { s.CPUUs = v } }
	all, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	idle, err := pick(all, []string{"idle"})
	if err != nil {
		t.Fatal(err)
	}
	memory := func(bytes ...int64) func(*result.Sample) {
		return func(s *result.Sample) {
			for i, b := range bytes {
				s.RSS = append(s.RSS, result.Reading{At: float64(i) / 10, Bytes: b})
			}
		}
	}
	r := &result.Report{Runs: []result.Run{
		{Scenario: "small-64", Samples: []result.Sample{
			made(1, "nginx", cpu(10)), made(1, "dyups", cpu(7)), made(2, "dyups", cpu(30)), made(2, "nginx", cpu(40)),
			made(3, "dyups", cpu(9)), made(1, "haproxy", cpu(7)),
		}},
		{Scenario: "churn-1000", Samples: []result.Sample{
			made(1, "dyups", func(s *result.Sample) { s.Load.PerSecond = 100 }),
			made(1, "dyups+churn", func(s *result.Sample) {
				s.Load.PerSecond = 98
				s.Load.Errors = map[string]int64{load.ErrStatus: 2}
				s.Churn = &churn.Sample{Failed: 1}
			}),
			made(2, "dyups+churn", func(s *result.Sample) { s.Load.Errors = map[string]int64{load.ErrRead: 4} }),
			made(1, "dyups+again", func(s *result.Sample) { s.Load.PerSecond = 90 }),
		}},
		{Scenario: "churn-100", Samples: []result.Sample{
			made(1, "dyups+churn", func(s *result.Sample) { s.Churn = &churn.Sample{Removals: 10} }),
		}},
		{Scenario: "churn-removal", Samples: []result.Sample{
			made(1, "dyups+churn", func(s *result.Sample) { s.Churn = &churn.Sample{Removals: 10, Late: 1} }),
			made(2, "dyups+churn", func(s *result.Sample) { s.Churn = &churn.Sample{Removals: 10, Late: 2} }),
		}},
		{Scenario: "update-idle", Samples: []result.Sample{
			made(1, "dyups+churn", func(s *result.Sample) { s.Churn = &churn.Sample{P99us: 800} }),
			made(1, "bare+churn", func(s *result.Sample) { s.Churn = &churn.Sample{P99us: 500} }),
		}},
		{Scenario: "update-rate", Samples: []result.Sample{
			made(1, "dyups+churn", func(s *result.Sample) { s.Churn = &churn.Sample{PerSecond: 19999} }),
		}},
		{Scenario: "scaling", Samples: []result.Sample{made(1, "dyups", cpu(5)), made(1, "dyups+2p", cpu(10)), made(1, "dyups+2w", cpu(11))}},
		{Scenario: "idle", Text: idle[0].Text, Samples: []result.Sample{
			made(1, "dyups", memory(5_000_000, 6_000_000, 90_000_000)), made(1, "dyups+idle", memory(16_000_000)),
			made(1, "nginx", memory(4_000_000)), made(1, "nginx+idle", memory(8_000_000)),
		}},
		{Scenario: "browser", Samples: []result.Sample{made(1, "dyups", cpu(1))}}, // nobody to compare with
	}}
	got := goals(r, &Options{})
	f := func(title, target string, want float64, met bool) {
		t.Helper()
		if len(got) == 0 {
			t.Fatalf("there is no goal %q", title)
		}
		g := got[0]
		got = got[1:]
		if d := g.Measured.Median - want; !strings.Contains(g.Title, title) || g.Target != target || d > 1e-9 || d < -1e-9 || g.Met != met {
			t.Fatalf("got %+v, want %s %s: %v, %v", g, title, target, want, met)
		}
	}
	f("CPU per request, 64", "≤ 0.80 of nginx", (0.7+0.75)/2, true) // round 3 has no nginx
	f("CPU per request, 64", "≤ 0.85 of HAProxy", 1, false)
	if source := got[0].Source; source != "churn-1000: dyups+churn / dyups; dyups+again / dyups 0.9 (0.9–0.9)" {
		t.Errorf("got source %q", source)
	}
	f("throughput with 1,000", "≥ 0.97 of without", 0.98, true)
	f("failed requests", "none", 7, false) // in all rounds together
	f("requests to a server after its removal", "none", 0, true)
	f("removal was acknowledged, 10,000 upstreams", "none", 3, false)
	if source := got[0].Source; source != "update-idle: dyups+churn; bare+churn 0.5 (0.5–0.5)" {
		t.Errorf("got source %q", source)
	}
	f("reply to an update", "≤ 1", 0.8, true)
	f("updates a second", "≥ 20,000", 19999, false)
	f("capacity of two loops", "≥ 1.8 of one on one", 2*10.0/11, true)
	f("memory for one idle", "≤ 1.5 KiB", 1000, true)
	f("memory for one idle", "≤ nginx's", 2.5, false)
	if len(got) != 0 {
		t.Fatalf("got further goals %+v", got)
	}
	if got := goals(r, &Options{Connections: 8}); len(got) != 0 {
		t.Fatalf("with other connections: got goals %+v", got)
	}
	if got := goals(&result.Report{}, &Options{}); len(got) != 0 {
		t.Fatalf("without runs: got goals %+v", got)
	}
}

// TestGoalWithoutFigure: where nothing was looked at, nothing is met.
func TestGoalWithoutFigure(t *testing.T) {
	churned := func(s *result.Sample) { s.Churn = &churn.Sample{} }
	r := &result.Report{Runs: []result.Run{
		{Scenario: "churn-100", Samples: []result.Sample{made(1, "dyups+churn", churned), made(2, "dyups+churn", func(*result.Sample) {})}},
		{Scenario: "small-64", Samples: []result.Sample{made(1, "dyups", func(s *result.Sample) { s.CPUUs = 1 }), made(1, "nginx", func(*result.Sample) {})}},
		{Scenario: "update-rate", Samples: []result.Sample{made(1, "dyups+churn", func(*result.Sample) {})}},
	}}
	if got := goals(r, &Options{}); len(got) != 0 {
		t.Errorf("goals %+v", got)
	}
}

// TestGoalScenarios makes sure that every goal is about contenders of a scenario that there is.
func TestGoalScenarios(t *testing.T) {
	all, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range table {
		s, err := pick(all, []string{g.scenario})
		if err != nil {
			t.Fatal(err)
		}
		names := make(map[string]bool)
		for _, c := range s[0].contend(false) {
			names[c.name] = true
		}
		if !names[g.over] || g.under != "" && !names[g.under] {
			t.Errorf("%s: %s, %s are not among its contenders", g.scenario, g.over, g.under)
		}
	}
}
