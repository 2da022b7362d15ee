package resolve

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"dyups/upstream"
)

// serviceName is where the SRV records of a service of host are: "http" means _http._tcp.HOST, and a service with a dot
// stands in front of the host as it is. Source: nginx, ngx_resolve_name.
func serviceName(service, host string) string {
	if strings.Contains(service, ".") {
		return service + "." + host
	}
	return "_" + service + "._tcp." + host
}

// lookupService asks for the SRV records of name and for the addresses of their targets (RFC 2782), and returns the
// servers of the best priority as such and all others as backups, with the time up to which that is good. A target that
// does not exist is left out; one whose look-up fails otherwise keeps the addresses that it has in known, the answer
// before; missed says of both why. Nothing is kept: the caller is the only one who asks.
func (r *Resolver) lookupService(ctx context.Context, cfg *Config, name string, known []upstream.Address) (
	out []upstream.Address, missed []string, expires time.Time, err error) {
	ctx, cancel := bounded(ctx, cfg)
	defer cancel()
	records, ttl, code := r.askService(ctx, cfg, name)
	if code != 0 {
		return nil, nil, time.Time{}, &Error{name, code}
	}
	if cfg.Valid > 0 {
		ttl = cfg.Valid
	}
	expires = r.now().Add(ttl)
	answers := make([]answer, len(records))
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	for i, rr := range records {
		wg.Go(func() { answers[i], errs[i] = r.lookup(ctx, cfg, rr.Target) })
	}
	wg.Wait()
	best := ^uint16(0)
	found := make([][]upstream.Address, len(records))
	for i, rr := range records {
		var e *Error
		if errors.As(errs[i], &e) {
			missed = append(missed, (&Error{targetName(rr), e.Code}).Error())
		}
		switch {
		case errs[i] == nil:
			found[i] = atTarget(rr, answers[i].addrs)
			if answers[i].expires.Before(expires) {
				expires = answers[i].expires
			}
		case !notFound(errs[i]):
			found[i] = atTarget(rr, addrsOf(known, targetName(rr)))
			expires = r.now() // ask again soon
		}
		if len(found[i]) > 0 {
			best = min(best, rr.Priority)
		}
	}
	for i, rr := range records {
		for _, a := range found[i] {
			a.Backup = rr.Priority != best
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		for _, e := range errs {
			if err = e; notFound(e) { // goes before a failure, as in nginx (ngx_resolver_report_srv)
				break
			}
		}
		return nil, missed, time.Time{}, err
	}
	return upstream.Canonical(out), missed, expires, nil
}

func targetName(rr *dns.SRV) string { return strings.TrimSuffix(rr.Target, ".") }

// atTarget gives the servers of one record. A weight of 0 counts as 1, as in nginx: the server takes part.
func atTarget(rr *dns.SRV, addrs []netip.Addr) []upstream.Address {
	out := make([]upstream.Address, len(addrs))
	for i, a := range addrs {
		out[i] = upstream.Address{Addr: a, Port: rr.Port, Weight: max(int(rr.Weight), 1), Target: targetName(rr)}
	}
	return out
}

// addrsOf gives the addresses that target has in an answer.
func addrsOf(answer []upstream.Address, target string) (addrs []netip.Addr) {
	for _, a := range answer {
		if a.Target == target && !slices.Contains(addrs, a.Addr) {
			addrs = append(addrs, a.Addr)
		}
	}
	return addrs
}

// askService asks for SRV records, following aliases by new questions, and leaves out the target "." that says there is
// no such service.
func (r *Resolver) askService(ctx context.Context, cfg *Config, name string) (records []*dns.SRV, ttl time.Duration, code int) {
	fqdn, ok := presentation(strings.TrimSuffix(name, "."))
	if !ok {
		return nil, 0, codeNotFound
	}
	least := time.Duration(-1)
	use := func(t time.Duration) {
		if least < 0 || t < least {
			least = t
		}
	}
	for range maxAliases {
		msg, code := r.query(ctx, cfg, r.turn(cfg), fqdn, dns.TypeSRV)
		if code != 0 {
			return nil, 0, code
		}
		for _, rr := range msg.Answer {
			if srv, ok := rr.(*dns.SRV); ok && srv.Hdr.Class == dns.ClassINET {
				use(time.Duration(srv.Hdr.Ttl) * time.Second)
				if srv.Target != "." {
					records = append(records, srv)
				}
			}
		}
		alias := read(msg, dns.TypeSRV)
		if alias.alias != "" {
			use(alias.ttl)
		}
		switch {
		case len(records) > 0:
			return records, least, 0
		case alias.alias == "":
			return nil, 0, codeNotFound
		}
		fqdn = alias.alias
	}
	return nil, 0, codeNotFound
}
