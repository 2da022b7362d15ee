package upstream

import (
	"fmt"
	"runtime/debug"
	"testing"
)

// full makes a store with n upstreams of two servers.
func full(b *testing.B, n int) *Store {
	s := NewStore()
	spec := parse(b, "server 127.0.0.1:1; server 127.0.0.1:2;")
	changes := make([]Change, n)
	for i := range changes {
		changes[i] = Change{Name: fmt.Sprintf("host%d.example.com", i), Spec: spec}
	}
	if err := s.Replace(changes); err != nil {
		b.Fatal(err)
	}
	return s
}

var sizes = []struct {
	name string
	n    int
}{{"10", 10}, {"1k", 1000}, {"100k", 100000}}

// BenchmarkApply replaces one upstream among many, a different one each time.
func BenchmarkApply(b *testing.B) {
	// As cmd/dyups has it. What is left of growth with the size of the table is the collector's marking and cold caches: the
	// steps and the bytes of a change are the same (GOGC=off shows it).
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			s := full(b, size.n)
			spec := parse(b, "server 127.0.0.1:1; server 127.0.0.1:2 weight=2;")
			changes := make([][]Change, min(size.n, 4096))
			for i := range changes {
				changes[i] = []Change{{Name: fmt.Sprintf("host%d.example.com", i*size.n/len(changes)), Spec: spec}}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Apply(changes[i%len(changes)])
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			t := full(b, size.n).Load()
			keys := make([][]byte, min(size.n, 1024))
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "Host%d.example.com", i*size.n/len(keys))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if t.Lookup(keys[i%len(keys)]) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}
