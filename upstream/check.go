package upstream

import "fmt"

// check reports the first broken invariant of a table: tests call it after every change, and builds with the tag
// invariants at every publishing.
func (t *Table) check() error {
	n := 0
	seqs := map[uint64]string{}
	states := map[*State]string{}
	for _, br := range t.root {
		if br == nil {
			continue
		}
		if br.gen > t.gen {
			return fmt.Errorf("table %d has a branch of generation %d", t.gen, br.gen)
		}
		for _, tw := range br.twigs {
			if tw != nil && tw.gen > br.gen {
				return fmt.Errorf("a branch of generation %d has a twig of generation %d", br.gen, tw.gen)
			}
		}
	}
	for b := range t.buckets {
		if b.gen > t.gen || len(b.entries) == 0 {
			return fmt.Errorf("table %d: bucket of generation %d has %d upstreams", t.gen, b.gen, len(b.entries))
		}
		for _, e := range b.entries {
			u := e.u
			n++
			if h := hashName([]byte(u.Name)); h != e.hash || u.key.hash != h {
				return fmt.Errorf("upstream %q has another hash than its name", u.Name)
			}
			if !u.key.is([]byte(u.Name)) || t.Lookup([]byte(u.Name)) != u {
				return fmt.Errorf("upstream %q is not found by its name", u.Name)
			}
			if other, ok := seqs[u.seq]; ok || u.seq == 0 || u.seq > t.seq {
				return fmt.Errorf("upstream %q has number %d of %d, upstream %q too", u.Name, u.seq, t.seq, other)
			}
			seqs[u.seq] = u.Name
			if err := u.check(states); err != nil {
				return fmt.Errorf("upstream %q: %w", u.Name, err)
			}
		}
	}
	if n != t.n {
		return fmt.Errorf("table %d has %d upstreams and counts %d", t.gen, n, t.n)
	}
	return nil
}

// check reports the first broken invariant of an upstream; states holds the states seen so far in its table.
func (u *Upstream) check(states map[*State]string) error {
	if u.picker == nil || u.cursor == nil || u.spec == nil || len(u.Servers) != len(u.spec.servers) {
		return fmt.Errorf("is not built")
	}
	primaries := 0
	for i, s := range u.Servers {
		switch {
		case s.State == nil:
			return fmt.Errorf("server %d has no state", i)
		case s.State.Retired():
			return fmt.Errorf("server %q is in the table and retired", s.Label)
		case s.State.InFlight() < 0:
			return fmt.Errorf("server %q has %d requests in flight", s.Label, s.State.InFlight())
		case !s.Addr.IsValid() && (!isUnix(s.Label) || s.Unix() == ""):
			return fmt.Errorf("server %q has no address", s.Label)
		case s.Weight < 1 || s.MaxConns < 0 || s.MaxFails < 0 || s.FailTimeout < 0:
			return fmt.Errorf("server %q has a parameter out of range", s.Label)
		}
		if other, ok := states[s.State]; ok {
			return fmt.Errorf("server %q shares its state with a server of %q", s.Label, other)
		}
		states[s.State] = u.Name
		if !s.Backup {
			primaries++
		}
	}
	if primaries == 0 && !u.spec.hasPrimary() {
		return fmt.Errorf("has no server that is not a backup")
	}
	return nil
}
