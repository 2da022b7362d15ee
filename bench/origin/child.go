package origin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// command is one line that a child is sent; it answers each with one line.
type command struct {
	Cmd  string `json:"cmd"`            // "begin": the fault clock starts, again; "end": it stops and all faults with it; "seen"
	Name string `json:"name,omitempty"` // of one origin, for "seen"; "": all
}

// response is the answer to a command, and the first line of a child.
type response struct {
	Error string   `json:"error,omitempty"`
	Addrs []string `json:"addrs,omitempty"` // of all origins in the order of the Spec; in the first line
	Seen  []Seen   `json:"seen,omitempty"`
}

// Child is the origins' process: it reads a Spec from the first line of in, opens the origins, writes their addresses to
// out as one line, and serves until in ends, answering the commands that come from it. All of that is done on the calling
// goroutine, which keeps its thread to itself meanwhile. Used by Process; an error says why it cannot serve any more.
func Child(in io.Reader, out io.Writer) error {
	file, ok := in.(*os.File)
	if !ok {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("cannot open a pipe for commands: %w", err)
		}
		defer r.Close()
		go func() {
			defer w.Close()
			_, _ = io.Copy(w, in) // ends with in, or with the reading end
		}()
		file = r
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd := int(file.Fd())
	defer runtime.KeepAlive(file)

	var spec Spec
	first := lines{fd: fd}
	for got := false; !got; {
		more, err := first.read(func(line []byte) error {
			if got {
				return errors.New("a command came before the origins were open")
			}
			got = true
			return json.Unmarshal(line, &spec)
		})
		if err != nil {
			return fmt.Errorf("cannot read the origins to serve: %w", err)
		}
		if !more {
			return fmt.Errorf("cannot read the origins to serve: %w", io.ErrUnexpectedEOF)
		}
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	l, err := newLoop(&spec)
	if err != nil {
		return err
	}
	defer l.close()
	w := bufio.NewWriter(out)
	reply := func(r response) error {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return fmt.Errorf("cannot answer a command: %w", err)
		}
		return w.Flush()
	}
	var hello response
	for _, s := range l.servers {
		hello.Addrs = append(hello.Addrs, s.port.String())
	}
	if err := reply(hello); err != nil {
		return err
	}
	return l.run(fd, func(line []byte) error { return reply(l.do(line)) })
}

// do obeys one command.
func (l *loop) do(line []byte) response {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return response{Error: fmt.Sprintf("cannot parse command %q: %v", line, err)}
	}
	var err error
	switch c.Cmd {
	case "begin":
		err = l.begin()
	case "end":
		err = l.end()
	case "seen":
		var r response
		for _, s := range l.servers {
			if c.Name == "" || c.Name == s.spec.Name {
				r.Seen = append(r.Seen, s.seen)
			}
		}
		if len(r.Seen) == 0 {
			err = fmt.Errorf("cannot find origin %q", c.Name)
		}
		if err == nil {
			return r
		}
	default:
		err = fmt.Errorf("unknown command %q", c.Cmd)
	}
	if err != nil {
		return response{Error: err.Error()}
	}
	return response{}
}

// lines reads whole lines from a descriptor that is known to be readable.
type lines struct {
	fd   int
	rest []byte // the beginning of a line
}

// read waits for at most one piece of input and gives each line that it completes to do. more is false at the end.
func (r *lines) read(do func(line []byte) error) (more bool, err error) {
	buf := make([]byte, 4096)
	n, err := unix.Read(r.fd, buf)
	if err == unix.EINTR || err == unix.EAGAIN {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read commands: %w", err)
	}
	r.rest = append(r.rest, buf[:n]...)
	for {
		i := bytes.IndexByte(r.rest, '\n')
		if i < 0 {
			return n > 0, nil
		}
		if err := do(r.rest[:i]); err != nil {
			return false, err
		}
		r.rest = r.rest[i+1:]
	}
}
