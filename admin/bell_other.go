//go:build !linux

package admin

import "time"

// bell wakes the writer.
type bell struct{ c chan struct{} }

func newBell() bell { return bell{make(chan struct{}, 1)} }

// ring ends a wait, or the next one.
func (b bell) ring() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

// wait returns after ring.
func (b bell) wait(time.Duration) { <-b.c }

func (b bell) close() {}
