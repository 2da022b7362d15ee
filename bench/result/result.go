// Package result is what a run of the bench leaves behind: the machine, the settings, every round, and the figures that
// follow from the rounds; as JSON, as text and as one HTML page.
package result

import (
	"time"

	"dyups/bench/churn"
	"dyups/bench/load"
)

// Report is one run of one or more scenarios.
type Report struct {
	Schema   int       `json:"schema"` // version of this form, set by WriteJSON
	Date     time.Time `json:"date"`   // start, UTC
	Command  []string  `json:"command"`
	Commit   string    `json:"commit"` // of the working directory; "-dirty" with local changes, "" outside a repository
	Machine  Machine   `json:"machine"`
	ProxyCPU int       `json:"proxy_cpu"`
	LoadCPU  int       `json:"load_cpu"`
	Programs []Program `json:"programs"`
	Skipped  []Skip    `json:"skipped"`
	Runs     []Run     `json:"runs"`
	Goals    []Goal    `json:"goals"` // the figures the project has set itself, as far as this run measured them
	Notes    []string  `json:"notes"`
}

// Machine is where a run took place.
type Machine struct {
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	Memory  int64    `json:"memory_bytes"`
	Arch    string   `json:"arch"`
	Kernel  string   `json:"kernel"`
	Go      string   `json:"go"`
	Limits  []string `json:"limits"`  // kernel settings that matter, "name = value"
	Counter bool     `json:"counter"` // whether perf counts instructions here
}

// Program is a proxy, or a load generator, that took part.
type Program struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Settings string `json:"settings"` // its configuration and arguments, whole
}

// Skip is what was asked for and left out.
type Skip struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Run is one scenario.
type Run struct {
	Scenario   string   `json:"scenario"`
	Title      string   `json:"title"`
	Text       string   `json:"text"` // the scenario file
	Rounds     int      `json:"rounds"`
	Contenders []string `json:"contenders"` // proxies; "dyups+churn" and the like for a proxy's rounds under updates
	Skipped    []Skip   `json:"skipped"`
	Samples    []Sample `json:"samples"` // in the order they were taken
	Results    []Result `json:"results"` // by contender
	Ratios     []Ratio  `json:"ratios"`  // by pair of contenders
	Notes      []string `json:"notes"`   // what a reader has to know before using the figures
}

// Sample is one round of one contender.
type Sample struct {
	Round        int           `json:"round"` // from 1
	Contender    string        `json:"contender"`
	Load         load.Result   `json:"load"`
	Even         []string      `json:"even,omitempty"` // origins that ought to get equally many of the requests; none: no such rule
	UserUs       float64       `json:"user_us"`        // CPU time of the proxy's process tree for a request
	SystemUs     float64       `json:"system_us"`
	CPUUs        float64       `json:"cpu_us"`       // the sum of both
	CPUPerMB     float64       `json:"cpu_us_mb"`    // CPU time, µs, for a megabyte (2^20) of bodies in either direction
	Instructions float64       `json:"instructions"` // for a request; 0 where perf does not count them
	RSSPeak      int64         `json:"rss_peak_bytes"`
	RSS          []Reading     `json:"rss"`      // resident memory over time
	Switches     float64       `json:"switches"` // context switches of the proxy for a request
	ProxyCore    CoreUse       `json:"proxy_core"`
	LoadCore     CoreUse       `json:"load_core"`
	Bottleneck   string        `json:"bottleneck"` // proxy, load, both or neither
	Churn        *churn.Sample `json:"churn,omitempty"`
	Events       []Event       `json:"events"` // reloads, kills and restarts
}

// Reading is one value at one time.
type Reading struct {
	At    float64 `json:"at"` // seconds since the round's start
	Bytes int64   `json:"bytes"`
}

// Event is something the bench did to a proxy or an origin.
type Event struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// CoreUse is how one core spent a round. All are shares of the round, 0 to 1.
type CoreUse struct {
	Busy    float64 `json:"busy"`    // running anything
	Steal   float64 `json:"steal"`   // taken by the hypervisor
	Foreign float64 `json:"foreign"` // busy with processes that do not belong to the run
}

// Spread is the middle and the range of one figure over the rounds. The zero value is that of no rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Result sums up the rounds of one contender: metrics by their key.
type Result struct {
	Contender string            `json:"contender"`
	Metrics   map[string]Spread `json:"metrics"`
}

// Ratio compares two contenders round by round: metrics by their key.
type Ratio struct {
	Over    string            `json:"over"`
	Under   string            `json:"under"`
	Metrics map[string]Spread `json:"metrics"`
}

// Goal is one figure the project has set itself.
type Goal struct {
	Title    string  `json:"title"`
	Target   string  `json:"target"` // in words: "≤ 0.80 of nginx"
	Bound    float64 `json:"bound"`
	AtMost   bool    `json:"at_most"` // else at least
	Measured Spread  `json:"measured"`
	Met      bool    `json:"met"`    // by the median
	Source   string  `json:"source"` // scenario and contenders
}
