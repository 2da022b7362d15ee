package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"dyups/codec/conf"
	"dyups/engine/site"
	"dyups/upstream"
)

// keeping is a configuration whose upstreams the template gives; $mine is a variable that a command may use.
func keeping(template string) string {
	return globals + "http {\naccess_log off;\n" + template + edge + "}\n"
}

const mine = "map $arg_x $mine { default $arg_x; }\n"

// TestReloadKeeps: a reload keeps what commands have done, except where the files have changed.
func TestReloadKeeps(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	p := serve(t, mine+upstreamBlock("a", one)+upstreamBlock("b", one)+upstreamBlock("c", one)+upstreamBlock("d", one)+edge)
	p.mayComplain = true // of reloads that are refused
	addr := p.addr("api")
	posted := "server " + two + " weight=3 max_conns=5 slow_start=2s;\nhash $mine consistent;\nqueue 5 timeout=2s;\nkeepalive 7;\n"
	mustAPI(t, addr, "POST", "/upstream/A", posted)
	mustAPI(t, addr, "DELETE", "/upstream/b", "")
	mustAPI(t, addr, "POST", "/upstream/c", "server "+two+";")
	mustAPI(t, addr, "POST", "/upstream/x", "check interval=3600000 type=tcp default_down=false; check_keepalive_requests 3; sticky route $mine; server "+two+" route=r down; server "+two+" backup;")
	x := mustAPI(t, addr, "GET", "/upstream/x?format=json", "")
	f := func(after, host string, want string) {
		t.Helper()
		a := get(t, p.addr("proxy"), host)
		if got := a.body; want == "" && a.status != 502 || want != "" && got != want {
			t.Errorf("after %s host %s: %d %q, want %q", after, host, a.status, got, want)
		}
	}
	listed := func(after, want string) {
		t.Helper()
		if got := mustAPI(t, addr, "GET", "/list", ""); got != want {
			t.Errorf("after %s the list is %q, want %q", after, got, want)
		}
	}

	// c has changed in the files, d has gone, e has come.
	p.write("dyups.conf", keeping(mine+upstreamBlock("a", one)+upstreamBlock("b", one)+upstreamBlock("c", one, one)+upstreamBlock("e", one)))
	p.reload()
	listed("a reload", "A\nc\nx\ne\n")
	for host, want := range map[string]string{"a": "two", "b": "", "c": "one", "d": "", "e": "one", "x": "two"} {
		f("a reload", host, want)
	}
	if got := mustAPI(t, addr, "GET", "/upstream/x?format=json", ""); got != x {
		t.Errorf("after a reload x is %s, was %s", got, x)
	}
	detail := mustAPI(t, addr, "GET", "/detail", "")
	if !strings.HasPrefix(detail, "A\n"+posted) {
		t.Errorf("after a reload the details are %q, want them to begin with %q", detail, posted)
	}
	for _, line := range []string{
		"what commands have done stays: 2 upstreams defined, 1 of the files deleted",
		`what a command has defined as upstream "c" gives way to the files, where it has changed`,
	} {
		if !strings.Contains(p.errorLog(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}

	// A variable that a command's definition needs is gone: refused, and nothing changes.
	p.write("dyups.conf", keeping(upstreamBlock("a", one)))
	p.signal(syscall.SIGHUP)
	p.until("the complaint", func() bool {
		return strings.Contains(p.errorLog(), `cannot keep upstream "A", which a command has defined: A:2:6: `)
	})
	listed("a refused reload", "A\nc\nx\ne\n")

	// A reload with the files as they were changes nothing, whatever the spelling of a definition; b comes back when the files change it.
	p.write("dyups.conf", keeping(mine+upstreamBlock("a", one)+"upstream b {\n  server "+one+"; # as before\n}\n"+upstreamBlock("c", one, one)+upstreamBlock("e", one)))
	p.reload()
	listed("a second reload", "A\nc\nx\ne\n")
	p.write("dyups.conf", keeping(mine+upstreamBlock("a", one)+upstreamBlock("b", one, one)))
	p.reload()
	listed("a change of b", "A\nx\nb\n")
	f("a change of b", "b", "one")

	// Only the files count.
	p.write("dyups.conf", keeping("dyups_reload reset;\n"+upstreamBlock("a", one)+upstreamBlock("b", one)))
	p.reload()
	listed("a reset", "a\nb\n")
	f("a reset", "a", "one")
}

// TestReloadLosesNoCommand: what was acknowledged is there after any number of reloads.
func TestReloadLosesNoCommand(t *testing.T) {
	one := named(t, "one")
	p := serve(t, upstreamBlock("a", one)+edge)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			name := fmt.Sprintf("/upstream/u%d", i%5)
			if a := api(t, p.addr("api"), "POST", name, fmt.Sprintf("server %s weight=%d;", one, i)); a.status != 200 {
				t.Errorf("command %d: %d %q", i, a.status, a.body)
				return
			}
			deleted := i%7 == 0
			if deleted {
				api(t, p.addr("api"), "DELETE", name, "")
			}
			a := api(t, p.addr("api"), "GET", name+"?format=json", "")
			if deleted != (a.status == 404) || !deleted && !strings.Contains(a.body, fmt.Sprintf(`"weight":%d,`, i)) {
				t.Errorf("after command %d: %d %s", i, a.status, a.body)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 30 {
		p.reload()
	}
	close(stop)
	<-done
}

// TestReloadUnreadable: what a command has defined and the new configuration cannot read is named, and never taken away: it may have
// been acknowledged after the check that refuses a reload for it.
func TestReloadUnreadable(t *testing.T) {
	ds, err := conf.Parse("body", []byte("server 127.0.0.1:1; hash $gone;"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := upstream.ParseBlock("a", ds, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := upstream.NewStore()
	s.Apply([]upstream.Change{{Name: "a", Spec: spec, Source: "api"}})
	files := &configuration{site: &site.Site{}}
	m := newMerge(files, files, upstream.Options{Compile: func(string) (any, error) { return nil, errors.New("no such variable") }})
	changes, _, err := m.news(s.Load())
	if err == nil || !strings.Contains(err.Error(), `upstream "a"`) {
		t.Errorf("the error is %v", err)
	}
	if changes = append(changes, m.rest(s.Load())...); len(changes) > 0 {
		t.Errorf("changes %+v, want none", changes)
	}
}
