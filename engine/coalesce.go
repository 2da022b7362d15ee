package engine

import (
	"syscall"
	"time"
	"unsafe"
)

// coalescer makes a loop coalesce its wakes, as a network card does its interrupts: with many requests in progress more events are
// due in a moment, and the loop sleeps that moment before it asks for them. It is then woken once, by a timer, for what would else
// have woken it several times; turns are larger, so that a call of the inbox and the outbox serves more of them; and peers that
// send meanwhile need not wake anybody, which is dear for them where the loop has a core of its own.
//
// With few requests in progress, as of a client that asks for one thing after the other, it never does: there the moment would
// be part of every answer's time. Nor after large turns: there is enough to do, and sleeping would cost throughput. And when little
// came in a nap, as with many requests that wait for slow servers or many tunnels in which all is quiet, the next ones are left
// out, for ever longer.
//
// Only its loop touches it. The zero value is ready.
type coalescer struct {
	last  int  // events of the last turn
	slept bool // before them
	gain  int  // events after the nap that make it worth its while
	skip  int  // so many turns without a nap
	miss  int  // how many to skip after the next nap in vain
}

const (
	coalesceNap  = 50 * time.Microsecond // the kernel makes it 60 to 130
	coalesceBusy = 12                    // exchanges in progress, at least
	coalesceFew  = 32                    // events of the last turn, at most
	coalesceGain = 2                     // events after a nap that was worth it; of large bodies alone one is enough
	coalesceSkip = 127                   // the longest break after naps in vain
)

// due reports whether the loop, which is about to wait, is to sleep first. busy is how many exchanges are in progress, bulk how many
// of them have large bodies. Those count twice, because more of each comes in a nap: with 16 connections answers of 1 MB take a
// sixth less CPU with naps from 8 on, while of small ones 8 connections lose 4 % of their rate, because all of them wait for the nap.
// Where there are no others, there are naps with any number of them, for nobody waits.
func (k *coalescer) due(busy, bulk int) bool {
	k.gain = coalesceGain
	if bulk == busy {
		k.gain = 1
	}
	k.slept = 0 < k.last && k.last <= coalesceFew && (busy+bulk >= coalesceBusy || 0 < bulk && bulk == busy)
	if k.slept && k.skip > 0 {
		k.skip--
		k.slept = false
	}
	return k.slept
}

// came notes how many events came then.
func (k *coalescer) came(events int) {
	k.last = events
	switch {
	case !k.slept:
	case events >= k.gain:
		k.miss = 0
	default:
		k.miss = min(2*k.miss+1, coalesceSkip)
		k.skip = k.miss
	}
	k.slept = false
}

// nap sleeps for d without telling the scheduler, as dozing does. A signal ends it.
func nap(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// exactTimers asks the kernel not to put the timers of the calling thread off by 50 microseconds (prctl(2), PR_SET_TIMERSLACK).
func exactTimers() {
	const setTimerSlack = 29
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
}
