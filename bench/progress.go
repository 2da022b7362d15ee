package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells what a run does: on a terminal in one line that is written over again and again, elsewhere line by line.
// It is safe for concurrent use; with a nil writer it tells nothing.
type progress struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	open     bool // the cursor is in a line that may be written over

	began time.Time
	total time.Duration // estimated, of all work
	done  time.Duration // estimated, of the work done so far
}

func newProgress(w io.Writer, total time.Duration) *progress {
	p := &progress{w: w, began: time.Now(), total: total}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// step counts work of which this much was estimated as done.
func (p *progress) step(estimated time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += estimated
}

// finished is the estimated part of all that was done.
func (p *progress) finished() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// left is how long the rest will take, with the lock held: what is estimated for it, stretched as the work so far was.
func (p *progress) left() time.Duration {
	rest := max(p.total-p.done, 0)
	if p.done < 5*time.Second {
		return rest
	}
	pace := float64(time.Since(p.began)) / float64(p.done)
	return time.Duration(float64(rest) * min(max(pace, 0.2), 5))
}

// now tells of something under way. It stays on a terminal until the next line; elsewhere it is a line like others.
func (p *progress) now(format string, args ...any) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	fmt.Fprintf(p.w, "\r%s, %s left\x1b[K", strings.ReplaceAll(text, "\n", " "), p.left().Round(time.Second))
	p.open = true
}

// line tells of something that is to stay.
func (p *progress) line(format string, args ...any) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// end leaves the line that may be written over.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}
