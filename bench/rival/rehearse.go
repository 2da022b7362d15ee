package rival

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"dyups/bench/churn"
)

// Rehearsal is implemented by proxies whose updates can be known beforehand, as bytes: an updater of this kind sends nothing and
// writes down what it would have sent in the Talk.
type Rehearsal interface {
	Rehearsal() (churn.Updater, *churn.Talk)
}

// Rehearse gives what a client of p would say for the updates of so many seconds.
func Rehearse(ctx context.Context, p Proxy, o churn.Options, seconds float64) (*churn.Talk, error) {
	r, ok := p.(Rehearsal)
	if !ok {
		return nil, fmt.Errorf("its updates cannot be sent by the load: %w", churn.ErrUnsupported)
	}
	u, t := r.Rehearsal()
	defer u.Close()
	n, err := churn.Rehearse(ctx, u, o, seconds)
	if err != nil {
		return nil, err
	}
	if n != len(t.Messages) {
		return nil, fmt.Errorf("an update takes more than one message: %w", churn.ErrUnsupported)
	}
	t.Rate = o.Rate
	return t, nil
}

// stage is the connection of a rehearsal: whatever is said is written down and answered as if it had been done.
type stage struct {
	talk  *churn.Talk
	reply []byte // to each message
	due   int    // replies not read
}

// Write implements io.Writer.
func (s *stage) Write(p []byte) (int, error) {
	if s.talk.Prompt != "" && s.talk.Greeting == nil {
		s.talk.Greeting = bytes.Clone(p)
	} else {
		s.talk.Messages = append(s.talk.Messages, bytes.Clone(p))
	}
	s.due++
	return len(p), nil
}

// Read implements io.Reader. p has room for a reply.
func (s *stage) Read(p []byte) (int, error) {
	if s.due == 0 {
		return 0, io.EOF
	}
	s.due--
	return copy(p, s.reply), nil
}

// Close implements io.Closer.
func (s *stage) Close() error { return nil }

// dialer opens the connection of a client for updates.
type dialer func(network, addr string, timeout time.Duration) (io.ReadWriteCloser, error)

// onStage is the dialer of a rehearsal.
func onStage(t *churn.Talk, prompt string) dialer {
	t.Prompt = prompt
	return func(network, addr string, _ time.Duration) (io.ReadWriteCloser, error) {
		t.Network, t.Addr = network, addr
		reply := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		if prompt != "" {
			reply = prompt
		}
		return &stage{talk: t, reply: []byte(reply)}, nil
	}
}
