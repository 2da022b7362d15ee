//go:build invariants

package upstream

import (
	"fmt"
	"hash/maphash"
)

// seal is a digest of a published table. It is taken at publishing and compared when the table is replaced: a
// difference means that somebody wrote what readers share.
type seal struct {
	digest uint64
	of     *Table
}

var sealSeed = maphash.MakeSeed()

func (s *seal) set(t *Table) { s.of, s.digest = t, digest(t) }

func (s *seal) verify(t *Table) {
	if s.of == t && digest(t) != s.digest {
		panic(fmt.Sprintf("BUG: upstream table of generation %d was written after it was published", t.gen))
	}
	if err := t.check(); err != nil {
		panic("BUG: " + err.Error())
	}
}

// digest hashes all that is frozen in a table: every field of its upstreams and servers, and which states they have.
func digest(t *Table) uint64 {
	var h maphash.Hash
	h.SetSeed(sealSeed)
	fmt.Fprintln(&h, t.gen, t.n, t.seq)
	for b := range t.buckets {
		fmt.Fprintln(&h, b.gen, len(b.entries))
		for _, e := range b.entries {
			u := e.u
			fmt.Fprintf(&h, "%p %q %q %v %v %d %d %d %d %q %p %p %x %q %d %d\n", u, u.Name, u.Method, u.HashKey, u.NeedsAddr,
				u.Keepalive, u.KeepaliveRequests, u.KeepaliveTime, u.KeepaliveTimeout, u.Source, u.cursor, u.spec,
				u.key.hash, u.key.fold, u.seq, u.tries)
			for _, s := range u.Servers {
				fmt.Fprintf(&h, "%p %v %q %q %d %d %d %d %v %v %p\n", s, s.Addr, s.Label, s.Name,
					s.Weight, s.MaxConns, s.MaxFails, s.FailTimeout, s.Backup, s.Down, s.State)
			}
			h.Write(u.AppendBody(nil))
		}
	}
	return h.Sum64()
}
