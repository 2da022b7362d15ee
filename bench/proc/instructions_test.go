package proc

import (
	"io"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestCount counts page faults, which the kernel counts itself on every machine, in place of instructions.
func TestCount(t *testing.T) {
	p, in := launch(t, "echo $WORD; read x; (cat /proc/self/status) >/dev/null; wait; exit 0")
	c, err := count(p.PID(), unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_PAGE_FAULTS)
	if err != nil {
		t.Skipf("perf_event_open is not allowed here: %v", err)
	}
	defer c.Close()
	before, err := c.Total()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "\n")
	wait(t, p)
	after, err := c.Total()
	if err != nil {
		t.Fatal(err)
	}
	// The shell alone has a few; starting cat has more than fifty.
	if after < before+50 {
		t.Fatalf("page faults went from %d to %d", before, after)
	}
}

func TestInstructions(t *testing.T) {
	c, err := CountInstructions(os.Getpid())
	if !InstructionsAvailable() {
		if err == nil {
			t.Fatal("what is not available was counted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	for range 1_000_000 {
		n += os.Getpagesize()
	}
	if total, err := c.Total(); err != nil || total < 1_000_000 || n == 0 {
		t.Fatalf("got %d, %v", total, err)
	}
}

func TestCountOfNothing(t *testing.T) {
	if _, err := CountInstructions(-1); err == nil {
		t.Fatal("process -1 was found")
	}
}
