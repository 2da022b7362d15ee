package resolve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"dyups/upstream"
)

// When a name is looked up again.
const (
	// leastPause is the least time between two look-ups of a name, whatever its time to live: a record with 0, "do not
	// keep", asks for a look-up with each use, and the table must not turn that into a loop. nginx counts in seconds too.
	leastPause = time.Second
	// longestPause bounds what a time to live is believed: a slip in a zone file would otherwise hold servers for as long
	// as it says, up to 68 years. "valid=" is not bounded.
	longestPause = time.Hour
	// longestBackoff bounds the pause after failures, which begins at leastPause and doubles: it is how long after the end
	// of an outage a name may still have its old servers. It is what nginx waits for a name that does not exist.
	longestBackoff = 10 * time.Second
)

// refresh keeps one target up to date until ctx ends. What goes wrong is told once, not at every attempt.
func (n *Names) refresh(ctx context.Context, t *target) {
	defer n.work.Done()
	failures, said := 0, ""
	var before []string // missed by the look-up before
	for ctx.Err() == nil {
		known := n.known(t.key) // perhaps of a command's look-up
		addrs, missed, expires, err := n.look(ctx, t.cfg, t.name, known)
		if ctx.Err() != nil {
			return
		}
		if !slices.Equal(missed, before) {
			n.tellMissed(t.name, missed)
			before = missed
		}
		switch {
		case err == nil:
			if said != "" {
				n.log(levelNotice, fmt.Sprintf("%s can be resolved again", describe(t.name)))
			}
			failures, said = 0, ""
			if was, changed := n.learn(t, addrs); changed {
				n.log(levelInfo, fmt.Sprintf("%s was resolved to %s, before: %s", describe(t.name), list(addrs), list(was)))
			}
			pause(ctx, n.pauseFor(t.cfg, expires))
		default:
			failures++
			text, gone := failure(t.name, err), notFound(err)
			var was []upstream.Address
			if gone {
				was, _ = n.learn(t, []upstream.Address{})
			}
			n.fail(t, text)
			if text != said || len(was) > 0 {
				said = text
				switch {
				case len(was) > 0:
					text += "; its addresses are taken out: " + list(was)
				case !gone && len(known) > 0:
					text += "; its last addresses stay: " + list(known)
				}
				n.log(levelWarn, text)
			}
			pause(ctx, n.backoff(t.cfg, err, failures))
		}
	}
}

// pauseFor is how long an answer is kept that is good up to expires: a little longer, by chance, so that names learnt
// together are not asked for together for ever.
func (n *Names) pauseFor(cfg *Config, expires time.Time) time.Duration {
	d := expires.Sub(n.resolver.now())
	if cfg.Valid == 0 {
		d = min(d, longestPause)
	}
	d = max(d, n.least)
	return d + rand.N(d/10+1)
}

// backoff is the pause after so many failures in a row, of which err is the last one; half of it by chance. It is no longer
// than that of nginx (ngx_http_upstream_zone_resolve_handler): "valid=" when there is no such name, else resolver_timeout.
func (n *Names) backoff(cfg *Config, err error, failures int) time.Duration {
	bound := cfg.Timeout
	if notFound(err) {
		bound = cfg.Valid
	}
	d := longestBackoff
	if bound > 0 {
		d = min(d, max(bound, n.least))
	}
	if shift := failures - 1; shift < 10 {
		d = min(d, n.least<<shift)
	}
	return d/2 + rand.N(d/2+1)
}

// look asks for one name; known is its last answer. The addresses are in canonical order, at least one; missed says which
// targets of a service could not be resolved, sorted.
func (n *Names) look(ctx context.Context, cfg *Config, name upstream.Name, known []upstream.Address) (
	addrs []upstream.Address, missed []string, expires time.Time, err error) {
	leave, ok := n.gates.enter(ctx, cfg)
	if !ok {
		return nil, nil, time.Time{}, ended(ctx, name.Host)
	}
	defer leave()
	system := len(cfg.Servers) == 0
	if name.Service != "" {
		srv := serviceName(name.Service, name.Host)
		ask := n.resolver.lookupService
		if system {
			ask = n.system.service
		}
		addrs, missed, expires, err = ask(ctx, cfg, srv, known)
		slices.Sort(missed)
		return addrs, slices.Compact(missed), expires, err
	}
	lookup := n.resolver.lookup
	if system {
		lookup = n.system.addresses
	}
	a, err := lookup(ctx, cfg, name.Host)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	addrs = make([]upstream.Address, len(a.addrs))
	for i, addr := range a.addrs {
		addrs[i].Addr = addr
	}
	return upstream.Canonical(addrs), nil, a.expires, nil
}

// tellMissed logs which targets of a service could not be resolved, in nginx's words.
func (n *Names) tellMissed(name upstream.Name, missed []string) {
	for i, text := range missed {
		if i == maxListed {
			n.log(levelWarn, fmt.Sprintf("%d more targets of %s could not be resolved", len(missed)-i, describe(name)))
			break
		}
		n.log(levelWarn, text+" while resolving "+describe(name))
	}
}

// notFound reports whether err says that there is no such name, or no address of it: an answer, and no failure of DNS.
func notFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeNotFound
}

// describe names what is looked up, in nginx's words.
func describe(name upstream.Name) string {
	if name.Service != "" {
		return fmt.Sprintf("service %s of %s", name.Service, name.Host)
	}
	return name.Host
}

// failure says that a name could not be resolved, in nginx's words.
func failure(name upstream.Name, err error) string {
	var e *Error
	if errors.As(err, &e) {
		return (&Error{describe(name), e.Code}).Error()
	}
	return fmt.Sprintf("%s could not be resolved: %v", describe(name), err)
}

// maxListed bounds the addresses in one line of the log, and the lines for targets of one service.
const maxListed = 8

func list(addrs []upstream.Address) string {
	if len(addrs) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, a := range addrs {
		if i == maxListed {
			fmt.Fprintf(&b, " and %d more", len(addrs)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Addr.String())
		if a.Port != 0 {
			fmt.Fprintf(&b, ":%d", a.Port)
		}
	}
	return b.String()
}
