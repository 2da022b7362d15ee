package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dyups/bench/load"
	"dyups/bench/proc"
	"dyups/bench/result"
)

// TestMain lets the test's program be the bench's children.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// built holds the dyups binary under test, once it was built.
var built string

var buildDyups = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "dyups")
	if out, err := exec.Command("go", "build", "-o", path, "dyups/cmd/dyups").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// dyupsBinary builds dyups where a test of the real thing can run, and skips the test elsewhere.
func dyupsBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers and loads them for seconds")
	}
	if _, err := proc.ReadCoreTimes(0, 1); err != nil || runtime.NumCPU() < 2 {
		t.Skip("needs cores 0 and 1")
	}
	path, err := buildDyups()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir()) // checkGone looks there
	return path
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
	f("-suite some", "there is full, quick")
	f("-network lan", "there is private, host")
	f("-rounds 1001", "rounds 1001: allowed are 1 to 1000")
	f("-rounds -1", "rounds -1")
	f("-seconds 0.01", "seconds 0.01")
	f("-connections 20000", "connections 20000")
	f("-rate -5", "rate -5")
	f("-scenario large", "there is small-8, small-64")
	f("-scenario ./none.txt", "no such file")
	f("-proxies apache", "there is nginx, nginx-reload, haproxy, caddy, goproxy, dyups, bare")
	f("-proxies nginx,nginx", "twice")
	f("-proxy-cpu 1", "same core")
	f("-load-cpu -1", "core -1")
	f("-unknown", "not defined")
	f("more", "only options")
}

// TestNowhereToWrite: a report that cannot be written is wrong usage, and nothing is measured for it.
func TestNowhereToWrite(t *testing.T) {
	dir := t.TempDir()
	was := filepath.Join(dir, "was.html")
	if err := os.WriteFile(was, []byte("as it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := func(json, html string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args := []string{"-scenario", "small-8", "-dyups", "/nonexistent/dyups", "-json", json, "-html", html}
		if got := Main(args, &stdout, &stderr); got != 2 || !strings.Contains(stderr.String(), "cannot write the report to") ||
			stdout.Len() > 0 {
			t.Fatalf("exit status %d, %s, output %s", got, &stderr, &stdout)
		}
	}
	f(filepath.Join(dir, "none", "r.json"), was)
	f(filepath.Join(dir, "r.json"), filepath.Join(dir, "none", "r.html"))
	f(filepath.Join(dir, "r.json"), dir)
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || !slices.Equal(left, []string{was}) {
		t.Errorf("got files %q, %v", left, err)
	}
	if b, err := os.ReadFile(was); err != nil || string(b) != "as it was" {
		t.Errorf("a file that was there has become %q, %v", b, err)
	}
}

// TestReportForms: a form of the report that cannot be written does not take the others with it.
func TestReportForms(t *testing.T) {
	dir := t.TempDir()
	r := &result.Report{Runs: []result.Run{{Scenario: "s", Title: "A title"}}}
	f := func(json, html string, wantErr bool, written ...string) {
		t.Helper()
		var stdout bytes.Buffer
		c := &command{json: filepath.Join(dir, json), html: filepath.Join(dir, html)}
		if err := c.report(&stdout, r); (err != nil) != wantErr {
			t.Fatalf("got error %v", err)
		}
		if !strings.Contains(stdout.String(), "A title") {
			t.Fatalf("the text is missing: %s", &stdout)
		}
		for _, name := range []string{json, html} {
			file := filepath.Join(dir, name)
			info, err := os.Stat(file)
			there := err == nil && info.Size() > 0
			if want := slices.Contains(written, name); there != want || strings.Contains(stdout.String(), file) != want {
				t.Fatalf("%s: written: %v, want %v; output %s", name, there, want, &stdout)
			}
		}
	}
	f("a.json", "a.html", false, "a.json", "a.html")
	f("none/b.json", "b.html", true, "b.html")
	f("c.json", "none/c.html", true, "c.json")
	f("none/d.json", "none/d.html", true)
}

func TestHelp(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := Main(strings.Fields(args), &stdout, &stderr); got != 0 {
			t.Fatalf("%s: exit status %d: %s", args, got, &stderr)
		}
		if all := stdout.String() + stderr.String(); !strings.Contains(all, want) {
			t.Fatalf("%s: got %q, want %q in it", args, all, want)
		}
	}
	f("-h", "dyupsbench -suite quick ")
	f("-list", "scenarios, about 1")
	f("-list -suite quick -proxies dyups", "dyups dyups+churn\n")
}

// scenarioFile writes a scenario of its own that takes short turns.
func scenarioFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".txt")
	text = "title " + name + "\nconnections 4\nwarm-up 100ms\nrounds 1\n" + text
	if !strings.Contains(text, "\nseconds ") {
		text += "\nseconds 0.2"
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRun measures short scenarios of several kinds, from the command line to the files of the report, with dyups and
// whatever else is installed.
func TestRun(t *testing.T) {
	dyups := dyupsBinary(t)
	dir := t.TempDir()
	jsonFile, htmlFile := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.html")
	scenarios := []string{
		scenarioFile(t, "plain", "proxies nginx haproxy caddy goproxy dyups"),
		scenarioFile(t, "open", "path /1k\nrate 50% of goproxy\nproxies bare goproxy dyups"),
		scenarioFile(t, "updates", "churn servers 50 a second on loaded\npair yes\nproxies nginx dyups"),
		scenarioFile(t, "hosts", "upstreams 20\nservers 3\nby-host yes\nchurn replace 50 a second on others\nproxies dyups"),
		scenarioFile(t, "by-load", "upstreams 20\nchurn reweigh 55 a second by the load on all\nproxies haproxy dyups"),
		scenarioFile(t, "idle", "idle 50\npair yes\nrestart yes\nproxies dyups"),
		scenarioFile(t, "reload", "reload every 100ms\nseconds 1\nproxies goproxy dyups"),
		scenarioFile(t, "fault", "fault o1 reset after 50ms every 100ms for 20ms\nproxies dyups"),
		scenarioFile(t, "workers", "workers 1 2\napart yes\nproxies dyups"),
		scenarioFile(t, "echo", "path /ws\nwebsocket yes\nbody 100\nproxies dyups"),
		scenarioFile(t, "upload", "method POST\nbody 10k\nproxies dyups"),
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-scenario", strings.Join(scenarios, ","), "-dyups", dyups, "-json", jsonFile, "-html", htmlFile}
	if got := Main(args, &stdout, &stderr); got != 0 {
		t.Fatalf("exit status %d: %s", got, &stderr)
	}
	checkGone(t)
	r := readReport(t, jsonFile)
	if page, err := os.ReadFile(htmlFile); err != nil || !bytes.Contains(page, []byte("<html")) {
		t.Errorf("the page is not one: %v", err)
	}
	if !strings.Contains(stdout.String(), jsonFile) || !strings.Contains(stderr.String(), "11 scenarios, about ") {
		t.Errorf("got output %s\nand %s", &stdout, &stderr)
	}
	f := func(scenario, contender string, check func(s *result.Sample) bool) {
		t.Helper()
		run := runOf(r, scenario)
		if run == nil {
			t.Fatalf("there is no run %q", scenario)
		}
		samples := samplesOf(run, contender)
		if len(samples) != run.Rounds {
			t.Fatalf("%s: %s has %d rounds, want %d; skipped: %+v", scenario, contender, len(samples), run.Rounds, run.Skipped)
		}
		for _, s := range samples {
			if s.Load.Requests == 0 || s.CPUUs <= 0 || s.RSSPeak == 0 || len(s.RSS) == 0 || !check(s) {
				s.Load.Latency = load.Latency{} // long, and of no use here
				t.Errorf("%s: %s: got %+v, updates %+v", scenario, contender, s, s.Churn)
			}
		}
	}
	clean := func(s *result.Sample) bool { return len(s.Load.Errors) == 0 }
	f("plain", "dyups", func(s *result.Sample) bool { return clean(s) && len(s.Load.Origins) == 2 })
	f("plain", "goproxy", clean)
	f("open", "dyups", clean)
	f("updates", "dyups", func(s *result.Sample) bool { return clean(s) && s.Churn == nil })
	f("updates", "dyups+churn", func(s *result.Sample) bool {
		return clean(s) && s.Churn.Sent > 1 && s.Churn.Failed == 0 && s.Churn.Late == 0
	})
	f("hosts", "dyups+churn", func(s *result.Sample) bool { return clean(s) && s.Churn.Failed == 0 && len(s.Load.Origins) == 3 })
	f("by-load", "dyups+churn", func(s *result.Sample) bool {
		return clean(s) && s.Churn.Failed == 0 && s.Churn.Sent > 1 && s.Churn.P99us > 0 && len(s.Churn.At) > 0 && s.Load.Updates == nil
	})
	f("idle", "dyups+idle", clean)
	f("reload", "dyups+reload", func(s *result.Sample) bool { return len(s.Events) > 0 })
	f("fault", "dyups+faults", func(s *result.Sample) bool { return len(s.Events) > 0 })
	f("workers", "dyups+2w", clean)
	f("workers", "dyups+2p", func(s *result.Sample) bool { return clean(s) && len(s.Load.Origins) == 2 })
	f("echo", "dyups", clean)
	f("upload", "dyups", func(s *result.Sample) bool { return clean(s) && s.CPUPerMB > 0 })
	skipped := func(scenario, contender, why string) {
		t.Helper()
		for _, s := range runOf(r, scenario).Skipped {
			if s.Name == contender && strings.Contains(s.Why, why) {
				return
			}
		}
		t.Errorf("%s: %s was not skipped for %q: %+v", scenario, contender, why, runOf(r, scenario).Skipped)
	}
	skipped("reload", "goproxy+reload", "not supported")
	if run := runOf(r, "updates"); len(samplesOf(run, "nginx")) > 0 {
		skipped("updates", "nginx+churn", "not supported")
	}
	for _, s := range append(samplesOf(runOf(r, "plain"), "dyups"), samplesOf(runOf(r, "workers"), "dyups+2p")...) {
		if !slices.Equal(s.Even, []string{"o0", "o1"}) {
			t.Errorf("%s: got %q for the origins of an even spread", s.Contender, s.Even)
		}
	}
	for _, s := range append(samplesOf(runOf(r, "fault"), "dyups+faults"), samplesOf(runOf(r, "open"), "bare")...) {
		if s.Even != nil {
			t.Errorf("%s: got %q for the origins of an even spread, want none", s.Contender, s.Even)
		}
	}
	for _, run := range r.Runs {
		for _, n := range run.Notes {
			if strings.Contains(n, "uneven") {
				t.Errorf("%s: got note %q", run.Scenario, n)
			}
		}
	}
	if notes := runOf(r, "open").Notes; len(notes) == 0 || !strings.Contains(notes[0], "50 % of the ") {
		t.Errorf("the rate of an open loop is not told: %q", notes)
	}
}

func readReport(t *testing.T, file string) *result.Report {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r result.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// TestMissing runs without dyups, in whose absence nothing is measured, and with something in its place that ends at once, where the
// rest is measured. Both are failures.
func TestMissing(t *testing.T) {
	dyups := dyupsBinary(t)
	broken, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	f := func(status int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append(args, "-json", file, "-html", filepath.Join(t.TempDir(), "r.html"))
		if got := Main(args, &stdout, &stderr); got != status {
			t.Fatalf("%s: exit status %d, want %d: %s", args, got, status, &stderr)
		}
		checkGone(t)
		return stderr.String()
	}
	both := scenarioFile(t, "plain", "proxies goproxy dyups")
	none := func(why string, args ...string) {
		t.Helper()
		if text := f(1, append(args, "-scenario", both)...); !strings.Contains(text, why) || strings.Contains(text, "about") {
			t.Fatalf("%s: got %q, want %q in it and nothing measured", args, text, why)
		}
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s: there is a report", args)
		}
	}
	none("cannot find the program of dyups: ", "-dyups", "/nonexistent/dyups")
	none("cannot find the program of dyups: ", "-dyups", "")
	none("cannot find the program of dyups: ", "-dyups", t.TempDir())
	none("cannot find the program of dyups-old: ", "-dyups", dyups, "-dyups2", "/nonexistent/dyups")
	f(0, "-dyups", "/nonexistent/dyups", "-scenario", both, "-proxies", "goproxy") // it does not take part
	f(1, "-dyups", broken, "-scenario", both)
	run := readReport(t, file).Runs[0]
	if len(samplesOf(&run, "goproxy")) != 1 || len(run.Skipped) != 1 || run.Skipped[0].Name != "dyups" ||
		!strings.Contains(run.Skipped[0].Why, "it has ended") {
		t.Fatalf("got %d samples, skipped %+v", len(run.Samples), run.Skipped)
	}
}

func TestInterrupt(t *testing.T) {
	dyups := dyupsBinary(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	began := &watchWriter{want: "round 1", seen: make(chan struct{})}
	opt := Options{Suite: suiteFull, Scenarios: []string{scenarioFile(t, "long", "churn reweigh 10 a second\nproxies dyups")},
		Seconds: 600, Dyups: dyups, LoadCPU: 1, Progress: began}
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, opt)
		done <- err
	}()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-began.seen:
	case <-late.C:
		t.Error("the round did not begin")
	}
	stop := errors.New("stopped by the test")
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Fatalf("got error %v", err)
	}
	checkGone(t)
}

// watchWriter waits for a text.
type watchWriter struct {
	want string
	once sync.Once
	seen chan struct{}
}

func (w *watchWriter) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.want)) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(b), nil
}

// checkGone makes sure that neither a process nor a file is left of a run.
func checkGone(t *testing.T) {
	t.Helper()
	tree, err := proc.Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) != 1 {
		t.Errorf("processes are left: %+v", tree[1:])
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "dyupsbench-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestCrosscheck(t *testing.T) {
	dyups := dyupsBinary(t)
	var out bytes.Buffer
	opt := Options{Suite: suiteFull, Proxies: []string{"dyups"}, Dyups: dyups, Rounds: 1, Seconds: 0.2, LoadCPU: 1}
	if err := Crosscheck(t.Context(), opt, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "dyups in front of two origins") || !strings.Contains(out.String(), "\ndyupsbench ") {
		t.Fatalf("got %s", &out)
	}
	checkGone(t)
}
