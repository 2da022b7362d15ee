package bench

import (
	"strings"
	"testing"
	"time"
)

const wrkOutput = `Running 4s test @ http://127.0.0.1:8080/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.53ms    1.80ms  51.25ms   98.21%
    Req/Sec    45.59k     5.81k   52.15k    87.50%
  Latency Distribution
     50%    1.28ms
     75%    1.45ms
     90%    1.83ms
     99%    7.21ms
  181591 requests in 4.00s, 27.36MB read
Requests/sec:  45342.61
Transfer/sec:      6.83MB
`

func TestParseWrk(t *testing.T) {
	f := func(out string, want Load) {
		t.Helper()
		got, err := parseWrk(out)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	want := Load{Requests: 181591, Elapsed: 4 * time.Second, PerSecond: 45342.61, P50: 1280 * time.Microsecond, P99: 7210 * time.Microsecond}
	f(wrkOutput, want)

	// errors, all kinds
	want.SocketErrors, want.BadStatus = 1+20+300+4000, 77
	f(strings.Replace(wrkOutput, "Requests/sec", `  Socket errors: connect 1, read 20, write 300, timeout 4000
  Non-2xx or 3xx responses: 77
Requests/sec`, 1), want)

	// other units
	want = Load{Requests: 7, Elapsed: time.Minute + 12*time.Second, PerSecond: 0.1, P50: 890 * time.Microsecond, P99: 1250 * time.Millisecond}
	f(`  Latency Distribution
     50%  890.00us
     75%  900.00us
     90%    1.00s
     99%    1.25s
  7 requests in 1.20m, 1.00KB read
Requests/sec:      0.10
`, want)
}

func TestParseWrkRefuses(t *testing.T) {
	f := func(out, want string) {
		t.Helper()
		_, err := parseWrk(out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got error %v, want one with %q", err, want)
		}
	}
	f("", "the number of requests")
	f("unable to connect to 127.0.0.1:1 Connection refused\n", "the number of requests")
	f(strings.Replace(wrkOutput, "99%", "98%", 1), "latencies")
	f(strings.Replace(wrkOutput, "Requests/sec", "Requests", 1), "requests a second")
	f(strings.Replace(wrkOutput, "181591", "99999999999999999999", 1), "out of range")
}

func TestScenarioLua(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		sc, err := scenarioByName(name)
		if err != nil {
			t.Fatal(err)
		}
		got := sc.lua()
		if !strings.Contains(got, want) {
			t.Fatalf("%s: got %q, want %q in it", name, got, want)
		}
		// A Go string and a Lua string agree as long as nothing but quotes and backslashes is escaped.
		for i := range len(got) - 1 {
			if got[i] == '\\' && got[i+1] != '"' && got[i+1] != '\\' {
				t.Fatalf("%s: escape %q is not Lua's", name, got[i:i+2])
			}
		}
	}
	f("small", "wrk.method = \"GET\"\n")
	f("browser", `wrk.headers["Sec-CH-UA-Platform"] = "\"Linux\""`)
	f("newconn", `wrk.headers["Connection"] = "close"`)
	f("post", `wrk.body = "`+strings.Repeat("0123456789abcdef", 64)+`"`)

	if n := len(browserFields); n != 12 {
		t.Fatalf("a browser's head has %d fields, want 12", n)
	}
	if _, err := scenarioByName("large"); err == nil || !strings.Contains(err.Error(), "small|browser|1m|100k|post|newconn") {
		t.Fatalf("an unknown scenario gives error %v", err)
	}
}
