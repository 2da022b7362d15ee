package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"dyups/bench/proc"
)

// ChildFlag as the only argument makes the bench's program call Child.
const ChildFlag = "-child-load"

// reply is a child's line for each Spec.
type reply struct {
	Error  string  `json:"error,omitempty"`
	Result *Result `json:"result,omitempty"`
}

// Child is the generator's process: for each Spec, a line of JSON from in, it does a run and writes a line with its Result,
// or the error, to out; until in ends.
func Child(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(1000) // a run allocates next to nothing; what is left of the last one can wait
	lines := bufio.NewReader(in)
	enc := json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read what to do: %w", err)
		}
		var spec Spec
		var re reply
		if err = json.Unmarshal(line, &spec); err == nil {
			var result Result
			if result, err = Run(context.Background(), spec); err == nil {
				re.Result = &result
			}
		}
		if err != nil {
			re.Error = err.Error()
		}
		if err := enc.Encode(re); err != nil {
			return fmt.Errorf("cannot tell the result: %w", err)
		}
	}
}

// Generator is a load generator in a process of its own. One run at a time.
type Generator struct {
	process *proc.Process
	mu      sync.Mutex
	in      io.WriteCloser
	out     io.ReadCloser
	lines   *bufio.Reader
}

// Start runs this program again as a generator, on one core (below zero: on any). What it prints goes to logFile.
func Start(cpu int, logFile string) (*Generator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the program to start the load generator with: %w", err)
	}
	g := &Generator{}
	if g.process, err = proc.New("load generator", logFile, self, ChildFlag); err != nil {
		return nil, err
	}
	if g.in, err = g.process.PipeInput(); err != nil {
		return nil, err
	}
	if g.out, err = g.process.PipeOutput(); err != nil {
		return nil, err
	}
	g.lines = bufio.NewReader(g.out)
	if err := g.process.Start(cpu); err != nil {
		g.out.Close()
		return nil, err
	}
	return g, nil
}

// Run has the child do one run. When ctx ends first the child is stopped, and the Generator is of no use any more.
func (g *Generator) Run(ctx context.Context, spec Spec) (Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stop := context.AfterFunc(ctx, g.process.Stop)
	defer stop()
	b, err := json.Marshal(spec)
	if err != nil {
		return Result{}, err
	}
	var re reply
	if _, err = g.in.Write(append(b, '\n')); err == nil {
		if b, err = g.lines.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(b, &re)
		}
	}
	switch {
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	case err != nil:
		return Result{}, fmt.Errorf("no answer from the load generator (%s): %w: %s", g.process.State(), err, g.process.LogTail())
	case re.Error != "":
		return Result{}, errors.New(re.Error)
	case re.Result == nil:
		return Result{}, fmt.Errorf("no result from the load generator")
	}
	return *re.Result, nil
}

// PID is the child's process id.
func (g *Generator) PID() int { return g.process.PID() }

// Stop ends the child and waits for its end. It may be called twice.
func (g *Generator) Stop() {
	g.in.Close()
	g.process.Stop()
	g.out.Close()
}
