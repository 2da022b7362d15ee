package bench

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"dyups/bench/load"
	"dyups/bench/poll"
	"dyups/bench/proc"
)

func TestMeterAt(t *testing.T) {
	m := &meter{readings: []reading{
		{at: 100, cpu: 10, rss: 1000, cores: [2][3]float64{{1, 2, 3}, {4, 5, 6}}},
		{at: 200, cpu: 30, rss: 2000, cores: [2][3]float64{{2, 3, 3}, {5, 5, 8}}},
		{at: 300, cpu: 70, rss: 2000},
	}}
	f := func(at int64, wantCPU float64, wantRSS int64) {
		t.Helper()
		if got := m.at(at); math.Abs(got.cpu-wantCPU) > 1e-9 || got.rss != wantRSS {
			t.Fatalf("at %d: got %+v, want %v, %d", at, got, wantCPU, wantRSS)
		}
	}
	f(0, 10, 1000)
	f(100, 10, 1000)
	f(150, 20, 1500)
	f(200, 30, 2000)
	f(225, 40, 2000)
	f(300, 70, 2000)
	f(400, 70, 2000)
	if got := m.at(150).cores; got != [2][3]float64{{1.5, 2.5, 3}, {4.5, 5, 7}} {
		t.Fatalf("got %v", got)
	}
	if got := m.memory(200); len(got) != 2 || got[1].At != 1e-7 || got[1].Bytes != 2000 {
		t.Fatalf("got %+v", got)
	}
}

// TestPeakOfTheEnded: a sample's peak is at least what was resident in any reading, also in the warm-up.
func TestPeakOfTheEnded(t *testing.T) {
	m := &meter{readings: []reading{{at: 100, rss: 10}, {at: 200, rss: 40}, {at: 300, rss: 30}, {at: 400, rss: 20}}}
	s := newSample(&item{Scenario: &Scenario{}}, 1, "x", m, load.Result{Requests: 1, Start: 250, Elapsed: 150})
	if s.RSSPeak != 40 || len(s.RSS) != 2 {
		t.Fatalf("got a peak of %d, series %v", s.RSSPeak, s.RSS)
	}
}

func TestSplit(t *testing.T) {
	f := func(before, after reading, wantUser, wantSystem float64) {
		t.Helper()
		if user, system := split(&before, &after); user != wantUser || system != wantSystem {
			t.Fatalf("%+v to %+v: got %v, %v, want %v, %v", before, after, user, system, wantUser, wantSystem)
		}
	}
	f(reading{cpu: 100, user: 50, system: 50}, reading{cpu: 180, user: 60, system: 80}, 20, 60)
	f(reading{cpu: 100, user: 50}, reading{cpu: 101, user: 50}, 0, 1)
	f(reading{}, reading{}, 0, 0)
}

// TestReading compares a reading of this process with what package proc says of it.
func TestReading(t *testing.T) {
	for deadline := poll.Now() + int64(50*time.Millisecond); poll.Now() < deadline; { // something to read
	}
	before, err := proc.TreeUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var r reading
	if err := r.tree(os.Getpid(), &tally{}); err != nil {
		t.Fatal(err)
	}
	after, err := proc.TreeUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The ticks of user and system time are rounded down, each for itself.
	least, most := micros(before.User+before.System), micros(after.User+after.System)+2*10_000
	if got := r.cpu; got < least || got > most {
		t.Errorf("got %v µs of CPU time, want %v to %v", r.cpu, least, most)
	}
	if r.rss <= 0 || r.switches < float64(before.Switches)-100 { // threads may end
		t.Errorf("got %d bytes, %v switches, proc says %+v", r.rss, r.switches, before)
	}
	if err := (&reading{}).tree(1<<30, &tally{}); err == nil {
		t.Error("a process that cannot be was read")
	}
}

func TestTally(t *testing.T) {
	var all tally
	f := func(threads map[int]float64, want float64) {
		t.Helper()
		for id, n := range threads {
			all.add(id, n)
		}
		if got := all.end(); got != want {
			t.Fatalf("%v: got %v, want %v", threads, got, want)
		}
	}
	f(nil, 0)
	f(map[int]float64{1: 10, 2: 100}, 110)
	f(map[int]float64{1: 15, 2: 130}, 145)
	f(map[int]float64{1: 16}, 146)         // 2 has ended
	f(map[int]float64{1: 16, 3: 5}, 151)   // 3 is new
	f(map[int]float64{1: 17, 2: 140}, 292) // another 2
	f(map[int]float64{1: 17, 2: 1}, 293)   // and one more, within one reading
	f(map[int]float64{1: 18, 2: 4, 3: 0}, 297)
	f(nil, 297)
}

// TestSwitchesOfTheEnded: what a process of the tree had is still counted when it has ended.
func TestSwitchesOfTheEnded(t *testing.T) {
	cmd := exec.Command("sh", "-c", "(while :; do sleep 0.001; done) & read x; kill $!; wait; echo; read y")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	defer in.Close()
	m := &meter{proxy: cmd.Process.Pid, cores: [2]int{0, 0}}
	read := func() float64 {
		t.Helper()
		if m.read(); m.err != nil {
			t.Fatal(m.err)
		}
		return m.readings[len(m.readings)-1].switches
	}
	before := read()
	for deadline := time.Now().Add(10 * time.Second); read() < before+50; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the process makes no switches")
		}
	}
	most := read()
	fmt.Fprintln(in)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got := read(); got < most {
		t.Fatalf("%v switches became %v", most, got)
	}
}

// BenchmarkReading is what a reading costs the load core, ten times a second.
func BenchmarkReading(b *testing.B) {
	m := &meter{proxy: os.Getpid(), others: []int{0, os.Getppid()}, cores: [2]int{0, 0}}
	b.ReportAllocs()
	for range b.N {
		if m.read(); m.err != nil {
			b.Fatal(m.err)
		}
		m.readings = m.readings[:0]
	}
}
