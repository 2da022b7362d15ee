package bench

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"dyups/bench/churn"
	"dyups/bench/origin"
)

func TestParse(t *testing.T) {
	f := func(text string, want func(s *Scenario)) {
		t.Helper()
		text = "title T\n" + text
		got, err := parse("x/12-name.txt", text)
		if err != nil {
			t.Fatal(err)
		}
		w, err := parse("x/12-name.txt", "title T")
		if err != nil {
			t.Fatal(err)
		}
		w.Text = text
		want(w)
		if !reflect.DeepEqual(got, w) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", text, got, w)
		}
	}
	f("", func(s *Scenario) {
		*s = Scenario{Name: "name", File: "x/12-name.txt", Text: s.Text, Title: "T", Method: "GET", Path: "/small", Connections: 64,
			Pipeline: 1, Upstreams: 1, Servers: 2, Proxies: []string{"nginx", "haproxy", "caddy", "goproxy", "dyups"},
			Workers: []int{1}, WarmUp: 300 * time.Millisecond, Full: Budget{3, 1.5}}
	})
	f("# nothing\n\n  path   /1m  \nmethod POST\nbody 1m", func(s *Scenario) { s.Path, s.Method, s.Body = "/1m", "POST", 1<<20 })
	f("header A: b: c\nheader  X-Y :  z  ", func(s *Scenario) { s.Fields = [][2]string{{"A", "b: c"}, {"X-Y", "z"}} })
	f("connections 8\nidle 100\npipeline 4", func(s *Scenario) { s.Connections, s.Idle, s.Pipeline = 8, 100, 4 })
	f("fresh yes", func(s *Scenario) { s.Fresh = true })
	f("websocket yes\nbody 100", func(s *Scenario) { s.WebSocket, s.Body = true, 100 })
	f("upstreams 10\nservers 3\nby-host yes", func(s *Scenario) { s.Upstreams, s.Servers, s.ByHost = 10, 3, true })
	f("rate 50000", func(s *Scenario) { s.Rate = Rate{PerSecond: 50000} })
	f("rate 70% of nginx", func(s *Scenario) { s.Rate = Rate{Share: 0.7, Of: "nginx"} })
	f("rate 50000 or 70% of dyups", func(s *Scenario) { s.Rate = Rate{PerSecond: 50000, Share: 0.7, Of: "dyups"} })
	f("delay all exponential 2ms\ndelay o1 lognormal 1ms sigma 0.5", func(s *Scenario) {
		s.Delays = []Delay{{"", origin.Delay{Kind: "exponential", Mean: 2 * time.Millisecond, Seed: 1}},
			{"o1", origin.Delay{Kind: "lognormal", Mean: time.Millisecond, Sigma: 0.5, Seed: 1}}}
	})
	f("fault o0 die after 1s every 2s for 300ms\nfault all hang for 1s", func(s *Scenario) {
		s.Faults = []Fault{{"o0", origin.Fault{Kind: "die", After: time.Second, Every: 2 * time.Second, For: 300 * time.Millisecond}},
			{"", origin.Fault{Kind: "hang", For: time.Second}}}
	})
	f("churn servers 10 a second", func(s *Scenario) { s.Churn = &Churn{Script: churn.Servers, Rate: 10, Clients: 1, On: onAll} })
	f("churn whole as acknowledged from 16 clients on loaded", func(s *Scenario) { s.Churn = &Churn{Script: churn.Whole, Clients: 16, On: onLoaded} })
	f("upstreams 2\nchurn reweigh 0.5 a second from 1 client on others\npair yes", func(s *Scenario) {
		s.Upstreams, s.Churn, s.Pair = 2, &Churn{Script: churn.Reweigh, Rate: 0.5, Clients: 1, On: onOthers}, true
	})
	f("upstreams 2\nchurn reweigh 1000 a second by the load on all", func(s *Scenario) {
		s.Upstreams, s.Churn = 2, &Churn{Script: churn.Reweigh, Rate: 1000, Clients: 1, On: onAll, ByLoad: true}
	})
	f("reload every 2s\nrestart yes", func(s *Scenario) { s.Reload, s.Restart = 2*time.Second, true })
	f("workers 2\napart yes", func(s *Scenario) { s.Workers, s.Apart = []int{2}, true })
	f("proxies dyups nginx-reload\nworkers 1 2", func(s *Scenario) { s.Proxies, s.Workers = []string{"dyups", "nginx-reload"}, []int{1, 2} })
	f("rounds 9\nseconds 0.2\nwarm-up 50ms\nquick 2 rounds 1.5 seconds", func(s *Scenario) {
		s.Full, s.Quick, s.WarmUp = Budget{9, 0.2}, Budget{2, 1.5}, 50*time.Millisecond
	})
}

func TestParseRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := parse("my.txt", text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: got error %v, want one with %q", text, err, want)
		}
	}
	f("title x\nchurn servers 10 a second by the load", "cannot have the load send these updates")
	f("title x\nchurn reweigh as acknowledged by the load", "cannot have the load send these updates")
	f("", "my.txt:1: cannot use a scenario without a title")
	f("title T\n\nport 80", `my.txt:3: cannot set "port": allowed are header, title, path, `)
	f("title T\npath", `my.txt:2: cannot set "path" to nothing: allowed is /PATH`)
	f("title T\npath /a\n#\npath /b", `my.txt:4: cannot set "path" again: it is set in line 2`)
	f("title T\npath a", `my.txt:2: cannot request path "a"`)
	f("title T\nconnections 0", `my.txt:2: cannot set "connections" to "0": allowed is 1 to 10000`)
	f("title T\nconnections many", "allowed is 1 to 10000")
	f("title T\nconnections 1 2", "allowed is 1 to 10000")
	f("title T\nbody 2g", "allowed is BYTES")
	f("title T\nbody -1", "allowed is BYTES")
	f("title T\nfresh maybe", "allowed is yes or no")
	f("title T\nheader Host: x", `my.txt:2: cannot set header "Host": the load generator writes it`)
	f("title T\nheader X", "allowed is NAME: VALUE")
	f("title T\nrate fast", "allowed is N, or P% of PROXY")
	f("title T\nrate 0", "allowed is N, or P% of PROXY")
	f("title T\nrate 70 of nginx", "allowed is N, or P% of PROXY")
	f("title T\nrate NaN", "allowed is N, or P% of PROXY")
	f("title T\nrate 70% of nginx-reload", `my.txt:2: cannot take a share of the peak of "nginx-reload": it does not take part`)
	f("title T\ndelay o0 sometimes 1ms", "allowed is ORIGIN|all fixed")
	f("title T\ndelay o0 fixed 1ms sigma 2", "allowed is ORIGIN|all fixed")
	f("title T\ndelay o2 fixed 1ms", `cannot delay origin "o2": there is o0 to o1`)
	f("title T\nfault o0 die after 1s", "allowed is ORIGIN|all die")
	f("title T\nfault o0 die for 1s for 2s", "allowed is ORIGIN|all die")
	f("title T\nfault o0 sleep for 1s", "allowed is ORIGIN|all die")
	f("title T\nfault o9 die for 1s", `cannot break origin "o9"`)
	f("title T\nchurn reweigh 10", "allowed is reweigh|servers|replace|whole N a second")
	f("title T\nchurn everything 10 a second", "allowed is reweigh|servers")
	f("title T\nchurn reweigh 0 a second", "allowed is reweigh|servers")
	f("title T\nchurn reweigh 1 a second on some", "allowed is reweigh|servers")
	f("title T\nchurn reweigh 1 a second on others", "my.txt:2: cannot update others than the loaded upstream")
	f("title T\nreload 1s", "allowed is every DURATION")
	f("title T\nproxies apache", "there is nginx, nginx-reload, haproxy, caddy, goproxy, dyups, bare")
	f("title T\nproxies nginx nginx", `cannot measure "nginx" twice`)
	f("title T\nworkers 1 1", "allowed is N …")
	f("title T\nseconds 0", "allowed is 0.1 to 3600")
	f("title T\nwarm-up 0s", "allowed is DURATION")
	f("title T\nquick 2 rounds", "allowed is N rounds S seconds")
	f("title T\npair yes", "my.txt:2: cannot pair proxies: nothing happens to them")
	f("title T\nwebsocket yes\npipeline 2", "my.txt:2: cannot use a WebSocket with")
	f("title T\nwebsocket yes", "my.txt:2: cannot use a WebSocket without a body")
	f("title T\nrate 5\npipeline 2", "my.txt:2: cannot use a rate with pipelining")
	f("title T\nfresh yes\npipeline 2", "my.txt:2: cannot use fresh connections with pipelining")
}

func TestPick(t *testing.T) {
	all, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(mine, []byte("title Mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := pick(all, []string{"browser", mine, "small-64"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Name != "browser" || len(got[0].Fields) != 12 || got[1].Title != "Mine" || got[2].Connections != 64 {
		t.Fatalf("got %+v", got)
	}
	f := func(want string, names ...string) {
		t.Helper()
		if _, err := pick(all, names); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v: got error %v, want one with %q", names, err, want)
		}
	}
	f("there is small-8, small-64, ", "large")
	f("twice in one run", "browser", "browser")
	f("no such file", "./none.txt")
}

// TestBudgets holds what make bench and make bench-quick promise: under 15 minutes, of which two and a half belong to
// building and the micro-benchmarks, and under two, of which half a one belongs to building.
func TestBudgets(t *testing.T) {
	f := func(suite string, most time.Duration) {
		t.Helper()
		items, err := (&Options{Suite: suite}).plan()
		if err != nil {
			t.Fatal(err)
		}
		if got := estimate(items); got > most {
			t.Errorf("suite %s takes %v, more than %v", suite, got, most)
		}
		// Proxies stay up from one scenario to the next if these have the same setup, so that they had better be neighbours.
		seen := make(map[string]bool)
		for i, it := range items {
			if it.Restart {
				break
			}
			if seen[it.setup()] && items[i-1].setup() != it.setup() {
				t.Errorf("suite %s: %s needs proxies that were stopped before it", suite, it.Name)
			}
			seen[it.setup()] = true
		}
	}
	f(suiteFull, 13*time.Minute+45*time.Second)
	f(suiteQuick, 95*time.Second)
}

// TestSetup: proxies are kept from one scenario to the next only where the origins are the same ones.
func TestSetup(t *testing.T) {
	f := &fleet{opt: &Options{}, dir: t.TempDir(), origins: make(map[string]*origins)}
	defer f.stop()
	of := make(map[string]*origins)
	all, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		o, err := f.originsOf(s)
		if err != nil {
			t.Fatal(err)
		}
		if was := of[s.setup()]; was != nil && was != o {
			t.Errorf("%s: setup %q has other origins than before", s.Name, s.setup())
		}
		of[s.setup()] = o
	}
}

func TestContenders(t *testing.T) {
	f := func(text, want string, old bool) {
		t.Helper()
		s, err := parse("x.txt", "title T\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range s.contend(old) {
			got = append(got, c.name)
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
	}
	f("proxies nginx dyups", "nginx dyups", false)
	f("proxies nginx dyups", "nginx dyups-old dyups", true)
	f("proxies dyups\nchurn reweigh 1 a second", "dyups+churn", false)
	f("proxies dyups\nchurn reweigh 1 a second\npair yes", "dyups-old dyups-old+churn dyups dyups+churn", true)
	f("proxies dyups\nidle 5\npair yes", "dyups dyups+idle", false)
	f("proxies nginx\nreload every 1s", "nginx+reload", false)
	f("proxies dyups\nworkers 1 2", "dyups dyups+2w", false)
	f("proxies nginx dyups\nworkers 1 2\napart yes", "nginx nginx+2w dyups dyups+2w dyups+2p", false)
	f("proxies dyups\nfault all die for 1s\npair yes", "dyups dyups+faults", false)
	f("proxies nginx dyups\nagain yes", "nginx dyups dyups+again", false)
	f("proxies dyups nginx\nreload every 1s\npair yes\nagain yes", "dyups-old dyups-old+reload dyups dyups+reload dyups+again nginx nginx+reload", true)
}

func TestLength(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		s, err := parse("x.txt", "title T\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.length(); got != want {
			t.Fatalf("%q: got %d, want %d", text, got, want)
		}
	}
	f("path /small", 6)
	f("path /1k", 1024)
	f("path /64m?x=1", 64<<20)
	f("path /chunked/100k", 100<<10)
	f("path /7", 7)
	f("path /other", -1)
	f("path /1k\nmethod HEAD", -1)
	f("path /ws\nwebsocket yes\nbody 1", -1)
}

func TestOftenFirst(t *testing.T) {
	f := func(n int, want string) {
		t.Helper()
		var all []churn.Upstream
		for i := range n {
			all = append(all, churn.Upstream{Name: string(rune('a' + i))})
		}
		got := ""
		for _, u := range oftenFirst(all) {
			got += u.Name
		}
		if got != want {
			t.Errorf("of %d upstreams: got %q, want %q", n, got, want)
		}
	}
	f(1, "a")
	f(2, "ab")
	f(12, "abcdefghijakl")
}
