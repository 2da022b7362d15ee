package origin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// long is a time that no test waits for.
const long = time.Hour

// withFaults has one origin with these faults and one without.
func withFaults(faults ...Fault) Spec {
	return Spec{Origins: []Server{{Name: "a", Faults: faults}, {Name: "b"}}}
}

func TestDie(t *testing.T) {
	r := serve(t, withFaults(Fault{Kind: "die", For: long}))
	c := r.dial()
	c.send("GET /small HTTP/1.1\r\n\r\n")
	c.answer("GET", 200, 6)
	for range 3 {
		r.ask(command{Cmd: "begin"})
		c.closed()
		if _, err := net.Dial("tcp4", r.addrs[0]); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("got %v", err)
		}
		// The port stays taken.
		if ln, err := net.Listen("tcp4", r.addrs[0]); !errors.Is(err, syscall.EADDRINUSE) {
			if err == nil {
				ln.Close()
			}
			t.Fatalf("got %v", err)
		}
		other, err := net.Dial("tcp4", r.addrs[1])
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
		if got := r.seen("a").Open; got != 0 {
			t.Fatalf("%d connections of the dead are open", got)
		}
		r.ask(command{Cmd: "end"})
		c = r.dial()
		c.send("GET /small HTTP/1.1\r\n\r\n")
		c.answer("GET", 200, 6)
	}
}

// TestDieBySchedule: dead and back again without further commands, more than once.
func TestDieBySchedule(t *testing.T) {
	r := serve(t, withFaults(Fault{Kind: "die", After: 5 * time.Millisecond, Every: 40 * time.Millisecond, For: 20 * time.Millisecond}))
	r.ask(command{Cmd: "begin"})
	end := time.Now().Add(patience)
	for round := range 3 {
		for _, dead := range []bool{true, false} {
			for {
				conn, err := net.Dial("tcp4", r.addrs[0])
				if err == nil {
					conn.Close()
				} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
					t.Fatal(err)
				}
				if dead == (err != nil) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("round %d: dead is not %v", round, dead)
				}
			}
		}
	}
}

func TestHang(t *testing.T) {
	r := serve(t, withFaults(Fault{Kind: "hang", For: long}))
	before, hung := r.dial(), r.dial()
	before.send("GET /small HTTP/1.1\r\n\r\n")
	before.answer("GET", 200, 6)
	r.ask(command{Cmd: "begin"})
	hung.send("POST /small HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("x", 3_000_000))
	hung.send("GET /small HTTP/1.1\r\n\r\n")
	fresh := r.dial()
	fresh.send("GET /small HTTP/1.1\r\n\r\n")
	r.until("a", func(s Seen) bool { return s.Requests == 3 && s.Open == 3 })
	for _, c := range []*client{hung, fresh} {
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
	}
	fresh.Close()
	r.until("a", func(s Seen) bool { return s.Open == 2 })
	r.ask(command{Cmd: "end"})
	hung.closed()
	before.send("GET /small HTTP/1.1\r\n\r\n")
	before.answer("GET", 200, 6)
}

// TestReset: half of the requests get nothing, half of them some of their answer, and then all a reset.
func TestReset(t *testing.T) {
	r := serve(t, withFaults(Fault{Kind: "reset", For: long}))
	r.ask(command{Cmd: "begin"})
	for _, path := range []string{"/small", "/1m", "/chunked/1m"} {
		for _, midst := range []bool{false, true} {
			c := r.dial()
			c.send("GET " + path + " HTTP/1.1\r\n\r\n")
			got, err := io.ReadAll(c)
			if !errors.Is(err, syscall.ECONNRESET) || midst != (len(got) > 0) || len(got) > 800_000 {
				t.Fatalf("%s: got %d bytes, %v", path, len(got), err)
			}
		}
	}
	// The rest of a pipeline is lost as well.
	c := r.dial()
	c.send("GET /small HTTP/1.1\r\n\r\nGET /small HTTP/1.1\r\n\r\n")
	if got, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) || len(got) > 0 {
		t.Fatalf("got %q, %v", got, err)
	}
	c = r.dial()
	c.send("POST /small HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
	c.send(strings.Repeat("x", 1_000_000))
	io.WriteString(c.Conn, strings.Repeat("x", 1_000_000)) // may fail already
	if _, err := io.ReadAll(c); err == nil {
		t.Fatal("no reset")
	}
	r.ask(command{Cmd: "end"})
	c = r.dial()
	c.send("GET /small HTTP/1.1\r\n\r\n")
	c.answer("GET", 200, 6)
	if got := r.seen("a"); got.Open != 1 {
		t.Fatalf("got %+v", got)
	}
}

// TestProcess is the whole way through a child process.
func TestProcess(t *testing.T) {
	spec := withFaults(Fault{Kind: "die", For: long})
	p, err := Start(-1, t.TempDir()+"/log", spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	get := func() error {
		resp, err := http.Get("http://" + p.Addrs()[0] + "/small")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if string(b) != smallBody {
			t.Fatalf("got %q, %v", b, err)
		}
		return nil
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	if err := p.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v", err)
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			var err error
			for i := 0; i < 50 && err == nil; i++ {
				var s Seen
				if s, err = p.Seen("a"); err == nil && (s.Name != "a" || s.Requests != 2) {
					err = errors.New("wrong counts")
				}
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	if all, err := p.SeenAll(); err != nil || len(all) != 2 || all[1].Name != "b" {
		t.Fatalf("got %+v, %v", all, err)
	}
	if _, err := p.Seen("x"); err == nil || !strings.Contains(err.Error(), `cannot find origin "x"`) {
		t.Fatalf("got %v", err)
	}
	if p.PID() == 0 {
		t.Fatal("no process")
	}
	p.Stop()
	if _, err := p.Seen("a"); err == nil {
		t.Fatal("a stopped process answered")
	}
	if _, err := Start(-1, t.TempDir()+"/log", Spec{}); err == nil {
		t.Fatal("no origins were started")
	}
}
