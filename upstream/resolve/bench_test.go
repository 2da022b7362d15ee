package resolve

import (
	"fmt"
	"testing"

	"dyups/codec/conf"
	"dyups/upstream"
)

// BenchmarkChanged measures what following costs a change of an upstream without names, in a table of 1,000.
func BenchmarkChanged(b *testing.B) {
	for _, follow := range []bool{false, true} {
		b.Run(fmt.Sprintf("follow=%t", follow), func(b *testing.B) {
			ds, err := conf.Parse("body", []byte("server 127.0.0.1:1; server 127.0.0.2:1;"))
			if err != nil {
				b.Fatal(err)
			}
			spec, err := upstream.ParseBlock("x", ds, nil)
			if err != nil {
				b.Fatal(err)
			}
			store := upstream.NewStore()
			var all []upstream.Change
			for i := range 1000 {
				all = append(all, upstream.Change{Name: fmt.Sprintf("upstream-%d", i), Spec: spec})
			}
			store.Apply(all)
			r := New(0)
			n := NewNames(r, nil)
			if follow {
				n.Follow(store, func(upstream.Change) error { return nil })
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				store.Apply(all[i%1000 : i%1000+1])
				i++
			}
			b.StopTimer()
			n.Close()
			r.Close()
		})
	}
}
