package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/valyala/fasthttp"
)

// originFlag as the only argument turns the bench's own program into the origins' process. It is not in the usage text.
const originFlag = "-origins"

// originField is the header field in which an origin names itself, so that the spread over both can be checked.
const originField = "X-Origin"

// originNames are the two origins, in the order of the upstream's servers.
var originNames = [2]string{"a", "b"}

// answers are the fixed bodies by path. They are read only.
var answers = map[string][]byte{
	"/small": []byte("hello\n"),
	"/100k":  bytes.Repeat([]byte("0123456789abcde\n"), 100<<10/16),
	"/1m":    bytes.Repeat([]byte("0123456789abcde\n"), 1<<20/16),
}

// originHandler answers every method with the body of the path; a request body is read and dropped by fasthttp.
func originHandler(name string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set(originField, name)
		body, ok := answers[string(ctx.Path())]
		if !ok {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		ctx.SetContentType("text/plain")
		ctx.Response.SetBodyRaw(body) // not copied: the megabyte goes from here to the socket
	}
}

// runOrigins is the origins' process: it opens both on free loopback ports, writes their addresses to out, one a line
// in the order of originNames, and serves until in ends. The parent holds the other end of in, so the origins end with
// it however it ends.
func runOrigins(in io.Reader, out io.Writer) error {
	failed := make(chan error, len(originNames))
	for _, name := range originNames {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("cannot open origin %q: %w", name, err)
		}
		srv := &fasthttp.Server{Handler: originHandler(name), Name: "origin", DisablePreParseMultipartForm: true}
		go func() { failed <- srv.Serve(ln) }()
		if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
			return fmt.Errorf("cannot tell the address of origin %q: %w", name, err)
		}
	}
	go func() {
		_, err := io.Copy(io.Discard, in)
		failed <- err
	}()
	return <-failed
}

// origins is the running process of both origins.
type origins struct {
	*process
	addrs [2]string // by originNames
}

// startOrigins runs this program again as the origins' process, on the given core.
func startOrigins(cpu int, logFile string) (*origins, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the program to start the origins with: %w", err)
	}
	p, err := newProcess("origins", logFile, self, originFlag)
	if err != nil {
		return nil, err
	}
	if _, err := p.cmd.StdinPipe(); err != nil { // never written to: it is open for as long as this process lives
		return nil, fmt.Errorf("cannot open a pipe to the origins: %w", err)
	}
	out, err := p.pipeOutput()
	if err != nil {
		return nil, err
	}
	if err := p.start(cpu); err != nil {
		out.Close()
		return nil, err
	}
	o := &origins{process: p}
	lines := bufio.NewScanner(out)
	for i := range o.addrs {
		if !lines.Scan() {
			o.stop()
			return nil, fmt.Errorf("cannot start the origins: they did not tell their addresses: %s", p.logTail())
		}
		o.addrs[i] = strings.TrimSpace(lines.Text())
	}
	out.Close()
	return o, nil
}
