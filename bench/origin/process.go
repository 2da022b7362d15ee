package origin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"dyups/bench/proc"
)

// ChildFlag as the only argument makes the bench's program call Child.
const ChildFlag = "-child-origins"

// answerTime is how long a child may take for a command before it is given up.
const answerTime = 10 * time.Second

// Process is a running set of origins. Its methods are safe for concurrent use.
type Process struct {
	process *proc.Process
	addrs   []string

	mu  sync.Mutex // one command at a time
	in  io.WriteCloser
	out io.ReadCloser
	buf *bufio.Reader // of out
	err error         // of a command that failed half way: the answer to come is no longer that of the next command
}

// Start runs this program again as the origins' process, on one core (below zero: on any). What it prints goes to logFile.
func Start(cpu int, logFile string, spec Spec) (*Process, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the program to start the origins with: %w", err)
	}
	p := &Process{}
	if p.process, err = proc.New("origins", logFile, self, ChildFlag); err != nil {
		return nil, err
	}
	if p.in, err = p.process.PipeInput(); err != nil {
		return nil, err
	}
	if p.out, err = p.process.PipeOutput(); err != nil {
		return nil, err
	}
	p.buf = bufio.NewReader(p.out)
	if err := p.process.Start(cpu); err != nil {
		p.out.Close()
		return nil, err
	}
	hello, err := p.ask(spec)
	if err == nil && len(hello.Addrs) != len(spec.Origins) {
		err = fmt.Errorf("got %d addresses for %d origins", len(hello.Addrs), len(spec.Origins))
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("cannot start the origins: %w", err)
	}
	p.addrs = hello.Addrs
	return p, nil
}

// ask sends one line and reads the answer.
func (p *Process) ask(line any) (response, error) {
	b, err := json.Marshal(line)
	if err != nil {
		return response{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.out.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(time.Now().Add(answerTime))
	}
	if p.err != nil {
		return response{}, p.err
	}
	var r response
	if _, err = p.in.Write(append(b, '\n')); err == nil {
		if b, err = p.buf.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(b, &r)
		}
	}
	if err != nil {
		p.err = fmt.Errorf("no answer from the origins' process (%s): %w: %s", p.process.State(), err, p.process.LogTail())
		return r, p.err
	}
	if r.Error != "" {
		return r, fmt.Errorf("the origins' process says: %s", r.Error)
	}
	return r, nil
}

// Addrs are the addresses of the origins, in the order of the Spec.
func (p *Process) Addrs() []string { return p.addrs }

// Begin starts the fault clock, again if it runs: every origin is brought back first.
func (p *Process) Begin() error {
	if _, err := p.ask(command{Cmd: "begin"}); err != nil {
		return fmt.Errorf("cannot begin the origins' faults: %w", err)
	}
	return nil
}

// End ends all faults, and closes the connections that a hang left silent.
func (p *Process) End() error {
	if _, err := p.ask(command{Cmd: "end"}); err != nil {
		return fmt.Errorf("cannot end the origins' faults: %w", err)
	}
	return nil
}

// Seen asks for one origin. It waits for the batch of requests at work, not more: microseconds to about a millisecond.
func (p *Process) Seen(name string) (Seen, error) {
	r, err := p.ask(command{Cmd: "seen", Name: name})
	if err != nil {
		return Seen{}, fmt.Errorf("cannot ask about origin %q: %w", name, err)
	}
	return r.Seen[0], nil
}

// SeenAll asks for all origins, in the order of the Spec.
func (p *Process) SeenAll() ([]Seen, error) {
	r, err := p.ask(command{Cmd: "seen"})
	if err != nil {
		return nil, fmt.Errorf("cannot ask about the origins: %w", err)
	}
	return r.Seen, nil
}

// Running reports whether the child is.
func (p *Process) Running() bool { return p.process.Running() }

// Logs is the end of what the child printed.
func (p *Process) Logs() string { return p.process.LogTail() }

// PID is the child's process id.
func (p *Process) PID() int { return p.process.PID() }

// Stop ends the origins and waits for their end. It may be called twice.
func (p *Process) Stop() {
	p.in.Close()
	p.process.Stop()
	p.out.Close()
}
