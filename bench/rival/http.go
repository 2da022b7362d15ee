package rival

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"
)

// wire is a plain HTTP/1.1 client on one kept connection: an update is one write and, as a rule, one read. The updates
// share a core with the load, and a full client costs several times as much (BenchmarkWire).
type wire struct {
	addr  string
	dial  dialer
	conn  io.ReadWriteCloser // nil: not open
	in    *bufio.Reader
	out   []byte // request being built
	body  []byte // of the request, reused by callers
	reply []byte // body of the last answer
}

func newWire(addr string, dial dialer) *wire {
	return &wire{addr: addr, dial: dial, in: bufio.NewReaderSize(nil, 4096)}
}

// do sends a request and reads its answer; target holds no blanks. A connection that the other side has closed meanwhile
// is opened anew, once. The reply is valid until the next call.
func (w *wire) do(method, target, header string, body []byte) (status int, reply []byte, err error) {
	b := append(w.out[:0], method...)
	b = append(append(append(b, ' '), target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(append(b, w.addr...), "\r\n"...), header...)
	if body != nil {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	w.out = append(append(b, "\r\n"...), body...)
	reused := w.conn != nil
	status, err = w.exchange()
	if err != nil && reused && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
		status, err = w.exchange()
	}
	return status, w.reply, err
}

// call is do for an update: any status but 200 is an error.
func (w *wire) call(method, target, header string, body []byte) error {
	status, reply, err := w.do(method, target, header, body)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", method, target, err)
	}
	if status != 200 {
		return fmt.Errorf("cannot %s %s: status %d: %.200q", method, target, status, reply)
	}
	return nil
}

func (w *wire) exchange() (status int, err error) {
	if w.conn == nil {
		if w.conn, err = w.dial("tcp4", w.addr, 5*time.Second); err != nil {
			w.conn = nil
			return 0, err
		}
		w.in.Reset(w.conn)
	}
	keep := false
	if _, err = w.conn.Write(w.out); err == nil {
		status, keep, err = w.read()
	}
	if err != nil || !keep {
		w.close()
	}
	return status, err
}

// read parses an answer: status line, fields of which two matter, body of a known length or up to the end.
func (w *wire) read() (status int, keep bool, err error) {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 13 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, false, fmt.Errorf("malformed status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, fmt.Errorf("malformed status line %q", line)
	}
	length, keep := -1, true
	if status == 204 {
		length = 0
	}
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return 0, false, midway(err)
		}
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !ok {
			break // the empty line
		}
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, fmt.Errorf("malformed length %q", value)
			}
		case len(name) == len("Connection") && bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 || length > 1<<20 {
		return status, false, nil // told by its status alone; the connection is not used again
	}
	if cap(w.reply) < length {
		w.reply = make([]byte, length)
	}
	w.reply = w.reply[:length]
	if _, err = io.ReadFull(w.in, w.reply); err != nil {
		return 0, false, midway(err)
	}
	return status, keep, nil
}

// midway tells a connection that ended within an answer from one that was closed while idle.
func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// Close ends the connection.
func (w *wire) Close() error {
	w.close()
	return nil
}
