package health

import (
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// TestStatusPage: every form says the same of every server that is asked, whatever its upstream is called; filters hide rows.
func TestStatusPage(t *testing.T) {
	began := time.Now().Truncate(time.Millisecond)
	one, two := newBackend(t), newBackend(t)
	two.status.Store(500)
	b := newBench(t)
	b.set(`<a>,"b"`, quick+" port="+one.addr[strings.LastIndexByte(one.addr, ':')+1:]+"; server "+one.addr+"; server "+two.addr+" down;")
	b.set("plain", "server "+one.addr+";")
	b.set("v", quick+"; server "+two.addr+";")
	page := func(method, format, query string) (string, *fasthttp.RequestCtx) {
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.Header.SetMethod(method)
		ctx.Request.SetRequestURI("/status" + query)
		b.c.Handler(b.store, format)(ctx)
		return string(ctx.Response.Body()), ctx
	}
	rows := func(query string) [][]string {
		text, _ := page("GET", "csv", query)
		all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		return all
	}
	b.until("both checks", func() bool {
		r := rows("")
		return len(r) == 2 && r[0][3] == "up" && r[1][5] != "0"
	})
	for _, r := range rows("") {
		n, _ := strconv.Atoi(r[4] + r[5])
		if (r[3] == "up") != (r[5] == "0") || n == 0 {
			t.Errorf("row %q", r)
		}
		r[4], r[5] = "", ""
		_, port, _ := strings.Cut(one.addr, ":")
		want := []string{"0", `<a>,"b"`, one.addr, "up", "", "", "http", port}
		if r[0] == "1" {
			want = []string{"1", "v", two.addr, "down", "", "", "http", "0"}
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("row %q, want %q", r, want)
		}
	}
	if r := rows("?status=down"); len(r) != 1 || r[0][0] != "1" {
		t.Errorf("down: %q", r)
	}
	if r := rows("?status=up"); len(r) != 1 || r[0][0] != "0" {
		t.Errorf("up: %q", r)
	}
	var v struct {
		Servers struct {
			Total      int
			Generation uint64
			Server     []struct {
				Index                        int
				Upstream, Name, Status, Type string
				Since                        time.Time
			}
		}
	}
	for _, query := range []string{"", "?status=up", "?status=down", "?status=odd"} {
		text, ctx := page("GET", "json", query)
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if got := len(v.Servers.Server); got != v.Servers.Total || got != len(rows(query)) || v.Servers.Generation != b.store.Load().Generation() {
			t.Errorf("%s: %s", query, text)
		}
		for _, s := range v.Servers.Server {
			if s.Since.Before(began) || s.Since.After(time.Now()) {
				t.Errorf("%s is %s since %v", s.Name, s.Status, s.Since)
			}
		}
		if s := v.Servers.Server[0]; s.Index == 0 && (s.Upstream != `<a>,"b"` || s.Name != one.addr || s.Status != "up" || s.Type != "http") {
			t.Errorf("%s: %s", query, text)
		}
		if got := string(ctx.Response.Header.ContentType()); got != "application/json" {
			t.Errorf("media type %s", got)
		}
	}
	text, _ := page("GET", "csv", "?format=html&status=down")
	if !strings.Contains(text, "server number: 1,") || strings.Contains(text, one.addr) || !strings.Contains(text, `<tr bgcolor="#FF0000"><td>1</td><td>v</td>`) {
		t.Errorf("page %s", text)
	}
	if text, _ = page("GET", "html", "?format=odd"); !strings.Contains(text, "<td>&lt;a&gt;,&#34;b&#34;</td>") {
		t.Errorf("page %s", text)
	}
	if _, ctx := page("POST", "html", ""); ctx.Response.StatusCode() != 405 {
		t.Errorf("POST: %d", ctx.Response.StatusCode())
	}
}

// TestSince: since when a server is up or down is told again when that turns, and by nothing else: no update, no further check, no other
// way of asking.
func TestSince(t *testing.T) {
	one, two := newBackend(t), newBackend(t)
	b := newBench(t)
	since := func() (text string, up bool, rises int) {
		b.c.mu.Lock()
		defer b.c.mu.Unlock()
		for _, p := range b.c.probers {
			if p.at.label == one.addr {
				return p.since.String(), p.up.Load(), p.rises
			}
		}
		return "", false, 0
	}
	passed := func(n int) func() bool {
		return func() bool { _, up, rises := since(); return up && rises >= n }
	}
	one.status.Store(500) // so that it does not pass before it is looked at
	b.set("u", quick+"; server "+one.addr+";")
	came, up, _ := since()
	if up {
		t.Error("a server is up before it has passed")
	}
	one.status.Store(200)
	b.until("checks to pass", passed(2))
	first, _, _ := since()
	if first == came {
		t.Errorf("up since %s, when it came", first)
	}
	same := func(what string) {
		t.Helper()
		if now, up, _ := since(); now != first || !up {
			t.Errorf("after %s: since %s, before %s; up: %v", what, now, first, up)
		}
	}
	b.until("more checks", passed(4))
	same("more checks")
	b.set("u", quick+"; server "+one.addr+" weight=3; server "+two.addr+";")
	same("an update")
	b.set("u", "check interval=20 timeout=5000 type=tcp; server "+one.addr+";")
	same("another way of asking")
	b.set("u", quick+"; server "+one.addr+";")
	one.status.Store(500)
	b.until("checks to fail", func() bool { _, up, _ := since(); return !up })
	if down, _, _ := since(); down == first {
		t.Errorf("down since %s, and up since then", down)
	}
}
