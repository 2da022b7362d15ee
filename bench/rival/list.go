package rival

import (
	"context"

	"dyups/bench/churn"
)

// listUpdater makes the finer updates of an interface that takes whole lists only: the list that is known is changed and
// put back.
type listUpdater struct {
	table *table
	put   func(ctx context.Context, name string, servers []churn.Server) error
	del   func(ctx context.Context, name string) error
	end   func() error                                                         // nil: nothing to close
	make  func(ctx context.Context, name string, servers []churn.Server) error // nil: put
}

// apply puts a list and remembers it once it has been acknowledged.
func (u *listUpdater) apply(ctx context.Context, name string, list []churn.Server) error {
	if err := u.put(ctx, name, list); err != nil {
		return err
	}
	u.table.set(name, list)
	return nil
}

func (u *listUpdater) Replace(ctx context.Context, name string, servers []churn.Server) error {
	return u.apply(ctx, name, servers)
}

func (u *listUpdater) Reweigh(ctx context.Context, name string, s churn.Server) error {
	return u.Add(ctx, name, s)
}

func (u *listUpdater) Add(ctx context.Context, name string, s churn.Server) error {
	list, err := u.table.get(name)
	if err != nil {
		return err
	}
	return u.apply(ctx, name, with(list, s))
}

func (u *listUpdater) Remove(ctx context.Context, name, addr string) error {
	list, err := u.table.get(name)
	if err == nil {
		list, err = without(list, addr)
	}
	if err != nil {
		return err
	}
	return u.apply(ctx, name, list)
}

func (u *listUpdater) Create(ctx context.Context, name string, servers []churn.Server) error {
	if u.make == nil {
		return u.apply(ctx, name, servers)
	}
	if err := u.make(ctx, name, servers); err != nil {
		return err
	}
	u.table.set(name, servers)
	return nil
}

func (u *listUpdater) Delete(ctx context.Context, name string) error {
	if err := u.del(ctx, name); err != nil {
		return err
	}
	u.table.set(name, nil)
	return nil
}

func (u *listUpdater) Close() error {
	if u.end == nil {
		return nil
	}
	return u.end()
}
