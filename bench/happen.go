package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dyups/bench/churn"
	"dyups/bench/poll"
	"dyups/bench/result"
)

// happening is what is done to a proxy or to the origins in the course of one round. It begins with the load, so that the
// whole measured part is under it, and is cut to that part afterwards.
type happening struct {
	cancel context.CancelFunc
	done   chan struct{}

	began  int64 // poll.Now
	churn  *churn.Sample
	events []event
	err    error
}

// event is something that happened at a time by poll.Now.
type event struct {
	at   int64
	what string
}

// happen begins what a scenario has in store for its proxies.
func happen(ctx context.Context, st *stage, p *running) *happening {
	ctx, cancel := context.WithCancel(ctx)
	h := &happening{cancel: cancel, done: make(chan struct{}), began: poll.Now()}
	if len(st.Faults) > 0 {
		h.err = st.origins.Begin()
	}
	go func() {
		defer close(h.done)
		switch {
		case st.Churn != nil && !st.Churn.ByLoad:
			s := churn.Run(ctx, p.Updater, churnOptions(st.Scenario, st.origins))
			h.churn = &s
		case st.Reload > 0 && h.err == nil:
			h.reload(ctx, p, st.Reload)
		}
	}()
	return h
}

// said takes over the updates that the load has sent, beginning at a time, and sets back what they
// have left changed.
func (h *happening) said(ctx context.Context, st *stage, p *running, updates *churn.Sample, began int64) {
	o := churnOptions(st.Scenario, st.origins)
	updates.Script = o.Script
	h.churn, h.began = updates, began
	u, err := p.Updater()
	if err == nil {
		err = errors.Join(churn.Restore(ctx, u, o, updates), u.Close())
	}
	if err != nil && h.err == nil {
		h.err = fmt.Errorf("cannot set the upstreams back: %w", err)
	}
}

// churnOptions are the updates of a scenario.
func churnOptions(s *Scenario, o *origins) churn.Options {
	all := o.upstreams(s)
	opt := churn.Options{Rate: s.Churn.Rate, Clients: s.Churn.Clients, Script: s.Churn.Script, Upstreams: all, Spare: o.spare}
	switch s.Churn.On {
	case onLoaded:
		opt.Upstreams = all[:1]
	case onOthers:
		opt.Upstreams = all[1:]
	case onAll:
		if s.Churn.Clients == 1 && !s.ByHost {
			opt.Upstreams = oftenFirst(all)
		}
	}
	if s.stamps() {
		opt.Watch = func(addr string) (int64, error) {
			seen, err := o.Seen(o.names[addr])
			return seen.Last, err
		}
	}
	return opt
}

// oftenFirst has the first upstream, which the requests go to, stand before each nine of the others: in their turn of thousands its own
// would not come within a round.
func oftenFirst(all []churn.Upstream) []churn.Upstream {
	list := make([]churn.Upstream, 0, len(all)+len(all)/9+1)
	for i, u := range all[1:] {
		if i%9 == 0 {
			list = append(list, all[0])
		}
		list = append(list, u)
	}
	if len(list) == 0 {
		return all
	}
	return list
}

// reload reloads the proxy again and again, for the first time after half an interval.
func (h *happening) reload(ctx context.Context, p *running, every time.Duration) {
	next := time.NewTimer(every / 2)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(every)
		at := poll.Now()
		// A reload that has begun is waited for, also at the end: the next round must not meet it half done.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		err := p.Reload(whole)
		cancel()
		if err != nil {
			h.err = err
			return
		}
		h.events = append(h.events, event{at, fmt.Sprintf("reload, done after %.0f ms", float64(poll.Now()-at)/1e6)})
	}
}

// end ends it and waits. A proxy that does not acknowledge its last update in time is stopped, which ends that as well.
func (h *happening) end(st *stage, p *running) error {
	h.cancel()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-h.done:
	case <-late.C:
		p.Stop()
		<-h.done
		if h.err == nil {
			h.err = fmt.Errorf("it did not acknowledge the last update within %v", patience)
		}
	}
	if len(st.Faults) > 0 {
		if err := st.origins.End(); err != nil && h.err == nil {
			h.err = err
		}
	}
	if h.err != nil {
		return h.err
	}
	if h.churn != nil && h.churn.Unsupported != "" {
		return &missing{errors.New(h.churn.Unsupported)}
	}
	return nil
}

// into writes what happened into a sample whose measured part began at start, and leaves out what happened outside of it.
func (h *happening) into(s *result.Sample, it *item, start int64) {
	length := s.Load.Elapsed.Seconds()
	inside := func(at int64) (float64, bool) {
		t := float64(at-start) / 1e9
		return t, t >= 0 && t <= length
	}
	for _, e := range h.events {
		if t, ok := inside(e.at); ok {
			s.Events = append(s.Events, result.Event{At: t, What: e.what})
		}
	}
	for _, f := range it.Faults {
		for k := int64(0); ; k++ {
			t, ok := inside(h.began + int64(f.After) + k*int64(f.Every))
			if ok {
				s.Events = append(s.Events, result.Event{At: t, What: fmt.Sprintf("origin %s: %s for %v", f.Origin, f.Kind, f.For)})
			}
			if f.Every == 0 || t > length {
				break
			}
		}
	}
	if h.churn == nil {
		return
	}
	c := *h.churn
	at := c.At
	c.At = []float64{}
	for _, t := range at {
		if t, ok := inside(h.began + int64(t*1e9)); ok {
			c.At = append(c.At, t)
		}
	}
	s.Churn = &c
}
