package upstream

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"dyups/lb"
)

// TestChanges applies random batches and compares the table with a plain model, old tables included.
func TestChanges(t *testing.T) {
	bodies := make([]*Spec, 6)
	for i, b := range []string{
		"server 127.0.0.1:1;", "server 127.0.0.1:1; server 127.0.0.1:2;", "server 127.0.0.1:2 weight=3; server 127.0.0.1:1 down;",
		"ip_hash; server 127.0.0.1:3; server 127.0.0.1:1;", "hash a consistent; server multi.test; server 127.0.0.1:1;",
		"server 127.0.0.1:1; server 127.0.0.1:1; server 127.0.0.1:4 backup;",
	} {
		bodies[i] = parse(t, b)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var model []string
		s.Watch(func(old, now *Table) {
			seen := map[string]bool{}
			now.Diff(old, func(before, after *Upstream) {
				u := after
				if u == nil {
					u = before
				}
				if seen[string(u.key.fold)] || before != old.Lookup(u.key.fold) || after != now.Lookup(u.key.fold) {
					t.Fatalf("difference in %q is wrong", u.Name)
				}
				seen[string(u.key.fold)] = true
			})
			both := 0
			now.All(func(u *Upstream) bool {
				if old.Lookup(u.key.fold) == u {
					both++
				}
				return true
			})
			if both+len(seen) < now.Len() {
				t.Fatalf("%d upstreams stay, %d differ, %d there", both, len(seen), now.Len())
			}
		})
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			var batch []Change
			for range rapid.IntRange(1, 5).Draw(t, "changes") {
				c := Change{Name: rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "name")}
				if rapid.IntRange(0, 3).Draw(t, "kind") > 0 {
					c.Spec = rapid.SampledFrom(bodies).Draw(t, "body")
				}
				batch = append(batch, c)
			}
			before := s.Load()
			was := names(before)
			errs := s.Apply(batch)
			for i, c := range batch {
				at := slices.Index(model, c.Name)
				if missing := c.Spec == nil && at < 0; missing != (errs[i] != nil) {
					t.Fatalf("%+v: %v", c, errs[i])
				}
				switch {
				case c.Spec == nil && at >= 0:
					model = slices.Delete(model, at, at+1)
				case c.Spec != nil && at < 0:
					model = append(model, c.Name)
				}
			}
			if err := s.Load().check(); err != nil {
				t.Fatal(err)
			}
			if got := names(s.Load()); got != strings.Join(model, " ") {
				t.Fatalf("%q, want %q", got, model)
			}
			if names(before) != was {
				t.Fatal("an old table has changed")
			}
		}
	})
}

// TestReadersBesideWriter picks on several goroutines while another one changes the table.
func TestReadersBesideWriter(t *testing.T) {
	s := NewStore()
	specs := []*Spec{
		parse(t, "server 127.0.0.1:1; server 127.0.0.1:2 max_conns=2; server 127.0.0.1:3 backup;"),
		parse(t, "least_conn; server 127.0.0.1:2; server 127.0.0.1:1 weight=3; server 127.0.0.1:4 max_fails=3;"),
		parse(t, "hash a consistent; server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:5;"),
		parse(t, "random two; server 127.0.0.1:1; server 127.0.0.1:2; server 127.0.0.1:5;"),
		parse(t, "ip_hash; server 127.0.0.1:1; server 127.0.0.1:2;"),
	}
	all := []string{"a", "b", "c", "d"}
	for _, n := range all {
		s.Apply([]Change{{Name: n, Spec: specs[0]}})
	}
	var readers, writer sync.WaitGroup
	stop := make(chan struct{})
	for r := range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			rnd := rand.New(rand.NewPCG(1, uint64(r)))
			q := &lb.Query{}
			for now := int64(1); ; now += 1e6 {
				select {
				case <-stop:
					return
				default:
				}
				u := s.Load().Lookup([]byte(all[rnd.IntN(len(all))]))
				if u == nil {
					continue
				}
				q.Tried.Reset()
				q.NowNs, q.Key = now, []byte{10, 0, byte(rnd.IntN(256)), 1}
				for range u.Tries() {
					i := u.Pick(q)
					if i < 0 {
						break
					}
					u.Done(i, Outcome(rnd.IntN(3)), now)
				}
			}
		}()
	}
	writer.Add(1)
	go func() {
		defer writer.Done()
		rnd := rand.New(rand.NewPCG(2, 3))
		for range 3000 {
			c := Change{Name: all[rnd.IntN(len(all))]}
			if rnd.IntN(5) > 0 {
				c.Spec = specs[rnd.IntN(len(specs))]
			}
			s.Apply([]Change{c})
			if err := s.Load().check(); err != nil && !strings.Contains(err.Error(), "in flight") {
				t.Error(err)
			}
		}
	}()
	writer.Wait()
	close(stop)
	readers.Wait()
	if err := s.Load().check(); err != nil { // every place was given back
		t.Error(err)
	}
	s.Load().All(func(u *Upstream) bool {
		for _, sv := range u.Servers {
			if n := sv.State.InFlight(); n != 0 {
				t.Errorf("%s of %s: %d in flight", sv.Label, u.Name, n)
			}
		}
		return true
	})
}
