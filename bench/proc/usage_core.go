package proc

import "time"

// CoreUse is how one core spent a stretch of time. All are shares of it, 0 to 1.
type CoreUse struct {
	Busy    float64 // running anything
	Steal   float64 // taken by the hypervisor
	Foreign float64 // busy with processes that do not belong to the run
}

// UseOf compares two readings of a core; own is the CPU time that the run's processes pinned to it took between them.
// Without any time between them it returns the zero value.
func UseOf(before, after CoreTime, own time.Duration) CoreUse {
	busy, idle, steal := after.Busy-before.Busy, after.Idle-before.Idle, after.Steal-before.Steal
	total := float64(busy + idle + steal)
	if total <= 0 {
		return CoreUse{}
	}
	return CoreUse{
		Busy:    float64(busy) / total,
		Steal:   float64(steal) / total,
		Foreign: max(0, float64(busy-own)/total),
	}
}

// saturated is the share of a core, with what the hypervisor took of it, from which on it had no more to give.
const saturated = 0.95

// Bottleneck says which side had no more to give: "proxy", "load", "both" or "neither".
func Bottleneck(proxy, load CoreUse) string {
	p, l := proxy.Busy+proxy.Steal >= saturated, load.Busy+load.Steal >= saturated
	switch {
	case p && l:
		return "both"
	case p:
		return "proxy"
	case l:
		return "load"
	}
	return "neither"
}
