package upstream

import (
	"bytes"
	"syscall"
	"testing"
	"unsafe"
)

// TestAhead: the piece of an address and the next one are resident afterwards, with what was in them, and no others.
func TestAhead(t *testing.T) {
	const pieces = 8
	m, err := syscall.Mmap(-1, 0, (pieces+1)*piece, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(m)
	_ = syscall.Madvise(m, syscall.MADV_NOHUGEPAGE)                   // one would make neighbours resident
	m = m[piece-uintptr(unsafe.Pointer(&m[0]))%piece:][:pieces*piece] // from the start of a piece
	page := syscall.Getpagesize()
	resident := func(i int) int {
		t.Helper()
		vec := make([]byte, piece/page)
		if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&m[i*piece])), piece, uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
			t.Fatal(errno)
		}
		n := 0
		for _, v := range vec {
			n += int(v & 1)
		}
		return n
	}
	m[2*piece+100] = 7
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(&m[7*piece])), piece, madvPopulateWrite); errno == syscall.EINVAL {
		t.Skip("the kernel does not know MADV_POPULATE_WRITE")
	}
	a := ahead{}
	for range 2 {
		a.of(uintptr(unsafe.Pointer(&m[2*piece+5000])))
	}
	for i := range pieces - 1 {
		want := 0
		if i == 2 || i == 3 && uintptr(unsafe.Pointer(&m[3*piece]))%heapArena != 0 {
			want = piece / page
		}
		if got := resident(i); got != want {
			t.Errorf("piece %d: %d pages are resident, want %d", i, got, want)
		}
	}
	if want := append(make([]byte, 100), 7); !bytes.Equal(m[2*piece:][:101], want) {
		t.Error("what was there has changed")
	}
}
