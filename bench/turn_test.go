package bench

import (
	"testing"
	"time"

	"dyups/bench/load"
)

// TestNewSample: what is divided by the answers of the measured part was used in it, whatever an open loop waits for after it.
func TestNewSample(t *testing.T) {
	at := func(ms int64, cpu float64) reading {
		return reading{at: ms * int64(time.Millisecond), cpu: cpu, system: cpu, switches: 2 * cpu, instructions: 3 * cpu}
	}
	m := &meter{readings: []reading{at(0, 0), at(100, 1000), at(200, 2000), at(300, 3000), at(5000, 9000)}}
	seen := load.Result{Requests: 10, After: 90, Bytes: 10 << 20, Start: int64(100 * time.Millisecond), Elapsed: 200 * time.Millisecond}
	seen.Latency.Count = 100
	it := &item{Scenario: &Scenario{Rate: Rate{PerSecond: 500}}}
	s := newSample(it, 1, "x", m, seen)
	if s.CPUUs != 200 || s.SystemUs != 200 || s.Switches != 400 || s.Instructions != 600 || s.CPUPerMB != 200 {
		t.Errorf("got %v µs, %v switches, %v instructions a request, %v µs a MB; want 200, 400, 600, 200",
			s.CPUUs, s.Switches, s.Instructions, s.CPUPerMB)
	}
}
