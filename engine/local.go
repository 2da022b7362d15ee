package engine

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/valyala/bytebufferpool"
	"github.com/valyala/fasthttp"

	"dyups/codec"
	"dyups/engine/site"
)

// Every request that dyups answers itself is an ordinary fasthttp.RequestHandler, run on a worker: it may block. The loop
// evaluates what belongs to the request before, and writes the answer after.

// StockPageKey is the user value by which a handler asks for the stock page (or the error_page) of the status it set,
// in place of its own body.
const StockPageKey = "dyups.stockpage"

type jobKey struct{}

// localJob is one local answer under way. While running is true only the worker touches it.
type localJob struct {
	ctx     fasthttp.RequestCtx
	handler fasthttp.RequestHandler
	ex      *exchange
	path    []byte // $uri: decoded and normalised
	hasBody bool
	text    []byte // what echo, return and static evaluated to
	action  site.Action
	body    *bytebufferpool.ByteBuffer
	stream  io.Reader
	size    int64 // of the body
	running bool
	changes bool // may change the table: the answer waits until every loop goes by the new one
	onAdmin bool // runs by way of Config.Admin, where nothing may block
	again   bool // ... and has to run on a worker after all
	piece   []byte
	failed  error
}

var localJobs = sync.Pool{New: func() any {
	j := &localJob{}
	j.ctx.Init(&fasthttp.Request{}, nil, nil)
	return j
}}

func jobOf(ctx *fasthttp.RequestCtx) *localJob {
	j, _ := ctx.UserValue(jobKey{}).(*localJob)
	return j
}

// RequestPath is the decoded, normalised path of a request that a handler answers; valid until the handler returns.
func RequestPath(ctx *fasthttp.RequestCtx) []byte {
	if j := jobOf(ctx); j != nil {
		return j.path
	}
	return ctx.Path()
}

// RequestHasBody reports whether the request declared a body (Content-Length or chunked), be it empty.
func RequestHasBody(ctx *fasthttp.RequestCtx) bool {
	if j := jobOf(ctx); j != nil {
		return j.hasBody
	}
	return len(ctx.PostBody()) > 0
}

// OnAdmin reports whether a handler runs where Config.Admin put it, and so must not block.
func OnAdmin(ctx *fasthttp.RequestCtx) bool {
	j := jobOf(ctx)
	return j != nil && j.onAdmin
}

// RunOnWorker asks, from a handler for which OnAdmin holds, to be called again on a worker; what it has answered is dropped. It is one
// of those that wait for name servers, as a command does that takes long.
func RunOnWorker(ctx *fasthttp.RequestCtx) { jobOf(ctx).again = true }

// local starts an answer of our own. Handlers of the interface get the whole body first; others do without, but what has
// come of it is checked.
func (ex *exchange) local(a site.Action) bool {
	loc := ex.r.Loc
	wantsBody := a.Kind == site.DoLocal && loc.Content == site.Interface
	switch {
	case ex.body.done:
	case wantsBody:
		ex.action, ex.after = a, phLocal
		return ex.to(phBody)
	default:
		if status := ex.pull(func(*exchange, []byte) bool { return true }); status > 0 {
			ex.linger = true
			return ex.fail(status)
		}
	}
	j := localJobs.Get().(*localJob)
	j.ex, j.action, j.hasBody = ex, a, present(&ex.head)
	j.path = append(j.path[:0], ex.r.URI...)
	j.text = j.text[:0]
	switch {
	case a.Kind == site.DoReturn:
		j.handler = serveReturn
	case loc.Content == site.Echo:
		for _, v := range loc.Echo {
			j.text = append(v.Append(j.text, &ex.r), '\n')
		}
		j.handler = serveEcho
	case loc.Content == site.Interface:
		j.handler = loc.Handler.(fasthttp.RequestHandler)
	default:
		j.text = loc.AppendFilename(j.text, &ex.r)
		j.handler = serveFile
	}
	ex.fill(&j.ctx, wantsBody)
	j.ctx.SetUserValue(jobKey{}, j)
	j.running = true
	ex.job = j
	ex.phase = phWait
	if a.Kind == site.DoReturn || loc.Content == site.Echo { // nothing to wait for
		j.runHere()
		return false
	}
	j.changes = wantsBody && (ex.r.Method == codec.POST || ex.r.Method == codec.DELETE)
	if j.changes && ex.l.eng.cfg.Admin != nil {
		ex.l.changes = append(ex.l.changes, j)
	} else {
		ex.l.submit(j.runHere)
	}
	return false
}

// runChanges hands over the changes of upstreams that were asked for in this turn: after what the turn has to send, which would wait
// for them, since small ones are made on the loop.
func (l *Loop) runChanges() {
	for i, j := range l.changes {
		l.changes[i] = nil
		if !l.eng.cfg.Admin(len(j.ctx.Request.Body()), j.runOnAdmin) {
			l.submit(j.runHere)
		}
	}
	l.changes = l.changes[:0]
}

// runOnAdmin runs the handler where nothing may block, and on a worker if it has to.
func (j *localJob) runOnAdmin() {
	j.onAdmin = true
	j.run()
	j.onAdmin = false
	if !j.again {
		j.finish()
		return
	}
	j.again = false
	bytebufferpool.Put(j.body)
	resetResponse(&j.ctx)
	l := j.ex.l
	l.post(func() {
		if l.eng.lookups.Submit(j.runHere) != nil { // the engine is being closed
			l.submit(j.runHere)
		}
	})
}

// runHere runs the handler where it is called: on a worker, or on the loop if it cannot block.
func (j *localJob) runHere() {
	j.run()
	j.finish()
}

// finish posts the answer. That of a change waits until every loop has ended the turn it is in: a request that it routed by
// the table before is on its way then, and none comes after it.
func (j *localJob) finish() {
	l := j.ex.l
	if !j.changes || len(l.eng.loops) == 1 {
		l.post(j.done)
		return
	}
	var left atomic.Int32
	left.Store(int32(len(l.eng.loops)))
	for _, k := range l.eng.loops {
		k.post(func() {
			if left.Add(-1) == 0 {
				l.post(j.done)
			}
		})
	}
}

// done goes on with the exchange, on its loop.
func (j *localJob) done() {
	ex, l, changes := j.ex, j.ex.l, j.changes
	j.running = false
	ex.localDone()
	ex.run()
	if changes {
		l.eng.cfg.Store.Prepare()
	}
}

// fill makes a fasthttp request out of ours.
func (ex *exchange) fill(ctx *fasthttp.RequestCtx, withBody bool) {
	h := &ex.head
	ctx.ResetUserValues()
	ctx.Request.Reset()
	ctx.Request.Header.DisableNormalizing()
	resetResponse(ctx)
	ctx.Request.Header.SetMethodBytes(h.Method.In(h.Buf))
	ctx.Request.SetRequestURIBytes(h.Target.In(h.Buf))
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != codec.ContentLength && f.ID != codec.TransferEncoding {
			ctx.Request.Header.AddBytesKV(f.Name.In(h.Buf), f.Value.In(h.Buf))
		}
	}
	if withBody {
		ctx.Request.SetBodyRaw(ex.body.mem)
	}
	if !ex.r.RemoteUnix {
		ctx.SetRemoteAddr(net.TCPAddrFromAddrPort(ex.r.Remote))
	}
}

// resetResponse empties the answer for a handler to fill.
func resetResponse(ctx *fasthttp.RequestCtx) {
	ctx.Response.Reset()
	ctx.Response.Header.DisableNormalizing()
	ctx.Response.Header.SetNoDefaultContentType(true)
}

// run calls the handler on the worker and takes its answer out of fasthttp's hands.
func (j *localJob) run() {
	j.body = bytebufferpool.Get()
	j.stream, j.failed = nil, nil
	defer func() {
		if p := recover(); p != nil {
			j.failed = &handlerPanic{p}
		}
	}()
	j.handler(&j.ctx)
	if j.ctx.Response.IsBodyStream() {
		j.stream = j.ctx.Response.BodyStream()
		j.size = int64(j.ctx.Response.Header.ContentLength())
		j.read()
		return
	}
	_, _ = j.body.Write(j.ctx.Response.Body())
	j.size = int64(j.body.Len())
}

// streamPiece is how much of a streamed body a worker reads at once.
const streamPiece = 128 << 10

// read takes the next piece of a streamed body; called on a worker.
func (j *localJob) read() {
	if cap(j.piece) < streamPiece {
		j.piece = make([]byte, streamPiece)
	}
	n, err := io.ReadFull(j.stream, j.piece[:streamPiece])
	j.piece = j.piece[:n]
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		j.failed = err
	}
}

// localDone writes the head, and the body as far as it is there.
func (ex *exchange) localDone() bool {
	j, l := ex.job, ex.l
	if ex.aborted {
		ex.endJob()
		return ex.to(phDone)
	}
	resp := &j.ctx.Response
	status := resp.StatusCode()
	if j.failed != nil {
		l.eng.logRequest(Err, ex, "cannot answer: "+j.failed.Error())
		ex.endJob()
		return ex.fail(500)
	}
	if j.ctx.UserValue(StockPageKey) != nil {
		ex.endJob()
		return ex.fail(status)
	}
	if j.action.Kind != site.DoReturn {
		status = ex.r.FinalStatus(status)
	}
	dst := ex.beginHead(l.wbuf[:0], status)
	for k, v := range resp.Header.All() {
		switch codec.IDOf(k) {
		case codec.ContentLength, codec.Connection, codec.Server, codec.Date, codec.TransferEncoding:
			continue
		}
		if ex.kept == nil || !ex.keeps(k) {
			dst = codec.AppendFieldLine(dst, k, v)
		}
	}
	if j.stream == nil {
		on := ex.send(dst, j.size, j.body.B)
		ex.endJob()
		return on
	}
	if on := ex.send(dst, j.size, nil); ex.phase != phFlush || ex.r.Method == codec.HEAD {
		ex.endJob()
		return on
	}
	return ex.to(phStream)
}

// stream passes a streamed body on, piece by piece; a worker reads, the client's pace decides.
func (ex *exchange) stream() bool {
	j, c, l := ex.job, ex.c, ex.l
	if j.running {
		return false
	}
	if err := c.flush(); err != 0 {
		ex.endJob()
		return ex.clientFailed(err)
	}
	if c.out.len() > 0 {
		ex.clientBehind()
		return false
	}
	n := int64(len(j.piece))
	if j.failed != nil || n == 0 && j.size > 0 {
		ex.keepConn, ex.cut = false, true
		ex.endJob()
		return ex.to(phDone)
	}
	n = min(n, j.size)
	j.size -= n
	ex.r.BytesSent += n
	ex.r.BodyBytesSent += n
	err := c.write(j.piece[:n])
	if j.size == 0 && ex.ownTrailer && err == 0 {
		ex.aux = ex.appendOwnTrailer(ex.aux[:0], true)
		ex.r.BytesSent += int64(len(ex.aux))
		err = c.write(ex.aux)
	}
	if err != 0 {
		ex.endJob()
		return ex.clientFailed(err)
	}
	if j.size == 0 {
		ex.endJob()
		return ex.to(phFlush)
	}
	j.running = true
	c.noTimeout()
	l.submit(func() {
		j.read()
		l.post(func() {
			j.running = false
			if ex.aborted {
				ex.endJob()
				ex.to(phDone)
			}
			ex.run()
		})
	})
	return false
}

// endJob gives the job back; its stream is closed on a worker.
func (ex *exchange) endJob() {
	j := ex.job
	ex.job = nil
	if j == nil || j.running {
		return
	}
	bytebufferpool.Put(j.body)
	stream := j.stream
	j.body, j.stream, j.ex, j.handler, j.action = nil, nil, nil, nil, site.Action{}
	if stream != nil {
		ex.l.submit(func() {
			_ = j.ctx.Response.CloseBodyStream()
			localJobs.Put(j)
		})
		return
	}
	localJobs.Put(j)
}

// serveEcho answers with the evaluated text of the location's echo directives.
func serveEcho(ctx *fasthttp.RequestCtx) {
	j := jobOf(ctx)
	if t := j.ex.r.Loc.TypeOf(j.path); t != "" {
		ctx.Response.Header.SetContentType(t)
	}
	ctx.SetBody(j.text)
}

// serveReturn answers as the return directive says.
func serveReturn(ctx *fasthttp.RequestCtx) {
	j := jobOf(ctx)
	a := &j.action
	ctx.SetStatusCode(a.Status)
	if a.Location != nil {
		ctx.Response.Header.SetBytesV("Location", bytes.Clone(a.Location))
	}
	if !a.HasBody {
		loc := j.ex.loc()
		ctx.Response.Header.SetContentType("text/html")
		ctx.SetBody(site.AppendErrorPage(nil, a.Status, loc.ServerTokens, j.ex.l.eng.cfg.Version))
		return
	}
	if a.ContentType != nil {
		ctx.Response.Header.SetContentTypeBytes(a.ContentType)
	}
	ctx.SetBody(a.Body)
}

type handlerPanic struct{ v any }

func (p *handlerPanic) Error() string { return "BUG: handler panicked" }
