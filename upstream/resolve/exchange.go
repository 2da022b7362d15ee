package resolve

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases bounds the questions asked for one name that turns out to be an alias of another.
const maxAliases = 16

// maxNameBytes is the length of a name in text, without its last dot (RFC 1035 section 2.3.4: 255 octets on the wire).
const maxNameBytes = 253

// found is what one family's, or both families', answers came to.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration
}

// ask asks for the families that cfg wants and joins the answers, IPv4 first. Without an address, code says why.
// When one family has answered with addresses, the other has one attemptTimeout left: a name server that drops AAAA
// questions must not hold up what is known.
func (r *Resolver) ask(ctx context.Context, cfg *Config, fqdn string) (all found, code int) {
	type result struct {
		found found
		code  int
	}
	var types []uint16
	if cfg.IPv4 {
		types = append(types, dns.TypeA)
	}
	if cfg.IPv6 {
		types = append(types, dns.TypeAAAA)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]result, len(types))
	done := make(chan int, len(types))
	for i, t := range types {
		go func() {
			f, c := r.askType(ctx, cfg, fqdn, t)
			results[i] = result{f, c}
			done <- i
		}()
	}
	var grace *time.Timer
	for range types {
		i := <-done
		if len(results[i].found.addrs) > 0 && grace == nil {
			grace = time.AfterFunc(attemptTimeout, cancel)
		}
	}
	if grace != nil {
		grace.Stop()
	}
	code = codeNotFound
	for _, res := range results {
		if len(res.found.addrs) == 0 {
			if res.code != codeNotFound {
				code = res.code
			}
			continue
		}
		if all.addrs == nil || res.found.ttl < all.ttl {
			all.ttl = res.found.ttl
		}
		all.addrs = append(all.addrs, res.found.addrs...)
	}
	return all, code
}

// askType asks for the records of one type, following aliases.
func (r *Resolver) askType(ctx context.Context, cfg *Config, fqdn string, qtype uint16) (found, int) {
	var least time.Duration = -1
	for range maxAliases {
		msg, code := r.query(ctx, cfg, fqdn, qtype)
		if msg == nil {
			return found{}, code
		}
		f, alias := read(msg, qtype)
		if least < 0 || f.ttl < least {
			least = f.ttl
		}
		if len(f.addrs) > 0 {
			f.ttl = least
			return f, 0
		}
		if alias == "" {
			return found{}, codeNotFound
		}
		fqdn = alias
	}
	return found{}, codeNotFound
}

// query asks one question until a server gives an answer or denies the name (code 3), each server that fails being
// followed by the next. Silence is waited out until ctx ends; servers that all refuse end the query at once.
func (r *Resolver) query(ctx context.Context, cfg *Config, fqdn string, qtype uint16) (*dns.Msg, int) {
	first := int(r.turn.Add(1) - 1)
	code, refused := codeTimedOut, 0
	for i := 0; refused < len(cfg.Servers); i++ {
		if ctx.Err() != nil {
			return nil, codeTimedOut
		}
		server := cfg.Servers[(first+i)%len(cfg.Servers)]
		began := time.Now()
		msg, err := attempt(ctx, server, fqdn, qtype)
		switch {
		case err == nil && msg.Rcode == dns.RcodeSuccess:
			return msg, 0
		case err == nil && msg.Rcode == dns.RcodeNameError:
			return nil, codeNotFound
		case err == nil:
			code = msg.Rcode
			refused++
		case ctx.Err() != nil:
			return nil, codeTimedOut
		default:
			// An unreachable server fails at once: after each had its turn, pause, or this would spin.
			if i+1 >= len(cfg.Servers) {
				pause(ctx, attemptTimeout-time.Since(began))
			}
		}
	}
	return nil, code
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attempt asks one server once, over UDP and, if the answer was truncated, over TCP.
func attempt(ctx context.Context, server, fqdn string, qtype uint16) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	q := new(dns.Msg)
	q.SetQuestion(fqdn, qtype)
	msg, err := over(ctx, "udp", server, q)
	if err == nil && msg.Truncated {
		msg, err = over(ctx, "tcp", server, q)
	}
	return msg, err
}

// over sends q and reads until the matching answer is there.
func over(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	unhook := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	conn := &dns.Conn{Conn: raw, UDPSize: dns.MaxMsgSize}
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		msg, err := conn.ReadMsg()
		if err == nil && answers(msg, q) {
			return msg, nil
		}
		if _, broken := err.(net.Error); broken || network == "tcp" && err != nil || ctx.Err() != nil {
			return nil, err
		}
	}
}

// answers reports whether msg is a response to q (RFC 5452 section 9.1). A server that could not read the question may
// leave it out.
func answers(msg, q *dns.Msg) bool {
	if !msg.Response || msg.Id != q.Id {
		return false
	}
	if len(msg.Question) == 0 {
		return msg.Rcode == dns.RcodeFormatError
	}
	got, want := msg.Question[0], q.Question[0]
	return got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}

// read takes the addresses of type qtype from the answer section, and the name to ask for next if it only has an alias.
// The time to live is the least of all records used.
func read(msg *dns.Msg, qtype uint16) (f found, alias string) {
	aliases := map[string]string{}
	f.ttl = -1
	use := func(h *dns.RR_Header) {
		if ttl := time.Duration(h.Ttl) * time.Second; f.ttl < 0 || ttl < f.ttl {
			f.ttl = ttl
		}
	}
	for _, rr := range msg.Answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		case *dns.CNAME:
			aliases[strings.ToLower(rr.Hdr.Name)] = rr.Target
			use(&rr.Hdr)
			continue
		}
		if rr.Header().Rrtype != qtype {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			f.addrs = append(f.addrs, addr.Unmap())
			use(rr.Header())
		}
	}
	f.ttl = max(f.ttl, 0)
	if len(f.addrs) > 0 || len(aliases) == 0 || len(msg.Question) == 0 {
		return f, ""
	}
	// The end of the chain that starts at the question; a ring ends after as many steps as there are aliases.
	at := strings.ToLower(msg.Question[0].Name)
	for range len(aliases) {
		next, ok := aliases[at]
		if !ok {
			break
		}
		alias, at = next, strings.ToLower(next)
	}
	return f, alias
}

// presentation writes a host name in the form that miekg/dns packs and unpacks, with a last dot and every byte that
// means something there escaped; answers compares such forms. It is false for what cannot be a name: empty, too long, or with an empty or overlong label.
func presentation(name string) (string, bool) {
	if name == "" || len(name) > maxNameBytes {
		return "", false
	}
	var b strings.Builder
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case c < ' ' || c > '~':
				b.Write([]byte{'\\', '0' + c/100, '0' + c/10%10, '0' + c%10})
			case strings.IndexByte(` '@;()"\`, c) >= 0:
				b.Write([]byte{'\\', c})
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
	}
	return b.String(), true
}
