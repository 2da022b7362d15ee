package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dyups/engine"
)

func noWarning(t *testing.T) func(string) {
	return func(msg string) { t.Errorf("warned: %s", msg) }
}

func TestErrorLog(t *testing.T) {
	dir := t.TempDir()
	all, few := filepath.Join(dir, "all.log"), filepath.Join(dir, "sub", "few.log")
	l := newErrorLog()
	defer l.close()
	l.log(engine.Err, 0, "before there is a target")
	err := l.setTargets([]logTarget{{path: all, level: engine.Debug}, {path: few, level: engine.Err, create: true}}, noWarning(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range levelNames {
		l.log(engine.Level(i), uint64(i), name+" message")
	}
	l.log(engine.Info, 0, "one\nline\x00, a \ttab, ümlaut")
	l.log(engine.Info, 0, strings.Repeat("x", 3000))
	l.flush()
	f := func(path string, want ...string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head := fmt.Sprintf(" %d#%d: ", os.Getpid(), os.Getpid())
		stamp := regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `)
		var got []string
		for line := range strings.Lines(string(text)) {
			if !stamp.MatchString(line) || !strings.Contains(line, head) {
				t.Errorf("%s: line %q", path, line)
				continue
			}
			got = append(got, strings.Replace(line[20:], head, " ", 1))
		}
		if strings.Join(got, "") != strings.Join(want, "\n")+"\n" {
			t.Errorf("%s: got\n%s\nwant\n%s", path, strings.Join(got, ""), strings.Join(want, "\n"))
		}
	}
	graver := []string{"[error] before there is a target", "[emerg] emerg message", "[alert] *1 alert message", "[crit] *2 crit message", "[error] *3 error message"}
	f(few, graver...)
	f(all, append(graver, "[warn] *4 warn message", "[notice] *5 notice message", "[info] *6 info message", "[debug] *7 debug message",
		`[info] one\x0aline\x00, a 	tab, ümlaut`, "[info] "+strings.Repeat("x", maxLogMessage))...)

	// Reopening follows the name.
	os.Rename(all, all+".1")
	l.log(engine.Err, 0, "to the old file")
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	l.log(engine.Err, 0, "to the new file")
	l.flush()
	f(all, "[error] to the new file")

	// A target that cannot be opened changes nothing.
	if err := l.setTargets([]logTarget{{path: filepath.Join(dir, "none", "x.log")}}, noWarning(t)); err == nil {
		t.Error("a log in a missing folder was opened")
	}
	l.log(engine.Err, 0, "still here")
	l.close()
	l.log(engine.Err, 0, "after the end")
	l.close()
	f(all, "[error] to the new file", "[error] still here")
}

// A full queue drops lines and says how many; it never blocks.
func TestErrorLogOverflow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.log")
	l := newErrorLog()
	for range logQueue + 10 { // the writer has no target yet, so nothing is taken
		l.log(engine.Err, 0, "line")
	}
	if err := l.setTargets([]logTarget{{path: path, level: engine.Warn}}, noWarning(t)); err != nil {
		t.Fatal(err)
	}
	l.flush()
	l.close()
	text, _ := os.ReadFile(path)
	if n := strings.Count(string(text), " line\n"); n != logQueue {
		t.Errorf("%d lines were written, want %d", n, logQueue)
	}
	if !strings.Contains(string(text), "[warn] ") || !strings.Contains(string(text), ": 10 error log lines were dropped") {
		t.Errorf("no word of the 10 dropped lines: %s", tail(string(text), 300))
	}
}

// Lines of many goroutines, reopening and new targets at once: no line is torn.
func TestErrorLogConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.log")
	l := newErrorLog()
	target := []logTarget{{path: path, level: engine.Info}}
	if err := l.setTargets(target, noWarning(t)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				l.log(engine.Info, uint64(g), "message of a goroutine")
				if i%50 == 0 {
					l.reopen()
					l.setTargets(target, noWarning(t))
				}
			}
		})
	}
	wg.Wait()
	l.close()
	text, _ := os.ReadFile(path)
	if n := strings.Count(string(text), "message of a goroutine\n"); n != 1600 {
		t.Errorf("%d whole lines, want 1600", n)
	}
}

// A message that no target wants costs nothing.
func TestErrorLogAllocs(t *testing.T) {
	l := newErrorLog()
	defer l.close()
	if err := l.setTargets([]logTarget{{path: os.DevNull, level: engine.Err}}, noWarning(t)); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { l.log(engine.Info, 1, "unwanted") }); n != 0 {
		t.Errorf("%v allocations for an unwanted line", n)
	}
}

func BenchmarkErrorLog(b *testing.B) {
	l := newErrorLog()
	defer l.close()
	if err := l.setTargets([]logTarget{{path: os.DevNull, level: engine.Err}}, func(string) {}); err != nil {
		b.Fatal(err)
	}
	for _, level := range []engine.Level{engine.Err, engine.Info} {
		b.Run(levelNames[level], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.log(level, 1, "upstream prematurely closed connection while reading response header from upstream")
			}
		})
	}
}

func BenchmarkAppendLogLine(b *testing.B) {
	line := &logLine{at: time.Now(), level: engine.Err, conn: 42, msg: "upstream prematurely closed connection"}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendLogLine(buf[:0], 4711, line)
	}
}
