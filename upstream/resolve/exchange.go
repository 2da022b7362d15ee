package resolve

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxAliases bounds the questions asked for one name that turns out to be an alias of another.
const maxAliases = 16

// maxNameBytes is the length of a name to look up, in text, without its last dot (RFC 1035 section 2.3.4: 255 octets on the wire).
const maxNameBytes = 253

// found is what the answers about one name came to.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration
	alias string // name to ask for instead, "" if none; only without addrs
}

// ask looks one name up, following aliases by new questions. Without an address, code says why.
func (r *Resolver) ask(ctx context.Context, cfg *Config, fqdn string) (f found, code int) {
	least := time.Duration(-1)
	for range maxAliases {
		f, code = r.askName(ctx, cfg, fqdn)
		if code != 0 {
			return found{}, code
		}
		if least < 0 || f.ttl < least {
			least = f.ttl
		}
		if len(f.addrs) > 0 {
			f.ttl = least
			return f, 0
		}
		fqdn = f.alias
	}
	return found{}, codeNotFound
}

// askName asks once for each family that cfg wants, in parallel, and joins the answers: addresses, IPv4 first, or an
// alias, where the family asked for last decides. As in nginx, an error in one family is the error of the name; but neither is
// that there is no such name, which some servers say of one family (RFC 4074 section 4.2), nor silence: once one family has given
// addresses the other has one attemptTimeout left, for a name server that drops AAAA questions must not hold up what is known.
func (r *Resolver) askName(ctx context.Context, cfg *Config, fqdn string) (all found, code int) {
	var types []uint16
	if cfg.IPv4 {
		types = append(types, dns.TypeA)
	}
	if cfg.IPv6 {
		types = append(types, dns.TypeAAAA)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := r.turn(cfg) // both questions go to the same server
	answers := make([]found, len(types))
	codes := make([]int, len(types))
	done := make(chan int, len(types))
	for i, t := range types {
		go func() {
			msg, code := r.query(ctx, cfg, first, fqdn, t)
			if msg != nil {
				answers[i] = read(msg, t)
			}
			codes[i] = code
			done <- i
		}()
	}
	var grace *time.Timer
	for range types {
		if i := <-done; len(answers[i].addrs) > 0 && grace == nil {
			grace = time.AfterFunc(r.silence, cancel)
			defer grace.Stop()
		}
	}
	all.ttl = -1
	for i, f := range answers {
		switch codes[i] {
		case 0, codeNotFound:
		case codeTimedOut:
			code = codeTimedOut
			continue
		default:
			if cfg.System {
				code = codes[i]
				continue
			}
			return found{}, codes[i]
		}
		all.addrs = append(all.addrs, f.addrs...)
		all.alias = f.alias
		if used := len(f.addrs) > 0 || f.alias != ""; used && (all.ttl < 0 || f.ttl < all.ttl) {
			all.ttl = f.ttl
		}
	}
	switch {
	case len(all.addrs) > 0:
		all.alias = ""
		return all, 0
	case code != 0:
		return found{}, code
	case all.alias == "":
		return found{}, codeNotFound
	}
	return all, 0
}

// maxOpen bounds the attempts at one question that are under way at once, each with its socket: the first one, which is there
// for a server that is merely slow, and the last ones.
const maxOpen = 3

// reply is how attempt i at a question has ended.
type reply struct {
	i   int
	msg *dns.Msg
	err error
}

// query asks one question, of server number first and those after it, until one answers, be it with an error. Silence
// has the next server asked as well and ends no attempt, maxOpen permitting: an answer counts however late it is, as in
// nginx, until ctx ends. An error is not followed by another server (nginx: the next look-up, which is another server's
// turn, may fare better), except that of the system's servers each is asked whose predecessor has failed (resolver(5)), and
// that an answer which says nothing of the name counts only when every server has given such a one.
func (r *Resolver) query(ctx context.Context, cfg *Config, first int, fqdn string, qtype uint16) (msg *dns.Msg, code int) {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply)
	var ends [maxOpen]context.CancelFunc
	silence := time.NewTimer(r.silence)
	defer silence.Stop()
	useless := 0 // servers that have said nothing of the name, in the first round
	for last := 0; ; last++ {
		place := last
		if last >= maxOpen {
			place = 1 + (last-1)%(maxOpen-1)
			ends[place]()
		}
		own, end := context.WithCancel(ctx)
		ends[place] = end
		work.Go(func() {
			msg, err := attempt(own, cfg.Servers[(first+last)%len(cfg.Servers)], fqdn, qtype)
			select {
			case replies <- reply{last, msg, err}:
			case <-ctx.Done():
			}
		})
		silence.Reset(r.silence)
		for next := false; !next; {
			select {
			case a := <-replies:
				switch {
				case a.err != nil:
				case a.msg.Rcode == dns.RcodeSuccess:
					return a.msg, 0
				case !cfg.System && saysNothing(a.msg):
					if a.i < len(cfg.Servers) {
						useless++
					}
					if useless == len(cfg.Servers) {
						return nil, a.msg.Rcode
					}
				case !cfg.System || a.msg.Rcode == dns.RcodeNameError || a.i+1 >= len(cfg.Servers):
					return nil, a.msg.Rcode
				}
				// An unreachable server fails at once: after each had its turn, wait, or this would spin.
				next = a.i == last && last+1 < len(cfg.Servers)
			case <-silence.C:
				next = true
			case <-ctx.Done():
				return nil, codeTimedOut
			}
		}
	}
}

// saysNothing reports whether msg is an error that nginx does not take for an answer (ngx_resolver_process_response): the
// server could not read the question, or the code is none of RFC 1035.
func saysNothing(msg *dns.Msg) bool {
	return msg.Rcode == dns.RcodeFormatError || msg.Rcode > dns.RcodeRefused
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
		var msg *dns.Msg
		wire, err := conn.ReadMsgHeader(nil)
		if err == nil {
			msg, err = unpack(wire)
		}
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
	if !msg.Response || msg.Id != q.Id || msg.Opcode != q.Opcode {
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
func read(msg *dns.Msg, qtype uint16) (f found) {
	aliases := map[string]string{}
	f.ttl = -1
	use := func(h *dns.RR_Header) {
		if ttl := time.Duration(h.Ttl) * time.Second; f.ttl < 0 || ttl < f.ttl {
			f.ttl = ttl
		}
	}
	for _, rr := range msg.Answer {
		if rr.Header().Class != dns.ClassINET {
			continue
		}
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
		return f
	}
	// The end of the chain that starts at the question; a ring ends after as many steps as there are aliases.
	at := strings.ToLower(msg.Question[0].Name)
	for range len(aliases) {
		next, ok := aliases[at]
		if !ok {
			break
		}
		f.alias, at = next, strings.ToLower(next)
	}
	return f
}

// presentation writes a host name in the form that miekg/dns packs and unpacks, with a last dot and every byte that
// means something there escaped; answers compares such forms. It is false for what cannot be a name: empty, too long,
// or with an empty or overlong label.
func presentation(name string) (string, bool) {
	if name == "" || len(name) > maxNameBytes {
		return "", false
	}
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
		b = append(appendLabel(b, label), '.')
	}
	return string(b), true
}

// appendLabel appends a label in that form.
func appendLabel[T string | []byte](dst []byte, label T) []byte {
	for i := range len(label) {
		switch c := label[i]; {
		case c < ' ' || c > '~':
			dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		case strings.IndexByte(`. '@;()"\`, c) >= 0:
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
