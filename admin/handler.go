package admin

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"dyups/upstream"
)

// StockPageKey is set as a user value (to true) on the one answer that is not the interface's own: GET of the whole
// path "/". Its status is 404 and its body empty; the server sends its stock error page instead.
const StockPageKey = "stockpage"

// HandlerOptions are those of one place where the interface is mounted. The zero value mounts it at the root of a plain
// fasthttp server.
type HandlerOptions struct {
	// Prefix is the path under which the interface stands, such as "/dyups/" or "/dyups". It is stripped from the path
	// at a segment boundary, case counts; a path that does not begin with it is taken as it is. "" and "/": none.
	Prefix string
	// DetailFull makes GET /detail print every parameter of a server, as the module does since 2018.
	DetailFull bool
	// Path gives the decoded, normalised path of a request; the result is only read during the call. Nil:
	// (*fasthttp.RequestCtx).Path.
	Path func(*fasthttp.RequestCtx) []byte
	// HasBody tells a request without a body from one with an empty body. Nil: a request has a body if it carries
	// Content-Length (0 too) or Transfer-Encoding: chunked.
	HasBody func(*fasthttp.RequestCtx) bool
	// OnWriter tells that the handler runs by way of Run, on the writer or on a loop, and must not block. Nil: it never does.
	OnWriter func(*fasthttp.RequestCtx) bool
	// Elsewhere asks for the same request to be handled once more where it may block, instead of what was answered.
	Elsewhere func(*fasthttp.RequestCtx)
}

// Handler makes the handler of one place where the interface is mounted. It blocks while host names are looked up and
// until a command is published, so on an event loop it must only run by way of Run, with OnWriter and Elsewhere, and there
// only for what is not GET. The request body has to be there as a whole. It is safe for concurrent use.
func (a *Admin) Handler(opt HandlerOptions) fasthttp.RequestHandler {
	opt.Prefix = strings.TrimRight(opt.Prefix, "/")
	if opt.Path == nil {
		opt.Path = (*fasthttp.RequestCtx).Path
	}
	if opt.HasBody == nil {
		opt.HasBody = hasBody
	}
	if opt.OnWriter == nil {
		opt.OnWriter = func(*fasthttp.RequestCtx) bool { return false }
	}
	m := &mount{admin: a, opt: opt}
	return m.serve
}

func hasBody(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	if len(ctx.Request.Body()) > 0 {
		return true
	}
	raw := h.RawHeaders()
	if len(raw) == 0 { // not read from a connection
		return len(h.Peek(fasthttp.HeaderContentLength)) > 0 || h.ContentLength() == -1
	}
	// Having read a head with neither field, fasthttp sets Content-Length to 0.
	for line := range bytes.Lines(raw) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if foldEqual(name, "content-length") || foldEqual(name, "transfer-encoding") {
			return true
		}
	}
	return false
}

// mount is one place where the interface stands.
type mount struct {
	admin *Admin
	opt   HandlerOptions
}

func (m *mount) serve(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetNoDefaultContentType(true)
	whole := m.opt.Path(ctx)
	p := splitPath(trimPrefix(whole, m.opt.Prefix))
	switch string(ctx.Method()) {
	case fasthttp.MethodGet:
		if string(whole) == "/" {
			ctx.SetUserValue(StockPageKey, true)
		}
		m.get(ctx, p)
	case fasthttp.MethodPost:
		m.post(ctx, p)
	case fasthttp.MethodDelete:
		m.delete(ctx, p)
	default:
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
	}
}

// post checks in the module's order: no body at all, then the path, then the body.
func (m *mount) post(ctx *fasthttp.RequestCtx, p route) {
	switch {
	case !m.opt.HasBody(ctx):
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	case p.segments != 2:
		answer(ctx, 404, "not support this interface")
	case !p.is("upstream"):
		answer(ctx, 404, "not support this api")
	default:
		name := string(p.name)
		if !m.opt.OnWriter(ctx) {
			m.answer(ctx, name, m.admin.Update(name, ctx.Request.Body()))
			return
		}
		err := m.admin.updateHere(name, ctx.Request.Body())
		if err == upstream.ErrLengthy {
			m.opt.Elsewhere(ctx)
			return
		}
		m.answer(ctx, name, err)
	}
}

// delete answers a wrong path with 405 where post says 404, as the module does.
func (m *mount) delete(ctx *fasthttp.RequestCtx, p route) {
	switch {
	case p.segments != 2:
		answer(ctx, 405, "not support this interface")
	case !p.is("upstream"):
		answer(ctx, 405, "not support this api")
	default:
		name := string(p.name)
		if m.opt.OnWriter(ctx) {
			m.answer(ctx, name, m.admin.applyHere(upstream.Change{Name: name, Source: source}, len(name)))
			return
		}
		m.answer(ctx, name, m.admin.Delete(name))
	}
}

// answer sends the outcome of a command and logs the refused ones: the client may be a script that looks at nothing.
func (m *mount) answer(ctx *fasthttp.RequestCtx, name string, err error) {
	status, text := outcome(err)
	answer(ctx, status, text)
	switch {
	case err == nil || status == 404:
	case errors.Is(err, ErrQueueFull):
		m.admin.log(levelInfo, fmt.Sprintf("dyups: %s upstream %q put off: %v", ctx.Method(), name, err))
	default:
		m.admin.log(levelError, fmt.Sprintf("dyups: %s upstream %q refused: %v", ctx.Method(), name, err))
	}
}

func answer(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.Response.SetBodyString(text)
}

// route is a path below the mount, cut at "/". An empty segment counts for nothing, so a trailing slash adds none.
type route struct {
	segments int
	first    []byte
	name     []byte // the second segment
}

// is compares the first segment without regard to ASCII case.
func (p route) is(word string) bool { return foldEqual(p.first, word) }

// foldEqual compares bytes with a word in lower case; only ASCII letters fold.
func foldEqual(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func splitPath(path []byte) (p route) {
	for len(path) > 0 {
		seg, rest, _ := bytes.Cut(path, []byte("/"))
		path = rest
		if len(seg) == 0 {
			continue
		}
		switch p.segments {
		case 0:
			p.first = seg
		case 1:
			p.name = seg
		}
		p.segments++
	}
	return p
}

// trimPrefix strips prefix, which has no trailing slash, where path has it as whole segments.
func trimPrefix(path []byte, prefix string) []byte {
	rest, ok := bytes.CutPrefix(path, []byte(prefix))
	if ok && (len(rest) == 0 || rest[0] == '/') {
		return rest
	}
	return path
}
