package churn

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// table is a proxy of which only the upstreams exist.
type table struct {
	mu      sync.Mutex
	lists   map[string][]Server
	calls   map[string]int
	refuse  func(call string, n int) error // nil: nothing; n counts the calls of all clients
	total   int
	open    int
	removed func(addr string) // called after a removal was acknowledged, nil: nobody
}

func newTable(upstreams []Upstream) *table {
	t := &table{lists: make(map[string][]Server), calls: make(map[string]int)}
	for _, u := range upstreams {
		t.lists[u.Name] = slices.Clone(u.Servers)
	}
	return t
}

// updater is a client of a table.
type updater struct{ *table }

func (t *table) updater() (Updater, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open++
	return updater{t}, nil
}

// change counts a call and changes a list unless it is refused.
func (u updater) change(call, name string, f func(list []Server, ok bool) ([]Server, error)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls[call]++
	u.total++
	if u.refuse != nil {
		if err := u.refuse(call, u.total); err != nil {
			return err
		}
	}
	was, ok := u.lists[name]
	list, err := f(slices.Clone(was), ok)
	if err != nil {
		return fmt.Errorf("cannot %s %q: %w", call, name, err)
	}
	if u.lists[name] = list; list == nil {
		delete(u.lists, name)
	}
	return nil
}

var errState = errors.New("not possible in this state")

func index(list []Server, addr string) int {
	return slices.IndexFunc(list, func(s Server) bool { return s.Addr == addr })
}

func (u updater) Replace(_ context.Context, name string, servers []Server) error {
	return u.change("replace", name, func(_ []Server, ok bool) ([]Server, error) {
		if !ok {
			return nil, errState
		}
		return servers, nil
	})
}

func (u updater) Reweigh(_ context.Context, name string, s Server) error {
	return u.change("reweigh", name, func(list []Server, ok bool) ([]Server, error) {
		i := index(list, s.Addr)
		if i < 0 {
			return nil, errState
		}
		list[i] = s
		return list, nil
	})
}

func (u updater) Add(_ context.Context, name string, s Server) error {
	return u.change("add", name, func(list []Server, ok bool) ([]Server, error) {
		if !ok || index(list, s.Addr) >= 0 {
			return nil, errState
		}
		return append(list, s), nil
	})
}

func (u updater) Remove(_ context.Context, name, addr string) error {
	err := u.change("remove", name, func(list []Server, ok bool) ([]Server, error) {
		i := index(list, addr)
		if i < 0 {
			return nil, errState
		}
		return slices.Delete(list, i, i+1), nil
	})
	if err == nil && u.removed != nil {
		u.removed(addr)
	}
	return err
}

func (u updater) Create(_ context.Context, name string, servers []Server) error {
	return u.change("create", name, func(_ []Server, ok bool) ([]Server, error) {
		if ok {
			return nil, errState
		}
		return servers, nil
	})
}

func (u updater) Delete(_ context.Context, name string) error {
	return u.change("delete", name, func(_ []Server, ok bool) ([]Server, error) {
		if !ok {
			return nil, errState
		}
		return nil, nil
	})
}

func (u updater) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open--
	return nil
}

var spare = Server{Addr: "127.0.0.1:99", Weight: 5}

func upstreams(n int) []Upstream {
	var list []Upstream
	for i := range n {
		list = append(list, Upstream{fmt.Sprintf("u%d", i), []Server{{"127.0.0.1:1", 1}, {"127.0.0.1:2", 3}}})
	}
	return list
}

// during runs updates until the table has seen so many calls.
func during(t *testing.T, tab *table, opt Options, calls int) Sample {
	t.Helper()
	want := newTable(opt.Upstreams).lists
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	refuse := tab.refuse
	tab.refuse = func(call string, n int) error {
		if n >= calls {
			cancel()
		}
		if refuse != nil && ctx.Err() == nil {
			return refuse(call, n)
		}
		return nil
	}
	s := Run(ctx, tab.updater, opt)
	if !reflect.DeepEqual(tab.lists, want) {
		t.Fatalf("the upstreams are not what they were: %v", tab.lists)
	}
	if tab.open != 0 {
		t.Fatalf("%d updaters are not closed", tab.open)
	}
	return s
}

func TestScripts(t *testing.T) {
	f := func(script Script, clients, ups, wantClients int, calls ...string) {
		t.Helper()
		opt := Options{Clients: clients, Script: script, Upstreams: upstreams(ups), Spare: spare}
		tab := newTable(opt.Upstreams)
		s := during(t, tab, opt, 301)
		if s.Failed != 0 || s.Sent < 300 || s.Clients != wantClients || s.Script != script {
			t.Fatalf("%s: got %+v", script, s)
		}
		if s.P50us <= 0 || s.P99us < s.P50us || s.MaxUs < s.P99us || s.PerSecond <= 0 {
			t.Fatalf("%s: got %+v", script, s)
		}
		if len(s.At) == 0 || len(s.At) > maxAt || !slices.IsSorted(s.At) {
			t.Fatalf("%s: got %d moments", script, len(s.At))
		}
		for _, call := range calls {
			if tab.calls[call] < 100 {
				t.Fatalf("%s: got calls %v, want many of %q", script, tab.calls, call)
			}
		}
	}
	f(Reweigh, 1, 1, 1, "reweigh")
	f(Reweigh, 4, 10, 4, "reweigh")
	f(Reweigh, 4, 1, 4, "reweigh") // they share the upstream
	f(Servers, 1, 3, 1, "add", "remove")
	f(Servers, 4, 3, 3, "add", "remove")
	f(Replace, 0, 2, 1, "replace")
	f(Replace, 4, 2, 4, "replace")
	f(Whole, 3, 2, 3, "create", "delete")
}

// TestRate: at a rate no update is sent before its moment, and a stall is caught up with.
func TestRate(t *testing.T) {
	opt := Options{Rate: 1000, Clients: 2, Script: Reweigh, Upstreams: upstreams(4)}
	tab := newTable(opt.Upstreams)
	start := time.Now()
	tab.refuse = func(_ string, n int) error {
		if early := time.Duration(n-1)*time.Millisecond - time.Since(start); early > 0 {
			return fmt.Errorf("call %d came %v early", n, early)
		}
		if n == 20 {
			time.Sleep(30 * time.Millisecond) // longer than both clients' next moments are away
		}
		return nil
	}
	s := during(t, tab, opt, 200)
	if s.Failed != 0 {
		t.Fatalf("got failure %q", s.Example)
	}
	if elapsed := time.Since(start).Seconds(); float64(s.Sent) > 1000*elapsed+2 {
		t.Fatalf("%d updates were sent in %v s", s.Sent, elapsed)
	}
}

// TestFailures: failed updates are counted apart, and the upstream they leave behind is mended.
func TestFailures(t *testing.T) {
	for _, script := range []Script{Reweigh, Servers, Replace, Whole} {
		opt := Options{Script: script, Upstreams: upstreams(2), Spare: spare}
		tab := newTable(opt.Upstreams)
		failed := 0
		tab.refuse = func(call string, n int) error {
			if n%10 == 3 || n == 4 { // the second of two in a row hits the mending
				failed++
				return fmt.Errorf("refused %d", n)
			}
			return nil
		}
		s := during(t, tab, opt, 100)
		if s.Failed == 0 || s.Failed > int64(failed) || s.Sent <= s.Failed {
			t.Fatalf("%s: got %d of %d failed, want up to %d", script, s.Failed, s.Sent, failed)
		}
		if s.Example != "refused 3" {
			t.Fatalf("%s: got example %q", script, s.Example)
		}
	}
}

// TestTakenButNotAcknowledged: an update whose acknowledgement is lost must not make all later ones fail.
func TestTakenButNotAcknowledged(t *testing.T) {
	opt := Options{Script: Servers, Upstreams: upstreams(1), Spare: spare}
	tab := newTable(opt.Upstreams)
	tab.refuse = func(call string, n int) error {
		if n == 3 {
			tab.lists["u0"] = append(tab.lists["u0"], spare)
			return errors.New("lost")
		}
		return nil
	}
	if s := during(t, tab, opt, 50); s.Failed != 1 || s.Example != "lost" {
		t.Fatalf("got %d failures, the first %q", s.Failed, s.Example)
	}
}

// TestLate: a request that reached a removed server after the acknowledgement is found, one before it is not.
func TestLate(t *testing.T) {
	f := func(after time.Duration, late bool) {
		t.Helper()
		opt := Options{Script: Servers, Clients: 4, Upstreams: upstreams(5), Spare: spare}
		var last int64 // the run's one client writes and reads it
		opt.Watch = func(addr string) (int64, error) {
			if addr != spare.Addr {
				return 0, fmt.Errorf("asked for %q", addr)
			}
			return last, nil
		}
		tab := newTable(opt.Upstreams)
		tab.removed = func(string) { last = time.Now().Add(after).UnixNano() }
		s := during(t, tab, opt, 400)
		if s.Failed != 0 || s.Clients != 1 || s.Removals == 0 {
			t.Fatalf("got %+v", s)
		}
		if late && (s.Late != s.Removals || s.LateMax <= 0 || s.LateMax > after) {
			t.Fatalf("got %d of %d late, at most by %v, want all by up to %v", s.Late, s.Removals, s.LateMax, after)
		}
		if !late && (s.Late != 0 || s.LateMax != 0) {
			t.Fatalf("got %d of %d late by %v, want none", s.Late, s.Removals, s.LateMax)
		}
	}
	f(time.Minute, true)
	f(-time.Millisecond, false)
}

// TestLooks: at a rate that leaves the time for it every removal is looked at, and else only some.
func TestLooks(t *testing.T) {
	f := func(rate float64, all bool) {
		t.Helper()
		opt := Options{Rate: rate, Script: Servers, Upstreams: upstreams(3), Spare: spare}
		opt.Watch = func(string) (int64, error) { return 0, nil }
		tab := newTable(opt.Upstreams)
		s := during(t, tab, opt, 41)
		removed := int64(tab.calls["remove"])
		if s.Failed != 0 || removed < 20 {
			t.Fatalf("%v a second: got %+v, %d removals", rate, s, removed)
		}
		if all && s.Removals < removed-1 || !all && s.Removals > removed/2 { // the last one may set back
			t.Fatalf("%v a second: %d of %d removals were looked at", rate, s.Removals, removed)
		}
	}
	f(100, true)
	f(1000, false)
}

// TestWatchFails: a question that is not answered is a failure.
func TestWatchFails(t *testing.T) {
	opt := Options{Script: Servers, Upstreams: upstreams(1), Spare: spare}
	opt.Watch = func(string) (int64, error) { return 0, errors.New("nobody answers") }
	if s := during(t, newTable(opt.Upstreams), opt, 10); s.Failed == 0 || s.Removals != 0 || s.Example != "nobody answers" {
		t.Fatalf("got %+v", s)
	}
}

// TestUnsupported: what a proxy cannot do ends the run at once and is no failure.
func TestUnsupported(t *testing.T) {
	opt := Options{Script: Whole, Clients: 2, Upstreams: upstreams(1)}
	tab := newTable(opt.Upstreams)
	tab.refuse = func(call string, _ int) error {
		if call == "create" {
			return fmt.Errorf("no upstreams at run time: %w", ErrUnsupported)
		}
		return nil
	}
	s := Run(t.Context(), tab.updater, opt)
	if s.Failed != 0 || !strings.Contains(s.Unsupported, "no upstreams at run time") || tab.open != 0 {
		t.Fatalf("got %+v", s)
	}
	none := func() (Updater, error) { return nil, fmt.Errorf("no interface: %w", ErrUnsupported) }
	if s := Run(t.Context(), none, opt); s.Failed != 0 || !strings.Contains(s.Unsupported, "no interface") {
		t.Fatalf("got %+v", s)
	}
	broken := func() (Updater, error) { return nil, errors.New("refused") }
	if s := Run(t.Context(), broken, opt); s.Failed != 1 || s.Example != "refused" {
		t.Fatalf("got %+v", s)
	}
}

func TestValidate(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		if s := Run(t.Context(), nil, o); s.Failed != 1 || !strings.Contains(s.Example, want) {
			t.Fatalf("got %+v, want a failure with %q", s, want)
		}
	}
	f(Options{Script: "x", Upstreams: upstreams(1)}, `"x"`)
	f(Options{Script: Reweigh}, "without upstreams")
	f(Options{Script: Reweigh, Rate: -1, Upstreams: upstreams(1)}, "-1")
	f(Options{Script: Reweigh, Upstreams: []Upstream{{Name: "x"}}}, "no servers")
	f(Options{Script: Servers, Upstreams: upstreams(1)}, "weight 0")
	f(Options{Script: Servers, Upstreams: upstreams(1), Spare: Server{"127.0.0.1:2", 1}}, "there already")
}

func TestThin(t *testing.T) {
	f := func(n, want int) {
		t.Helper()
		if got := len(thin(make([]float64, n))); got != want {
			t.Fatalf("got %d of %d points, want %d", got, n, want)
		}
	}
	f(0, 0)
	f(maxAt, maxAt)
	f(maxAt+1, maxAt/2+1)
	f(3*maxAt, maxAt)
	c := &client{every: 1}
	for i := range 100000 {
		c.note(time.Duration(i) * time.Second)
	}
	for i, at := range c.sample.At {
		if at != float64(int64(i)*c.every) {
			t.Fatalf("point %d is at %v, want every %d-th of all", i, at, c.every)
		}
	}
	if len(c.sample.At) > 2*maxAt || c.sample.Sent != 100000 {
		t.Fatalf("got %d points of %d", len(c.sample.At), c.sample.Sent)
	}
}

// nothing acknowledges at once.
type nothing struct{ updater }

func (nothing) Reweigh(context.Context, string, Server) error { return nil }

// BenchmarkStep is what an update costs besides the Updater.
func BenchmarkStep(b *testing.B) {
	o := &Options{Script: Reweigh, Upstreams: upstreams(100)}
	c := newClient(o, nothing{}, 0, 1)
	start := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.step(b.Context(), &c.works[c.next], start)
	}
}
