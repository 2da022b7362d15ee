package health

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dyups/upstream"
)

// prober asks one server in one way.
type prober struct {
	checker       *Checker
	at            target
	name          string // of the check, in the log
	network, addr string
	ctx           context.Context // ends when nobody wants to know any more
	cancel        context.CancelFunc
	work          sync.WaitGroup // the probe under way or due

	match        *upstream.Match         // nil: the status decides
	up           atomic.Bool             // written under the checker's mu
	states       map[*upstream.State]int // how many servers of tables have it; under mu
	since        time.Time               // when up last became what it is, or the server came; under mu
	known        bool                    // it has been found well or ill, or was taken to be well; under mu
	rises, falls int                     // in a row; under mu
	timer        *time.Timer             // under mu

	conn   net.Conn // of CheckHTTP, kept for further requests; the probe under way owns it
	in     *bufio.Reader
	used   int
	opened time.Time
}

func newProber(c *Checker, at target, s *upstream.Server, check *upstream.Check) *prober {
	p := &prober{checker: c, at: at, name: check.Title(), network: "tcp", states: map[*upstream.State]int{}, match: at.check.Matcher()}
	switch {
	case s.Unix() != "":
		p.network, p.addr = "unix", s.Unix()
	case at.check.Port != 0:
		p.addr = netip.AddrPortFrom(s.Addr.Addr(), at.check.Port).String()
	default:
		p.addr = s.Addr.String()
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// again makes the next probe after a while; the checker's mu is held.
func (p *prober) again(after time.Duration) {
	p.work.Add(1)
	p.timer = time.AfterFunc(after, func() {
		if p.checker.pool.Submit(p.run) != nil {
			p.work.Done() // closed meanwhile
		}
	})
}

// stop ends it; the checker's mu is held.
func (p *prober) stop() {
	p.cancel()
	if p.timer.Stop() { // no probe is under way, nor will there be one
		p.hangUp()
		p.work.Done()
	}
}

// run is one probe, on a worker.
func (p *prober) run() {
	defer p.work.Done()
	ctx, cancel := context.WithTimeout(p.ctx, p.at.check.Timeout)
	err := p.probe(ctx)
	cancel()
	if !p.checker.result(p, err) {
		p.hangUp()
	}
}

func (p *prober) probe(ctx context.Context) error {
	if p.at.check.Type == upstream.CheckHTTP {
		return p.http(ctx)
	}
	conn, err := new(net.Dialer).DialContext(ctx, p.network, p.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if p.at.check.Type == upstream.CheckSSLHello {
		return hello(ctx, conn)
	}
	return nil
}

// http sends the request and looks at the status. A kept connection that fails is no failure of the server: it may have closed it
// meanwhile. An answer is one, whatever connection it came on, but for 408, which a server may send before it closes an idle one.
func (p *prober) http(ctx context.Context) error {
	if !p.mayKeep() {
		p.hangUp()
	}
	kept := p.conn != nil
	err := p.exchange(ctx)
	if err != nil && !answered(err) && kept && ctx.Err() == nil {
		err = p.exchange(ctx)
	}
	return err
}

// badStatus is the failure of a server that answered.
type badStatus int

func (s badStatus) Error() string { return fmt.Sprintf("status %d", int(s)) }

// mismatch is that of one whose answer is not what the match block asks for.
type mismatch struct{ error }

func answered(err error) bool {
	switch err.(type) {
	case badStatus, mismatch:
		return true
	}
	return false
}

// mayKeep reports whether the connection may serve for another request.
func (p *prober) mayKeep() bool {
	c := &p.at.check
	return p.used < c.KeepaliveRequests && (c.KeepaliveTime == 0 || time.Since(p.opened) < c.KeepaliveTime)
}

func (p *prober) exchange(ctx context.Context) (err error) {
	if p.conn == nil {
		if p.conn, err = new(net.Dialer).DialContext(ctx, p.network, p.addr); err != nil {
			p.conn = nil
			return err
		}
		p.in, p.used, p.opened = bufio.NewReader(p.conn), 0, time.Now()
	}
	conn := p.conn
	unhook := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	keep := false
	defer func() {
		if !unhook() || !keep {
			p.hangUp()
		}
	}()
	if _, err = p.conn.Write([]byte(p.at.check.Send)); err != nil {
		return err
	}
	status, err := p.status()
	if err == nil && status == http.StatusRequestTimeout && p.used > 0 {
		err = errors.New("status 408 on a connection that was kept") // and no answer: it may have come first (RFC 9110 section 15.5.9)
	}
	if err != nil {
		return err
	}
	p.used++
	if p.match != nil {
		keep, err = p.matches(status)
		return err
	}
	if status/100 > 7 || p.at.check.Alive>>(status/100)&1 == 0 {
		return badStatus(status)
	}
	keep = p.mayKeep() && status >= 200 && p.skip()
	return nil
}

const (
	maxHead    = 64 << 10 // of an answer whose head is read
	maxInterim = 16       // interim answers before one
	maxSkipped = 1 << 20  // of a body
)

// status looks at the status of the answer. A health_check passes over interim ones before it (RFC 9110 section 15.2); a check
// takes the first, which check_http_expect_alive may ask for: http_1xx.
func (p *prober) status() (int, error) {
	for n := 0; ; n++ {
		status, err := peekStatus(p.in)
		if err != nil || !p.at.check.Plus || status >= 200 || status == http.StatusSwitchingProtocols {
			return status, err
		}
		if n == maxInterim {
			return 0, fmt.Errorf("more than %d interim answers", maxInterim)
		}
		if _, err := readHead(p.in); err != nil {
			return 0, err
		}
	}
}

// skip reads an answer to its end and reports whether the connection is good for another request. If not, that is no failure: the
// status is all that is asked for.
func (p *prober) skip() bool {
	head, err := readHead(p.in)
	if err != nil {
		return false
	}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(head), p.in))
	method, _, _ := strings.Cut(p.at.check.Send, " ") // HEAD is answered with the length of a body that does not come
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	return err == nil && p.skipRest(resp, in)
}

// skipRest is skip for one whose head has been read, and perhaps some of its body; in reads from p.in.
func (p *prober) skipRest(resp *http.Response, in *bufio.Reader) bool {
	if resp.Close {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxSkipped+1))
	return err == nil && n <= maxSkipped && in.Buffered() == 0 && p.in.Buffered() == 0
}

// readHead reads the head of an answer, up to the empty line that ends it, whatever its lines end with.
func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		part, err := r.ReadSlice('\n')
		head = append(head, part...)
		switch {
		case len(head) > maxHead:
			return nil, fmt.Errorf("a head of more than %d KiB", maxHead>>10)
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil && err != bufio.ErrBufferFull:
			return nil, err
		case bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")):
			return head, nil
		}
	}
}

// maxMatched is how much of a body a match block sees, as in NGINX Plus.
const maxMatched = 256 << 10

// matches reads an answer as far as its tests need it, or to its end if the connection is to be kept, which it reports. The tests see
// the fields as they came: http.ReadResponse keeps those back that it follows itself, such as Transfer-Encoding, and refuses what it
// cannot follow.
func (p *prober) matches(status int) (keep bool, err error) {
	head, err := readHead(p.in)
	if err != nil {
		return false, err
	}
	_, fields, _ := bytes.Cut(head, []byte("\n"))
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(fields))).ReadMIMEHeader()
	if err != nil {
		return false, err
	}
	if err = p.match.Head(&http.Response{StatusCode: status, Header: http.Header(header)}); err != nil {
		return false, mismatch{err}
	}
	keep = p.mayKeep() && status >= 200
	if !keep && !p.match.WantsBody() {
		return false, nil
	}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(head), p.in))
	resp, err := http.ReadResponse(in, nil)
	switch {
	case !p.match.WantsBody():
		return err == nil && p.skipRest(resp, in), nil
	case err != nil:
		return false, err
	}
	// The body is not closed: that would read it to its end, and the connection ends here or is kept by skipRest.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMatched))
	if err != nil {
		return false, err
	}
	if err = p.match.Body(body); err != nil {
		return false, mismatch{err}
	}
	return keep && p.skipRest(resp, in), nil
}

// peekStatus looks at the status line of an answer. It takes nothing from r.
func peekStatus(r *bufio.Reader) (int, error) {
	var line []byte
	for n, end := 1, -1; end < 0; n = len(line) + 1 {
		if _, err := r.Peek(n); err != nil {
			return 0, err
		}
		line, _ = r.Peek(r.Buffered())
		if end = bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
	}
	_, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !bytes.HasPrefix(line, []byte("HTTP/")) || len(rest) < 3 {
		return 0, fmt.Errorf("no status line: %.40q", line)
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil || status < 100 {
		return 0, fmt.Errorf("no status line: %.40q", line)
	}
	return status, nil
}

func (p *prober) hangUp() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}
