package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for the bench's program: the origins are this program, run again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == originFlag {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestArgs(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := Main(strings.Fields(args), &stdout, &stderr); got != 2 {
			t.Fatalf("%s: exit status %d, want 2", args, got)
		}
		if !strings.Contains(stderr.String(), want) {
			t.Fatalf("%s: got %q, want %q in it", args, &stderr, want)
		}
	}
	f("-rounds 0", "rounds 0: allowed are 1 to 1000")
	f("-seconds -1", "seconds -1")
	f("-connections 0", "connections 0")
	f("-churn -1", "churn -1")
	f("-scenario large", "there is small|")
	f("-proxies apache", "there is nginx, haproxy, dyups")
	f("-proxies nginx,nginx", "twice")
	f("-proxies ,", "without proxies")
	f("-proxy-cpu 1", "same core")
	f("-unknown", "not defined")
	f("more", "only options")
}

// TestSameConfig holds the promise that nginx and dyups read the same bytes.
func TestSameConfig(t *testing.T) {
	origins := [2]string{"127.0.0.1:1", "127.0.0.1:2"}
	text := make(map[string]string)
	for _, name := range []string{"nginx", "dyups"} {
		prog, err := programByName(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := prog.write(dir, "127.0.0.1:3", "127.0.0.1:4", origins); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "proxy.conf"))
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(b)
	}
	if text["nginx"] != text["dyups"] {
		t.Fatalf("nginx reads\n%s\ndyups reads\n%s", text["nginx"], text["dyups"])
	}
	if want := "        server 127.0.0.1:1;\n        server 127.0.0.1:2;\n        keepalive 64;\n"; !strings.Contains(text["nginx"], want) {
		t.Fatalf("got\n%s\nwant in it\n%s", text["nginx"], want)
	}
}

// TestReport follows two contenders with known rounds to the figures and the text.
func TestReport(t *testing.T) {
	opt := &Options{Rounds: 3, Seconds: 4, Connections: 64, Scenario: "small", Churn: 1000, LoadCPU: 1}
	r := &Report{Options: opt, Command: []string{"dyupsbench"}, Contenders: []string{"dyups", "dyups+churn"},
		Skipped: []Skip{{"nginx", "not here"}}, Programs: []Program{{Name: "dyups", Version: "dyups/1"}}}
	for i, slow := range []float64{1, 3, 1} {
		plain := Sample{Round: i + 1, Contender: "dyups", Requests: 10, CPUUs: 10 * slow, PerSecond: 100 / slow, P99us: 200, Bottleneck: "proxy"}
		churn := plain
		churn.Contender, churn.P99us, churn.Bottleneck = "dyups+churn", 220, "load"
		churn.Churn = &ChurnSample{Sent: 4000, Failed: int64(i), PerSecond: 1000, FirstFailure: "status 500"}
		r.Samples = append(r.Samples, plain, churn)
	}
	r.Samples[0].LoadCore.Foreign = 0.5
	r.Samples[2].BadStatus = 3
	r.finish()
	if got, want := r.Results[0].Metrics["cpu_us"], (Spread{Median: 10, Min: 10, Max: 30}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got, want := r.Ratios[0].Metrics["p99_us"], (Spread{Median: 1.1, Min: 1.1, Max: 1.1}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"small: 64 connections, 3 rounds of 4 s, one worker on core 0, load and origins on core 1\n",
		"skipped  nginx: not here\n",
		"dyups    dyups/1\n",
		"10.00 (10.00–30.00)",
		"dyups+churn / dyups",
		"1.100 (1.100–1.100)",
		"dyups+churn: 1000 updates a second asked for, 1000 (1000–1000) sent, 12000 in all, 3 failed\n",
		"round 3, first failure: status 500\n",
		"- dyups+churn: in 3 of 3 rounds the load core was saturated",
		"- dyups: 0 socket errors and 3 answers of status 400 and above\n",
		"- disturbed: in 1 of 6 rounds",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not in the report: %q", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

// needMachine skips a test that runs the real thing where it cannot.
func needMachine(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers and loads them for seconds")
	}
	for _, name := range []string{"wrk", "nginx"} {
		if _, err := find(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	if cores, err := readCoreTimes(0, 1); err != nil || len(cores) != 2 {
		t.Skip("needs two cores")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("may not use two cores")
	}
}

func TestSmoke(t *testing.T) {
	needMachine(t)
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr bytes.Buffer
	args := []string{"-rounds", "1", "-seconds", "1", "-connections", "8", "-scenario", "post", "-proxies", "nginx,haproxy,dyups",
		"-dyups", "/nonexistent/dyups", "-churn", "10", "-json", file}
	if got := Main(args, &stdout, &stderr); got != 0 {
		t.Fatalf("exit status %d: %s", got, &stderr)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.of("nginx")) != 1 {
		t.Fatalf("nginx has not one round:\n%s", b)
	}
	for _, s := range r.Samples {
		if s.Requests == 0 || s.CPUUs <= 0 || s.RSSPeak == 0 || s.BadStatus+s.SocketErrors != 0 {
			t.Errorf("got %+v", s)
		}
	}
	for _, want := range []string{"skipped  dyups: ", "skipped  churn: it needs dyups", "nginx version: "} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("not in the report: %q\n%s", want, &stdout)
		}
	}
	checkGone(t)
}

func TestInterrupt(t *testing.T) {
	needMachine(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opt := Options{Rounds: 1000, Seconds: 3600, Connections: 8, Proxies: []string{"nginx"}, Scenario: "small", LoadCPU: 1}
	result := make(chan error, 1)
	go func() {
		_, err := Run(ctx, opt)
		result <- err
	}()
	// The load has begun when wrk is among the children.
	deadline := time.Now().Add(30 * time.Second)
	for !childRuns(t, "wrk") {
		if time.Now().After(deadline) {
			t.Fatal("wrk did not start")
		}
		runtime.Gosched()
	}
	cancel()
	if err := <-result; err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Fatalf("got error %v", err)
	}
	checkGone(t)
}

// childRuns tells whether a program of that name is among this process's descendants.
func childRuns(t *testing.T, name string) bool {
	t.Helper()
	tree, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range tree {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.pid), "comm"))
		if err == nil && strings.TrimSpace(string(b)) == name {
			return true
		}
	}
	return false
}

// checkGone makes sure that neither a process nor a file is left of a run.
func checkGone(t *testing.T) {
	t.Helper()
	tree, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) != 1 {
		t.Errorf("processes are left: %+v", tree[1:])
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}
