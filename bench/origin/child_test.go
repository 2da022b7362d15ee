package origin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// rig is a Child in this process.
type rig struct {
	t     *testing.T
	in    io.WriteCloser
	out   *bufio.Reader
	addrs []string
	done  chan error
}

// serve runs a Child until the test's end.
func serve(t *testing.T, spec Spec) *rig {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	r := &rig{t: t, in: inW, out: bufio.NewReader(outR), done: make(chan error, 1)}
	go func() {
		err := Child(inR, outW)
		inR.Close()
		outW.Close()
		r.done <- err
	}()
	t.Cleanup(r.stop)
	r.addrs = r.ask(spec).Addrs
	if len(r.addrs) != len(spec.Origins) {
		t.Fatalf("got addresses %v", r.addrs)
	}
	return r
}

// stop ends the commands, and the child with them.
func (r *rig) stop() {
	r.in.Close()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("the child ended with: %v", err)
		}
		r.done <- nil
	case <-time.After(patience):
		r.t.Error("the child did not end")
	}
}

func (r *rig) ask(line any) response {
	r.t.Helper()
	b, err := json.Marshal(line)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.in.Write(append(b, '\n')); err != nil {
		r.t.Fatal(err)
	}
	var a response
	if b, err = r.out.ReadBytes('\n'); err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil || a.Error != "" {
		r.t.Fatalf("got %q, %v", b, err)
	}
	return a
}

func (r *rig) seen(name string) Seen {
	r.t.Helper()
	return r.ask(command{Cmd: "seen", Name: name}).Seen[0]
}

// until asks about an origin until what is seen is as wanted.
func (r *rig) until(name string, ok func(Seen) bool) Seen {
	r.t.Helper()
	end := time.Now().Add(patience)
	for {
		s := r.seen(name)
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			r.t.Fatalf("got %+v", s)
		}
	}
}

// client is a connection to the first origin.
type client struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

func (c *client) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func (r *rig) dial() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp4", r.addrs[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: r.t, Conn: conn, Reader: bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(patience)) // for each, however many there are
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer to a request of the method and checks it.
func (c *client) answer(method string, status, length int) *http.Response {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(c.Reader, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != status || len(body) != length {
		c.t.Fatalf("got status %d and %d bytes, want %d and %d", resp.StatusCode, len(body), status, length)
	}
	if resp.Header.Get("Server") != "origin" || resp.Header.Get(Field) == "" {
		c.t.Fatalf("got header %v", resp.Header)
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if d := time.Since(date); err != nil || d < -time.Minute || d > time.Minute {
		c.t.Fatalf("got date %q, %v", resp.Header.Get("Date"), err)
	}
	if status == 200 && length > 6 && !bytes.Equal(body, wantBody(length)) {
		c.t.Fatalf("got a wrong body of %d bytes", length)
	}
	return resp
}

func wantBody(n int) []byte { return bytes.Repeat([]byte(pattern), n/len(pattern)+1)[:n] }

// closed makes sure that the origin has ended the connection in order.
func (c *client) closed() {
	c.t.Helper()
	if _, err := c.ReadByte(); err != io.EOF {
		c.t.Fatalf("got %v, want the end", err)
	}
}

func one(name string) Spec { return Spec{Origins: []Server{{Name: name}}} }

func TestPaths(t *testing.T) {
	r := serve(t, one("a"))
	c := r.dial()
	f := func(path string, status, length int) {
		t.Helper()
		c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		resp := c.answer("GET", status, length)
		if want := strings.HasPrefix(path, "/chunked") && status == 200; want != (resp.ContentLength < 0) {
			t.Fatalf("%s: got length %d", path, resp.ContentLength)
		}
		if resp.Header.Get(Field) != "a" || resp.Header.Get("Content-Type") != "text/plain" || resp.Close {
			t.Fatalf("%s: got %v", path, resp.Header)
		}
	}
	f("/small", 200, 6)
	f("/small?a=b", 200, 6)
	f("http://host/small", 200, 6)
	f("/0", 200, 0)
	f("/7", 200, 7)
	f("/1k", 200, 1<<10)
	f("/16k", 200, 16<<10)
	f("/16385", 200, 16385)
	f("/100k", 200, 100<<10)
	f("/1m", 200, 1<<20)
	f("/5000001", 200, 5000001)
	f("/64m", 200, 64<<20)
	f("/chunked/0", 200, 0)
	f("/chunked/5", 200, 5)
	f("/chunked/20k", 200, 20<<10)
	f("/chunked/32k", 200, 32<<10)
	f("/chunked/1m", 200, 1<<20)
	f("/chunked/3000001", 200, 3000001)
	f("/", 404, 10)
	f("/2g", 404, 10)
	f("/1025m", 404, 10)
	f("/k", 404, 10)
	f("/-1", 404, 10)
	f("/chunked", 404, 10)
	f("/99999999999999999999", 404, 10)
	if got := r.seen("a"); got.Requests != 25 || got.Connections != 1 || got.Open != 1 || got.Last != 0 || got.Source != "" {
		t.Fatalf("got %+v", got)
	}
}

func TestHead(t *testing.T) {
	c := serve(t, one("a")).dial()
	f := func(path string, length int64) {
		t.Helper()
		c.send("HEAD " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp := c.answer("HEAD", 200, 0); resp.ContentLength != length {
			t.Fatalf("got length %d", resp.ContentLength)
		}
	}
	f("/small", 6)
	f("/1m", 1<<20)
	f("/chunked/1m", -1)
	f("/small", 6)
}

func TestPersistence(t *testing.T) {
	r := serve(t, one("a"))
	f := func(head, path, field string, closes bool) {
		t.Helper()
		c := r.dial()
		c.send("GET " + path + " " + head + "\r\n\r\nrubbish that must not reset the connection")
		resp := c.answer("GET", 200, 100<<10)
		if got := resp.Header.Get("Connection"); got != field && !(field == "close" && resp.Close) {
			t.Fatalf("%s: got %q", head, got)
		}
		if strings.Contains(head, "1.0") && resp.ContentLength < 0 {
			t.Fatalf("%s: got chunks", head)
		}
		if closes {
			c.closed()
		}
	}
	for _, path := range []string{"/100k", "/chunked/100k"} {
		f("HTTP/1.1", path, "", false)
		f("HTTP/1.1\r\nConnection: keep-alive", path, "", false)
		f("HTTP/1.1\r\nConnection: x, Close", path, "close", true)
		f("HTTP/1.0", path, "close", true)
		f("HTTP/1.0\r\nConnection: Keep-Alive", path, "keep-alive", false)
		f("HTTP/1.0\r\nConnection: keep-alive, close", path, "close", true)
	}
	r.until("a", func(s Seen) bool { return s.Connections == 12 })
}

func TestRefused(t *testing.T) {
	r := serve(t, one("a"))
	f := func(request string, status int) {
		t.Helper()
		c := r.dial()
		c.send(request)
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil || resp.StatusCode != status || !resp.Close {
			t.Fatalf("got %+v, %v", resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		c.closed()
	}
	f("GET /small HTTP/2.0\r\n\r\n", 400)
	f("GET /small\r\n\r\n", 400)
	f("GET  HTTP/1.1\r\n\r\n", 400)
	f(" / HTTP/1.1\r\n\r\n", 400)
	f("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400)
	f("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400)
	f("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400)
	f("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501)
	f("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400)
	f("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400)
	f("GET / HTTP/1.1\r\nsurely no field\r\n\r\n", 400)
	f("GET / HTTP/1.1\r\nX: "+strings.Repeat("x", readSize)+"\r\n\r\n", 431)
}

// twoRequests are followed by what the origin has to answer: 7 bytes, then 6.
var twoRequests = []string{
	"GET /7 HTTP/1.1\r\nHost: x\r\n\r\nGET /small HTTP/1.1\r\nHost: x\r\n\r\n",
	"\r\nPOST /7 HTTP/1.1\r\nContent-Length: 9\r\nAccept: */*\r\n\r\n123456789GET /small HTTP/1.1\r\n\r\n",
	"POST /7 HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\nb;x=y\r\nhello there\r\n1 \r\n!\r\n0\r\nTrailer: 1\r\n\r\nGET /small HTTP/1.1\r\n\r\n",
}

// TestSplit sends requests in two pieces, for every place to cut them.
func TestSplit(t *testing.T) {
	c := serve(t, one("a")).dial()
	for _, text := range twoRequests {
		for cut := range len(text) {
			c.send(text[:cut])
			time.Sleep(50 * time.Microsecond) // mostly, the pieces then arrive one by one
			c.send(text[cut:])
			c.answer("GET", 200, 7)
			c.answer("GET", 200, 6)
		}
	}
}

// TestStepSplit does the same without sockets: every byte by itself, and every cut, must lead to the same phases.
func TestStepSplit(t *testing.T) {
	for _, text := range twoRequests {
		for cut := range len(text) {
			l, c := offline()
			s := c.server
			var kept []byte
			for _, piece := range []string{text[:cut], text[cut:]} {
				kept = append(kept, piece...)
				for n := -1; n != 0 && len(kept) > 0; kept = kept[n:] {
					n = l.step(c, kept)
				}
			}
			if s.seen.Requests != 2 || c.phase != phaseHead || len(kept) != 0 || strings.Count(string(l.out), "HTTP/1.1 200") != 2 {
				t.Fatalf("%q cut at %d: %d requests, phase %d, %d bytes left, answered %q", text, cut, s.seen.Requests, c.phase, len(kept), l.out)
			}
		}
	}
}

func TestPipelining(t *testing.T) {
	r := serve(t, one("a"))
	c := r.dial()
	paths := []string{"/small", "/1m", "/7", "/chunked/200k", "/15k", "/3m"}
	lengths := []int{6, 1 << 20, 7, 200 << 10, 15 << 10, 3 << 20}
	go func() { // no answer is read before a good part is sent: both directions fill up
		for i := range 120 {
			fmt.Fprintf(c.Conn, "GET %s HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", paths[i%len(paths)], strings.Repeat("x", 5000))
		}
	}()
	for i := range 120 {
		c.answer("GET", 200, lengths[i%len(lengths)])
	}
	c.send(strings.Repeat("GET /small HTTP/1.1\r\n\r\n", 3000))
	for range 3000 {
		c.answer("GET", 200, 6)
	}
	if got := r.seen("a"); got.Requests != 3120 {
		t.Fatalf("got %+v", got)
	}
}

func TestBodies(t *testing.T) {
	r := serve(t, one("a"))
	c := r.dial()
	body := strings.Repeat("GET /small HTTP/1.1\r\n\r\n", 200_000) // must not be taken for requests
	c.send("PUT /small HTTP/1.1\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body + "GET /7 HTTP/1.1\r\n\r\n")
	c.answer("PUT", 200, 6)
	c.answer("GET", 200, 7)
	var b strings.Builder
	b.WriteString("PUT /small HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := 1; i < 2000; i++ {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", i, body[:i])
	}
	c.send(b.String() + "0\r\n\r\nGET /7 HTTP/1.1\r\n\r\n")
	c.answer("PUT", 200, 6)
	c.answer("GET", 200, 7)
	c.send("POST /small HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
	if resp, err := http.ReadResponse(c.Reader, nil); err != nil || resp.StatusCode != 100 {
		t.Fatalf("got %+v, %v", resp, err)
	}
	c.send("12345")
	c.answer("POST", 200, 6)
	if got := r.seen("a"); got.Requests != 5 {
		t.Fatalf("got %+v", got)
	}
}

// TestDelay: an answer that waits keeps its place before those to the requests behind it.
func TestDelay(t *testing.T) {
	r := serve(t, Spec{Origins: []Server{{Name: "a", Delay: Delay{Kind: "fixed", Mean: 3 * time.Millisecond}}}})
	c := r.dial()
	start := time.Now()
	c.send("GET /1m HTTP/1.1\r\n\r\nGET /small HTTP/1.1\r\n\r\n")
	c.send("GET /7 HTTP/1.1\r\n\r\n")
	c.answer("GET", 200, 1<<20)
	c.answer("GET", 200, 6)
	c.answer("GET", 200, 7)
	if d := time.Since(start); d < 9*time.Millisecond {
		t.Fatalf("three answers of 3 ms each came after %v", d)
	}
	gone := r.dial()
	gone.send("GET /small HTTP/1.1\r\n\r\n")
	gone.Close()
	r.until("a", func(s Seen) bool { return s.Requests == 4 && s.Open == 1 })
}

// TestDelayedFlood: what a client sends on while its answer waits is bounded by the buffer, and answered afterwards.
func TestDelayedFlood(t *testing.T) {
	r := serve(t, Spec{Origins: []Server{{Name: "a", Delay: Delay{Kind: "fixed", Mean: time.Millisecond}}}})
	c := r.dial()
	go io.WriteString(c.Conn, strings.Repeat("GET /small HTTP/1.1\r\nX: "+strings.Repeat("x", 10_000)+"\r\n\r\n", 40))
	for range 40 {
		c.answer("GET", 200, 6)
	}
}

func TestStamp(t *testing.T) {
	spec := one("a")
	spec.Stamp = true
	r := serve(t, spec)
	if got := r.seen("a"); got.Last != 0 || got.Source != "" {
		t.Fatalf("got %+v", got)
	}
	c := r.dial()
	var last int64
	for range 5 {
		before := time.Now().UnixNano()
		c.send("GET /small HTTP/1.1\r\n\r\n")
		c.answer("GET", 200, 6)
		got, after := r.seen("a"), time.Now().UnixNano()
		// A segment on loopback is stamped within the call that sends it.
		if got.Last < before || got.Last > after || got.Last <= last || got.Source == "" {
			t.Fatalf("got %+v between %d and %d", got, before, after)
		}
		last = got.Last
	}
	t.Logf("source of the stamp: %s", r.seen("a").Source)
	c.send("POST /small HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
	head := r.until("a", func(s Seen) bool { return s.Requests == 6 })
	c.send("abc")
	c.answer("POST", 200, 6)
	if got := r.seen("a"); got.Last != head.Last {
		t.Fatalf("the body's end changed the stamp from %d to %d", head.Last, got.Last)
	}
}

func TestChildRefuses(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		err := Child(strings.NewReader(in), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	f("", "unexpected EOF")
	f("{", "unexpected EOF")
	f("{\n", "cannot read the origins")
	f("{}\n", "no origins")
	f(`{"origins":[{"name":"a b"}]}`+"\n", `"a b"`)
	f(`{"origins":[{"name":"a"},{"name":"a"}]}`+"\n", "unique")
	f(`{"origins":[{"name":"a","delay":{"kind":"x"}}]}`+"\n", `delay "x"`)
	f(`{"origins":[{"name":"a","delay":{"kind":"fixed","mean":-1}}]}`+"\n", "negative")
	f(`{"origins":[{"name":"a","faults":[{"kind":"x","for":1}]}]}`+"\n", `fault "x"`)
	f(`{"origins":[{"name":"a","faults":[{"kind":"die"}]}]}`+"\n", "above zero")
}

func TestCommandErrors(t *testing.T) {
	l := &loop{}
	f := func(line, want string) {
		t.Helper()
		if got := l.do([]byte(line)).Error; !strings.Contains(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f("{", "cannot parse command")
	f(`{"cmd":"x"}`, `unknown command "x"`)
	f(`{"cmd":"seen","name":"b"}`, `cannot find origin "b"`)
}

// TestChildEnds: the end of in closes all sockets.
func TestChildEnds(t *testing.T) {
	r := serve(t, Spec{Origins: []Server{{Name: "a"}, {Name: "b"}}})
	c := r.dial()
	c.send("GET /small HTTP/1.1\r\n\r\n")
	c.answer("GET", 200, 6)
	r.stop()
	c.closed()
	if _, err := net.Dial("tcp4", r.addrs[1]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v", err)
	}
}

func TestNoDescriptorsLeft(t *testing.T) {
	count := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	round := func() {
		r := serve(t, Spec{Origins: []Server{{Name: "a"}, {Name: "b"}}})
		c := r.dial()
		c.send("GET /small HTTP/1.1\r\n\r\n")
		c.answer("GET", 200, 6)
		r.ask(command{Cmd: "begin"})
		r.ask(command{Cmd: "end"})
		c.Close()
		r.stop()
	}
	round()
	before := count()
	for range 20 {
		round()
	}
	if after := count(); after > before+3 {
		t.Fatalf("descriptors went from %d to %d", before, after)
	}
}
