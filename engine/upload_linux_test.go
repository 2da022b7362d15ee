package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const uploadSite = `log_format f '$request_length $upstream_bytes_sent $status';
upstream b { server %s; keepalive 4; }
server { listen 127.0.0.1:0; client_max_body_size 0; access_log %s f;
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; } }`

// spliceAlways has bodies spliced also where the machine paces connections.
func spliceAlways(t *testing.T) {
	was := paced
	paced = func(int) bool { return false }
	t.Cleanup(func() { paced = was })
}

// uploadRig is a proxy of a backend to which bodies may be spliced: answer gets each request, with what has come of its body.
func uploadRig(t *testing.T, log string, answer func(c net.Conn, req *http.Request, n int) bool) (*rig, *client) {
	t.Helper()
	spliceAlways(t)
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
		r.narrow(256 << 10)
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
			if rest = rest[n:]; len(rest) > 0 {
				wait(t, "a piece to be taken", func() bool {
					return r.count(func(c *conn) bool { return c.kind == kindClient && c.ex != nil && c.ex.body.remain == int64(len(rest)) }) == 1
				})
			}
		}
	})
	f("/pipelined", func() { _, _ = fmt.Fprintf(c, "%s%sGET /next HTTP/1.1\r\nHost: x\r\n\r\n", head("/pipelined"), body) })
	if _, got := c.read("GET"); got != "/next0 <nil>" {
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

// TestUploadUnspliced: where there is no pipe to be had, bodies are copied.
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

// inPipe has the backend take some of a body at each step, until all of it has come and its end is in the pipe.
func (r *rig) inPipe(step chan<- bool, written <-chan struct{}) {
	r.t.Helper()
	defer close(step)
	<-written
	wait(r.t, "the end of a body in a pipe", func() bool {
		select {
		case step <- true:
		default:
		}
		return r.count(func(c *conn) bool {
			return c.kind == kindClient && c.ex != nil && c.ex.upload != nil && c.ex.upload.n > 0 && c.ex.body.done
		}) == 1
	})
}

// stepwise reads some of a body for each step.
func stepwise(body io.Reader, step <-chan bool) {
	for range step {
		_, _ = io.CopyN(io.Discard, body, 8<<10)
	}
}

// slowly sends the head of a POST, has its backend take little at once, and sends the body; written is closed then. The end of it is sent
// when the backend takes no more and some is in the pipe. A pipe is filled when it is empty, so the end comes into it in one piece, and not
// as a rest so small that it goes right through.
func (r *rig) slowly(c *client, body []byte) (written chan struct{}) {
	r.t.Helper()
	c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body)))
	wait(r.t, "a backend", func() bool { return r.in(phAwait) == 1 })
	r.narrow(16 << 10)
	const end = 150 << 10
	c.send(string(body[:len(body)-end]))
	wait(r.t, "a full pipe", func() bool { return r.uploads() == 1 })
	written = make(chan struct{})
	go func() {
		defer close(written)
		_, _ = c.Write(body[len(body)-end:])
	}()
	return written
}

// TestUploadOrder: a body that is there before its head has gone out goes behind it.
func TestUploadOrder(t *testing.T) {
	spliceAlways(t)
	got := make(chan string, 1)
	addr := origin(t, func(_ net.Conn, br *bufio.Reader) {
		line, _ := br.ReadString('\n')
		got <- line
	})
	r := newRig(t, 1, fmt.Sprintf(uploadSite, addr, filepath.Join(t.TempDir(), "log")))
	c := r.dial(0)
	r.e.each(func(l *Loop) {
		c.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n")
		l.post(func() { // behind the event of the head: the next turn finds a connection to the backend and the body
			_, _ = c.Write(bytes.Repeat([]byte("B"), 32<<10))
		})
	})
	if line := <-got; line != "PUT / HTTP/1.1\r\n" {
		t.Errorf("the backend got %.40q first", line)
	}
}

// TestUploadEarlyAnswer: a backend that answers before it has read the end of a body, which is in the pipe, ends the request.
func TestUploadEarlyAnswer(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	step, done := make(chan bool), make(chan struct{})
	defer close(done)
	r, c := uploadRig(t, log, func(c net.Conn, req *http.Request, _ int) bool {
		if req.Method == "GET" {
			return plain(c, "next")
		}
		stepwise(req.Body, step)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly")
		<-done
		return false
	})
	r.inPipe(step, r.slowly(c, bigBody(400<<10)))
	if _, got := c.read("POST"); got != "early" {
		t.Errorf("got %q", got)
	}
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, got := c.read("GET"); got != "next" {
		t.Errorf("after it: %q", got)
	}
	if _, lent := r.pipes(); lent != 0 {
		t.Errorf("%d pipes are lent to nobody", lent)
	}
}

// TestUploadSwitch: what is in the pipe when the backend switches protocols goes through the tunnel first.
func TestUploadSwitch(t *testing.T) {
	spliceAlways(t)
	body := bigBody(8 << 20)
	result := make(chan error, 1)
	hold := make(chan struct{})
	addr := origin(t, func(c net.Conn, br *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		for line := ""; line != "\r\n"; line, _ = br.ReadString('\n') {
		}
		<-hold
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		got := make([]byte, len(body))
		_, err := io.ReadFull(br, got)
		if err == nil && !bytes.Equal(got, body) {
			err = errors.New("other bytes")
		}
		result <- err
	})
	r := newRig(t, 1, "proxy_request_buffering off; client_max_body_size 0;"+fmt.Sprintf(tunnelSite, addr))
	c := r.dial(0)
	go func() {
		_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}()
	wait(t, "a full pipe", func() bool { return r.uploads() == 1 })
	close(hold)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestUploadLeft: a client that leaves right behind its body is noticed, whether the end of the body is in the pipe by then or has yet
// to be read.
func TestUploadLeft(t *testing.T) {
	for _, early := range []bool{false, true} {
		step, hold, gone := make(chan bool), make(chan struct{}), make(chan error, 1)
		r, c := uploadRig(t, filepath.Join(t.TempDir(), "log"), func(c net.Conn, req *http.Request, _ int) bool {
			stepwise(req.Body, step)
			<-hold
			_, _ = io.Copy(io.Discard, req.Body)
			_, err := c.Read(make([]byte, 1))
			gone <- err
			return false
		})
		release := sync.OnceFunc(func() { close(hold) })
		t.Cleanup(release)
		written := r.slowly(c, bigBody(400<<10))
		leave := func() { <-written; _ = c.Close() }
		if early {
			leave()
			close(step)
		} else {
			r.inPipe(step, written)
			leave()
		}
		release()
		if err := <-gone; err == nil {
			t.Error("the backend got more bytes")
		}
		wait(t, "the end of the client", func() bool { return r.clients() == 0 })
	}
}

// TestUploadTimeout: a client that stops in the midst of a body gets 408 in the log, one that goes on sending is not timed out.
func TestUploadTimeout(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	r, c := uploadRig(t, log+" f; client_body_timeout 2s; access_log "+log, func(c net.Conn, req *http.Request, _ int) bool {
		_, err := io.Copy(io.Discard, req.Body)
		return plain(c, fmt.Sprint(err))
	})
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<40)
	c.send(head)
	c.send(string(bigBody(1 << 20)))
	wait(t, "the timeout to be armed", func() bool {
		return r.count(func(c *conn) bool { return c.kind == kindClient && c.deadline != 0 }) == 1
	})
	r.e.each(func(l *Loop) { // as if time had stood still but for what the loop moves
		for k := l.clients.head; k != nil; k = k.next {
			ex := k.ex
			ex.turn, ex.moved = l.nowNs, turnMax // the turn is over at once
			k.canRead = true
			ex.run()
			if k.deadline != 0 {
				t.Error("the timeout is armed while there is something to read")
			}
		}
	})
	wait(t, "408 in the log", func() bool { text, _ := os.ReadFile(log); return strings.HasSuffix(string(text), " 408\n") })
}

// TestUploadSmallNext: a small body after a large one comes with its head, so that a second server can have it.
func TestUploadSmallNext(t *testing.T) {
	spliceAlways(t)
	dead := origin(t, func(_ net.Conn, br *bufio.Reader) { _, _ = http.ReadRequest(br) })
	good := httpOrigin(t, func(w net.Conn, _ *http.Request, body string) bool { return plain(w, fmt.Sprint(len(body))) })
	r := newRig(t, 1, fmt.Sprintf(`upstream b { server %s max_fails=0; server %s backup; } upstream g { server %s; }
server { listen 127.0.0.1:0; client_max_body_size 0; client_body_buffer_size 128k; proxy_request_buffering off;
    location / { proxy_pass http://b; proxy_next_upstream error non_idempotent; } location /g { proxy_pass http://g; } }`, dead, good, good))
	c := r.dial(0)
	for i, n := range []int{200 << 10, 30 << 10, 200 << 10, 30 << 10} {
		path := []string{"/g", "/"}[i%2]
		c.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, n, bigBody(n)))
		if resp, got := c.read("POST"); resp.StatusCode != 200 || got != fmt.Sprint(n) {
			t.Errorf("%s with %d bytes: %d %q", path, n, resp.StatusCode, got)
		}
	}
}

// TestUploadExpect: a head that just fills its read does not keep 100 Continue back.
func TestUploadExpect(t *testing.T) {
	_, c := uploadRig(t, filepath.Join(t.TempDir(), "log"), func(c net.Conn, req *http.Request, _ int) bool {
		n, err := io.Copy(io.Discard, req.Body)
		return plain(c, fmt.Sprint(n, err))
	})
	body := bigBody(1 << 20)
	c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	c.read("POST")
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", len(body))
	for n := headRead - len(head) - 2; n > 0; n = headRead - len(head) - 2 {
		n = min(n, 4000)
		if rest := headRead - len(head) - 2 - n; 0 < rest && rest < 10 {
			n -= 10
		}
		head += "X: " + strings.Repeat("a", n-5) + "\r\n"
	}
	c.send(head + "\r\n")
	if line, err := c.r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}
