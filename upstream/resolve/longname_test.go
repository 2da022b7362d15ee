package resolve

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// long is a name of labels of 63 octets: 4 of them are 257 octets on the wire, two too many.
func long(labels int) string { return strings.Repeat(strings.Repeat("a", 63)+".", labels) }

// message packs an answer to q without miekg/dns looking at the lengths of names when it reads it back.
func message(t testing.TB, q string, qtype uint16, rrs ...dns.RR) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(q, qtype)
	m.Response, m.Answer = true, rrs
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func cname(owner, target string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 9}, Target: target}
}

func addressOf(owner string, ip ...byte) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 7}, A: ip}
}

// An alias that is longer than a name may be is followed, as nginx follows it; one without measure is not.
func TestLongAlias(t *testing.T) {
	s := newStub(t, "one. 60 A 127.0.0.1")
	s.mu.Lock()
	s.zone = append(s.zone, cname("in.", long(4)), addressOf(long(4), 127, 0, 0, 8), cname("much.", long(8)))
	s.mu.Unlock()
	r := New(0)
	defer r.Close()
	f := func(host string, timeout time.Duration, want string) {
		t.Helper()
		cfg := &Config{Servers: []string{s.addr}, IPv4: true, Timeout: timeout}
		if got := text(t, r, cfg, host); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", host, got, want)
		}
	}
	f("in", 10*time.Second, "127.0.0.8")
	f("much", 500*time.Millisecond, "much could not be resolved (110: Operation timed out)") // what cannot be read is no answer
}

func TestUnpackLong(t *testing.T) {
	f := func(wire []byte, qtype uint16, want string) {
		t.Helper()
		if !errors.Is(new(dns.Msg).Unpack(wire), dns.ErrLongDomain) {
			t.Error("miekg/dns does not refuse the case for its length")
		}
		m, err := unpack(wire)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case qtype == dns.TypeSRV:
			got = strings.ReplaceAll(m.Answer[0].String(), "\t", " ")
		default:
			r := read(m, qtype)
			for _, a := range r.addrs {
				got += a.String() + " "
			}
			got += r.alias + " " + r.ttl.String()
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	six := &dns.AAAA{Hdr: dns.RR_Header{Name: long(4), Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: 5}, AAAA: make([]byte, 16)}
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: "x.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"t"}}
	srv := &dns.SRV{Hdr: dns.RR_Header{Name: "s.", Rrtype: dns.TypeSRV, Class: dns.ClassINET}, Priority: 1, Weight: 2, Port: 3, Target: long(4)}
	f(message(t, "x.", dns.TypeA, txt, cname("x.", long(4))), dns.TypeA, long(4)+" 9s")
	f(message(t, "x.", dns.TypeA, cname("x.", `a\.b\000.`+long(4))), dns.TypeA, `a\.b\000.`+long(4)+" 9s")
	f(message(t, long(4), dns.TypeA, addressOf(long(4), 127, 0, 0, 1)), dns.TypeA, "127.0.0.1  7s")
	f(message(t, long(4), dns.TypeAAAA, six), dns.TypeAAAA, "::  5s")
	f(message(t, "s.", dns.TypeSRV, srv), dns.TypeSRV, "s. 0 IN SRV 1 2 3 "+long(4))
	f(message(t, "x.", dns.TypeA, cname("x.", long(7))), dns.TypeA, long(7)+" 9s")
	f(message(t, "x.", dns.TypeA, cname("x.", long(8))), dns.TypeA, dns.ErrLongDomain.Error())

	whole := message(t, long(4), dns.TypeA, addressOf(long(4), 127, 0, 0, 1))
	for n := range len(whole) { // cut off anywhere
		if m, err := unpackLong(whole[:n]); err == nil {
			t.Errorf("%d octets of %d gave %v", n, len(whole), m)
		}
	}
	bad := func(what string, change func(b []byte) []byte) {
		t.Helper()
		if m, err := unpackLong(change(append([]byte(nil), whole...))); err == nil {
			t.Errorf("%s gave %v", what, m)
		}
	}
	owner := len(whole) - 16 // a pointer, and behind it type, class, time to live, length and address
	bad("a pointer to itself", func(b []byte) []byte { binary.BigEndian.PutUint16(b[owner:], 0xc000|uint16(owner)); return b })
	bad("a pointer ahead", func(b []byte) []byte { binary.BigEndian.PutUint16(b[owner:], 0xc000|uint16(owner+2)); return b })
	bad("a ring", func(b []byte) []byte {
		binary.BigEndian.PutUint16(b[headerOctets:], 0xc000|uint16(owner))
		return b
	})
	bad("a reserved label type", func(b []byte) []byte { b[headerOctets] = 0x80; return b })
	bad("an address of 3 octets", func(b []byte) []byte { b[len(b)-5] = 3; return b[:len(b)-1] })
	bad("more records than there are", func(b []byte) []byte { b[7] = 2; return b })
	bad("more questions than there are", func(b []byte) []byte { b[4], b[5] = 0xff, 0xff; return b })
}

// FuzzUnpackLong: it never panics and ends; nothing that it accepts is out of bounds; and where miekg/dns accepts a message
// too, both find the same in it.
func FuzzUnpackLong(f *testing.F) {
	f.Add(message(f, "x.", dns.TypeA, cname("x.", "b."), addressOf("b.", 127, 0, 0, 1)))
	f.Add(message(f, "x.", dns.TypeA, cname("x.", long(4))))
	f.Add(message(f, long(4), dns.TypeA, cname(long(4), "b.a."), addressOf("b.a.", 127, 0, 0, 1)))
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := unpackLong(wire)
		if err != nil {
			return
		}
		for _, q := range m.Question {
			if len(q.Name) > 4*maxLongOctets {
				t.Fatalf("a name of %d bytes", len(q.Name))
			}
		}
		own := new(dns.Msg)
		if own.Unpack(wire) != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if got, want := read(m, qtype), read(own, qtype); !reflect.DeepEqual(got, want) {
				t.Fatalf("type %d: %+v, miekg/dns has %+v", qtype, got, want)
			}
		}
	})
}
