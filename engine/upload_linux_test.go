package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const uploadSite = `log_format f '$request_length $upstream_bytes_sent $status';
upstream b { server %s; keepalive 4; }
server { listen 127.0.0.1:0; client_max_body_size 0; access_log %s f;
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; } }`

// uploadRig is a proxy of a backend to which bodies may be spliced: answer gets each request, with what has come of its body.
func uploadRig(t *testing.T, log string, answer func(c net.Conn, req *http.Request, n int) bool) (*rig, *client) {
	t.Helper()
	if name, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err != nil || strings.HasPrefix(string(name), "bbr") {
		t.Skipf("connections to backends are paced: %q, %v", name, err)
	}
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(64 << 10) // so that what waits does so in the pipe
		}
		for n := 0; ; n++ {
			if req, err := http.ReadRequest(br); err != nil || !answer(c, req, n) {
				return
			}
		}
	})
	r := newRig(t, 1, fmt.Sprintf(uploadSite, addr, log))
	return r, r.dial(0)
}

// uploads counts the exchanges whose body is in a pipe that the backend does not take.
func (r *rig) uploads() int {
	return r.count(func(c *conn) bool {
		return c.state == busy && c.ex.upload != nil && c.ex.upload.n > 0 && c.ex.b != nil && !c.ex.b.canWrite
	})
}

// TestUpload: bodies that go through a pipe arrive as they are, from clients that are fast, slow, and ahead of themselves, at
// backends that take their time.
func TestUpload(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	body := bigBody(6<<20 + 7)
	hold := make(chan struct{})
	r, c := uploadRig(t, log, func(c net.Conn, req *http.Request, _ int) bool {
		if req.URL.Path == "/hold" {
			<-hold
		}
		got, err := io.ReadAll(req.Body)
		if err == nil && req.Method == "POST" && string(got) != string(body) {
			err = fmt.Errorf("got another body of %d bytes", len(got))
		}
		return plain(c, fmt.Sprint(req.URL.Path, len(got), err))
	})
	head := func(path string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, len(body))
	}
	f := func(path string, send func()) {
		t.Helper()
		go send()
		if path == "/hold" {
			wait(t, "a full pipe", func() bool { return r.uploads() == 1 })
			close(hold)
		}
		if _, got := c.read("POST"); got != fmt.Sprint(path, len(body), nil) {
			t.Errorf("%s: %s", path, got)
		}
	}
	f("/whole", func() { _, _ = fmt.Fprintf(c, "%s%s", head("/whole"), body) })
	f("/hold", func() { _, _ = fmt.Fprintf(c, "%s%s", head("/hold"), body) })
	f("/pieces", func() {
		_, _ = io.WriteString(c, head("/pieces"))
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 300<<10)
			_, _ = c.Write(rest[:n])
			rest = rest[n:]
			time.Sleep(time.Millisecond)
		}
	})
	f("/pipelined", func() { _, _ = fmt.Fprintf(c, "%s%sGET /next HTTP/1.1\r\nHost: x\r\n\r\n", head("/pipelined"), body) })
	if _, got := c.read("GET"); got != "/next 0 <nil>" {
		t.Errorf("after a body: %q", got)
	}
	if stock, lent := r.pipes(); stock != 1 || lent != 0 {
		t.Errorf("got %d pipes in stock and %d lent, want 1 and 0", stock, lent)
	}
	want := fmt.Sprintf("%d %d 200\n", len(head("/whole"))+len(body), len("POST /whole HTTP/1.1\r\nHost: b\r\nContent-Length: 6291463\r\n\r\n")+len(body))
	wait(t, "the log", func() bool { text, _ := os.ReadFile(log); return strings.HasPrefix(string(text), want) })
}

// TestUploadCut: a client that leaves and a backend that dies in the midst of a body leave nothing in a pipe for the next one.
func TestUploadCut(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var dies atomic.Bool
	ended := make(chan error, 8)
	r, c := uploadRig(t, log, func(c net.Conn, req *http.Request, _ int) bool {
		if dies.Load() {
			_, _ = io.CopyN(io.Discard, req.Body, 1<<20)
			return false
		}
		_, err := io.Copy(io.Discard, req.Body)
		ended <- err
		return plain(c, "ok")
	})
	send := func(c *client, n int) {
		_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 32<<20)
		_, _ = c.Write(bigBody(n))
	}
	send(c, 4<<20)
	_ = c.Close()
	if err := <-ended; err != io.ErrUnexpectedEOF {
		t.Errorf("the backend of a client that left got %v", err)
	}
	wait(t, "the end of the client", func() bool { return r.clients() == 0 })

	dies.Store(true)
	c = r.dial(0)
	go send(c, 32<<20)
	if resp, _ := c.read("POST"); resp.StatusCode != 502 {
		t.Errorf("got status %d of a backend that died", resp.StatusCode)
	}
	_ = c.Close()
	wait(t, "the end of the client", func() bool { return r.clients() == 0 })
	if _, lent := r.pipes(); lent != 0 {
		t.Errorf("%d pipes are lent to nobody", lent)
	}

	dies.Store(false)
	c = r.dial(0)
	go send(c, 32<<20)
	if resp, got := c.read("POST"); resp.StatusCode != 200 || got != "ok" {
		t.Errorf("the next client got %d %q", resp.StatusCode, got)
	}
}

// TestUploadUnspliced: where the kernel refuses to splice, bodies are copied.
func TestUploadUnspliced(t *testing.T) {
	body := bigBody(2 << 20)
	r, c := uploadRig(t, filepath.Join(t.TempDir(), "log"), func(c net.Conn, req *http.Request, _ int) bool {
		got, err := io.ReadAll(req.Body)
		return plain(c, fmt.Sprint(string(got) == string(body), err))
	})
	r.e.each(func(l *Loop) { l.piping = pipesMax }) // none to be had
	go func() {
		_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}()
	if _, got := c.read("POST"); got != "true <nil>" {
		t.Errorf("got %s", got)
	}
	r.e.each(func(l *Loop) { l.piping -= pipesMax })
	if stock, lent := r.pipes(); stock+lent != 0 {
		t.Errorf("got %d pipes in stock and %d lent", stock, lent)
	}
}
