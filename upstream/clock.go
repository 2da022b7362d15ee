package upstream

import "time"

var epoch = time.Now().Add(-time.Second)

// Epoch is the origin of the clock that picks, outcomes and checks share.
func Epoch() time.Time { return epoch }

// NowNs is that clock: nanoseconds since Epoch, monotonic, never less than a second.
func NowNs() int64 { return int64(time.Since(epoch)) }
