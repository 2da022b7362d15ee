package engine

import "github.com/cloudwego/netpoll"

const (
	readRoom = 64 << 10 // what one read takes at first, and any but those of a large response body
	// bulkRoom is what a read of a response body takes at most. 1 MB over loopback cost 500 µs of CPU with reads of 64 KiB, 310
	// with 128, 235 to 250 with 256 and 512 (nginx 270; wrk -c64, medians of 4 alternating rounds): for each read and each write
	// the kernel acknowledges, wakes the other side and arms timers. The read that finds the head stays small: with it
	// as large the same request cost 280 µs.
	bulkRoom = 256 << 10
	// headRead is what the read that finds the head takes on a connection whose last answer, or request, was large: what it takes of
	// the body is copied, the rest goes through a pipe. 100 KB cost 21.3 µs of CPU with 16 KiB and 28.4 without it, 1 MB 4 % less, and
	// with 4 KiB 2 % less again.
	headRead = 4 << 10
	headRoom = 8 << 10 // in front of it: a rewritten head or chunk size goes there, so that a body is never copied
	tailRoom = 16      // behind it: the end of a chunk and the last chunk

	highMark = 64 << 10  // pending output at which the other side's reading stops
	turnMax  = 512 << 10 // bytes moved for one conn in one turn; then the others get theirs
	chunkMax = 20        // hex size and CRLF of a chunk

	bytePoolCap = 64 << 10 // of unread input and of heads: larger buffers are not kept
)

// pending is output that the socket did not take. The zero value is empty; memory is held only while there is some.
type pending struct{ lb *netpoll.LinkBuffer }

func (p *pending) len() int {
	if p.lb == nil {
		return 0
	}
	return p.lb.Len()
}

// add copies b to the end.
func (p *pending) add(b []byte) {
	if len(b) == 0 {
		return
	}
	if p.lb == nil {
		p.lb = netpoll.NewLinkBuffer(len(b))
	}
	m, err := p.lb.Malloc(len(b))
	if err == nil {
		copy(m, b)
		err = p.lb.Flush()
	}
	if err != nil {
		panic("BUG: cannot append to a link buffer: " + err.Error())
	}
}

// first returns a prefix of what is pending, without taking it.
func (p *pending) first() []byte {
	var one [1][]byte
	for _, b := range p.lb.GetBytes(one[:]) {
		if len(b) > 0 {
			return b
		}
	}
	b, err := p.lb.Peek(min(p.lb.Len(), readRoom)) // the first node is used up
	if err != nil {
		panic("BUG: cannot peek into a link buffer: " + err.Error())
	}
	return b
}

// take drops n bytes from the front; memory goes back when nothing is left.
func (p *pending) take(n int) {
	if err := p.lb.Skip(n); err != nil {
		panic("BUG: cannot skip in a link buffer: " + err.Error())
	}
	if p.lb.Len() == 0 {
		p.drop()
		return
	}
	_ = p.lb.Release()
}

func (p *pending) drop() {
	if p.lb != nil {
		_ = p.lb.Close()
		p.lb = nil
	}
}

// bytePool is a loop's stack of byte slices. Only the loop uses it.
type bytePool struct {
	size int // capacity of a new one
	most int // capacity beyond which one is not kept: what a burst of large heads needed is given back to the collector
	keep int // how many are kept
	free [][]byte
}

func (p *bytePool) get() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, 0, p.size)
}

func (p *bytePool) put(b []byte) {
	if cap(b) >= p.size && cap(b) <= p.most && len(p.free) < p.keep {
		p.free = append(p.free, b[:0])
	}
}
