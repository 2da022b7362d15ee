package lb

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// policies are all methods with their options, as benchmarks and tests name them.
var policies = []struct {
	name string
	m    Method
	o    Options
}{
	{"rr", RoundRobin, Options{}},
	{"ip_hash", IPHash, Options{}},
	{"least_conn", LeastConn, Options{}},
	{"hash", Hash, Options{}},
	{"consistent", ConsistentHash, Options{}},
	{"bounded", ConsistentHash, Options{BalanceFactor: 125}},
	{"random", Random, Options{}},
	{"random_two", RandomTwo, Options{}},
	{"random_two_time", RandomTwoTime, Options{}},
	{"least_time", LeastTime, Options{}},
	{"least_time_inflight", LeastTime, Options{Inflight: true, LastByte: true}},
	{"maglev", Maglev, Options{}},
}

// bedOf is newBed with options.
func bedOf(m Method, o Options, words string) *bed {
	b := newBed(m, words)
	b.Picker = o.NewPlan(m, b.peers).Bind(b.live, &b.cur)
	return b
}

// BenchmarkPick picks and gives the place back: with every other peer dead, and for the methods that go by load with
// three requests in flight on every peer.
func BenchmarkPick(b *testing.B) {
	for _, p := range policies {
		for _, n := range []int{10, 1000, 10000} {
			for _, dead := range []int{0, 50} {
				b.Run(fmt.Sprintf("%s/n=%d/dead=%d%%", p.name, n, dead), func(b *testing.B) { benchPick(b, p.m, p.o, n, dead, 0) })
			}
			switch p.m {
			case LeastConn, LeastTime, RandomTwo:
				b.Run(fmt.Sprintf("%s/n=%d/busy", p.name, n), func(b *testing.B) { benchPick(b, p.m, p.o, n, 0, 3) })
			}
		}
	}
}

func benchPick(b *testing.B, m Method, o Options, n, dead, busy int) {
	bd := bedOf(m, o, strings.Repeat("1 ", n))
	for i := range n * dead / 100 {
		bd.live[2*i].Fail(bd.now, 1)
	}
	q := &Query{NowNs: bd.now, Key: make([]byte, 4)}
	pick := func(k int) int {
		q.Tried.Reset()
		q.Key[0], q.Key[1], q.Key[2] = byte(k), byte(k>>8), byte(k>>16)
		return bd.Pick(q)
	}
	held := make([]int, n*busy) // gives back the oldest: picks meet changing loads
	for k := range held {
		held[k] = pick(k)
	}
	for k := range 4 * n { // meet the dead ones
		bd.live[pick(k)].Release()
	}
	waits := waitsFor(m, o)
	at := 0
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		i := pick(k)
		if len(held) > 0 {
			i, held[at] = held[at], i
			if at += 7; at >= len(held) {
				at -= len(held)
			}
		}
		bd.live[i].Release()
		if waits {
			bd.live[i].Answered(bd.now)
		}
	}
}

// BenchmarkMemory is one read of a cache line of memory as large as the ring of so many names, where each read waits for the one
// before it: what a pick from such a ring waits for, at the same hour. A cache that it has to itself gives 20 ns for 4.8 MB; one
// that neighbours use 110 to 180.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("ring/n=%d", n), func(b *testing.B) {
			lines := make([][16]uint32, n*pointsPerWeight*3/64)
			order := rand.Perm(len(lines))
			for k, i := range order {
				lines[i][0] = uint32(order[(k+1)%len(order)])
			}
			at := uint32(0)
			for b.Loop() {
				at = lines[at][0]
			}
			if int(at) >= len(lines) {
				b.Fatal(at)
			}
		})
	}
}

// waitsFor reports whether picks have to be answered.
func waitsFor(m Method, o Options) bool { return m == LeastTime && o.Inflight }

// BenchmarkPickParallel has all processors pick from the same upstream.
func BenchmarkPickParallel(b *testing.B) {
	for _, p := range policies {
		b.Run(p.name, func(b *testing.B) {
			bd := bedOf(p.m, p.o, strings.Repeat("1 ", 1000))
			waits := waitsFor(p.m, p.o)
			b.RunParallel(func(pb *testing.PB) {
				q := &Query{NowNs: bd.now, Key: make([]byte, 4)}
				for k := 0; pb.Next(); k++ {
					q.Tried.Reset()
					q.Key[0], q.Key[1] = byte(k), byte(k>>8)
					i := bd.Pick(q)
					bd.live[i].Release()
					if waits {
						bd.live[i].Answered(bd.now)
					}
				}
			})
		})
	}
}

// BenchmarkNewPlan is the cost of a command that comes before publishing.
func BenchmarkNewPlan(b *testing.B) {
	f := func(name string, m Method, words string) {
		peers := newBed(RoundRobin, words).peers
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
	f("maglev/10", Maglev, strings.Repeat("1 ", 10))
	f("maglev/10000", Maglev, strings.Repeat("1 ", 10000))
}

// BenchmarkBind is the cost of joining a plan with living peers, while a table is published.
func BenchmarkBind(b *testing.B) {
	for _, p := range policies {
		for _, n := range []int{2, 1000} {
			b.Run(fmt.Sprintf("%s/n=%d", p.name, n), func(b *testing.B) {
				bd := newBed(RoundRobin, strings.Repeat("1 ", n))
				plan := p.o.NewPlan(p.m, bd.peers)
				b.ReportAllocs()
				for b.Loop() {
					plan.Bind(bd.live, &bd.cur)
				}
			})
		}
	}
}
