package rival

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"dyups/bench/churn"
	"dyups/bench/proc"
)

// table10 is n upstreams of ten servers, the same ten for all of them.
func table10(b *testing.B, n int) []Upstream {
	servers := make([]churn.Server, 10)
	for i := range servers {
		servers[i] = newOrigin(b, fmt.Sprint(i)).at(1)
	}
	ups := make([]Upstream, n)
	for i := range ups {
		ups[i] = Upstream{Name: fmt.Sprintf("u%d", i), Servers: servers}
	}
	return ups
}

// BenchmarkUpdates sends updates for a second to each program that has nothing else to do: how long it takes to start and
// the memory it has then, the time to an acknowledgement from one client, and updates a second from 16 clients.
// Run it with -benchtime 1x, and the whole under "taskset -c 1": the proxies run on core 0.
func BenchmarkUpdates(b *testing.B) {
	for _, n := range []int{1, 10000} {
		for _, prog := range All() {
			b.Run(fmt.Sprintf("%s/%d", prog.Name(), n), func(b *testing.B) { benchmarkProgram(b, prog, n) })
		}
	}
}

func benchmarkProgram(b *testing.B, prog Program, n int) {
	ups := table10(b, n)
	s := Setup{Dir: b.TempDir(), Upstreams: ups, CPU: 0, Workers: 1}
	if _, err := buildDyups(); err != nil && prog.Name() == "dyups" {
		b.Fatal(err)
	}
	var p Proxy
	b.Run("start", func(b *testing.B) {
		began := time.Now()
		p = start1(b, prog, s)
		b.ReportMetric(float64(time.Since(began))/1e6, "start-ms")
		rss, err := proc.RSS(p.PID())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(rss)/(1<<20), "rss-MB")
		b.ReportMetric(0, "ns/op")
	})
	if p == nil {
		return
	}
	defer p.Stop()
	for _, script := range []churn.Script{churn.Reweigh, churn.Servers, churn.Replace, churn.Whole} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d-clients", script, clients), func(b *testing.B) {
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				defer cancel()
				r := churn.Run(ctx, p.Updater, churn.Options{Clients: clients, Script: script, Upstreams: ups,
					Spare: newOrigin(b, "spare").at(5)})
				if r.Unsupported != "" {
					b.Skip(r.Unsupported)
				}
				if r.Failed > 0 {
					b.Errorf("%d of %d failed: %s", r.Failed, r.Sent, r.Example)
				}
				b.ReportMetric(r.P50us, "p50-µs")
				b.ReportMetric(r.P99us, "p99-µs")
				b.ReportMetric(r.MaxUs, "max-µs")
				b.ReportMetric(r.PerSecond, "updates/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// start1 starts a program and waits until it answers, two minutes at most.
func start1(b *testing.B, prog Program, s Setup) Proxy {
	s.Addr, s.API = freeAddr(b), freeAddr(b)
	if prog.Name() == "dyups" {
		var err error
		if s.Binary, err = buildDyups(); err != nil {
			b.Fatal(err)
		}
	}
	path, err := prog.Find(&s)
	if err != nil {
		b.Skipf("%s is missing: %v; %s", prog.Name(), err, prog.Install())
	}
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	p, err := prog.Start(ctx, path, &s)
	if err != nil {
		b.Skip(err)
	}
	err = Await(ctx, p)
	if err == nil {
		err = CheckAnswers(ctx, p, Check{Path: "/small", Length: 6, Hosts: []string{"u0"}})
	}
	if err != nil {
		p.Stop()
		b.Fatal(err)
	}
	return p
}

// BenchmarkWire is what the client itself costs: the other side answers at once whatever comes.
func BenchmarkWire(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 24 Nov 2025 00:00:00 GMT\r\nContent-Length: 7\r\n\r\nsuccess"))
		}
	}()
	p := dyupsProxy{instance: &instance{setup: Setup{API: ln.Addr().String()}}, tail: "keepalive 64;\n"}
	servers := make([]churn.Server, 10)
	for i := range servers {
		servers[i] = churn.Server{Addr: fmt.Sprintf("127.0.0.1:%d", 40000+i), Weight: 1}
	}
	p.table.fill([]Upstream{{Name: "u0", Servers: servers}})
	u, err := p.Updater()
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Reweigh(b.Context(), "u0", servers[3]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClient is the same with the client of net/http, for comparison.
func BenchmarkClient(b *testing.B) {
	o := newOrigin(b, "a")
	b.ReportAllocs()
	for b.Loop() {
		r, err := http.Post(o.URL, "", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Body.Close()
	}
}
