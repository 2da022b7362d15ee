package resolve

import (
	"encoding/binary"
	"errors"
	"net"

	"github.com/miekg/dns"
)

// maxLongOctets bounds a name of an answer on the wire. RFC 1035 section 2.3.4 allows 255 octets, and an answer whose names
// keep to that never gets here. There are servers and clients that follow longer aliases, nginx among them; twice as much is
// room for those, and keeps what one datagram of pointers can swell to within a few MB.
const maxLongOctets = 2 * 255

const headerOctets = 12 // RFC 1035 section 4.1.1

// unpack reads a message, also one that miekg/dns refuses because a name in it is too long.
func unpack(wire []byte) (*dns.Msg, error) {
	msg := new(dns.Msg)
	err := msg.Unpack(wire)
	if errors.Is(err, dns.ErrLongDomain) {
		return unpackLong(wire)
	}
	return msg, err
}

// unpackLong reads of a message what a look-up uses: the header, the questions, and the records of an alias, an address or a
// service in the answer section. Whatever does not fit into the message is an error, and so is a name that is not made of
// labels and of pointers to what stands before it (RFC 1035 section 4.1.4), which rules out rings.
func unpackLong(wire []byte) (*dns.Msg, error) {
	if len(wire) < headerOctets {
		return nil, dns.ErrShortRead
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(wire[:headerOctets]); err != nil { // a header alone is a message to miekg/dns
		return nil, err
	}
	off := headerOctets
	for range binary.BigEndian.Uint16(wire[4:]) {
		name, end, err := longName(wire, off)
		if err != nil {
			return nil, err
		}
		if len(wire)-end < 4 {
			return nil, dns.ErrBuf
		}
		be := binary.BigEndian
		msg.Question = append(msg.Question, dns.Question{Name: name, Qtype: be.Uint16(wire[end:]), Qclass: be.Uint16(wire[end+2:])})
		off = end + 4
	}
	for range binary.BigEndian.Uint16(wire[6:]) {
		rr, end, err := longRecord(wire, off)
		if err != nil {
			return nil, err
		}
		if rr != nil {
			msg.Answer = append(msg.Answer, rr)
		}
		off = end
	}
	return msg, nil
}

// longRecord reads the record at wire[off:] and returns where it ends; nil is one that no look-up uses.
func longRecord(wire []byte, off int) (rr dns.RR, end int, err error) {
	name, off, err := longName(wire, off)
	if err != nil {
		return nil, 0, err
	}
	if len(wire)-off < 10 {
		return nil, 0, dns.ErrBuf
	}
	be := binary.BigEndian
	h := dns.RR_Header{Name: name, Rrtype: be.Uint16(wire[off:]), Class: be.Uint16(wire[off+2:]), Ttl: be.Uint32(wire[off+4:]),
		Rdlength: be.Uint16(wire[off+8:])}
	off += 10
	end = off + int(h.Rdlength)
	if end > len(wire) {
		return nil, 0, dns.ErrBuf
	}
	read := off // how far the data was read, for types whose length is in the data
	switch h.Rrtype {
	case dns.TypeA:
		rr, read = &dns.A{Hdr: h, A: net.IP(wire[off:end])}, off+net.IPv4len
	case dns.TypeAAAA:
		rr, read = &dns.AAAA{Hdr: h, AAAA: net.IP(wire[off:end])}, off+net.IPv6len
	case dns.TypeCNAME:
		c := &dns.CNAME{Hdr: h}
		if h.Rdlength > 0 {
			c.Target, read, err = longName(wire[:end], off)
		}
		rr = c
	case dns.TypeSRV: // RFC 2782
		s := &dns.SRV{Hdr: h}
		if h.Rdlength > 6 {
			s.Priority, s.Weight, s.Port = be.Uint16(wire[off:]), be.Uint16(wire[off+2:]), be.Uint16(wire[off+4:])
			s.Target, read, err = longName(wire[:end], off+6)
		}
		rr = s
	default:
		return nil, end, nil
	}
	if err == nil && h.Rdlength > 0 && read != end { // no data at all counts as no record, as miekg/dns has it
		err = dns.ErrRdata
	}
	return rr, end, err
}

// longName reads the name at wire[off:] in presentation form and returns where it ends.
func longName(wire []byte, off int) (name string, end int, err error) {
	var text []byte
	octets, before := 1, off
	for end = -1; ; {
		if off >= len(wire) {
			return "", 0, dns.ErrBuf
		}
		c := int(wire[off])
		off++
		switch {
		case c == 0:
			if len(text) == 0 {
				text = append(text, '.')
			}
			if end < 0 {
				end = off
			}
			return string(text), end, nil
		case c < 1<<6:
			if len(wire)-off < c {
				return "", 0, dns.ErrBuf
			}
			if octets += 1 + c; octets > maxLongOctets {
				return "", 0, dns.ErrLongDomain
			}
			text = append(appendLabel(text, wire[off:off+c]), '.')
			off += c
		case c >= 3<<6:
			if off >= len(wire) {
				return "", 0, dns.ErrBuf
			}
			to := (c&(1<<6-1))<<8 | int(wire[off])
			if end < 0 {
				end = off + 1
			}
			if to >= before {
				return "", 0, dns.ErrRdata
			}
			off, before = to, to
		default: // RFC 1035 section 4.1.4: reserved
			return "", 0, dns.ErrRdata
		}
	}
}
