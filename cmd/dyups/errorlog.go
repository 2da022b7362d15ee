package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dyups/engine"
)

// levelNames are nginx's, in the order of engine.Level.
var levelNames = [...]string{"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"}

const (
	// logQueue is how many lines may wait for the writer. A full queue drops lines instead of holding up a loop.
	logQueue = 4096
	// maxLogMessage cuts a message; nginx cuts a line at 2048 bytes (NGX_MAX_ERROR_STR).
	maxLogMessage = 2048
	// logBatch is how many bytes are gathered before one write.
	logBatch = 64 << 10
)

// logTarget is one error_log directive, or what stands in for it.
type logTarget struct {
	path  string // absolute; "": standard error
	level engine.Level
	// create: the folder may be made (a relative path below the prefix).
	create bool
	// lenient: a file that cannot be opened gives way to standard error.
	lenient bool
}

// logLine is one message on its way to the writer.
type logLine struct {
	at    time.Time
	level engine.Level
	conn  uint64
	msg   string
}

// errorLog writes lines in nginx's form to any number of targets. log may be called from any goroutine and never waits:
// one goroutine, which alone touches the files, does the writing. Make it with newErrorLog.
type errorLog struct {
	level   atomic.Uint32 // least grave level that any target wants
	dropped atomic.Uint64 // lines that found the queue full and are not reported yet
	lines   chan logLine
	ctl     chan func(w *logWriter) // run by the writer behind the lines that came before
	done    chan struct{}
	once    sync.Once
}

// newErrorLog starts a log without a target: lines are kept back until setTargets, as far as the queue holds them.
func newErrorLog() *errorLog {
	l := &errorLog{
		lines: make(chan logLine, logQueue),
		ctl:   make(chan func(*logWriter)),
		done:  make(chan struct{}),
	}
	l.level.Store(uint32(engine.Debug))
	go l.run()
	return l
}

// log queues one message. conn 0: not about a connection.
func (l *errorLog) log(level engine.Level, conn uint64, msg string) {
	if uint32(level) > l.level.Load() {
		return
	}
	select {
	case l.lines <- logLine{time.Now(), level, conn, msg}:
	default:
		l.dropped.Add(1)
	}
}

func (l *errorLog) logf(level engine.Level, format string, args ...any) {
	l.log(level, 0, fmt.Sprintf(format, args...))
}

// setTargets opens the targets and writes to them from now on; see openTargets and use.
func (l *errorLog) setTargets(targets []logTarget, warn func(msg string)) error {
	sinks, err := openTargets(targets, warn)
	if err != nil {
		return err
	}
	l.use(sinks)
	return nil
}

// openTargets opens all targets or, on error, none. warn hears of each one that gave way to standard error.
func openTargets(targets []logTarget, warn func(msg string)) ([]*logSink, error) {
	var sinks []*logSink
	for _, t := range targets {
		s, err := openSink(t)
		if err != nil && t.lenient {
			warn(fmt.Sprintf("%v; the error log goes to standard error", err))
			s, err = &logSink{w: os.Stderr, level: t.level}, nil
		}
		if err != nil {
			closeSinks(sinks)
			return nil, err
		}
		sinks = append(sinks, s)
	}
	return sinks, nil
}

// use writes to sinks from now on and closes those of before.
func (l *errorLog) use(sinks []*logSink) {
	least := engine.Emerg
	for _, s := range sinks {
		least = max(least, s.level)
	}
	l.do(func(w *logWriter) {
		closeSinks(w.sinks)
		w.sinks = sinks
	})
	l.level.Store(uint32(least))
}

// own hands the files to a user, so that they can be opened again after the privileges are dropped.
func (l *errorLog) own(uid, gid int) {
	l.do(func(w *logWriter) {
		for _, s := range w.sinks {
			if s.path != "" {
				os.Chown(s.path, uid, gid)
			}
		}
	})
}

// reopen opens the files again by name (USR1). One that cannot be opened goes on as it is.
func (l *errorLog) reopen() error {
	var err error
	l.do(func(w *logWriter) {
		for _, s := range w.sinks {
			if e := s.reopen(); e != nil && err == nil {
				err = e
			}
		}
	})
	return err
}

// flush returns when every line queued before it is written.
func (l *errorLog) flush() { l.do(func(*logWriter) {}) }

// close writes what is queued and closes the files. Lines that come later are lost.
func (l *errorLog) close() {
	l.once.Do(func() {
		l.do(func(w *logWriter) {
			closeSinks(w.sinks)
			w.sinks, w.stop = nil, true
		})
		<-l.done
	})
}

// do runs f on the writer's goroutine, behind all lines queued so far. After close it does nothing.
func (l *errorLog) do(f func(w *logWriter)) {
	ran := make(chan struct{})
	select {
	case l.ctl <- func(w *logWriter) { f(w); close(ran) }:
		<-ran
	case <-l.done:
	}
}

// run is the writer.
func (l *errorLog) run() {
	defer close(l.done)
	w := &logWriter{pid: os.Getpid()}
	for !w.stop {
		if w.sinks == nil { // nothing to write to yet
			(<-l.ctl)(w)
			continue
		}
		select {
		case line := <-l.lines:
			w.add(&line)
			w.drain(l)
			w.write()
		case f := <-l.ctl:
			w.drain(l)
			w.write()
			f(w)
		}
	}
}

// logWriter is the state of the writer's goroutine.
type logWriter struct {
	pid   int
	sinks []*logSink
	stop  bool
}

// drain takes what is queued, up to one queue's worth, and reports lines that were dropped.
func (w *logWriter) drain(l *errorLog) {
	for range logQueue {
		select {
		case line := <-l.lines:
			w.add(&line)
			continue
		default:
		}
		break
	}
	if n := l.dropped.Swap(0); n > 0 {
		w.add(&logLine{time.Now(), engine.Warn, 0, fmt.Sprintf("%d error log lines were dropped: more than %d were waiting", n, logQueue)})
	}
}

// add puts a line into the batch of every sink that wants it.
func (w *logWriter) add(line *logLine) {
	for _, s := range w.sinks {
		if line.level > s.level {
			continue
		}
		s.batch = appendLogLine(s.batch, w.pid, line)
		if len(s.batch) >= logBatch {
			s.write()
		}
	}
}

func (w *logWriter) write() {
	for _, s := range w.sinks {
		s.write()
	}
}

// appendLogLine appends a line in nginx's form: "2006/01/02 15:04:05 [error] 42#42: *7 message". Goroutines have no
// thread of their own, so the thread id is the process id, as in an nginx worker. Control bytes are escaped: a message
// may quote what a client sent, and one line has to stay one line.
func appendLogLine(b []byte, pid int, line *logLine) []byte {
	b = line.at.AppendFormat(b, "2006/01/02 15:04:05 [")
	b = append(b, levelNames[min(int(line.level), len(levelNames)-1)]...)
	b = append(b, "] "...)
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, '#')
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, ": "...)
	if line.conn != 0 {
		b = append(b, '*')
		b = strconv.AppendUint(b, line.conn, 10)
		b = append(b, ' ')
	}
	msg := line.msg
	if len(msg) > maxLogMessage {
		msg = msg[:maxLogMessage]
	}
	for i := range len(msg) {
		if c := msg[i]; c < ' ' && c != '\t' || c == 0x7f {
			b = append(b, '\\', 'x', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		} else {
			b = append(b, c)
		}
	}
	return append(b, '\n')
}

// logSink is one open target; it belongs to the writer.
type logSink struct {
	path  string // "": not a file of ours
	w     io.Writer
	level engine.Level
	batch []byte
}

func openSink(t logTarget) (*logSink, error) {
	if t.path == "" {
		return &logSink{w: os.Stderr, level: t.level}, nil
	}
	if t.create {
		os.MkdirAll(filepath.Dir(t.path), 0o755) // a failure shows when the file is opened
	}
	f, err := openLog(t.path)
	if err != nil {
		return nil, err
	}
	return &logSink{path: t.path, w: f, level: t.level}, nil
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open error log %q: %w", path, reason(err))
	}
	return f, nil
}

// write sends the batch. A disk that is full loses lines, not requests.
func (s *logSink) write() {
	if len(s.batch) > 0 {
		s.w.Write(s.batch)
		s.batch = s.batch[:0]
	}
	if cap(s.batch) > 2*logBatch {
		s.batch = nil
	}
}

func (s *logSink) reopen() error {
	if s.path == "" {
		return nil
	}
	f, err := openLog(s.path)
	if err != nil {
		return err
	}
	s.close()
	s.w = f
	return nil
}

func closeSinks(sinks []*logSink) {
	for _, s := range sinks {
		s.close()
	}
}

func (s *logSink) close() {
	if f, ok := s.w.(*os.File); ok && s.path != "" {
		f.Close()
	}
}
