package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/bytebufferpool"

	"dyups/engine/site"
)

// Access log records are gathered by each loop and written by one goroutine: a disk never stops a loop. A batch goes out
// when it is large, when it is logDelay old, or when a client is to be closed: that waits for the write, so that who sees
// the connection end finds the record in the file.
const (
	logBatchMax = 32 << 10
	logDelay    = 50 * time.Millisecond
	logQueueMax = 64 << 20 // bytes not yet written, of all loops; beyond it records are dropped, counted and reported
)

// logFile is one access log.
type logFile struct {
	path  string
	users atomic.Int32 // sites that name it
	mu    sync.Mutex   // the writer and Reopen
	f     *os.File
}

// close closes the file; a late record opens it again.
func (f *logFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		_ = f.f.Close()
		f.f = nil
	}
}

func openLog(path string) (*logFile, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrNotExist) { // a prefix without its logs folder should not stop the start
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			f, err = os.OpenFile(path, flags, 0o644)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open access log %q: %w", path, err)
	}
	return &logFile{path: path, f: f}, nil
}

// write appends to the file; called on the writer.
func (f *logFile) write(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		n, err := openLog(f.path)
		if err != nil {
			return err
		}
		f.f = n.f
	}
	_, err := f.f.Write(b)
	return err
}

// lazyLogsMax bounds the files of access_log paths with variables that are open at once.
const lazyLogsMax = 512

// lazyLogs are the logs whose path has variables; the writer opens them. Loops share them.
type lazyLogs struct {
	mu    sync.RWMutex
	files map[string]*logFile
}

// lazyLog is the log for an evaluated path. It takes a lock, as only configurations with such paths do.
func (e *Engine) lazyLog(path []byte) *logFile {
	s := &e.lazy
	s.mu.RLock()
	f := s.files[string(path)]
	s.mu.RUnlock()
	if f != nil {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) >= lazyLogsMax {
		old := s.files
		s.files = nil
		e.logs.add(func() { closeAll(old) })
	}
	if s.files == nil {
		s.files = map[string]*logFile{}
	}
	f = &logFile{path: string(path)}
	s.files[f.path] = f
	return f
}

// closeAll closes logs that a late record opens again.
func closeAll(files map[string]*logFile) {
	for _, f := range files {
		f.close()
	}
}

func (f *logFile) reopen() error {
	n, err := openLog(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		_ = f.f.Close()
	}
	f.f = n.f
	return nil
}

// logWriter is the goroutine that writes.
type logWriter struct {
	eng     *Engine
	queue   atomic.Pointer[note]
	wake    chan struct{}
	queued  atomic.Int64 // bytes
	dropped atomic.Int64 // records' bytes
	done    chan struct{}
	stop    atomic.Bool
}

func newLogWriter(e *Engine) *logWriter {
	w := &logWriter{eng: e, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// add queues one job; it never blocks.
func (w *logWriter) add(f func()) {
	push(&w.queue, f)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *logWriter) run() {
	defer close(w.done)
	for range w.wake {
		for n := takeAll(&w.queue); n != nil; n = n.next {
			n.f()
		}
		if d := w.dropped.Swap(0); d > 0 {
			w.eng.logf(Err, 0, "access log is behind: %d bytes of records dropped", d)
		}
		if w.stop.Load() && w.queue.Load() == nil {
			return
		}
	}
}

// close writes what is queued and ends the goroutine.
func (w *logWriter) close() {
	w.stop.Store(true)
	w.add(func() {})
	<-w.done
}

// push puts f on a stack of notes; any goroutine may call it, and none ever waits.
func push(p *atomic.Pointer[note], f func()) {
	for n := (&note{f: f}); ; {
		n.next = p.Load()
		if p.CompareAndSwap(n.next, n) {
			return
		}
	}
}

// takeAll empties a stack of notes and returns them oldest first.
func takeAll(p *atomic.Pointer[note]) *note {
	var first *note
	for n := p.Swap(nil); n != nil; {
		n.next, first, n = first, n, n.next
	}
	return first
}

// logBatch is a loop's records that are not handed over yet. Only the loop touches it.
type logBatch struct {
	bufs    []fileBuf
	size    int
	due     int64 // loop clock; 0: nothing held
	waiting []*conn
}

type fileBuf struct {
	file *logFile
	buf  *bytebufferpool.ByteBuffer
}

// record adds the record of a finished exchange to its location's logs.
func (b *logBatch) record(ex *exchange, loc *site.Location) {
	for i := range loc.AccessLogs {
		a := &loc.AccessLogs[i]
		if a.If != nil {
			ex.aux = a.If.Append(ex.aux[:0], &ex.r)
			if len(ex.aux) == 0 || string(ex.aux) == "0" {
				continue
			}
		}
		file := ex.site.logs[a.Path]
		if a.PathValue != nil {
			if ex.aux = a.PathValue.Append(ex.aux[:0], &ex.r); len(ex.aux) > 0 && ex.aux[0] != '/' {
				ex.aux = append([]byte(ex.l.eng.cfg.Prefix), ex.aux...)
			}
			file = ex.l.eng.lazyLog(ex.aux)
		}
		if file == nil {
			continue
		}
		buf := b.of(file)
		at := len(buf.B)
		buf.B = append(a.Format.Append(buf.B, &ex.r), '\n')
		b.size += len(buf.B) - at
		if b.due == 0 {
			b.due = ex.l.nowNs + int64(logDelay)
		}
	}
}

func (b *logBatch) of(file *logFile) *bytebufferpool.ByteBuffer {
	for i := range b.bufs {
		if b.bufs[i].file == file {
			return b.bufs[i].buf
		}
	}
	b.bufs = append(b.bufs, fileBuf{file, bytebufferpool.Get()})
	return b.bufs[len(b.bufs)-1].buf
}

// closeAfter closes c, once the records held are in their files.
func (b *logBatch) closeAfter(c *conn) {
	if b.due == 0 {
		c.logged()
		return
	}
	c.held = true
	b.waiting = append(b.waiting, c)
}

// endTurn hands records over when it is time.
func (b *logBatch) endTurn(l *Loop) {
	if b.due != 0 && (len(b.waiting) > 0 || b.size >= logBatchMax || l.nowNs >= b.due) {
		b.flush(l)
	}
}

func (b *logBatch) flush(l *Loop) {
	if b.due == 0 {
		return
	}
	w := l.eng.logs
	bufs, size, waiting := b.bufs, int64(b.size), b.waiting
	*b = logBatch{}
	if w.queued.Add(size) > logQueueMax {
		w.queued.Add(-size)
		w.dropped.Add(size)
		bufs, size = nil, 0
	}
	w.add(func() {
		for _, fb := range bufs {
			if err := fb.file.write(fb.buf.B); err != nil {
				l.eng.logf(Crit, 0, "cannot write access log %q: %v", fb.file.path, err)
			}
			bytebufferpool.Put(fb.buf)
		}
		w.queued.Add(-size)
		if len(waiting) > 0 {
			l.post(func() {
				for _, c := range waiting {
					c.logged()
				}
			})
		}
	})
}
