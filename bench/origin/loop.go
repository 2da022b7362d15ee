package origin

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"dyups/bench/poll"
)

// Tags of the poller: connections count from 0, listening sockets from listenTag; the commands have their own.
const (
	listenTag  = 1 << 24
	commandTag = 1 << 25
)

const (
	readSize  = 64 << 10 // of the one buffer that all reads go to, and so the largest head
	gatherMax = 64 << 10 // of small answers to pipelined requests before they are sent
	burst     = 16       // connections accepted at a time
)

// server is one origin at work.
type server struct {
	spec    *Server
	delay   delayer
	port    port
	fd      int // the listening socket, -1 while dead
	fault   string
	resets  int // requests that ended in a reset: every other one in the midst of its answer
	seen    Seen
	answers map[string]*answers
}

// loop is all origins of a process. It belongs to the goroutine that calls run.
type loop struct {
	poll    *poll.Poller
	events  []poll.Event
	servers []*server
	conns   []*conn // by slot; all that were ever open at the same time
	free    []int32 // slots
	timers  timers
	stamped *stamped // nil without Spec.Stamp

	base   time.Time     // the loop's clock counts from here
	now    time.Duration // when the current batch of events began
	begun  time.Duration // when the fault clock was started; below zero: it stands still
	era    uint32        // counts starts of the fault clock
	second int64         // Unix time of date
	date   []byte

	buf    []byte // what was read last
	out    []byte // small answers to the connection at work, not sent yet
	file   int    // plainSource in a file, below 0: there is none
	vector vector
}

// newLoop opens the sockets of all origins.
func newLoop(spec *Spec) (*loop, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	l := &loop{poll: p, base: time.Now(), begun: -1, buf: make([]byte, readSize), out: make([]byte, 0, gatherMax+2*readSize), file: openSource()}
	if spec.Stamp {
		l.stamped = &stamped{}
	}
	for i := range spec.Origins {
		o := &spec.Origins[i]
		s := &server{spec: o, delay: newDelayer(o.Delay), fd: -1, seen: Seen{Name: o.Name}, answers: make(map[string]*answers)}
		if s.port, err = newPort(spec.Stamp); err != nil {
			l.close()
			return nil, fmt.Errorf("cannot open origin %q: %w", o.Name, err)
		}
		l.servers = append(l.servers, s)
		if err := l.open(i); err != nil {
			l.close()
			return nil, err
		}
	}
	l.tick()
	return l, nil
}

// open makes an origin listen.
func (l *loop) open(i int) error {
	s := l.servers[i]
	fd, err := s.port.listen()
	if err != nil {
		return fmt.Errorf("cannot open origin %q: %w", s.spec.Name, err)
	}
	s.fd = fd
	return l.poll.Add(fd, listenTag+int32(i), true, false)
}

// close ends everything.
func (l *loop) close() {
	for i, s := range l.servers {
		l.kill(i)
		s.port.close()
	}
	l.poll.Close()
	if l.file >= 0 {
		unix.Close(l.file)
	}
}

// kill closes the listening socket and all connections of an origin, as the end of a process does.
func (l *loop) kill(i int) {
	s := l.servers[i]
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
	l.closeAll(s, func(*conn) bool { return true })
}

// closeAll closes the connections of an origin that pick chooses.
func (l *loop) closeAll(s *server, pick func(*conn) bool) {
	for _, c := range l.conns {
		if c.fd >= 0 && c.server == s && pick(c) {
			l.drop(c)
		}
	}
}

// tick reads the clock, once for a batch of events: delays count from there, and so does the date.
func (l *loop) tick() {
	now := time.Now()
	l.now = now.Sub(l.base)
	if second := now.Unix(); second != l.second {
		l.second = second
		l.date = now.UTC().AppendFormat(l.date[:0], dateLayout)
	}
}

// run serves until commands end, which are read from descriptor in and answered by do.
func (l *loop) run(in int, do func(line []byte) error) error {
	if err := l.poll.Add(in, commandTag, true, false); err != nil {
		return err
	}
	commands := lines{fd: in}
	for {
		wait := time.Duration(-1)
		if len(l.timers) > 0 {
			wait = max(0, l.timers[0].at-time.Since(l.base))
		}
		var err error
		if l.events, err = l.poll.Wait(l.events, wait); err != nil {
			return err
		}
		l.tick()
		asked := false
		for _, ev := range l.events {
			switch {
			case ev.Tag == commandTag:
				asked = true
			case ev.Tag >= listenTag:
				err = l.accept(int(ev.Tag - listenTag))
			default:
				l.ready(l.conns[ev.Tag], ev)
			}
			if err != nil {
				return err
			}
		}
		if err := l.expire(); err != nil {
			return err
		}
		// Last, so that an answer counts all that was ready with it.
		if asked {
			if more, err := commands.read(do); err != nil || !more {
				return err
			}
		}
	}
}

// accept takes the connections that wait at an origin.
func (l *loop) accept(i int) error {
	s := l.servers[i]
	for range burst {
		fd, errno := accept(s.fd)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return nil
		case unix.ECONNABORTED, unix.EINTR:
			continue
		default:
			return fmt.Errorf("cannot accept a connection at origin %q: %w", s.spec.Name, errno)
		}
		c := l.conn()
		c.server, c.fd = s, fd
		s.seen.Connections++
		s.seen.Open++
		if err := l.poll.Add(fd, c.slot, true, false); err != nil {
			return err
		}
		c.watch = watchRead
	}
	return nil
}

// conn is a connection's state, new or used before.
func (l *loop) conn() *conn {
	if n := len(l.free); n > 0 {
		slot := l.free[n-1]
		l.free = l.free[:n-1]
		return l.conns[slot]
	}
	c := &conn{slot: int32(len(l.conns)), fd: -1}
	l.conns = append(l.conns, c)
	return c
}

// drop closes a connection.
func (l *loop) drop(c *conn) {
	unix.Close(c.fd)
	c.server.seen.Open--
	in, out := c.in[:0], c.out[:0]
	*c = conn{slot: c.slot, gen: c.gen + 1, fd: -1, in: in, out: out}
	l.free = append(l.free, c.slot)
}

// reset closes a connection with a TCP reset.
func (l *loop) reset(c *conn) {
	// Without the linger time the kernel would go on sending, and end the connection in order (socket(7)).
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.drop(c)
}

// expire does what is due.
func (l *loop) expire() error {
	for len(l.timers) > 0 && l.timers[0].at <= l.now {
		t := l.timers.pop()
		if t.slot < 0 {
			if t.gen == l.era {
				if err := l.judge(int(^t.slot)); err != nil {
					return err
				}
			}
			continue
		}
		if c := l.conns[t.slot]; c.gen == t.gen && c.phase == phaseDelay {
			l.emit(c)
			l.consume(c, nil)
		}
	}
	return nil
}

// begin starts the fault clock again.
func (l *loop) begin() error {
	if err := l.end(); err != nil {
		return err
	}
	l.tick()
	l.begun = l.now
	for i := range l.servers {
		if err := l.judge(i); err != nil {
			return err
		}
	}
	return nil
}

// end stops the fault clock and brings every origin back.
func (l *loop) end() error {
	l.begun = -1
	l.era++
	for i, s := range l.servers {
		if err := l.setFault(i, ""); err != nil {
			return err
		}
		l.closeAll(s, func(c *conn) bool { return c.phase == phaseHung })
	}
	return nil
}

// judge puts an origin into the fault that its schedule has for now, and comes back at the next change.
func (l *loop) judge(i int) error {
	kind, next := faultAt(l.servers[i].spec.Faults, l.now-l.begun)
	if next != never {
		l.timers.push(timer{at: l.begun + next, slot: ^int32(i), gen: l.era})
	}
	return l.setFault(i, kind)
}

func (l *loop) setFault(i int, kind string) error {
	s := l.servers[i]
	s.fault = kind
	if kind == faultDie {
		l.kill(i)
	} else if s.fd < 0 {
		return l.open(i)
	}
	return nil
}
