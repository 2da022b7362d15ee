package load

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dyups/bench/churn"
)

// TestTalk sends updates beside the load, over HTTP and to a prompt.
func TestTalk(t *testing.T) {
	f := func(name string, talk churn.Talk, want func(s *churn.Sample, heard int64) bool, heard *atomic.Int64) {
		t.Helper()
		s := short(answering(t, okText))
		s.Duration = 500 * time.Millisecond
		s.Updates = &talk
		r := mustRun(t, s)
		if r.Latency.Count == 0 || len(r.Errors) > 0 || r.Updates == nil || !want(r.Updates, heard.Load()) {
			t.Errorf("%s: got %d requests, errors %v, updates %+v, heard %d", name, r.Requests, r.Errors, r.Updates, heard.Load())
		}
	}
	message := []byte("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	// web answers each update with text, and the fifth with fifth.
	web := func(text, fifth string) (churn.Talk, *atomic.Int64) {
		var heard atomic.Int64
		addr := server(t, each(func(c net.Conn, n int) bool {
			if heard.Add(1); n == 4 {
				return say(c, fifth) && fifth != ""
			}
			// In two pieces, as it may come.
			return say(c, text[:10]) && say(c, text[10:])
		}))
		return churn.Talk{Network: "tcp4", Addr: addr, Rate: 200, Messages: [][]byte{message, message}}, &heard
	}
	all := func(s *churn.Sample, heard int64) bool {
		// 520 ms at 200 a second, from the first moment on.
		return s.Sent == heard && s.Failed == 0 && s.Sent > 5 && s.Sent <= 105 && len(s.At) == int(s.Sent) && s.P50us > 0 && s.MaxUs >= s.P99us
	}
	failed := func(text string) func(s *churn.Sample, heard int64) bool {
		return func(s *churn.Sample, heard int64) bool {
			return s.Failed == 1 && s.Sent == 5 && heard == 5 && strings.Contains(s.Example, text)
		}
	}
	talk, heard := web(okText, okText)
	f("http", talk, all, heard)
	talk, heard = web(okText, "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
	f("refused", talk, failed("status 409"), heard)
	talk, heard = web(okText, "")
	f("closed", talk, failed("the connection for updates ended"), heard)
	talk, heard = web(okText, okText+"x")
	f("more", talk, failed("cannot read"), heard)

	prompted := func(fifth string) (churn.Talk, *atomic.Int64) {
		var heard atomic.Int64
		heard.Store(-1) // the greeting
		addr := server(t, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				answer := "\n> "
				if heard.Add(1) == 5 {
					answer = fifth
				}
				if !say(c, answer) {
					return
				}
			}
		})
		return churn.Talk{Network: "tcp4", Addr: addr, Rate: 200, Greeting: []byte("prompt\n"), Prompt: "\n> ", Messages: [][]byte{[]byte("a\n")}}, &heard
	}
	talk, heard = prompted("\n> ")
	f("prompt", talk, all, heard)
	talk, heard = prompted("No such server.\n\n> ")
	f("prompt refused", talk, failed("No such server."), heard)

	s := short(answering(t, okText))
	s.Updates = &churn.Talk{Network: "unix", Addr: filepath.Join(t.TempDir(), "none"), Rate: 1, Messages: [][]byte{message}}
	if _, err := Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), "cannot send updates to") {
		t.Errorf("nobody to talk to: got %v", err)
	}
}
