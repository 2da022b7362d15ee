package health

import (
	"fmt"
	"strings"
	"testing"
)

// TestPanic: with less than its share of healthy servers an upstream uses all of them, and says so; with enough it does not.
func TestPanic(t *testing.T) {
	b := newBench(t)
	var all [4]*backend
	body := quick + " default_down=false; panic_threshold 50%;"
	for i := range all {
		all[i] = newBackend(t)
		body += " server " + all[i].addr + ";"
	}
	b.set("u", body)
	b.set("other", strings.Replace(body, "panic_threshold 50%;", "", 1))
	all[0].status.Store(500)
	b.becomes("u", "1 2 3")
	all[1].status.Store(500)
	b.becomes("u", "2 3")
	if b.upstream("u").Panics() {
		t.Error("it panics with half of its servers")
	}
	all[2].status.Store(500)
	b.becomes("other", "3")
	b.becomes("u", "0 1 2 3")
	if !b.upstream("u").Panics() || b.upstream("other").Panics() {
		t.Error("it does not say that it panics, or another one does")
	}
	b.set("u", strings.Replace(body, "server", "server 127.0.0.1:1 down; server", 1)) // an update changes nothing of it
	if got := b.picks("u"); got != "1 2 3 4" {
		t.Errorf("after an update requests go to %q", got)
	}
	all[3].status.Store(500)
	b.becomes("other", "")
	b.becomes("u", "1 2 3 4")
	b.set("u", strings.Replace(body, "panic_threshold 50%;", "", 1))
	if got := b.picks("u"); got != "" {
		t.Errorf("without the threshold requests go to %q", got)
	}
	b.set("u", body)
	if got := b.picks("u"); got != "0 1 2 3" {
		t.Errorf("with the threshold requests go to %q", got)
	}
	for _, o := range all[1:] {
		o.status.Store(200)
	}
	b.becomes("u", "1 2 3")
	b.set("u", "")
	b.set("other", "")
	b.c.mu.Lock()
	if n := len(b.c.panicky) + len(b.c.of) + len(b.c.probers); n != 0 {
		t.Errorf("%d things are left", n)
	}
	b.c.mu.Unlock()
	log := b.log()
	for _, want := range []string{
		`upstream "u" panics, requests go to all its servers: 1 of 4 are healthy, the threshold is 50%`,
		`upstream "u" has enough healthy servers again: 2 of 4, the threshold is 50%`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// TestPanicWaits: servers that are new and have to pass first begin no panic and get nothing by one; those that fail then do. A
// change of the check does not make those well that failed.
func TestPanicWaits(t *testing.T) {
	well, ill := newBackend(t), newBackend(t)
	ill.status.Store(500)
	b := newBench(t)
	const slow = "check interval=%s rise=2 fall=3 timeout=5000 type=http; panic_threshold 50%%;"
	long, short := fmt.Sprintf(slow, "3600000"), fmt.Sprintf(slow, "10")
	panics := func(want bool) {
		t.Helper()
		if b.upstream("u").Panics() != want {
			t.Errorf("it panics: %v", !want)
		}
	}
	b.set("u", long+" server "+well.addr+"; server "+ill.addr+";")
	if got := b.picks("u"); got != "" {
		t.Errorf("before the first checks requests go to %q", got)
	}
	panics(false)
	b.set("u", "server "+well.addr+";")
	b.set("u", long+" server "+well.addr+"; server "+ill.addr+"; server "+ill.addr+";")
	if got := b.picks("u"); got != "0" {
		t.Errorf("beside new servers requests go to %q", got)
	}
	panics(false)
	b.set("u", short+" server "+well.addr+"; server "+ill.addr+"; server "+ill.addr+";")
	b.becomes("u", "0 1 2") // all three are known
	panics(true)
	b.set("u", long+" server "+well.addr+"; server "+ill.addr+"; server "+ill.addr+";")
	panics(true)
	b.set("u", long+" server "+well.addr+"; server "+ill.addr+";")
	if got := b.picks("u"); got != "0" {
		t.Errorf("after a change of the check requests go to %q", got)
	}
	panics(false)
}
