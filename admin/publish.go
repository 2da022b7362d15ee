package admin

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"dyups/codec/conf"
	"dyups/upstream"
)

// Errors of the queue. Neither leaves a trace in the table.
var (
	// ErrQueueFull says that a command found no room among those queued and not yet published.
	ErrQueueFull = errors.New("cannot queue command: queue is full")
	// ErrClosed says that the Admin was closed before the command was queued.
	ErrClosed = errors.New("cannot queue command: interface is closed")
)

// Levels handed to Config.Log, numbered as the error log of nginx numbers them (smaller is graver).
const (
	levelError = 3
	levelInfo  = 6
)

// DefaultQueueBytes bounds the queue when Config.QueueBytes is 0; it is the default of dyups_shm_zone_size.
const DefaultQueueBytes = 2 << 20

// Config is what an Admin needs from the roof.
type Config struct {
	// Store is the table that commands change and listings read. Required.
	Store *upstream.Store
	// Options are those of ParseBlock for every command body. Options.Resolve is called on the caller's goroutine,
	// before the command is queued.
	Options upstream.Options
	// QueueBytes bounds the bytes of commands (name and body) that are queued and not yet published. 0 means
	// DefaultQueueBytes.
	QueueBytes int64
	// Failures says for each of the names of a definition in the table why the last look-up of it failed, "" where it did not or
	// where none has ended yet; for views. It must return at once. Nil: nobody looks them up.
	Failures func(names []upstream.Name) []string
	// Log takes one message without time, level and line end; level counts as in nginx (3 error, 6 info). It must not
	// block and may be called from any goroutine. Nil: nothing is logged.
	Log func(level int, msg string)
}

// Admin is the control side of a Store: a queue of commands, the one writer that publishes them, and the handlers that
// feed it. Its methods are safe for concurrent use. Make it with New and end it with Close.
type Admin struct {
	store *upstream.Store
	opt   upstream.Options
	fails func([]upstream.Name) []string // Config.Failures
	log   func(level int, msg string)
	limit atomic.Int64

	turn sync.Mutex // held by who publishes: the writer, or a caller of Run who found nobody at it

	mu     sync.Mutex
	queue  []*command  // in order of arrival; the writer takes all of it at once
	bytes  int64       // of commands queued or being applied, that is: not yet published
	closed atomic.Bool // written under mu

	wake chan struct{} // one token: "the queue is not empty" or "closed"
	done chan struct{} // closed when the writer has ended

	brief upstream.Options   // the options for commands that are read in their turn, where nothing may take long
	read  conf.Scratch       // of those; of who holds turn
	one   [1]upstream.Change // the change that is applied in its turn; of who holds turn
}

// command is one entry of the queue. It belongs to the caller until queued, to the writer until answered.
type command struct {
	change upstream.Change
	inner  bool   // of the process itself: not bounded
	job    func() // instead of change
	waits  bool   // somebody waits for the end of job
	bytes  int64  // what it takes of the queue's bound
	err    error
	ready  chan struct{} // one token: answered
}

var commands = sync.Pool{New: func() any { return &command{ready: make(chan struct{}, 1)} }}

// New starts an Admin with its writer goroutine. The owner calls Close.
func New(cfg Config) *Admin {
	if cfg.Store == nil {
		panic("BUG: admin.New without a store")
	}
	a := &Admin{
		store: cfg.Store,
		opt:   cfg.Options,
		fails: cfg.Failures,
		log:   cfg.Log,
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	if a.log == nil {
		a.log = func(int, string) {}
	}
	a.brief = a.opt
	a.brief.Brief = true
	a.SetQueueBytes(cfg.QueueBytes)
	go a.write()
	return a
}

// SetQueueBytes changes the bound of the queue (reload); 0 or less means DefaultQueueBytes. Commands already queued stay.
func (a *Admin) SetQueueBytes(n int64) {
	if n <= 0 {
		n = DefaultQueueBytes
	}
	a.limit.Store(n)
}

// Close refuses further commands, publishes and answers those queued, and returns when the writer has ended. It may be
// called more than once. Listings keep working.
func (a *Admin) Close() {
	a.mu.Lock()
	a.closed.Store(true)
	a.mu.Unlock()
	a.signal()
	<-a.done
	a.turn.Lock() // who had it without the queue has published
	defer a.turn.Unlock()
}

// maxNow bounds the bodies that Run handles at once, on its caller's goroutine, so that a loop is held up for as long as a few
// requests take at most.
const maxNow = 4 << 10

// Run runs job as one of the commands: before it returns where that is soon done and no other command is under way, else on
// the writer, in its turn. size is what it takes of the queue's bound. It returns false, and job does not run, when there is
// no room or the Admin is closed. job must not block: what it does not know it has to leave to somebody else. Run itself does
// not block.
func (a *Admin) Run(size int, job func()) bool {
	if size <= maxNow && a.turn.TryLock() {
		defer a.turn.Unlock()
		if a.closed.Load() {
			return false
		}
		job()
		return true
	}
	c := commands.Get().(*command)
	c.job, c.bytes = job, int64(size)
	if a.enqueue(c) == nil {
		return true
	}
	c.release()
	return false
}

// release gives a command back to the pool.
func (c *command) release() {
	*c = command{ready: c.ready}
	commands.Put(c)
}

// Alone runs f in its turn among the commands, and returns when it has: what was acknowledged before the call is in the table,
// what is acknowledged after it comes on top, and nothing else writes while f runs. For changes that follow from the table as it
// is, such as those of a reload. The bound of the queue does not apply; on error f has not run.
func (a *Admin) Alone(f func()) error {
	c := commands.Get().(*command)
	c.job, c.waits, c.inner = f, true, true
	return a.do(c)
}

// Apply publishes one change of a source inside the process, in its turn among the commands; the bound of the queue does not
// apply. The error is that of Store.Apply for the change, or ErrClosed; then nothing has changed.
func (a *Admin) Apply(ch upstream.Change) error {
	c := commands.Get().(*command)
	c.change, c.inner = ch, true
	return a.do(c)
}

// change publishes one change, whose command takes the given bytes of the queue, and returns its result.
func (a *Admin) change(ch upstream.Change, bytes int) error {
	c := commands.Get().(*command)
	c.change, c.bytes = ch, int64(bytes)
	return a.do(c)
}

// do queues c, waits for its answer and releases it.
func (a *Admin) do(c *command) error {
	err := a.enqueue(c)
	if err == nil {
		<-c.ready
		err = c.err
	}
	c.release()
	return err
}

// applyHere publishes one change; the caller holds turn.
func (a *Admin) applyHere(ch upstream.Change, bytes int) error {
	if int64(bytes) > a.limit.Load() {
		return ErrQueueFull // as if it had to be queued: it never could be
	}
	a.one[0] = ch
	err := a.store.Apply(a.one[:])[0]
	a.one[0] = upstream.Change{}
	return err
}

func (a *Admin) enqueue(c *command) error {
	a.mu.Lock()
	switch {
	case a.closed.Load():
		a.mu.Unlock()
		return ErrClosed
	case !c.inner && a.bytes+c.bytes > a.limit.Load():
		a.mu.Unlock()
		return ErrQueueFull
	}
	a.bytes += c.bytes
	a.queue = append(a.queue, c)
	first := len(a.queue) == 1
	a.mu.Unlock()
	if first { // behind the first one a token is under way already
		a.signal()
	}
	return nil
}

func (a *Admin) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// write is the writer: take all that is queued, apply it as one table, answer each caller; until closed and drained.
//
// It keeps its own thread so that the nice value touches nothing else; never unlocked, the thread ends with the
// goroutine. Go clones no new thread from a locked one, so the nice value is not inherited.
func (a *Admin) write() {
	runtime.LockOSThread()
	yieldToLoops()
	defer close(a.done)
	w := writer{store: a.store}
	var batch []*command
	for a.await() {
		a.turn.Lock()
		batch = a.take(batch)
		w.apply(batch)
		a.turn.Unlock()
		a.answer(batch)
	}
}

// await waits for commands; false: closed and drained.
func (a *Admin) await() bool {
	for {
		a.mu.Lock()
		queued, closed := len(a.queue) > 0, a.closed.Load()
		a.mu.Unlock()
		if queued || closed {
			return queued
		}
		<-a.wake
	}
}

// take gives all commands, in order. spare becomes the queue's next backing array.
func (a *Admin) take(spare []*command) []*command {
	clear(spare)
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := a.queue
	a.queue = spare[:0]
	return batch
}

// answer gives the room in the queue back, which the commands hold until they are published, then tells each caller.
func (a *Admin) answer(batch []*command) {
	var n int64
	for _, c := range batch {
		n += c.bytes
	}
	a.mu.Lock()
	a.bytes -= n
	a.mu.Unlock()
	for _, c := range batch {
		if c.job != nil && !c.waits {
			c.release()
			continue
		}
		c.ready <- struct{}{}
	}
}

// writer applies batches; its slice is reused from one to the next.
type writer struct {
	store   *upstream.Store
	changes []upstream.Change
}

// apply publishes a batch: everything between two jobs as one table. The results are left in the commands.
func (w *writer) apply(batch []*command) {
	for len(batch) > 0 {
		if c := batch[0]; c.job != nil {
			c.job()
			batch = batch[1:]
			continue
		}
		n := 0
		for n < len(batch) && batch[n].job == nil {
			w.changes = append(w.changes, batch[n].change)
			n++
		}
		for i, err := range w.store.Apply(w.changes) {
			batch[i].err = err
		}
		clear(w.changes)
		w.changes, batch = w.changes[:0], batch[n:]
	}
}
