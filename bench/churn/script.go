package churn

import (
	"context"
	"fmt"
)

// work is one upstream in the hands of one client, with everything an update needs made beforehand.
type work struct {
	name    string
	servers []Server // as it was, and is to be again
	changed []Server // script Replace
	server  Server   // script Reweigh: the first server, as it was
	heavier Server   // the same with another weight
	odd     bool     // the next step undoes the last one
	unsure  bool     // a step failed: the state is not known
}

// newWork prepares an upstream for a script; client numbers the upstreams that the script Whole creates.
func newWork(o *Options, u Upstream, client int) work {
	w := work{name: u.Name, servers: u.Servers, server: u.Servers[0]}
	w.heavier = w.server
	w.heavier.Weight++
	if o.Script == Replace {
		for i := range u.Servers {
			w.changed = append(w.changed, u.Servers[len(u.Servers)-1-i])
		}
		w.changed[0].Weight++
	}
	if o.Script == Whole {
		w.name = fmt.Sprintf("churn%d", client)
	}
	return w
}

// step does the next change.
func (w *work) step(ctx context.Context, u Updater, o *Options) error {
	switch {
	case o.Script == Reweigh && !w.odd:
		return u.Reweigh(ctx, w.name, w.heavier)
	case o.Script == Reweigh:
		return u.Reweigh(ctx, w.name, w.server)
	case o.Script == Servers && !w.odd:
		return u.Add(ctx, w.name, o.Spare)
	case o.Script == Servers:
		return u.Remove(ctx, w.name, o.Spare.Addr)
	case o.Script == Replace && !w.odd:
		return u.Replace(ctx, w.name, w.changed)
	case o.Script == Replace:
		return u.Replace(ctx, w.name, w.servers)
	case !w.odd:
		return u.Create(ctx, w.name, w.servers)
	default:
		return u.Delete(ctx, w.name)
	}
}

// restore makes the upstream what it was, if a step failed or its counterpart is still to come.
func (w *work) restore(ctx context.Context, u Updater, o *Options) error {
	var err error
	switch {
	case w.unsure && o.Script == Whole:
		_ = u.Delete(ctx, w.name) // it may be there or not
	case w.unsure:
		err = u.Replace(ctx, w.name, w.servers)
	case w.odd:
		err = w.step(ctx, u, o)
	}
	if err == nil {
		w.odd, w.unsure = false, false
	}
	return err
}
