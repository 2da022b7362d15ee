package engine

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"dyups/engine/site"
)

// serveFile answers GET and HEAD with a file below root, as far as an edge proxy needs it: index files, a redirect for a
// folder, 403, 404, 405, Last-Modified and ETag as nginx forms them.
func serveFile(ctx *fasthttp.RequestCtx) {
	j := jobOf(ctx)
	loc := j.ex.r.Loc
	if !ctx.IsGet() && !ctx.IsHead() {
		stock(ctx, fasthttp.StatusMethodNotAllowed)
		return
	}
	name := string(j.text)
	f, fi, status := openFile(name, loc)
	switch {
	case status == fasthttp.StatusMovedPermanently:
		ctx.SetStatusCode(status)
		ctx.Response.Header.Set("Location", folderRedirect(j))
		ctx.Response.Header.SetContentType("text/html")
		ctx.SetBody(site.AppendErrorPage(nil, status, loc.ServerTokens, j.ex.l.eng.cfg.Version))
		return
	case status != fasthttp.StatusOK:
		stock(ctx, status)
		return
	}
	h := &ctx.Response.Header
	h.SetContentType(loc.TypeOf([]byte(f.Name())))
	mod := fi.ModTime()
	h.Set("Last-Modified", mod.UTC().Format(httpDate))
	etag := `"` + strconv.FormatInt(mod.Unix(), 16) + "-" + strconv.FormatInt(fi.Size(), 16) + `"`
	h.Set("ETag", etag)
	if notModified(ctx, etag, mod) {
		_ = f.Close()
		h.SetContentType("")
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	ctx.SetBodyStream(f, int(fi.Size()))
}

func stock(ctx *fasthttp.RequestCtx, status int) {
	ctx.SetStatusCode(status)
	ctx.SetUserValue(StockPageKey, true)
}

// openFile opens a file, or a folder's index file; a folder asked for without a slash is 301.
func openFile(name string, loc *site.Location) (*os.File, fs.FileInfo, int) {
	if strings.HasSuffix(name, "/") {
		for _, index := range loc.Index {
			if f, fi, status := openFile(name+index, loc); status == fasthttp.StatusOK {
				return f, fi, status
			}
		}
		if _, err := os.Stat(name); err != nil {
			return nil, nil, statusOf(err)
		}
		return nil, nil, fasthttp.StatusForbidden
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, statusOf(err)
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
		_ = f.Close()
		return nil, nil, fasthttp.StatusInternalServerError
	case fi.IsDir():
		_ = f.Close()
		return nil, nil, fasthttp.StatusMovedPermanently
	case !fi.Mode().IsRegular():
		_ = f.Close()
		return nil, nil, fasthttp.StatusNotFound
	}
	return f, fi, fasthttp.StatusOK
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return fasthttp.StatusNotFound
	case errors.Is(err, fs.ErrPermission):
		return fasthttp.StatusForbidden
	}
	return fasthttp.StatusInternalServerError
}

// folderRedirect is the Location for a folder asked for without its slash.
func folderRedirect(j *localJob) string {
	r := &j.ex.r
	to := append(site.AppendEscapedURI(nil, r.URI), '/')
	if len(r.Args) > 0 {
		to = append(append(to, '?'), r.Args...)
	}
	return string(r.AppendAbsolute(nil, to))
}

// notModified evaluates If-None-Match, and without it If-Modified-Since (RFC 9110 section 13.2.2).
func notModified(ctx *fasthttp.RequestCtx, etag string, mod time.Time) bool {
	if m := ctx.Request.Header.Peek("If-None-Match"); len(m) > 0 {
		return string(m) == "*" || strings.Contains(string(m), etag)
	}
	since := string(ctx.Request.Header.Peek("If-Modified-Since"))
	t, err := time.Parse(httpDate, since)
	return err == nil && t.Unix() == mod.Unix() // nginx's if_modified_since exact
}
