package health

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"dyups/upstream"
)

// Formats are the forms of the status page, the values of check_status; the first is the default.
var Formats = []string{"html", "csv", "json"}

// status is a row of the status page: one check of one server of one upstream.
type status struct {
	index          int // among all rows, those included that a filter hides
	upstream, name string
	up             bool
	rise, fall     int       // checks in a row that it has passed, or failed
	since          time.Time // when it came to be so; zero: not known
	kind           string
	title          string // what tells the check from others
	plus           bool   // it is a health_check
	port           uint16 // 0: the server's own
}

func (s *status) word() string {
	if s.up {
		return "up"
	}
	return "down"
}

// sinceText is since as a time of RFC 3339, in UTC and to the millisecond.
func (s *status) sinceText() string {
	if s.since.IsZero() {
		return ""
	}
	return s.since.UTC().Format("2006-01-02T15:04:05.000Z")
}

// Handler answers with the state of all servers that are asked, as check_status of nginx_upstream_check_module does: in format,
// or in that of the argument "format"; those only that are as the argument "status" ("up", "down") says. The generation is that
// of the table. The JSON form also has since when a server is up or down: a time of RFC 3339, which no update of the upstream, of its
// other servers or of the way of asking changes; and what the check is, as a server has a row for each of its checks. No row has a
// word about others: a server gets requests when all of its rows are up.
func (c *Checker) Handler(store *upstream.Store, format string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !ctx.IsGet() && !ctx.IsHead() {
			ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
			ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
			return
		}
		table := store.Load()
		rows := c.statuses(table, string(ctx.QueryArgs().Peek("status")))
		form := string(ctx.QueryArgs().Peek("format"))
		if !slices.Contains(Formats, form) {
			form = format
		}
		var b bytes.Buffer
		switch form {
		case "csv":
			ctx.SetContentType("text/plain")
			writeCSV(&b, rows)
		case "json":
			ctx.SetContentType("application/json")
			writeJSON(&b, rows, table.Generation())
		default:
			ctx.SetContentType("text/html")
			writeHTML(&b, rows, table.Generation())
		}
		ctx.Response.SetBodyRaw(b.Bytes())
	}
}

// statuses gives the rows whose word is only; any other text hides none.
func (c *Checker) statuses(t *upstream.Table, only string) []status {
	var rows []status
	index := 0
	c.mu.Lock()
	defer c.mu.Unlock()
	t.All(func(u *upstream.Upstream) bool {
		for _, s := range u.Servers {
			if !checked(u, s) {
				continue
			}
			for _, check := range u.Checks {
				r := status{index: index, upstream: u.Name, name: s.Label, up: !s.State.Barred(), kind: check.Type.String(), title: check.Title(), plus: check.Plus, port: check.Port}
				index++
				if p := c.probers[targetOf(s, check)]; p != nil {
					r.up, r.rise, r.fall, r.since = p.up.Load(), p.rises, p.falls, p.since
				}
				if only != "up" && only != "down" || only == r.word() {
					rows = append(rows, r)
				}
			}
		}
		return true
	})
	return rows
}

func writeCSV(b *bytes.Buffer, rows []status) {
	w := csv.NewWriter(b)
	for i := range rows {
		r := &rows[i]
		_ = w.Write([]string{strconv.Itoa(r.index), r.upstream, r.name, r.word(), strconv.Itoa(r.rise), strconv.Itoa(r.fall),
			r.kind, strconv.Itoa(int(r.port))})
	}
	w.Flush()
}

func writeJSON(b *bytes.Buffer, rows []status, generation uint64) {
	quote := func(s string) []byte {
		q, err := json.Marshal(s)
		if err != nil {
			panic("BUG: cannot quote a string: " + err.Error())
		}
		return q
	}
	fmt.Fprintf(b, "{\"servers\": {\n  \"total\": %d,\n  \"generation\": %d,\n  \"server\": [\n", len(rows), generation)
	for i := range rows {
		r := &rows[i]
		comma := ","
		if i == len(rows)-1 {
			comma = ""
		}
		fmt.Fprintf(b, "    {\"index\": %d, \"upstream\": %s, \"name\": %s, \"status\": %q, \"rise\": %d, \"fall\": %d, \"type\": %q, \"port\": %d, \"since\": %q, \"check\": %s}%s\n",
			r.index, quote(r.upstream), quote(r.name), r.word(), r.rise, r.fall, r.kind, r.port, r.sinceText(), quote(r.title), comma)
	}
	b.WriteString("  ]\n}}\n")
}

func writeHTML(b *bytes.Buffer, rows []status, generation uint64) {
	const title = "Upstream check status"
	fmt.Fprintf(b, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>%s</title>\n</head>\n<body>\n<h1>%s</h1>\n", title, title)
	fmt.Fprintf(b, "<h2>Check upstream server number: %d, generation: %d</h2>\n<table border=\"1\">\n<tr>", len(rows), generation)
	for _, h := range []string{"Index", "Upstream", "Name", "Status", "Rise counts", "Fall counts", "Check type", "Check port"} {
		fmt.Fprintf(b, "<th>%s</th>", h)
	}
	b.WriteString("</tr>\n")
	for i := range rows {
		r := &rows[i]
		kind := r.kind
		if r.plus {
			kind = r.title
		}
		colour := ""
		if !r.up {
			colour = " bgcolor=\"#FF0000\""
		}
		fmt.Fprintf(b, "<tr%s><td>%d</td><td>%s</td><td>%s</td><td>%s</td><td>%d</td><td>%d</td><td>%s</td><td>%d</td></tr>\n",
			colour, r.index, html.EscapeString(r.upstream), html.EscapeString(r.name), r.word(), r.rise, r.fall, html.EscapeString(kind), r.port)
	}
	b.WriteString("</table>\n</body>\n</html>\n")
}
