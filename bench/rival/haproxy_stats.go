package rival

import (
	"bytes"
	"io"
	"strings"
)

// statsConn is a connection to HAProxy's stats socket. Not for concurrent use.
type statsConn struct {
	conn io.ReadWriteCloser
	out  []byte
	in   []byte // read and not yet given out
}

// prompt ends every answer in interactive mode (management.txt, "prompt").
var prompt = []byte("\n> ")

// ask sends commands in one write and reads as many answers, without prompts and blank space around them.
func (c *statsConn) ask(commands ...string) ([]string, error) {
	c.out = c.out[:0]
	for _, s := range commands {
		c.out = append(append(c.out, s...), '\n')
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	replies := make([]string, 0, len(commands))
	for len(replies) < len(commands) {
		end := bytes.Index(c.in, prompt)
		if end < 0 {
			c.in = append(c.in, make([]byte, 4096)...)
			n, err := c.conn.Read(c.in[len(c.in)-4096:])
			c.in = c.in[:len(c.in)-4096+n]
			if err != nil {
				return nil, err
			}
			continue
		}
		replies = append(replies, strings.TrimSpace(string(c.in[:end])))
		c.in = c.in[:copy(c.in, c.in[end+len(prompt):])]
	}
	return replies, nil
}

func (c *statsConn) close() { _ = c.conn.Close() }
