package lb

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPick picks and gives the place back, with all peers up and with every other one dead (half).
func BenchmarkPick(b *testing.B) {
	methods := []struct {
		name string
		m    Method
	}{{"rr", RoundRobin}, {"iphash", IPHash}, {"leastconn", LeastConn}, {"hash", Hash}, {"consistent", ConsistentHash}, {"random", Random}, {"randomtwo", RandomTwo}}
	for _, m := range methods {
		for _, n := range []int{10, 1000, 10000} {
			for _, dead := range []bool{false, true} {
				name := fmt.Sprintf("%s/%d", m.name, n)
				if dead {
					name += "/half"
				}
				b.Run(name, func(b *testing.B) {
					bd := newBed(m.m, strings.Repeat("1 ", n))
					if dead {
						for i := 0; i < n; i += 2 {
							bd.live[i].Fail(bd.now, 1)
						}
					}
					q := &Query{NowNs: bd.now, Key: make([]byte, 4)}
					b.ReportAllocs()
					for k := 0; b.Loop(); k++ {
						q.Tried.Reset()
						q.Key[0], q.Key[1], q.Key[2] = byte(k), byte(k>>8), byte(k>>16)
						bd.live[bd.Pick(q)].Release()
					}
				})
			}
		}
	}
}

// BenchmarkLeastConnBusy picks while every peer has a request in flight, so that all are looked at.
func BenchmarkLeastConnBusy(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bd := newBed(LeastConn, strings.Repeat("1 ", n))
			for range n {
				bd.pick()
			}
			b.ReportAllocs()
			for b.Loop() {
				bd.live[bd.pick()].Release()
			}
		})
	}
}

// BenchmarkNewPlan is the cost of a command that comes before publishing.
func BenchmarkNewPlan(b *testing.B) {
	f := func(name string, m Method, words string) {
		peers := newBed(m, words).peers
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewPlan(m, peers)
			}
		})
	}
	f("rr/2", RoundRobin, "1 1")
	f("rr/100weighted", RoundRobin, strings.Repeat("1 2 3 4 ", 25))
	f("rr/huge", RoundRobin, "1000003 999983 7 1")
	f("consistent/10", ConsistentHash, strings.Repeat("1 ", 10))
	f("consistent/1000", ConsistentHash, strings.Repeat("1 ", 1000))
}
