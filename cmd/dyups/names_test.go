package main

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// newNameServer serves the names of the recordings on a free port: one.test, multi.test and dnshost; drop.test is never
// answered, anything else does not exist.
func newNameServer(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	zone := map[string][]string{
		"one.test.": {"127.0.0.1"}, "multi.test.": {"127.0.0.1", "127.0.0.2"}, "dnshost.": {"127.0.0.1"},
	}
	up := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			name := strings.ToLower(q.Question[0].Name)
			if name == "drop.test." {
				return
			}
			m := new(dns.Msg)
			m.SetReply(q)
			addrs, ok := zone[name]
			if !ok {
				m.Rcode = dns.RcodeNameError
			}
			if q.Question[0].Qtype == dns.TypeA {
				for _, a := range addrs {
					m.Answer = append(m.Answer, &dns.A{
						Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
						A:   net.ParseIP(a),
					})
				}
			}
			w.WriteMsg(m)
		})}
	done := make(chan struct{})
	go func() { defer close(done); srv.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { srv.Shutdown(); <-done })
	return pc.LocalAddr().String()
}

// TestRunTimeNames: a name in proxy_pass that is no upstream is asked for when the request comes; an upstream of the name
// goes first, and the look-up takes over when that is deleted.
func TestRunTimeNames(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	_, port, _ := net.SplitHostPort(one)
	p := serve(t, `
server { listen 127.0.0.1:{proxy}; resolver `+newNameServer(t)+` ipv6=off;
	location / { proxy_pass http://$host:`+port+`; }
	location /brief { resolver_timeout 200ms; proxy_pass http://$host:`+port+`; }
	location /plain { proxy_pass http://$host; }
	location /patient { resolver_timeout 0; proxy_pass http://$host:`+port+`; } }
server { listen 127.0.0.1:{none}; location / { proxy_pass http://$host:`+port+`; } }
server { listen 127.0.0.1:{api}; location / { dyups_interface; } }`)
	f := func(listener, host, path string, status int, body string) {
		t.Helper()
		w := dial(t, p.addr(listener))
		defer w.Close()
		w.send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		a := w.receive("GET")
		if a.status != status || status == 200 && a.body != body {
			t.Errorf("%s%s on %s: %d %q, want %d %q", host, path, listener, a.status, a.body, status, body)
		}
	}
	f("proxy", "multi.test", "/patient", 200, "one")
	f("proxy", "one.test", "/", 200, "one")
	f("proxy", "ONE.test.", "/", 200, "one")
	f("proxy", "multi.test", "/", 200, "one")
	f("proxy", "nx.test", "/", 502, "")
	f("proxy", "drop.test", "/brief", 502, "")
	f("none", "one.test", "/", 502, "")
	mustAPI(t, p.addr("api"), "POST", "/upstream/dnshost", "server "+two+";")
	f("proxy", "dnshost", "/plain", 200, "two")
	f("proxy", "dnshost", "/", 200, "one") // with a port the name is no upstream's
	mustAPI(t, p.addr("api"), "DELETE", "/upstream/dnshost", "")
	f("proxy", "dnshost", "/", 200, "one")
	p.until("the log lines", func() bool {
		log := p.errorLog()
		return strings.Contains(log, "nx.test could not be resolved (3: Host not found), client: 127.0.0.1") &&
			strings.Contains(log, "drop.test could not be resolved (110: Operation timed out), client: 127.0.0.1") &&
			strings.Contains(log, "no resolver defined to resolve one.test, client: 127.0.0.1")
	})
}

// TestAddressesInTurn: requests to a name that is no upstream begin with any of its addresses.
func TestAddressesInTurn(t *testing.T) {
	port := namedOn(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	z := newZone(t, "a.test. 60 A 127.0.0.1", "a.test. 60 A 127.0.0.2", "a.test. 60 A 127.0.0.3")
	p := serve(t, `
server { listen 127.0.0.1:{proxy}; resolver `+z.addr+` ipv6=off; location / { proxy_pass http://$host:`+port+`; } }`)
	p.answersFrom("a.test", "127.0.0.1", "127.0.0.2", "127.0.0.3")
}

// TestSilentNameServer: name servers that do not answer hold up the requests that need them, and nothing else: not the interface, not
// uploads, not names that are known.
func TestSilentNameServer(t *testing.T) {
	port := namedOn(t, "127.0.0.1")
	z := newZone(t, "known.test. 600 A 127.0.0.1")
	p := serve(t, `
server { listen 127.0.0.1:{proxy}; resolver `+z.addr+` ipv6=off; resolver_timeout 1h; location / { proxy_pass http://$host:`+port+`; } }
server { listen 127.0.0.1:{api}; location / { dyups_interface; } }`)
	if got := p.get("known.test"); got != "127.0.0.1" {
		t.Fatalf("the name server gives %s", got)
	}
	z.silence()
	asked := z.questions()
	const many = 300 // more than there are workers
	for i := range many {
		dial(t, p.addr("proxy")).send("GET / HTTP/1.1\r\nHost: n" + strconv.Itoa(i) + ".test\r\n\r\n")
	}
	p.until("the look-ups", func() bool { return z.questions() >= asked+256 })
	if got := mustAPI(t, p.addr("api"), "POST", "/upstream/x", "server 127.0.0.1:"+port+";"); got != "success" {
		t.Errorf("a command is answered %s", got)
	}
	if got := mustAPI(t, p.addr("api"), "GET", "/list", ""); got != "x\n" {
		t.Errorf("the list is %q", got)
	}
	if got := p.get("known.test"); got != "127.0.0.1" {
		t.Errorf("a name that is known gives %s", got)
	}
	w := dial(t, p.addr("proxy"))
	w.send("POST / HTTP/1.1\r\nHost: known.test\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300000))
	if a := w.receive("POST"); a.status != 200 {
		t.Errorf("an upload gives %d", a.status)
	}
}
