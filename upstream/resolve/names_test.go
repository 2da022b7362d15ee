package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyups/codec/conf"
	"dyups/upstream"
)

// following is a store whose names are kept up to date, fast, by a stub name server.
type following struct {
	t     *testing.T
	stub  *stub
	store *upstream.Store
	names *Names
	mu    sync.Mutex
	said  []string
	// meddle, if set, is called once, before the next change of the names is applied.
	meddle atomic.Pointer[func()]
}

func follow(t *testing.T, zone ...string) *following {
	f := &following{t: t, stub: newStub(t, zone...), store: upstream.NewStore()}
	r := New(0)
	f.names = NewNames(r, func(level int, msg string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.said = append(f.said, fmt.Sprintf("%d %s", level, msg))
	})
	f.names.least = time.Millisecond
	f.names.SetDefault(&Config{Servers: []string{f.stub.addr}, IPv4: true, IPv6: true, Timeout: 10 * time.Second})
	f.names.Follow(f.store, func(c upstream.Change) error {
		if meddle := f.meddle.Swap(nil); meddle != nil {
			(*meddle)()
		}
		return f.store.Apply([]upstream.Change{c})[0]
	})
	t.Cleanup(func() {
		f.names.Close()
		r.Close()
	})
	return f
}

// spec reads the inside of an upstream block; nothing is looked up.
func (f *following) spec(body string) *upstream.Spec {
	f.t.Helper()
	ds, err := conf.Parse("body", []byte(body))
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := upstream.ParseBlock("x", ds, &upstream.Options{Resolver: func(d *conf.Directive) (*upstream.Resolver, error) {
		return &upstream.Resolver{Servers: []string{d.Args[0].Text}, IPv4: true}, nil
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// set defines an upstream, or deletes it with an empty body.
func (f *following) set(name, body string) {
	f.t.Helper()
	c := upstream.Change{Name: name, Source: "test"}
	if body != "" {
		c.Spec = f.spec(body)
	}
	if err := f.store.Apply([]upstream.Change{c})[0]; err != nil {
		f.t.Fatal(err)
	}
}

// servers lists the servers of an upstream, with weights that are not 1 and "!" behind backups.
func (f *following) servers(name string) string {
	u := f.store.Load().Lookup([]byte(name))
	if u == nil {
		return "no upstream"
	}
	var out []string
	for _, s := range u.Servers {
		text := s.Label
		if s.Weight != 1 {
			text += fmt.Sprintf("*%d", s.Weight)
		}
		if s.Backup {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// until waits for a condition.
func (f *following) until(what string, cond func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.t.Fatalf("waited too long for %s; log:\n%s", what, strings.Join(f.said, "\n"))
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *following) want(name, servers string) {
	f.t.Helper()
	f.until(name+" to have "+servers, func() bool { return f.servers(name) == servers })
}

func (f *following) wantLog(text string) {
	f.t.Helper()
	f.until("the log line "+text, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return strings.Contains(strings.Join(f.said, "\n"), text)
	})
}

// refreshers is how many names are kept up to date.
func (f *following) refreshers() int {
	f.names.mu.Lock()
	defer f.names.mu.Unlock()
	return len(f.names.targets)
}

// askedAgain waits until n more questions have come to the name server.
func (f *following) askedAgain(n int64) {
	f.t.Helper()
	from := f.stub.asked.Load()
	f.until("more questions", func() bool { return f.stub.asked.Load() >= from+n })
}

// The servers follow the answers, and what the answers have in common with what is there changes nothing.
func TestFollow(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1", "a.test. 0 AAAA ::1")
	f.set("x", "server a.test:81 resolve weight=2; server 127.0.0.9:1;")
	f.set("y", "server A.test resolve;")
	f.want("x", "127.0.0.1:81*2 [::1]:81*2 127.0.0.9:1")
	f.want("y", "127.0.0.1:80 [::1]:80")
	if n := f.refreshers(); n != 1 {
		t.Errorf("%d refreshers for one name, want 1", n)
	}
	if s := f.store.Load().Lookup([]byte("x")).Source; s != "test" {
		t.Errorf("the source became %q", s)
	}
	generation := f.store.Load().Generation()
	f.stub.set(t, "a.test. 0 AAAA ::1", "a.test. 0 A 127.0.0.1")
	f.askedAgain(6)
	if got := f.store.Load().Generation(); got != generation {
		t.Errorf("generation %d, was %d, although nothing changed", got, generation)
	}
	f.stub.set(t, "a.test. 0 AAAA ::1", "a.test. 0 A 127.0.0.2") // in one family: a look-up under way asks for the other one apart
	f.want("x", "127.0.0.2:81*2 [::1]:81*2 127.0.0.9:1")
	f.want("y", "127.0.0.2:80 [::1]:80")
	f.wantLog("6 a.test was resolved to 127.0.0.2, ::1, before: 127.0.0.1, ::1")
}

// A refresher lives as long as some upstream has its name.
func TestRefreshersEnd(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1", "b.test. 0 A 127.0.0.2")
	f.set("x", "server a.test resolve; server b.test resolve;")
	f.set("y", "server a.test resolve; server a.test:81 resolve;")
	f.want("x", "127.0.0.1:80 127.0.0.2:80")
	f.want("y", "127.0.0.1:80 127.0.0.1:81")
	g := func(want int) {
		t.Helper()
		if n := f.refreshers(); n != want {
			t.Errorf("%d refreshers, want %d", n, want)
		}
	}
	g(2)
	f.set("Y", "server a.test resolve;")
	g(2)
	f.set("x", "server 127.0.0.1;")
	g(1)
	f.set("y", "server a.test resolve; resolver "+f.stub.addr+"; resolver_timeout 9s;")
	g(1)
	f.want("y", "127.0.0.1:80")
	f.set("y", "")
	g(0)
	f.set("y", "server b.test resolve;")
	f.want("y", "127.0.0.2:80")
	f.names.SetDefault(&Config{Servers: []string{f.stub.addr}, IPv4: true})
	g(1)
	if err := f.store.Replace(nil); err != nil {
		t.Fatal(err)
	}
	g(0)
	f.names.Close()
	f.set("z", "server a.test resolve;") // the table goes on, the names do not
	g(0)
}

// Whatever goes wrong with DNS, the last good answer stays, is told once, and the next answer is taken up. That there is no such name is
// an answer, also the first one after a change of the resolver.
func TestLastAnswerStays(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1")
	f.set("x", "server a.test resolve;")
	f.want("x", "127.0.0.1:80")
	f.stub.sick.Store(true)
	f.wantLog("4 a.test could not be resolved (2: Server failure); its last addresses stay: 127.0.0.1")
	f.askedAgain(6)
	failed := func() string { return f.names.Failures(f.spec("server a.test resolve;").Names())[0] }
	if got := failed(); got != "a.test could not be resolved (2: Server failure)" {
		t.Errorf("the failure is %q", got)
	}
	f.stub.sick.Store(false)
	f.wantLog("5 a.test can be resolved again")
	f.until("the failure to be over", func() bool { return failed() == "" })
	f.stub.mute.Store(true)
	f.askedAgain(2)
	if got := f.servers("x"); got != "127.0.0.1:80" {
		t.Errorf("without DNS the servers are %q", got)
	}
	f.stub.set(t)
	f.stub.mute.Store(false)
	f.wantLog("4 a.test could not be resolved (3: Host not found); its addresses are taken out: 127.0.0.1")
	f.want("x", "")
	if got := failed(); got != "a.test could not be resolved (3: Host not found)" {
		t.Errorf("the failure is %q", got)
	}
	f.stub.set(t, "a.test. 0 A 127.0.0.2")
	f.want("x", "127.0.0.2:80")
	f.stub.mute.Store(true) // no answer to who asked until now
	def := *f.names.def
	def.Valid = time.Hour
	f.names.SetDefault(&def)
	f.stub.set(t)
	f.stub.mute.Store(false)
	f.want("x", "")
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := strings.Count(strings.Join(f.said, "\n"), "2: Server failure"); n != 1 {
		t.Errorf("the failure was told %d times", n)
	}
}

// A command that comes between an answer and its publishing is not undone by it.
func TestUpdateWins(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1", "b.test. 0 A 127.0.1.1")
	f.set("x", "server a.test resolve;")
	f.want("x", "127.0.0.1:80")
	done := make(chan struct{})
	meddle := func() {
		f.set("x", "server 127.0.9.9; server a.test resolve;")
		if got := f.servers("x"); got != "127.0.9.9:80" {
			t.Errorf("after the command the servers are %s", got)
		}
		close(done)
	}
	f.meddle.Store(&meddle)
	f.stub.set(t, "a.test. 0 A 127.0.0.2", "b.test. 0 A 127.0.1.1")
	<-done
	f.want("x", "127.0.9.9:80 127.0.0.2:80")
	f.set("x", "server b.test resolve;")
	f.want("x", "127.0.1.1:80")
	u := f.store.Load().Lookup([]byte("x"))
	if got := string(u.AppendBody(nil)); got != "server b.test resolve;\n" {
		t.Errorf("the definition is %q", got)
	}
}

// Between a change of the table and its notice the answers known belong to other names.
func TestUnseenDefinition(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1")
	f.set("x", "server a.test resolve;")
	f.want("x", "127.0.0.1:80")
	f.set("keep", "server a.test resolve;") // so that the answer for a.test stays known
	f.want("keep", "127.0.0.1:80")
	now := f.store.Load()
	f.set("x", "server nowhere.test resolve;")
	after := f.store.Load()
	f.names.changed(after, now) // as it was before the notice
	meddle := func() { t.Error("an upstream was given the addresses of another name") }
	f.meddle.Store(&meddle)
	f.names.adjust("x")
	f.meddle.Store(nil)
	f.names.changed(now, after)
	if got := f.servers("x"); got != "" {
		t.Errorf("the servers are %s", got)
	}
}

// Other name servers are asked as soon as they are the default; until they answer the addresses stay.
func TestSetDefault(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1")
	other := newStub(t, "a.test. 0 A 127.0.0.2")
	other.mute.Store(true)
	f.set("x", "server a.test resolve;")
	f.set("own", "server a.test resolve; resolver "+f.stub.addr+";")
	f.want("x", "127.0.0.1:80")
	f.want("own", "127.0.0.1:80")
	f.names.SetDefault(&Config{Servers: []string{other.addr}, IPv4: true})
	f.until("a question to the new server", func() bool { return other.asked.Load() > 0 })
	if got := f.servers("x"); got != "127.0.0.1:80" {
		t.Errorf("before the new server has answered the servers are %q", got)
	}
	other.mute.Store(false)
	f.want("x", "127.0.0.2:80")
	f.want("own", "127.0.0.1:80")
	if n := f.refreshers(); n != 2 {
		t.Errorf("%d refreshers, want 2", n)
	}
}

// An address of a family that is not asked for any more goes at once, by whatever the family was switched off; the others stay
// although the name cannot be looked up.
func TestFamilyOff(t *testing.T) {
	f := follow(t, "six.test. 0 AAAA ::1", "both.test. 0 A 127.0.0.1", "both.test. 0 AAAA ::1")
	f.set("x", "server six.test resolve; server both.test:81 resolve; server [::1]:82;")
	f.want("x", "[::1]:80 127.0.0.1:81 [::1]:81 [::1]:82")
	f.stub.sick.Store(true)
	look := func(def *Config, body, want string) {
		t.Helper()
		var out []string
		answers, errs := f.names.Look(context.Background(), def, f.spec(body).Names())
		for i := range answers {
			out = append(out, list(answers[i]))
			if (answers[i] == nil) != (errs[i] != nil) {
				t.Errorf("%s: answer %v with error %v", body, answers[i], errs[i])
			}
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	const names = "server six.test resolve; server both.test resolve;"
	own := names + " resolver " + f.stub.addr + ";" // of which the test makes one with ipv6=off
	look(nil, own, "none; 127.0.0.1")
	look(&Config{Servers: []string{f.stub.addr}, IPv6: true}, names, "::1; ::1")
	look(&Config{Servers: []string{f.stub.addr}, IPv4: true}, names, "none; 127.0.0.1")

	f.names.SetDefault(&Config{Servers: []string{f.stub.addr}, IPv4: true})
	f.want("x", "127.0.0.1:81 [::1]:82")
	f.names.SetDefault(&Config{Servers: []string{f.stub.addr}, IPv6: true})
	f.want("x", "[::1]:82")
	f.stub.sick.Store(false)
	f.want("x", "[::1]:80 [::1]:81 [::1]:82")
}

// Commands and answers at the same time: each command is there when it has been applied.
func TestUpdatesBesideAnswers(t *testing.T) {
	f := follow(t, "a.test. 0 A 127.0.0.1")
	for i := range 300 {
		f.stub.set(t, fmt.Sprintf("a.test. 0 A 127.0.0.%d", i%250+1))
		want := fmt.Sprintf("127.0.9.1:%d", i+1)
		f.set("x", "server a.test resolve; server "+want+";")
		f.set("y", fmt.Sprintf("server a.test resolve weight=%d;", i+2))
		if got := f.servers("x"); !strings.Contains(got, want) {
			t.Fatalf("update %d of x is gone: %s", i, got)
		}
		if got := f.servers("y"); got != "" && !strings.HasSuffix(got, fmt.Sprintf("*%d", i+2)) {
			t.Fatalf("update %d of y is gone: %s", i, got)
		}
	}
	f.want("x", "127.0.0.50:80 127.0.9.1:300")
	f.want("y", "127.0.0.50:80*301")
}

// SRV records give ports, weights, and by their priority backups.
func TestService(t *testing.T) {
	f := follow(t,
		"_http._tcp.a.test. 0 SRV 10 5 8001 one.test.",
		"_http._tcp.a.test. 0 SRV 10 0 8002 two.test.",
		"_http._tcp.a.test. 0 SRV 20 7 8003 three.test.",
		"_http._tcp.a.test. 0 SRV 5 7 8004 gone.test.",
		"one.test. 0 A 127.0.0.1", "two.test. 0 A 127.0.0.2", "two.test. 0 AAAA ::2", "three.test. 0 A 127.0.0.3",
		"_x._udp.b.test. 0 CNAME away.test.", "away.test. 0 SRV 0 1 9000 one.test.",
		"_http._tcp.none.test. 0 SRV 0 0 0 .",
	)
	f.set("x", "server a.test service=http resolve; hash $uri;")
	f.want("x", "127.0.0.1:8001*5 127.0.0.2:8002 [::2]:8002 127.0.0.3:8003*7!")
	if u := f.store.Load().Lookup([]byte("x")); u.Servers[0].Name != "one.test" {
		t.Errorf("the name of the first server is %q", u.Servers[0].Name)
	}
	f.wantLog("4 gone.test could not be resolved (3: Host not found) while resolving service http of a.test")
	f.set("y", "server b.test service=_x._udp resolve weight=3;")
	f.want("y", "127.0.0.1:9000*3")
	f.set("z", "server none.test service=http resolve; server 127.0.0.9:1;")
	f.wantLog("4 service http of none.test could not be resolved (3: Host not found)")
	f.want("z", "127.0.0.9:1")
	f.stub.set(t, "_http._tcp.a.test. 0 SRV 20 7 8003 three.test.", "three.test. 0 A 127.0.0.3")
	f.want("x", "127.0.0.3:8003*7")
}

// A target of a service that cannot be looked up for the moment keeps its addresses.
func TestServiceTargetFails(t *testing.T) {
	f := follow(t, "_http._tcp.a.test. 0 SRV 1 1 81 half.", "_http._tcp.a.test. 0 SRV 1 1 82 two.test.",
		"half. 0 A 127.0.0.1", "two.test. 0 A 127.0.0.2")
	f.names.SetDefault(&Config{Servers: []string{f.stub.addr}, IPv4: true})
	f.set("x", "server a.test service=http resolve;")
	f.want("x", "127.0.0.1:81 127.0.0.2:82")
	known := []upstream.Address{}
	addrs, _ := f.names.Look(context.Background(), nil, f.spec("server a.test service=http resolve;").Names())
	known = append(known, addrs[0]...)
	both := &Config{Servers: []string{f.stub.addr}, IPv4: true, IPv6: true} // half. is refused for AAAA
	got, _, _, err := f.names.resolver.lookupService(context.Background(), both, "_http._tcp.a.test", known)
	if err != nil || list(got) != "127.0.0.1:81, 127.0.0.2:82" {
		t.Errorf("with a failing target: %s, %v", list(got), err)
	}
	got, _, _, err = f.names.resolver.lookupService(context.Background(), both, "_http._tcp.a.test", nil)
	if err != nil || list(got) != "127.0.0.2:82" {
		t.Errorf("with a target that fails from the start: %s, %v", list(got), err)
	}
	f.stub.set(t, "_http._tcp.a.test. 0 SRV 1 1 81 half.", "_http._tcp.a.test. 0 SRV 1 1 82 two.test.", "_http._tcp.a.test. 0 SRV 2 1 83 half.",
		"half. 0 A 127.0.0.1")
	if got, _, _, err = f.names.resolver.lookupService(context.Background(), both, "_http._tcp.a.test", nil); !notFound(err) {
		t.Errorf("with two that fail and one that is gone: %s, %v", list(got), err)
	}
	f.stub.set(t, "_http._tcp.a.test. 0 SRV 1 1 81 half.", "half. 0 A 127.0.0.1")
	if got, _, _, err = f.names.resolver.lookupService(context.Background(), both, "_http._tcp.a.test", nil); err == nil || notFound(err) {
		t.Errorf("with one that fails: %s, %v", list(got), err)
	}
}

// Look gives what is known at once, what it can find, and when DNS fails what any resolver knew.
func TestLook(t *testing.T) {
	f := follow(t, "a.test. 60 A 127.0.0.1", "b.test. 60 A 127.0.0.2")
	f.set("x", "server a.test resolve;")
	f.want("x", "127.0.0.1:80")
	f.stub.set(t, "b.test. 60 A 127.0.0.2")
	g := func(def *Config, body, want string) {
		t.Helper()
		answers, errs := f.names.Look(context.Background(), def, f.spec(body).Names())
		var out []string
		for i := range answers {
			if errs[i] != nil {
				out = append(out, errs[i].Error())
			} else {
				out = append(out, list(answers[i]))
			}
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	g(nil, "server a.test resolve; server b.test resolve; server c.test resolve;",
		"127.0.0.1; 127.0.0.2; c.test could not be resolved (3: Host not found)")
	other := &Config{Servers: []string{f.stub.addr}, IPv4: true}
	g(other, "server a.test resolve; server b.test resolve;", "a.test could not be resolved (3: Host not found); 127.0.0.2")
	f.stub.mute.Store(true)
	brief := &Config{Servers: []string{f.stub.addr}, IPv4: true, Timeout: 20 * time.Millisecond}
	g(brief, "server a.test resolve; server c.test resolve; server d.test service=http resolve;",
		"127.0.0.1; c.test could not be resolved (110: Operation timed out); _http._tcp.d.test could not be resolved (110: Operation timed out)")
}

// A name that there was not is looked up anew for a command, and what comes of it holds before its turn.
func TestLookAgain(t *testing.T) {
	f := follow(t)
	f.names.least = time.Hour
	f.set("x", "server a.test resolve;")
	names := f.spec("server a.test resolve;").Names()
	f.until("the first answer", func() bool { return f.names.Failures(names)[0] != "" })
	f.stub.set(t, "a.test. 60 A 127.0.0.1")
	asked := f.stub.asked.Load()
	if answers, errs := f.names.Look(context.Background(), nil, names); errs[0] != nil || list(answers[0]) != "127.0.0.1" {
		t.Errorf("got %v, %v", answers, errs)
	}
	f.want("x", "127.0.0.1:80")
	if n := f.stub.asked.Load() - asked; n != 2 {
		t.Errorf("%d questions, want one for each family", n)
	}
}

// What a command's look-up has found is the refresher's as well: a target of a service that fails keeps it, that it is taken out is
// told, and an answer that came since then stays.
func TestTaught(t *testing.T) {
	f := follow(t)
	f.set("x", "server a.test service=http resolve;")
	f.wantLog("4 service http of a.test could not be resolved (3: Host not found)")
	name := f.spec("server a.test service=http resolve;").Names()[0]
	key := targetKey(effective(f.names.def, name), name)
	teach := func(last byte) {
		f.names.teach(key, []upstream.Address{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, last}), Port: 81, Target: "half"}})
	}
	f.stub.sick.Store(true)
	f.askedAgain(2) // who asked before has the answer
	teach(1)
	f.askedAgain(2)
	f.stub.set(t, "_http._tcp.a.test. 0 SRV 1 1 81 half.", "_http._tcp.a.test. 0 SRV 1 1 82 two.test.", "half. 0 A 127.0.0.1",
		"two.test. 0 A 127.0.0.2") // half. is refused for AAAA
	f.stub.sick.Store(false)
	f.want("x", "127.0.0.1:81 127.0.0.2:82")
	teach(9)
	if got := list(f.names.known(key)); got != "127.0.0.1:81, 127.0.0.2:82" {
		t.Errorf("an older answer made it %s", got)
	}
	f.stub.set(t)
	f.want("x", "")
	teach(3)
	f.wantLog("its addresses are taken out: 127.0.0.3:81")
	f.want("x", "")
}

// The timeout of a look-up is that of the upstream, where it has one, also if that is none.
func TestNameTimeout(t *testing.T) {
	f := func(def, own, want time.Duration) {
		t.Helper()
		for _, r := range []*upstream.Resolver{nil, {Servers: []string{"127.0.0.1:53"}}} {
			if got := effective(&Config{Timeout: def}, upstream.Name{Resolver: r, Timeout: own}).Timeout; got != want {
				t.Errorf("%v in the http block and %v in the upstream are %v, want %v", def, own, got, want)
			}
		}
	}
	f(time.Second, 0, time.Second)
	f(time.Second, time.Minute, time.Minute)
	f(time.Second, upstream.NoTimeout, upstream.NoTimeout)
	f(upstream.NoTimeout, 0, upstream.NoTimeout)
	f(upstream.NoTimeout, time.Second, time.Second)
}

// The pauses between look-ups keep their bounds.
func TestPauses(t *testing.T) {
	n := NewNames(New(0), nil)
	defer n.resolver.Close()
	defer n.Close()
	now := time.Unix(1000, 0)
	n.resolver.now = func() time.Time { return now }
	f := func(ttl, valid, least, most time.Duration) {
		t.Helper()
		for range 200 {
			if d := n.pauseFor(&Config{Valid: valid}, now.Add(ttl)); d < least || d > most {
				t.Fatalf("pause %v for %v, want %v to %v", d, ttl, least, most)
			}
		}
	}
	f(0, 0, time.Second, 1100*time.Millisecond)
	f(-time.Second, 0, time.Second, 1100*time.Millisecond)
	f(30*time.Second, 0, 30*time.Second, 33*time.Second)
	f(68*365*24*time.Hour, 0, time.Hour, 66*time.Minute)
	f(24*time.Hour, 24*time.Hour, 24*time.Hour, 27*time.Hour)
	after := func(cfg *Config, code int, wants ...time.Duration) {
		t.Helper()
		for i, want := range wants {
			for range 200 {
				if d := n.backoff(cfg, &Error{"a.test", code}, i+1); d < want/2 || d > want {
					t.Fatalf("pause %v after %d failures, want %v to %v", d, i+1, want/2, want)
				}
			}
		}
	}
	const s = time.Second
	for _, code := range []int{codeFailure, codeNotFound, codeTimedOut} {
		after(&Config{}, code, s, 2*s, 4*s, 8*s, 10*s, 10*s)
		after(&Config{Timeout: upstream.NoTimeout}, code, s, 2*s, 4*s, 8*s, 10*s, 10*s)
		after(&Config{Valid: time.Hour, Timeout: time.Hour}, code, s, 2*s, 4*s, 8*s, 10*s, 10*s)
		after(&Config{Valid: 3 * s, Timeout: 3 * s}, code, s, 2*s, 3*s, 3*s)
		after(&Config{Valid: s / 2, Timeout: s / 2}, code, s, s, s)
	}
	after(&Config{Valid: s, Timeout: 5 * s}, codeNotFound, s, s, s)
	after(&Config{Valid: s, Timeout: 5 * s}, codeFailure, s, 2*s, 4*s, 5*s)
	if d := n.backoff(&Config{Valid: s, Timeout: time.Minute}, errors.New("no file"), 1000); d < 5*s || d > 10*s {
		t.Errorf("pause %v after a failure of another kind", d)
	}
	if d := n.backoff(&Config{}, &Error{"a.test", codeFailure}, 1000); d < 5*s || d > 10*s {
		t.Errorf("pause %v after a thousand failures", d)
	}
}
