package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"dyups/upstream"
)

// stub is a name server on a free loopback port, over UDP and TCP, that answers from a zone in master file form.
type stub struct {
	addr  string
	asked atomic.Int64 // questions over UDP
	tcp   atomic.Int64
	mute  atomic.Bool // questions are counted and not answered
	sick  atomic.Bool // answers are server failures
	odd   atomic.Bool // "form." and "auth." are answered with codes that say nothing of the name
	mu    sync.Mutex
	zone  []dns.RR
}

// set replaces the zone.
func (s *stub) set(t *testing.T, zone ...string) {
	t.Helper()
	var rrs []dns.RR
	for _, line := range zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = rrs
}

// newStub serves zone. A name that is not in it does not exist; names with a special meaning: "drop." is never answered,
// "fail." is answered with a server failure, "half." refused for AAAA, "four." does not exist for AAAA,
// "quiet." dropped for AAAA, "big." is truncated over UDP, "odd." is preceded by a foreign datagram.
func newStub(t *testing.T, zone ...string) *stub {
	t.Helper()
	pc, ln := listenBoth(t)
	s := &stub{addr: pc.LocalAddr().String()}
	s.set(t, zone...)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.serve(w, q) })
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		up := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(up) }
		go srv.ActivateAndServe()
		<-up
		t.Cleanup(func() { srv.Shutdown() })
	}
	return s
}

// listenBoth listens on one port over UDP and TCP.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, ln
		}
		pc.Close() // the port is taken for TCP
	}
	t.Fatal("no port is free for UDP and TCP alike")
	return nil, nil
}

func (s *stub) serve(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	zone := s.zone
	s.mu.Unlock()
	udp := w.RemoteAddr().Network() == "udp"
	if udp {
		s.asked.Add(1)
	} else {
		s.tcp.Add(1)
	}
	if s.mute.Load() {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	if s.sick.Load() {
		m.Rcode = dns.RcodeServerFailure
		w.WriteMsg(m)
		return
	}
	name := strings.ToLower(q.Question[0].Name)
	exists := false
	owner := name
	for _, rr := range zone {
		if strings.ToLower(rr.Header().Name) != owner {
			continue
		}
		exists = true
		if c, ok := rr.(*dns.CNAME); ok {
			m.Answer = append(m.Answer, rr)
			owner = c.Target
		} else if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	switch name {
	case "drop.":
		return
	case "fail.":
		m.Rcode = dns.RcodeServerFailure
	case "form.", "auth.":
		if s.odd.Load() {
			m.Rcode, m.Answer = map[string]int{"form.": dns.RcodeFormatError, "auth.": dns.RcodeNotAuth}[name], nil
		}
	case "update.":
		other := m.Copy()
		other.Opcode, other.Answer = dns.OpcodeUpdate, nil
		w.WriteMsg(other)
	case "half.":
		if q.Question[0].Qtype == dns.TypeAAAA {
			m.Rcode, m.Answer = dns.RcodeRefused, nil
		}
	case "four.":
		if q.Question[0].Qtype == dns.TypeAAAA {
			m.Rcode = dns.RcodeNameError
		}
	case "quiet.":
		if q.Question[0].Qtype == dns.TypeAAAA {
			return
		}
	case "big.":
		if udp {
			m.Truncated, m.Answer = true, nil
		}
	case "odd.":
		foreign := m.Copy()
		foreign.Id++
		w.WriteMsg(foreign)
		w.Write([]byte("not a message"))
	}
	w.WriteMsg(m)
}

func text(t *testing.T, r *Resolver, cfg *Config, host string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	addrs, err := r.Lookup(ctx, cfg, host)
	if err != nil {
		return err.Error()
	}
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

func TestLookup(t *testing.T) {
	s := newStub(t,
		"one. 60 A 127.0.0.1",
		"multi. 60 A 127.0.0.9", "multi. 60 A 127.0.0.2", "multi. 60 A 127.0.0.9",
		"both. 60 A 127.0.0.1", "both. 60 AAAA ::1",
		"six. 60 AAAA ::1",
		"alias. 60 CNAME middle.", "middle. 60 CNAME one.",
		"away. 60 CNAME ring.", "ring. 60 CNAME away.",
		"nothing. 60 TXT x",
		"big. 60 A 127.0.0.7",
		"odd. 60 A 127.0.0.5",
		`wei\\rd. 60 A 127.0.0.6`,
		"fail. 60 A 127.0.0.1",
		"four. 60 A 127.0.0.4", "half. 60 A 127.0.0.1",
		"mixed. 60 CNAME six.",
	)
	r := New(0)
	defer r.Close()
	v4 := &Config{Servers: []string{s.addr}, IPv4: true}
	v46 := &Config{Servers: []string{s.addr}, IPv4: true, IPv6: true}
	f := func(cfg *Config, host, want string) {
		t.Helper()
		if got := text(t, r, cfg, host); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", host, got, want)
		}
	}
	f(v4, "one", "127.0.0.1")
	f(v4, "ONE.", "127.0.0.1")
	f(v4, "multi", "127.0.0.9 127.0.0.2 127.0.0.9")
	f(v46, "both", "127.0.0.1 ::1")
	f(v4, "both", "127.0.0.1")
	f(&Config{Servers: []string{s.addr}, IPv6: true}, "both", "::1")
	f(v46, "six", "::1")
	f(v46, "one", "127.0.0.1")
	f(v4, "six", "six could not be resolved (3: Host not found)")
	f(v4, "alias", "127.0.0.1")
	f(v4, "away", "away could not be resolved (3: Host not found)")
	f(v4, "nothing", "nothing could not be resolved (3: Host not found)")
	f(v4, "nx.test", "nx.test could not be resolved (3: Host not found)")
	f(v4, "fail", "fail could not be resolved (2: Server failure)")
	f(v4, "half", "127.0.0.1")
	f(v46, "half", "half could not be resolved (5: Operation refused)")
	f(v46, "four", "127.0.0.4")
	f(v46, "mixed", "::1")
	f(v4, "mixed", "mixed could not be resolved (3: Host not found)")
	f(v4, "big", "127.0.0.7")
	f(v4, "odd", "127.0.0.5")
	f(v4, `wei\rd`, "127.0.0.6")
	f(v4, `wei\092rd`, `wei\092rd could not be resolved (3: Host not found)`)
	f(v4, "", " could not be resolved (3: Host not found)")
	f(v4, "a..b", "a..b could not be resolved (3: Host not found)")
	f(v4, strings.Repeat("x", 64), strings.Repeat("x", 64)+" could not be resolved (3: Host not found)")
	f(&Config{Servers: []string{s.addr}}, "one", `cannot resolve "one": no name server or no address family is configured`)
	if s.tcp.Load() != 1 {
		t.Errorf("%d questions over TCP, want 1", s.tcp.Load())
	}
}

func TestTimeout(t *testing.T) {
	s := newStub(t, "drop. 60 A 127.0.0.1")
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: 50 * time.Millisecond}
	_, err := r.Lookup(context.Background(), cfg, "drop")
	var e *Error
	if !errors.As(err, &e) || !e.Timeout() || err.Error() != "drop could not be resolved (110: Operation timed out)" {
		t.Errorf("a dropped question gave %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Lookup(ctx, cfg, "drop"); err == nil || !strings.Contains(err.Error(), "110") {
		t.Errorf("a caller out of time got %v", err)
	}
}

// Without a limit a look-up ends with the last of those who wait for it; others for the same name keep theirs.
func TestNoTimeout(t *testing.T) {
	s := newStub(t, "drop. 60 A 127.0.0.1")
	r := New(0)
	defer r.Close()
	r.silence = 20 * time.Millisecond
	f := func(cfg *Config, limited bool) {
		t.Helper()
		ctx, cancel := bounded(context.Background(), cfg)
		defer cancel()
		if _, got := ctx.Deadline(); got != limited {
			t.Errorf("a look-up with timeout %v is limited: %t", cfg.Timeout, got)
		}
	}
	none := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: upstream.NoTimeout}
	f(none, false)
	f(&Config{}, true)
	f(&Config{Timeout: time.Second}, true)
	flights := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.flights)
	}
	var wg sync.WaitGroup
	look := func(ctx context.Context) {
		wg.Go(func() {
			if _, err := r.Lookup(ctx, none, "drop"); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller who left got %v", err)
			}
		})
	}
	waiting := func(n int) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for got := -1; got != n; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d callers wait, want %d", got, n)
			}
			r.mu.Lock()
			got = 0
			for _, f := range r.flights {
				got += f.waiting
			}
			r.mu.Unlock()
		}
	}
	one, leaveOne := context.WithCancel(context.Background())
	defer leaveOne()
	two, leaveTwo := context.WithCancel(context.Background())
	defer leaveTwo()
	look(one)
	look(two)
	waiting(2)
	if n := flights(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	brief := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: 50 * time.Millisecond}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := r.Lookup(ctx, brief, "drop"); err == nil || ctx.Err() != nil {
		t.Errorf("a caller with a limit of its own got %v, and waited as long as it could: %t", err, ctx.Err() != nil)
	}
	leaveOne()
	waiting(1)
	if n := flights(); n != 1 {
		t.Errorf("one of two has left, %d exchanges are under way", n)
	}
	leaveTwo()
	wg.Wait()
	if n := flights(); n != 0 {
		t.Errorf("all have left, %d exchanges are under way", n)
	}
	over := make(chan struct{})
	go func() { defer close(over); r.work.Wait() }()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Error("all have left, and the exchange goes on")
	}
}

// A server that is not there, or fails, is followed by the next.
func TestNextServer(t *testing.T) {
	s := newStub(t, "one. 60 A 127.0.0.1")
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := dead.LocalAddr().String()
	dead.Close()
	r := New(0)
	defer r.Close()
	for range 3 {
		cfg := &Config{Servers: []string{gone, s.addr}, IPv4: true, Timeout: 10 * time.Second}
		if got := text(t, r, cfg, "one"); got != "127.0.0.1" {
			t.Errorf("with a dead server beside a live one: %s", got)
		}
		r.mu.Lock()
		clear(r.cache)
		r.mu.Unlock()
	}
}

// An answer counts however late it is, also when others were asked meanwhile.
func TestLateAnswer(t *testing.T) {
	const late = 6 // at which question the first one is answered, the only one that is
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { pc.Close(); <-done }()
	go func() {
		defer close(done)
		var answer []byte
		var to net.Addr
		for asked := 1; ; asked++ {
			wire := make([]byte, dns.MaxMsgSize)
			n, from, err := pc.ReadFrom(wire)
			switch {
			case err != nil:
				return
			case asked == 1:
				q := new(dns.Msg)
				q.Unpack(wire[:n])
				m := new(dns.Msg).SetReply(q)
				rr, _ := dns.NewRR("late. 60 A 127.0.0.1")
				m.Answer = append(m.Answer, rr)
				answer, _ = m.Pack()
				to = from
			case asked == late:
				pc.WriteTo(answer, to)
			}
		}
	}()
	r := New(0)
	defer r.Close()
	r.silence = 20 * time.Millisecond
	cfg := &Config{Servers: []string{pc.LocalAddr().String()}, IPv4: true, Timeout: 10 * time.Second}
	if got := text(t, r, cfg, "late"); got != "127.0.0.1" {
		t.Errorf("got %s", got)
	}
}

// Silence leaves the first attempt and the last ones open, each on a port of its own, and the end of the look-up none.
func TestOpenAttempts(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	pc.SetReadDeadline(time.Now().Add(20 * time.Second))
	r := New(0)
	defer r.Close()
	r.silence = 20 * time.Millisecond
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Lookup(context.Background(), &Config{Servers: []string{pc.LocalAddr().String()}, IPv4: true, Timeout: time.Minute}, "a")
	}()
	var ports []string
	for range 2 * maxOpen {
		_, from, err := pc.ReadFrom(make([]byte, dns.MaxMsgSize))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(ports, from.String()) {
			t.Errorf("%v has asked twice", from)
		}
		ports = append(ports, from.String())
	}
	open := func() (n int) {
		for _, port := range ports {
			if own, err := net.ListenPacket("udp", port); err == nil {
				own.Close()
			} else {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(10 * time.Second)
	for open() > maxOpen {
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts are open, want %d at most", open(), maxOpen)
		}
		time.Sleep(time.Millisecond)
	}
	if own, err := net.ListenPacket("udp", ports[0]); err == nil {
		own.Close()
		t.Error("the first attempt is over")
	}
	r.Close()
	<-ended
	if n := open(); n != 0 {
		t.Errorf("%d attempts have outlived the look-up", n)
	}
}

// An error is an answer; the next look-up is another server's turn.
func TestErrorIsAnswer(t *testing.T) {
	bad, good := newStub(t, "fail. 60 A 127.0.0.1"), newStub(t, "one. 60 A 127.0.0.1", "one. 60 AAAA ::1")
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{bad.addr, good.addr}, IPv4: true, IPv6: true}
	f := func(host, want string) {
		t.Helper()
		if got := text(t, r, cfg, host); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", host, got, want)
		}
	}
	f("one", "one could not be resolved (3: Host not found)")
	f("one", "127.0.0.1 ::1")
	if got := text(t, r, cfg, "one"); got != "127.0.0.1 ::1" && got != "::1 127.0.0.1" { // known
		t.Errorf("the second Lookup(\"one\") = %s", got)
	}
	f("fail", "fail could not be resolved (2: Server failure)")
}

// An answer that says nothing of the name has the next server asked; when none has another one it is the answer.
func TestUselessAnswer(t *testing.T) {
	zone := []string{"form. 60 A 127.0.0.1", "auth. 60 A 127.0.0.1"}
	bad, worse, good := newStub(t, zone...), newStub(t, zone...), newStub(t, zone...)
	bad.odd.Store(true)
	worse.odd.Store(true)
	for _, name := range []string{"form", "auth"} {
		f := func(want string, servers ...string) {
			t.Helper()
			r := New(0)
			defer r.Close()
			if got := text(t, r, &Config{Servers: servers, IPv4: true, Timeout: 10 * time.Second}, name); got != want {
				t.Errorf("Lookup(%q) = %s, want %s", name, got, want)
			}
		}
		f("127.0.0.1", bad.addr, good.addr)
		f("127.0.0.1", bad.addr, worse.addr, good.addr)
		code := map[string]string{"form": "1: Format error", "auth": "9: Unknown error"}[name]
		f(name+" could not be resolved ("+code+")", bad.addr)
		f(name+" could not be resolved ("+code+")", bad.addr, worse.addr)
	}
}

// Records of another class are none, and a response to another kind of request is read past.
func TestForeignAnswer(t *testing.T) {
	s := newStub(t, "chaos. 60 CH A 127.0.0.1", "both. 60 CH A 127.0.0.1", "both. 60 A 127.0.0.2", "alias. 60 CH CNAME both.",
		"update. 60 A 127.0.0.3", "srv. 60 CH SRV 1 1 1 both.", "srv. 60 SRV 1 1 2 both.")
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: 10 * time.Second}
	for name, want := range map[string]string{
		"both": "127.0.0.2", "update": "127.0.0.3",
		"chaos": "chaos could not be resolved (3: Host not found)", "alias": "alias could not be resolved (3: Host not found)",
	} {
		if got := text(t, r, cfg, name); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", name, got, want)
		}
	}
	if got, _, _, err := r.lookupService(context.Background(), cfg, "srv", nil); err != nil || list(got) != "127.0.0.2:2" {
		t.Errorf("the service is at %s, %v", list(got), err)
	}
}

// A name server that drops AAAA questions does not hold up the A records for the whole timeout.
func TestQuietFamily(t *testing.T) {
	s := newStub(t, "quiet. 60 A 127.0.0.1")
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{s.addr}, IPv4: true, IPv6: true, Timeout: time.Minute}
	if got := text(t, r, cfg, "quiet"); got != "127.0.0.1" {
		t.Errorf("got %s", got)
	}
}

func TestCache(t *testing.T) {
	s := newStub(t, "a. 60 A 127.0.0.1", "b. 1 CNAME c.", "c. 60 A 127.0.0.1", "d. 60 A 127.0.0.1", "zero. 0 A 127.0.0.1")
	r := New(2)
	defer r.Close()
	clock := time.Unix(1000, 0)
	r.now = func() time.Time { return clock }
	cfg := &Config{Servers: []string{s.addr}, IPv4: true}
	f := func(cfg *Config, host string, wantAsked int64) {
		t.Helper()
		before := s.asked.Load()
		text(t, r, cfg, host)
		if got := s.asked.Load() - before; got != wantAsked {
			t.Errorf("looking up %q at %v asked %d times, want %d", host, clock.Unix(), got, wantAsked)
		}
		if len(r.cache) > 2 {
			t.Errorf("the cache holds %d names, want 2 at most", len(r.cache))
		}
	}
	f(cfg, "a", 1)
	f(cfg, "a", 0)
	f(cfg, "b", 1)
	f(cfg, "b", 0)
	clock = clock.Add(2 * time.Second)
	f(cfg, "a", 0)
	f(cfg, "b", 1) // the alias was good for a second only
	clock = clock.Add(time.Minute)
	f(cfg, "a", 1)
	f(cfg, "nx", 1)
	f(cfg, "nx", 1) // failures are not kept
	f(cfg, "zero", 1)
	f(cfg, "zero", 1)
	f(cfg, "d", 1)
	valid := &Config{Servers: []string{s.addr}, IPv4: true, Valid: time.Hour}
	f(valid, "a", 1)
	clock = clock.Add(30 * time.Minute)
	f(valid, "a", 0)
}

// TestTurned: who waits for an answer gets its order, who finds it in the cache begins with any address.
func TestTurned(t *testing.T) {
	s := newStub(t, "a. 60 A 127.0.0.1", "a. 60 A 127.0.0.2", "a. 60 A 127.0.0.3")
	cfg := &Config{Servers: []string{s.addr}, IPv4: true}
	first := map[string]int{}
	for range 20 {
		r := New(0)
		if got, want := text(t, r, cfg, "a"), "127.0.0.1 127.0.0.2 127.0.0.3"; got != want {
			t.Errorf("the first look-up gave %s, want %s", got, want)
		}
		for range 10 {
			first[text(t, r, cfg, "a")]++
		}
		r.Close()
	}
	if len(first) != 3 || first["127.0.0.2 127.0.0.3 127.0.0.1"] == 0 {
		t.Errorf("from the cache came %v, want three orders", first)
	}
}

func TestSingleFlight(t *testing.T) {
	s := newStub(t, "drop. 60 A 127.0.0.1")
	r := New(0)
	cfg := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: time.Minute}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := r.Lookup(context.Background(), cfg, "drop"); !errors.Is(err, ErrClosed) {
				t.Errorf("a look-up that Close ended returned %v", err)
			}
		})
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.asked.Load() == 0 && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	r.mu.Lock()
	flights := len(r.flights)
	r.mu.Unlock()
	if flights != 1 {
		t.Errorf("%d exchanges for one name, want 1", flights)
	}
	r.Close()
	wg.Wait()
	if _, err := r.Lookup(context.Background(), cfg, "one"); !errors.Is(err, ErrClosed) {
		t.Errorf("a look-up after Close returned %v", err)
	}
}

// FuzzPresentation: what presentation accepts goes onto the wire as exactly the bytes of the name.
func FuzzPresentation(f *testing.F) {
	for _, s := range []string{"a.b", `x\092y`, "é", "a b", "\x00", `"`, "@", "a..b", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, ok := presentation(name)
		if !ok {
			return
		}
		wire := make([]byte, 300)
		n, err := dns.PackDomainName(p, wire, 0, nil, false)
		if err != nil {
			t.Fatalf("presentation(%q) = %q cannot be packed: %v", name, p, err)
		}
		var want []byte
		for label := range strings.SplitSeq(name, ".") {
			want = append(append(want, byte(len(label))), label...)
		}
		if back, _, err := dns.UnpackDomainName(wire, 0); err != nil || back != p {
			t.Fatalf("presentation(%q) = %q comes back as %q, %v", name, p, back, err)
		}
		if string(wire[:n]) != string(append(want, 0)) {
			t.Fatalf("presentation(%q) packs to %q", name, wire[:n])
		}
	})
}

// FuzzRead: any message that can be unpacked gives as many addresses as it has records of the type, and never panics.
func FuzzRead(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("a.", dns.TypeA)
	m.Response = true
	for _, line := range []string{"a. 5 CNAME b.", "b. 7 A 127.0.0.1"} {
		rr, _ := dns.NewRR(line)
		m.Answer = append(m.Answer, rr)
	}
	b, _ := m.Pack()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		f := read(m, dns.TypeA)
		if len(f.addrs) > len(m.Answer) || f.ttl < 0 || len(f.addrs) > 0 && f.alias != "" {
			t.Fatalf("%d addresses, ttl %v, alias %q of %d records", len(f.addrs), f.ttl, f.alias, len(m.Answer))
		}
		answers(m, m)
	})
}

// BenchmarkLookup measures a name that is known: what every request to a run-time name costs.
func BenchmarkLookup(b *testing.B) {
	r := New(0)
	defer r.Close()
	cfg := &Config{Servers: []string{"127.0.0.1:53"}, IPv4: true, IPv6: true}
	r.cache[cacheKey(cfg, "www.example.test")] = answer{expires: time.Now().Add(time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(context.Background(), cfg, "www.example.test"); err != nil {
			b.Fatal(err)
		}
	}
}
