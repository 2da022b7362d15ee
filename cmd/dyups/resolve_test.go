package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is a name server on a free loopback port whose answers the test changes while it runs. A name that it does not have
// does not exist.
type zone struct {
	addr  string
	mu    sync.Mutex
	rrs   []dns.RR
	sick  bool // every answer is a server failure
	mute  bool // there are no answers
	asked int
}

func newZone(t *testing.T, lines ...string) *zone {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{addr: pc.LocalAddr().String()}
	z.set(t, lines...)
	up, done := make(chan struct{}), make(chan struct{})
	srv := &dns.Server{PacketConn: pc, Handler: z, NotifyStartedFunc: func() { close(up) }}
	go func() { defer close(done); srv.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { srv.Shutdown(); <-done })
	return z
}

// set replaces the records; lines are in master file form.
func (z *zone) set(t *testing.T, lines ...string) {
	t.Helper()
	var rrs []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rrs, z.sick = rrs, false
}

func (z *zone) fail() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.sick = true
}

func (z *zone) silence() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mute = true
}

func (z *zone) questions() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	if z.mute {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.Rcode = dns.RcodeNameError
	for _, rr := range z.rrs {
		if !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		m.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if z.sick {
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
	}
	w.WriteMsg(m)
}

// namedOn starts origins that answer their own address, on one port of several loopback addresses, and gives the port.
func namedOn(t *testing.T, addrs ...string) string {
	t.Helper()
	for range 20 {
		port, lns := "0", []net.Listener(nil)
		for _, addr := range addrs {
			ln, err := net.Listen("tcp", net.JoinHostPort(addr, port))
			if err != nil {
				break // taken there
			}
			lns = append(lns, ln)
			_, port, _ = net.SplitHostPort(ln.Addr().String())
		}
		if len(lns) < len(addrs) {
			for _, ln := range lns {
				ln.Close()
			}
			continue
		}
		for i, ln := range lns {
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(addrs[i])) })}
			done := make(chan struct{})
			go func() { defer close(done); srv.Serve(ln) }()
			t.Cleanup(func() { srv.Close(); <-done })
		}
		return port
	}
	t.Fatal("no port is free on all addresses")
	return ""
}

// resolving is the configuration around one upstream block.
func resolving(z *zone, block string) string {
	return `
resolver ` + z.addr + ` ipv6=off; resolver_timeout 2s;
upstream dyn { ` + block + ` }
server { listen 127.0.0.1:{proxy}; location / { proxy_pass http://$host; } }
server { listen 127.0.0.1:{api}; location / { dyups_interface; } }`
}

// load sends requests to the upstream over some connections until stop is called, which gives how many there were; any
// answer but 200 is an error of the test.
func (p *proc) load(host string) (stop func() int64) {
	var wg sync.WaitGroup
	var n atomic.Int64
	end := make(chan struct{})
	client := &http.Client{Timeout: patience}
	url := "http://" + p.addr("proxy") + "/"
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				req, _ := http.NewRequest("GET", url, nil)
				req.Host = host
				resp, err := client.Do(req)
				if err != nil {
					p.t.Errorf("a request under load: %v", err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					p.t.Errorf("a request under load: %s", resp.Status)
					return
				}
				n.Add(1)
			}
		})
	}
	return func() int64 {
		close(end)
		wg.Wait()
		client.CloseIdleConnections()
		return n.Load()
	}
}

// get gives status and body of one request through the proxy.
func (p *proc) get(host string) string {
	w := dial(p.t, p.addr("proxy"))
	defer w.Close()
	w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	a := w.receive("GET")
	if a.status != 200 {
		return fmt.Sprint(a.status)
	}
	return a.body
}

// answersFrom waits until requests are answered by these servers and no other.
func (p *proc) answersFrom(host string, want ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf("answers from %v", want), func() bool {
		seen := map[string]bool{}
		for range 3 * len(want) {
			seen[p.get(host)] = true
		}
		for _, w := range want {
			if !seen[w] {
				return false
			}
		}
		return len(seen) == len(want)
	})
}

// TestNamesUnderLoad: the servers of an upstream follow DNS while requests run, and none of them fails; neither does one
// when DNS does, nor at a reload then.
func TestNamesUnderLoad(t *testing.T) {
	port := namedOn(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	z := newZone(t, "a.test. 1 A 127.0.0.1")
	p := serve(t, resolving(z, "server a.test:"+port+" resolve;"))
	p.answersFrom("dyn", "127.0.0.1")
	stop := p.load("dyn")
	z.set(t, "a.test. 1 A 127.0.0.2", "a.test. 1 A 127.0.0.3")
	p.answersFrom("dyn", "127.0.0.2", "127.0.0.3")
	z.set(t, "a.test. 1 A 127.0.0.1", "a.test. 1 A 127.0.0.3")
	p.answersFrom("dyn", "127.0.0.1", "127.0.0.3")
	z.fail()
	p.until("the failure in the log", func() bool {
		return strings.Contains(p.errorLog(), "[warn]") && strings.Contains(p.errorLog(),
			"a.test could not be resolved (2: Server failure); its last addresses stay: 127.0.0.1, 127.0.0.3")
	})
	p.reload()
	p.answersFrom("dyn", "127.0.0.1", "127.0.0.3")
	z.set(t, "a.test. 1 A 127.0.0.2")
	p.answersFrom("dyn", "127.0.0.2")
	if n := stop(); n == 0 {
		t.Error("there was no load")
	}
	if a := mustAPI(t, p.addr("api"), "GET", "/detail", ""); a != "dyn\nserver a.test:"+port+" resolve;\n\n" {
		t.Errorf("the listing is %q", a)
	}
}

// TestNamesAtStart: a name that cannot be looked up keeps nothing from starting; it is taken up when it can be.
func TestNamesAtStart(t *testing.T) {
	port := namedOn(t, "127.0.0.1", "127.0.0.2")
	z := newZone(t)
	p := serve(t, resolving(z, "server a.test:"+port+` resolve; }
upstream two { server late.test:`+port+` resolve; server 127.0.0.2:`+port+`;`))
	if got := p.get("dyn"); got != "502" {
		t.Errorf("an upstream without an address answers %s, want 502", got)
	}
	p.answersFrom("two", "127.0.0.2")
	for _, want := range []string{`dyups.conf:10:23: host not found in upstream "a.test:` + port + `": a.test could not be resolved (3: Host not found)`,
		"no live upstreams while connecting to upstream"} {
		p.until("the log's "+want, func() bool { return strings.Contains(p.errorLog(), want) })
	}
	z.set(t, "a.test. 1 A 127.0.0.1", "late.test. 1 A 127.0.0.1")
	p.answersFrom("dyn", "127.0.0.1")
	p.answersFrom("two", "127.0.0.1", "127.0.0.2")
}

// TestUnresolvedShown: a name without an address is listed with the reason, and so is one that only has its last addresses; what
// is listed as text, and can be posted back, says nothing of it.
func TestUnresolvedShown(t *testing.T) {
	z := newZone(t, "b.test. 1 A 127.0.0.2")
	p := serve(t, resolving(z, "server 127.0.0.1:1; server a.test:2 resolve weight=3; server b.test:4 resolve;"))
	list := func(query string) string { return mustAPI(t, p.addr("api"), "GET", "/detail"+query, "") }
	has := func(what, query, text string) {
		t.Helper()
		p.until(what, func() bool { return strings.Contains(list(query), text) })
	}
	const nothing = `"max_conns":0,"max_fails":1,"fail_timeout":10,"backup":false,"down":false`
	has("the reason", "?format=json", `{"server":"a.test:2","address":"","weight":3,`+nothing+
		`,"out":"unresolved","resolve":true,"resolve_error":"a.test could not be resolved (3: Host not found)"},`+
		`{"server":"b.test:4","address":"127.0.0.2:4","weight":1,`+nothing+`,"resolve":true}]`)
	has("the reason", "?format=full", "server a.test:2 weight=3 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0 resolve"+
		" unresolved=\"a.test could not be resolved (3: Host not found)\"\nserver b.test:4 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0 resolve\n")
	if got, want := list(""), "dyn\nserver 127.0.0.1:1;\nserver a.test:2 weight=3 resolve;\nserver b.test:4 resolve;\n\n"; got != want {
		t.Errorf("the listing is %q, want %q", got, want)
	}
	z.fail()
	has("another reason", "?format=json", `"address":"127.0.0.2:4","weight":1,`+nothing+
		`,"resolve":true,"resolve_error":"b.test could not be resolved (2: Server failure)"}]`)
	z.set(t, "a.test. 1 A 127.0.0.3", "b.test. 1 A 127.0.0.2")
	has("the address", "?format=json", `{"server":"a.test:2","address":"127.0.0.3:2","weight":3,`+nothing+`,"resolve":true},`+
		`{"server":"b.test:4","address":"127.0.0.2:4","weight":1,`+nothing+`,"resolve":true}]`)
	if got := list("?format=full"); strings.Contains(got, "unresolved") {
		t.Errorf("the full listing is %q", got)
	}
}

// TestNamesOfSystem: without a resolver directive the system's is asked; localhost is known everywhere.
func TestNamesOfSystem(t *testing.T) {
	port := namedOn(t, "127.0.0.1")
	p := serve(t, `
upstream dyn { server localhost:`+port+` resolve; }
server { listen 127.0.0.1:{proxy}; location / { proxy_pass http://$host; } }`)
	if got := p.get("dyn"); got != "127.0.0.1" {
		t.Errorf("localhost answers %s", got)
	}
}

// TestNamesByCommand: a command with names is answered when its first addresses are there, whatever DNS does, and stays
// when an answer for what it replaced comes later. Services give ports and backups.
func TestNamesByCommand(t *testing.T) {
	one, two := namedOn(t, "127.0.0.1"), namedOn(t, "127.0.0.1")
	z := newZone(t, "a.test. 1 A 127.0.0.1", "b.test. 1 A 127.0.0.1",
		"_http._tcp.s.test. 1 SRV 1 1 "+one+" a.test.", "_http._tcp.s.test. 1 SRV 2 1 "+two+" a.test.")
	other := newZone(t, "b.test. 1 A 127.0.0.1")
	p := serve(t, resolving(z, "server 127.0.0.1:"+one+";"))
	post := func(body, want string) {
		t.Helper()
		if got := mustAPI(t, p.addr("api"), "POST", "/upstream/dyn", body); got != "success" {
			t.Errorf("%s: %s", body, got)
		}
		if got := p.get("dyn"); got != want {
			t.Errorf("after %s the answer is %s, want %s", body, got, want)
		}
	}
	servers := func() string { return mustAPI(t, p.addr("api"), "GET", "/detail?format=json", "") }
	post("server a.test:"+one+" resolve;", "127.0.0.1")
	post("server s.test service=http resolve;", "127.0.0.1")
	if s := servers(); !strings.Contains(s, `"server":"a.test","address":"127.0.0.1:`+two+`"`) || strings.Count(s, `"backup":true`) != 1 {
		t.Errorf("the servers of the service are %s", s)
	}
	post("server b.test:"+one+" resolve; resolver "+other.addr+" ipv6=off; resolver_timeout 5s;", "127.0.0.1")
	z.fail()
	other.fail()
	post("server nowhere.test resolve;", "502")
	post("server c.test:"+two+" resolve; resolver "+other.addr+" ipv6=off;", "502")
	other.set(t, "b.test. 1 A 127.0.0.1", "c.test. 1 A 127.0.0.1")
	p.answersFrom("dyn", "127.0.0.1")
	for i := range 40 { // refreshes are under way all the time
		body := fmt.Sprintf("server b.test:%s weight=%d resolve;\nresolver %s valid=1s ipv6=off;\n", one, i+2, other.addr)
		post(body, "127.0.0.1")
		if got := mustAPI(t, p.addr("api"), "GET", "/detail", ""); got != "dyn\n"+body+"\n" {
			t.Fatalf("the definition is %q, posted was %q", got, body)
		}
	}
	before := other.questions()
	p.until("a look-up", func() bool { return other.questions() > before })
	if s := servers(); !strings.Contains(s, `"weight":41`) {
		t.Errorf("after a look-up the servers are %s", s)
	}
}

// TestStrictDNS: -t warns about names that cannot be looked up, and refuses them with --strict-dns.
func TestStrictDNS(t *testing.T) {
	z := newZone(t, "a.test. 1 A 127.0.0.1")
	p := prepare(t, globals+"http {\n"+resolving(z, "server a.test resolve;\n  server b.test:81 resolve;")+"\n}\n")
	f := func(status int, want string, args ...string) {
		t.Helper()
		cmd := exec.Command(binary, append([]string{"-p", p.dir, "-c", "dyups.conf"}, args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(string(out), want) {
			t.Errorf("%v: status %d, want %d with %q:\n%s", args, got, status, want, out)
		}
	}
	const found = `dyups.conf:10:10: host not found in upstream "b.test:81": b.test could not be resolved (3: Host not found)`
	f(0, found+"; it is looked up again while dyups runs\n", "-t")
	f(0, "[warn]", "-t")
	f(0, "test is successful", "-t")
	f(1, found+"\ndyups: configuration file", "-t", "--strict-dns")
	f(1, "[emerg]", "--strict-dns", "-tq")
	f(1, `"--strict-dns" goes with -t`, "--strict-dns")
	z.set(t, "a.test. 1 A 127.0.0.1", "b.test. 1 A 127.0.0.2")
	f(0, "test is successful", "-t", "--strict-dns")
	began := time.Now()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	text, _ := os.ReadFile(p.dir + "/dyups.conf")
	mute := strings.ReplaceAll(strings.ReplaceAll(string(text), z.addr, silent.LocalAddr().String()), "resolver_timeout 2s", "resolver_timeout 1h")
	p.write("dyups.conf", mute)
	f(0, "b.test could not be resolved (110: Operation timed out)", "-t")
	if took := time.Since(began); took > patience {
		t.Errorf("silent name servers held -t up for %v", took)
	}
}

// TestLiteralInAnyCase: a name of proxy_pass that was looked up at load is the same in any case where a variable gives it,
// and needs no resolver then.
func TestLiteralInAnyCase(t *testing.T) {
	port := namedOn(t, "127.0.0.1")
	p := serve(t, `
server { listen 127.0.0.1:{proxy};
  location = /fixed { proxy_pass http://LocalHost:`+port+`; }
  location / { proxy_pass http://$http_host:`+port+`; } }`)
	for _, host := range []string{"LocalHost", "localhost", "LOCALHOST"} {
		if got := p.get(host); got != "127.0.0.1" {
			t.Errorf("%s answers %s", host, got)
		}
	}
}
