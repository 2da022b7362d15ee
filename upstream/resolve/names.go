package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dyups/upstream"
)

// Levels handed to the log, numbered as the error log of nginx numbers them (smaller is graver).
const (
	levelError  = 3
	levelWarn   = 4
	levelNotice = 5
	levelInfo   = 6
)

// lookLimit bounds what a start, a reload or a command waits for the first addresses of its names, all together: name
// servers that do not answer are not worth more, since the names are asked for again anyway.
const lookLimit = 3 * time.Second

// maxAtOnce bounds the look-ups of names in the table that are under way to one list of name servers. Each has two sockets, with
// silent servers 2*maxOpen, and a table may have more names than the process may have descriptors.
const maxAtOnce = 128

// Names keeps the servers of "server NAME resolve" lines what DNS says they are. It watches a Store: each name that is in
// the table, however many upstreams have it, has one refresher, which asks again when the answer is out of date. An answer
// that differs is published as a change of each upstream with the name, on condition that it has not been redefined
// meanwhile. When a look-up fails the last answer stays; that there is no such name is an answer. Make it with NewNames. All
// methods may be called from any goroutine.
type Names struct {
	resolver *Resolver
	system   *system
	log      func(level int, msg string)
	least    time.Duration // leastPause, but for tests
	gates    gates

	life context.Context // ends with Close; parent of every refresher
	stop context.CancelFunc
	work sync.WaitGroup
	wake chan struct{} // one token: "dirty is not empty"

	// Set by Follow, before anybody else reads them.
	store *upstream.Store
	apply func(upstream.Change) error

	mu      sync.Mutex // guards what is below, and the addresses of targets; held for map operations only
	closed  bool
	def     *Config
	users   map[string]user     // upstreams with names, by their keys
	targets map[string]*target  // by targetKey
	dirty   map[string]struct{} // keys of upstreams that may not be what the answers say
}

// user is an upstream with names: its definition, and the target of each of its Spec.Names.
type user struct {
	spec    *upstream.Spec
	targets []*target
}

// target is one name to keep up to date.
type target struct {
	key    string
	name   upstream.Name
	cfg    *Config
	users  map[string]int     // how many lines of which upstream, by its key
	cancel context.CancelFunc // ends the refresher
	addrs  []upstream.Address // the last answer, empty if there is no such name, nil before the first one; not written again
	failed string             // what the last look-up said if it failed, "" after one that did not
}

// NewNames makes a Names that asks through r and tells log about answers; log must not block, nil: nothing is told. Until
// Follow it only looks up.
func NewNames(r *Resolver, log func(level int, msg string)) *Names {
	if log == nil {
		log = func(int, string) {}
	}
	life, stop := context.WithCancel(context.Background())
	return &Names{
		resolver: r, system: newSystem(r), log: log, least: leastPause, gates: gates{places: maxAtOnce},
		life: life, stop: stop, wake: make(chan struct{}, 1), def: new(Config),
		users: map[string]user{}, targets: map[string]*target{}, dirty: map[string]struct{}{},
	}
}

// Follow begins to keep the upstreams of store up to date. apply publishes one change, through whatever else writes to the
// store, and may block. It is called once, while nobody writes to the store.
func (n *Names) Follow(store *upstream.Store, apply func(upstream.Change) error) {
	n.store, n.apply = store, apply
	n.work.Add(1)
	go n.publish()
	n.changed(new(upstream.Table), store.Load())
	store.Watch(n.changed)
}

// Close ends all look-ups and waits for them, and for changes that are being applied.
func (n *Names) Close() {
	n.mu.Lock()
	n.closed = true // nothing is added to work any more
	n.mu.Unlock()
	n.stop()
	n.work.Wait()
}

// SetDefault says how names are looked up whose upstream has no "resolver" of its own; a Config without Servers means the
// system's resolver. The addresses known so far stay until the new servers have answered, but those of a family that is off.
func (n *Names) SetDefault(def *Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	same := configKey(def) == configKey(n.def)
	n.def = def
	if same {
		return
	}
	for key, u := range n.users {
		n.set(key, u.spec)
	}
}

// changed follows the table; it is a watcher of the store.
func (n *Names) changed(old, now *upstream.Table) {
	now.Diff(old, func(before, after *upstream.Upstream) {
		switch {
		case after == nil:
			if before.Spec().HasNames() {
				n.drop(before.Key())
			}
		case after.Spec().HasNames() || before != nil && before.Spec().HasNames():
			n.mu.Lock()
			n.set(after.Key(), after.Spec())
			n.mu.Unlock()
		}
	})
}

// set enters an upstream as it now is; the caller holds mu.
func (n *Names) set(key string, spec *upstream.Spec) {
	if n.closed {
		return
	}
	names := spec.Names()
	was := n.users[key]
	now := user{spec, make([]*target, len(names))}
	for i, name := range names {
		now.targets[i] = n.acquire(key, name)
	}
	for _, t := range was.targets {
		n.release(key, t)
	}
	if len(names) == 0 {
		delete(n.users, key)
		return
	}
	n.users[key] = now
	n.mark(key)
}

// drop takes out an upstream that left the table.
func (n *Names) drop(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.users[key].targets {
		n.release(key, t)
	}
	delete(n.users, key)
}

// acquire gives the target of a name, with its refresher; the caller holds mu.
func (n *Names) acquire(user string, name upstream.Name) *target {
	cfg := effective(n.def, name)
	key := targetKey(cfg, name)
	t := n.targets[key]
	if t == nil {
		t = &target{key: key, name: name, cfg: cfg, users: map[string]int{}}
		n.targets[key] = t
		var ctx context.Context
		ctx, t.cancel = context.WithCancel(n.life)
		n.work.Add(1)
		go n.refresh(ctx, t)
	}
	t.users[user]++
	return t
}

// release gives one line's share in a target back; without any the refresher ends. The caller holds mu.
func (n *Names) release(user string, t *target) {
	if t.users[user]--; t.users[user] <= 0 {
		delete(t.users, user)
	}
	if len(t.users) == 0 {
		t.cancel()
		delete(n.targets, t.key)
	}
}

// mark has an upstream compared with the answers; the caller holds mu.
func (n *Names) mark(key string) {
	n.dirty[key] = struct{}{}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// learn enters an answer and has the upstreams with the name changed if it is new.
func (n *Names) learn(t *target, addrs []upstream.Address) (was []upstream.Address, changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.enter(t, addrs)
}

// enter is learn; the caller holds mu.
func (n *Names) enter(t *target, addrs []upstream.Address) (was []upstream.Address, changed bool) {
	was, t.failed = t.addrs, ""
	if was != nil && slices.Equal(was, addrs) {
		return was, false
	}
	t.addrs = addrs
	for key := range t.users {
		n.mark(key)
	}
	return was, true
}

// fail notes that the last look-up of t failed.
func (n *Names) fail(t *target, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.failed = text
}

// Failures says for each of names, in the words of the log, why the last look-up of it failed; "" where it did not, or where none
// has ended yet. The names are those of a definition in the table.
func (n *Names) Failures(names []upstream.Name) []string {
	texts := make([]string, len(names))
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, name := range names {
		if t := n.targets[targetKey(effective(n.def, name), name)]; t != nil {
			texts[i] = t.failed
		}
	}
	return texts
}

// publish brings upstreams in line with the answers, one after the other; until Close.
func (n *Names) publish() {
	defer n.work.Done()
	for {
		select {
		case <-n.life.Done():
			return
		case <-n.wake:
		}
		n.mu.Lock()
		dirty := n.dirty
		n.dirty = map[string]struct{}{}
		n.mu.Unlock()
		for key := range dirty {
			if n.life.Err() != nil {
				return
			}
			n.adjust(key)
		}
	}
}

// adjust publishes what the answers make of one upstream, if that is not what it is. Without an answer a name keeps the
// addresses that it has, but those of a family that it is not looked up for (ipv6=off). Nothing is done for a definition that
// n has not seen yet, or that is replaced meanwhile: changed marks it again.
func (n *Names) adjust(key string) {
	u := n.store.Load().Lookup([]byte(key))
	if u == nil {
		return
	}
	n.mu.Lock()
	known := n.users[key]
	answers := make([][]upstream.Address, len(known.targets))
	for i, t := range known.targets {
		answers[i] = t.addrs
	}
	n.mu.Unlock()
	if known.spec != u.Spec() {
		return
	}
	spec := u.Spec().Resolved(func(i int) ([]upstream.Address, bool) { return answers[i], answers[i] != nil }).
		Without(func(i int, addr netip.Addr) bool { return !wants(known.targets[i].cfg, addr) })
	if spec == u.Spec() {
		return
	}
	err := n.apply(upstream.Change{Name: u.Name, Spec: spec, Source: u.Source, If: u.Spec()})
	if err != nil && !errors.Is(err, upstream.ErrChanged) {
		n.log(levelError, fmt.Sprintf("cannot change the addresses of upstream %q: %v", u.Name, err))
	}
}

// Look gives the addresses of names, all asked for in parallel and for lookLimit at most: what is known already, or what
// the name servers say, or, when they fail, the last answer with addresses that any resolver gave for the same name, without the
// families of addresses that are not asked for any more. Without any of these the answer is nil and its error says why. def
// stands for the "resolver" of the http block, nil: that of SetDefault.
func (n *Names) Look(ctx context.Context, def *Config, names []upstream.Name) (answers [][]upstream.Address, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	answers, errs = make([][]upstream.Address, len(names)), make([]error, len(names))
	if def == nil {
		n.mu.Lock()
		def = n.def
		n.mu.Unlock()
	}
	var wg sync.WaitGroup
	for i, name := range names {
		cfg := effective(def, name)
		key := targetKey(cfg, name)
		if answers[i] = n.known(key); len(answers[i]) == 0 {
			wg.Go(func() {
				if answers[i], _, _, errs[i] = n.look(ctx, cfg, name, nil); errs[i] == nil {
					n.teach(key, answers[i])
				}
			})
		}
	}
	wg.Wait()
	var last map[upstream.Name][][]upstream.Address
	for i, name := range names {
		if errs[i] == nil || notFound(errs[i]) {
			continue
		}
		if last == nil {
			last = n.lastGood()
		}
		cfg := effective(def, name)
		for _, addrs := range last[bare(name)] {
			for _, a := range addrs {
				if wants(cfg, a.Addr) {
					answers[i] = append(answers[i], a)
				}
			}
			if answers[i] != nil {
				errs[i] = nil
				break
			}
		}
	}
	return answers, errs
}

// teach enters an answer that came before the next look-up of the name's refresher, if it has one that knows no addresses.
func (n *Names) teach(key string, addrs []upstream.Address) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.targets[key]; t != nil && len(t.addrs) == 0 {
		n.enter(t, addrs)
	}
}

func (n *Names) known(key string) []upstream.Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.targets[key]; t != nil {
		return t.addrs
	}
	return nil
}

// lastGood gives the answers of all names, one for each way of looking the name up.
func (n *Names) lastGood() map[upstream.Name][][]upstream.Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[upstream.Name][][]upstream.Address, len(n.targets))
	for _, t := range n.targets {
		if t.addrs != nil {
			name := bare(t.name)
			all[name] = append(all[name], t.addrs)
		}
	}
	return all
}

// wants reports whether a look-up by cfg asks for addresses of the family of addr; the system's resolver asks for both.
func wants(cfg *Config, addr netip.Addr) bool {
	return len(cfg.Servers) == 0 || addr.Is4() && cfg.IPv4 || addr.Is6() && cfg.IPv6
}

// bare is a name without how it is looked up.
func bare(name upstream.Name) upstream.Name {
	return upstream.Name{Host: strings.ToLower(name.Host), Service: strings.ToLower(name.Service)}
}

// effective is how a name is looked up: as its upstream says, and where that is silent as def does.
func effective(def *Config, name upstream.Name) *Config {
	cfg := *def
	if name.Resolver != nil {
		cfg = *name.Resolver
		cfg.Timeout = def.Timeout
	}
	if name.Timeout != 0 {
		cfg.Timeout = name.Timeout
	}
	return &cfg
}

func configKey(cfg *Config) string { return cacheKey(cfg, cfg.Timeout.String()) }

// targetKey tells apart what has to be looked up separately.
func targetKey(cfg *Config, name upstream.Name) string {
	b := bare(name)
	return b.Host + "\x00" + b.Service + "\x00" + configKey(cfg)
}
