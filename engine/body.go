package engine

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"dyups/codec"
	"dyups/engine/site"
)

const eagain = syscall.EAGAIN

// requestBody is the request's body on its way in. Small ones stay in memory; beyond client_body_buffer_size they go to a
// file, which workers write and read: the loop never touches a disk.
type requestBody struct {
	chunked  bool
	remain   int64 // with Content-Length: bytes still to come
	dec      codec.Chunked
	done     bool // all of it was read
	size     int64
	asked    bool // 100 Continue was sent
	streamed bool // bytes went out that are not held any more
	bad      bool // it could not be read to its end; goes to nobody

	mem     []byte // what is held, or (with a file) not yet written
	path    string
	file    *os.File
	named   bool  // client_body_in_file_only: the file keeps its name while the request runs
	keep    bool  // ... and after it (on)
	atOff   int64 // how much of the file was sent in this try
	memSent int   // how much of mem was sent in this try (streaming)
	reading bool  // a worker reads the file
	copied  bool  // what is left of it is, and not spliced
	chunk   []byte
}

func (b *requestBody) begin(h *codec.RequestHead) {
	mem, chunk := b.mem, b.chunk
	*b = requestBody{chunked: h.Chunked, mem: mem[:0], chunk: chunk[:0]}
	if h.ContentLength > 0 {
		b.remain = h.ContentLength
	}
	b.done = !h.Chunked && h.ContentLength <= 0
}

// present reports whether the request declared a body, be it empty.
func present(h *codec.RequestHead) bool { return h.Chunked || h.ContentLength >= 0 }

// bodyMemKept bounds the memory an exchange keeps for the next body.
const bodyMemKept = 16 << 10

// end lets go of memory and file after the request.
func (b *requestBody) end(ex *exchange) {
	if cap(b.mem) > bodyMemKept {
		ex.l.spools.put(b.mem)
		b.mem = nil
	}
	if b.reading { // the worker has it
		b.chunk = nil
	} else if cap(b.chunk) > bodyMemKept {
		ex.l.spools.put(b.chunk)
		b.chunk = nil
	}
	if b.file != nil {
		f, path, drop := b.file, b.path, b.named && !b.keep
		b.file = nil
		ex.l.submit(func() {
			_ = f.Close()
			if drop {
				_ = os.Remove(path)
			}
		})
	}
}

// feed passes input p through the framing: how much was used, and the data in it.
func (b *requestBody) feed(p []byte) (n int, data []byte, err *codec.Error) {
	if !b.chunked {
		n = int(min(int64(len(p)), b.remain))
		b.remain -= int64(n)
		b.done = b.remain == 0
		return n, p[:n], nil
	}
	n, data, b.done, err = b.dec.Next(p)
	return n, data, err
}

// wholeBody reports whether the body has come with the head and fits in memory: then there is nothing to stream, and
// $request_body has it.
func (ex *exchange) wholeBody() bool {
	in, b := ex.c.unread(), &ex.body
	if int64(len(in)) > ex.loc().BodyBufferSize {
		return false
	}
	if !b.chunked {
		return int64(len(in)) >= b.remain
	}
	for dec := b.dec; len(in) > 0; {
		n, _, done, err := dec.Next(in)
		if done || err != nil {
			return true
		}
		if n == 0 {
			return false
		}
		in = in[n:]
	}
	return false
}

// pull takes body data from the client as far as there is some, giving each piece to take, until take says stop, input
// runs out, or the body is over. It returns a status to answer with, or -1 when the client has left, or 0.
func (ex *exchange) pull(take func(ex *exchange, data []byte) bool) int {
	c, b, l := ex.c, &ex.body, ex.l
	for on := true; on && !b.done; {
		p := c.unread()
		kept := len(p) > 0
		if !kept {
			ex.askBody()
			if ex.turn != l.nowNs {
				ex.turn, ex.moved = l.nowNs, 0
			}
			if ex.moved >= turnMax {
				l.goOn(c)
				return 0
			}
			n, eof, err := c.read(l.rbuf[headRoom : headRoom+bulkRoom])
			ex.moved += n
			if eof || err != 0 {
				return -1
			}
			if n == 0 {
				return 0
			}
			p = l.rbuf[headRoom : headRoom+n]
		}
		for on && !b.done && len(p) > 0 {
			n, data, err := b.feed(p)
			if err != nil {
				ex.spoilt()
				return 400
			}
			ex.r.RequestLength += int64(n)
			p = p[n:]
			if kept {
				c.skip(n)
			}
			if len(data) > 0 {
				b.size += int64(len(data))
				if m := ex.loc().MaxBodySize; m > 0 && b.size > m && b.chunked {
					ex.spoilt()
					return 413
				}
				on = take(ex, data)
			}
			if n == 0 {
				break
			}
		}
		if !kept {
			c.keep(p) // what follows the body, or what take had no room for
		}
	}
	return 0
}

// askBody sends 100 Continue to a client that waits for it (RFC 9110 section 10.1.1).
func (ex *exchange) askBody() {
	if ex.head.ExpectContinue && !ex.body.asked {
		ex.body.asked = true
		_ = ex.c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// holdData keeps body data in memory.
func holdData(ex *exchange, data []byte) bool {
	ex.body.mem = append(ex.body.mem, data...)
	return true
}

// spoolMax is how much waits in memory for a worker to write it to the body's file.
const spoolMax = 256 << 10

// spoolRoom is the size of the buffers for bodies on their way to and from their files; one read may go beyond spoolMax. The
// loop keeps some: growing and collecting them took a quarter of the CPU time of uploads of 1 MB.
const spoolRoom = spoolMax + bulkRoom

// spoolData keeps body data until there is enough for the file.
func spoolData(ex *exchange, data []byte) bool {
	if n := len(ex.body.mem) + len(data); n > cap(ex.body.mem) && n > bodyMemKept && n <= spoolRoom {
		ex.body.mem = append(ex.l.spools.get(), ex.body.mem...)
	}
	ex.body.mem = append(ex.body.mem, data...)
	limit := int(ex.loc().BodyBufferSize)
	if ex.body.file != nil {
		limit = spoolMax
	}
	return len(ex.body.mem) <= limit
}

// readBody reads the whole body, then goes on with phase after.
func (ex *exchange) readBody() bool {
	c, b, loc := ex.c, &ex.body, ex.loc()
	take := spoolData
	if loc.Content == site.Interface {
		take = holdData // bounded by client_max_body_size; the handler wants it in one piece
	}
	switch status := ex.pull(take); {
	case status < 0:
		ex.r.Status = 400
		ex.l.eng.logRequest(Info, ex, clientLeft)
		ex.cut = true
		return ex.to(phDone)
	case status > 0:
		return ex.fail(status)
	}
	onlyFile := loc.BodyInFile != site.BodyFileOff && b.size > 0 && (loc.Proxy == nil || loc.Proxy.RequestBuffering)
	if loc.Content != site.Interface &&
		(len(b.mem) > spoolMax || b.file == nil && int64(len(b.mem)) > loc.BodyBufferSize ||
			b.done && len(b.mem) > 0 && (b.file != nil || onlyFile)) {
		return ex.spool(loc)
	}
	if !b.done {
		c.setTimeout(int64(loc.ClientBodyTimeout))
		return false
	}
	c.noTimeout()
	if b.file == nil {
		ex.r.Body = b.mem
	}
	return ex.to(ex.after)
}

// bodyFiles numbers the temporary files of the process.
var bodyFiles atomic.Uint64

// spool has a worker append what is held to the body's file; the exchange waits.
func (ex *exchange) spool(loc *site.Location) bool {
	b, l := &ex.body, ex.l
	data := b.mem
	b.mem = nil
	b.named, b.keep = loc.BodyInFile != site.BodyFileOff, loc.BodyInFile == site.BodyFileOn
	file, dir, named := b.file, loc.BodyTempPath, b.named
	ex.c.noTimeout()
	ex.phase = phWait
	l.submit(func() {
		var err error
		if file == nil {
			if file, err = createBodyFile(dir); err == nil && !named {
				_ = os.Remove(file.Name()) // what nobody is to open needs no name, and nobody has to clean up
			}
		}
		if err == nil {
			_, err = file.Write(data)
		}
		l.post(func() {
			if b.file = file; file != nil {
				b.path = file.Name()
				ex.r.BodyFile = b.path
			}
			b.mem = data[:0]
			switch {
			case ex.aborted:
				ex.to(phDone)
			case err != nil:
				l.eng.logRequest(Crit, ex, "cannot write the request body: "+err.Error())
				ex.fail(500)
			default:
				ex.to(phBody)
			}
			ex.run()
		})
	})
	return false
}

func createBodyFile(dir string) (*os.File, error) {
	for {
		n := bodyFiles.Add(1)
		name := filepath.Join(dir, string(appendFixed(nil, n, 10)))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if os.IsNotExist(err) {
			if err = os.MkdirAll(dir, 0o700); err == nil {
				continue
			}
		}
		if os.IsExist(err) {
			continue
		}
		return f, err
	}
}

// appendFixed appends n with at least width digits.
func appendFixed(dst []byte, n uint64, width int) []byte {
	at := len(dst)
	dst = codec.AppendUint(dst, n)
	for len(dst)-at < width {
		dst = append(dst, 0)
		copy(dst[at+1:], dst[at:])
		dst[at] = '0'
	}
	return dst
}

// discard reads and drops the rest of the body of an answered request, so that the next one can be found. What comes of it after
// lingering_time ends the connection. Source: nginx, ngx_http_discarded_request_body_handler.
func (ex *exchange) discard() bool {
	had := ex.r.RequestLength
	status := ex.pull(func(*exchange, []byte) bool { return true })
	switch {
	case status == 0 && ex.r.RequestLength > had && ex.l.nowNs >= ex.lingerNs:
		ex.keepConn, ex.cut = false, true
	case status != 0:
		ex.keepConn = false
		ex.cut = status < 0
		ex.linger = status > 0
	case !ex.body.done:
		ex.c.setTimeout(int64(ex.loc().LingeringTimeout))
		return false
	}
	return ex.to(phDone)
}

// loadFile has a worker read the next piece of the body's file for sending.
func (ex *exchange) loadFile() {
	b, l := &ex.body, ex.l
	if b.reading {
		return
	}
	b.reading = true
	buf, file, at := b.chunk, b.file, b.atOff
	if cap(buf) < spoolMax {
		buf = l.spools.get()
	}
	buf = buf[:min(spoolMax, b.size-at)]
	back, try, gen := ex.b, ex.tries, ex.gen
	l.submit(func() {
		n, err := file.ReadAt(buf, at)
		l.post(func() {
			if ex.gen != gen {
				return // the request is over, the exchange may serve another
			}
			b.reading = false
			b.chunk = buf[:n]
			switch {
			case ex.b != back || ex.tries != try || ex.phase != phAwait && ex.phase != phRelay:
				b.chunk = buf[:0] // for a try that is over
			case n < len(buf):
				l.eng.logRequest(Crit, ex, "cannot read the request body back: "+errText(err))
				ex.failUpstream(500)
			}
			ex.run()
		})
	})
}

func errText(err error) string {
	if err == nil {
		return "short read"
	}
	return err.Error()
}

// spoilt gives the rest of the request's body up: it cannot be understood or is too large. Nothing after it on the conn
// is a request, and what was read of it goes to nobody.
func (ex *exchange) spoilt() {
	ex.body.done, ex.body.bad = true, true
	ex.body.mem = ex.body.mem[:0]
	ex.keepConn, ex.linger = false, true
	ex.c.drop()
}
