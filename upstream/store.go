package upstream

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrNotFound is the error of a change that deletes an upstream which is not there.
var ErrNotFound = errors.New("no such upstream")

// ErrChanged is the error of a change whose condition (Change.If) does not hold.
var ErrChanged = errors.New("the upstream has changed meanwhile")

// Store holds the one table pointer. Load may be called from any goroutine and never waits; writers are serial.
type Store struct {
	table    atomic.Pointer[Table]
	mu       sync.Mutex // held by writers, and while watchers run
	watchers []func(old, new *Table)
	isNew    func(*Upstream, *Server)
	ahead    ahead
	made     uintptr // address of something that the last change has made
	sealed   seal    // of the published table, in builds with the tag invariants
}

// NewStore makes an empty store.
func NewStore() *Store {
	s := &Store{ahead: ahead{}}
	s.table.Store(new(Table))
	return s
}

// Load returns the current table; one atomic read. Never nil. A request loads once and keeps what it got.
func (s *Store) Load() *Table { return s.table.Load() }

// Apply publishes all changes as one table, or nothing. Serial. The error of a change is in errs[i] (e.g. ErrNotFound
// for the deletion of an unknown name); such a change is left out, the others still apply. errs is as long as
// changes. Changes take effect in order, so that a later one sees what an earlier one of the same call did; when all
// of them fail nothing is published and no watcher is called.
func (s *Store) Apply(changes []Change) (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	errs = make([]error, len(changes))
	t := old.edit()
	var retired []*State
	var queues []*Queue
	applied := 0
	for i := range changes {
		c := &changes[i]
		was := t.Lookup([]byte(c.Name))
		if c.If != nil && (was == nil || was.spec != c.If) {
			errs[i] = ErrChanged
			continue
		}
		if c.Spec == nil {
			if was == nil {
				errs[i] = ErrNotFound
				continue
			}
			t.remove(was)
			retired = appendStates(retired, was)
		} else {
			var u *Upstream
			u, retired = c.Spec.build(c, was, retired, s.isNew)
			t.put(u)
			s.made = uintptr(unsafe.Pointer(unsafe.SliceData(c.Spec.servers)))
		}
		if was != nil && was.Queue != nil {
			queues = append(queues, was.Queue)
		}
		applied++
	}
	if applied > 0 {
		s.publish(old, t, retired)
	}
	wake(queues)
	return errs
}

// Prepare makes memory ready for the changes that come next (type ahead). It is for the moment in which the last one has been
// answered: it takes some microseconds, as many as the changes then take less. It waits for nobody, and is never needed.
func (s *Store) Prepare() {
	if s.mu.TryLock() {
		s.ahead.of(s.made)
		s.mu.Unlock()
	}
}

// Replace publishes a table that holds exactly these specs in this order (start-up, reload). State of servers that
// stay is kept. A name that stands twice, or a change without a Spec, is an error, and then nothing is published.
func (s *Store) Replace(changes []Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	t := &Table{gen: old.gen + 1}
	names := make(map[string]bool, len(changes))
	for i := range changes { // before any is built, which binds the states that stay
		c := &changes[i]
		if c.Spec == nil {
			return fmt.Errorf("cannot replace the table: no definition of upstream %q", c.Name)
		}
		if names[Key(c.Name)] {
			return fmt.Errorf("cannot replace the table: duplicate upstream %q", c.Name)
		}
		names[Key(c.Name)] = true
	}
	var retired []*State
	for i := range changes {
		c := &changes[i]
		var u *Upstream
		u, retired = c.Spec.build(c, old.Lookup([]byte(c.Name)), retired, s.isNew)
		u.seq = 0 // the order is the new one
		t.put(u)
	}
	var queues []*Queue
	t.Diff(old, func(before, after *Upstream) {
		if after == nil {
			retired = appendStates(retired, before)
		}
		if before != nil && before.Queue != nil {
			queues = append(queues, before.Queue)
		}
	})
	s.publish(old, t, retired)
	wake(queues)
	return nil
}

// wake has those who wait look for a server in the new table.
func wake(queues []*Queue) {
	for _, q := range queues {
		q.Wake()
	}
}

// publish swaps the tables, then retires what left, then tells the watchers: whoever sees a state retired finds a
// table without it.
func (s *Store) publish(old, t *Table, retired []*State) {
	s.sealed.verify(old)
	s.sealed.set(t)
	s.table.Store(t)
	for _, st := range retired {
		st.retired.Store(true)
	}
	for _, f := range s.watchers {
		f(old, t)
	}
}

// Watch registers a watcher, called serially after each swap with (old, new); it must return at once, and must not
// call the store's writers, which wait for it.
func (s *Store) Watch(f func(old, new *Table)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, f)
}

// OnNew sets a function that is called for every server with a new State, and for one that was marked down and is no more, before a
// table with it can be seen: what has to be checked first is barred there. It runs under the writers' lock, so it must return at
// once and call none of them. Not to be called once the store is in use.
func (s *Store) OnNew(f func(u *Upstream, sv *Server)) { s.isNew = f }

func appendStates(states []*State, u *Upstream) []*State {
	for _, s := range u.Servers {
		states = append(states, s.State)
	}
	return states
}
