package codec

import (
	"fmt"
	"strings"
	"testing"
)

// crlf turns "\n" into CRLF, so that the tables below stay readable.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

// requestText prints all that a parse found: the one form in which tests compare heads.
func requestText(h *RequestHead) string {
	var b strings.Builder
	str := func(s Span) string { return string(s.In(h.Buf)) }
	fmt.Fprintf(&b, "%s(%d) %s path=%s", str(h.Method), h.MethodID, str(h.Target), str(h.Path))
	if h.HasQuery {
		fmt.Fprintf(&b, " query=%s", str(h.Query))
	}
	if !h.Scheme.Empty() || !h.Authority.Empty() {
		fmt.Fprintf(&b, " scheme=%s authority=%s", str(h.Scheme), str(h.Authority))
	}
	if h.HasHost {
		fmt.Fprintf(&b, " host=%s", str(h.Host))
	}
	fmt.Fprintf(&b, " minor=%d length=%d", h.Minor, h.ContentLength)
	flag := func(on bool, name string) {
		if on {
			b.WriteString(" " + name)
		}
	}
	flag(h.Chunked, "chunked")
	flag(h.KeepAlive, "keepalive")
	flag(!h.Upgrade.Empty(), "upgrade="+str(h.Upgrade))
	flag(h.ExpectContinue, "expect")
	flag(h.ConnTokens, "conntokens")
	b.WriteString(fieldsText(h.Buf, h.Fields))
	return b.String()
}

func fieldsText(buf []byte, fields []Field) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, " [%s:%s %d", f.Name.In(buf), f.Value.In(buf), f.ID)
		if f.Underscore {
			b.WriteString(" underscore")
		}
		if f.Odd {
			b.WriteString(" odd")
		}
		b.WriteString("]")
	}
	return b.String()
}

// parseRequestEverywhere parses in at every split point and demands one answer: NeedMore until it is final.
func parseRequestEverywhere(t testing.TB, in []byte, lim *Limits) (text string, n int, err *Error) {
	t.Helper()
	var h RequestHead
	n, err = ParseRequest(in, &h, lim)
	text = "n=0"
	if err == nil {
		text = requestText(&h)
		if got := len(h.Buf); got > n || string(h.Buf) != string(in[n-got:n]) {
			t.Fatalf("%q: Buf is %q of %d bytes consumed", in, h.Buf, n)
		}
	}
	final := false
	for k := range len(in) {
		var p RequestHead
		pn, perr := ParseRequest(in[:k], &p, lim)
		switch {
		case perr == NeedMore && !final:
			continue
		case perr != err || pn != n:
			t.Fatalf("%q cut at %d: got %d, %v; the whole gives %d, %v", in, k, pn, perr, n, err)
		case perr == nil && requestText(&p) != text:
			t.Fatalf("%q cut at %d:\n got %s\nwant %s", in, k, requestText(&p), text)
		}
		final = true
	}
	if err == nil && !final && n != len(in) {
		t.Fatalf("%q: consumed %d, but needed all %d bytes", in, n, len(in))
	}
	return text, n, err
}

func TestParseRequest(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		buf := crlf(in)
		got, n, err := parseRequestEverywhere(t, append(buf, "next"...), nil)
		if err != nil || n != len(buf) {
			t.Errorf("%q: consumed %d of %d, error %v", in, n, len(buf), err)
		} else if got != want {
			t.Errorf("%q:\n got %s\nwant %s", in, got, want)
		}
	}
	f("GET / HTTP/1.1\nHost: a\n\n", "GET(1) / path=/ host=a minor=1 length=-1 keepalive [Host:a 1]")
	f("GET / HTTP/1.0\n\n", "GET(1) / path=/ minor=0 length=-1")
	f("GET / HTTP/1.1\nHost:\n\n", "GET(1) / path=/ host= minor=1 length=-1 keepalive [Host: 1]")
	f("GET / HTTP/1.1\nhOST:\t a.b:80 \t\n\n", "GET(1) / path=/ host=a.b:80 minor=1 length=-1 keepalive [hOST:a.b:80 1]")
	f("GET / HTTP/1.7\nHost: a\n\n", "GET(1) / path=/ host=a minor=1 length=-1 keepalive [Host:a 1]")
	f("\n\nGET / HTTP/1.0\n\n", "GET(1) / path=/ minor=0 length=-1")
	f("M-K_X /x HTTP/1.0\n\n", "M-K_X(0) /x path=/x minor=0 length=-1")
	f("GET /   HTTP/1.0\n\n", "GET(1) / path=/ minor=0 length=-1")

	// Targets.
	f("GET /a/b?c=d?e HTTP/1.0\n\n", "GET(1) /a/b?c=d?e path=/a/b query=c=d?e minor=0 length=-1")
	f("GET /a? HTTP/1.0\n\n", "GET(1) /a? path=/a query= minor=0 length=-1")
	f("GET /a#b?c HTTP/1.0\n\n", "GET(1) /a#b?c path=/a minor=0 length=-1")
	f("GET /a?b#c?d HTTP/1.0\n\n", "GET(1) /a?b#c?d path=/a query=b minor=0 length=-1")
	f("GET //h/%zz\xc3\xa9 HTTP/1.0\n\n", "GET(1) //h/%zz\xc3\xa9 path=//h/%zz\xc3\xa9 minor=0 length=-1")
	f("GET http://h HTTP/1.0\n\n", "GET(1) http://h path=/ scheme=http authority=h minor=0 length=-1")
	f("GET HTTPS://[::1]:8/x?y HTTP/1.0\n\n", "GET(1) HTTPS://[::1]:8/x?y path=/x query=y scheme=HTTPS authority=[::1]:8 minor=0 length=-1")
	f("GET http://h?q HTTP/1.0\n\n", "GET(1) http://h?q path=/ query=q scheme=http authority=h minor=0 length=-1")
	f("GET http://h#q HTTP/1.0\n\n", "GET(1) http://h#q path=/ scheme=http authority=h minor=0 length=-1")
	f("GET http://h/ HTTP/1.1\nHost: other\n\n", "GET(1) http://h/ path=/ scheme=http authority=h host=other minor=1 length=-1 keepalive [Host:other 1]")
	f("OPTIONS * HTTP/1.0\n\n", "OPTIONS(6) * path=* minor=0 length=-1")
	f("CONNECT h:443 HTTP/1.0\n\n", "CONNECT(9) h:443 path= scheme= authority=h:443 minor=0 length=-1")
	f("TRACE / HTTP/1.0\n\n", "TRACE(8) / path=/ minor=0 length=-1")

	// Fields.
	f("GET / HTTP/1.0\nx_y: 1\na.b: 2\n(c@\x80): 3\nX-1: \ttab\tin \xe9 \n\n", "GET(1) / path=/ minor=0 length=-1"+
		" [x_y:1 0 underscore] [a.b:2 0 odd] [(c@\x80):3 0 odd] [X-1:tab\tin \xe9 0]")
	f("GET / HTTP/1.0\nX-Accel-Redirect: /x\nX-Pad: a\nTe: a\nX-Accel: b\ncontent_length: 7\n\n", "GET(1) / path=/ minor=0 length=-1"+
		" [X-Accel-Redirect:/x 21] [X-Pad:a 21] [Te:a 8] [X-Accel:b 0] [content_length:7 0 underscore]")

	// Connection.
	f("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", "GET(1) / path=/ minor=0 length=-1 keepalive [Connection:Keep-Alive 2]")
	f("GET / HTTP/1.1\nHost: a\nConnection: x, CLOSE ,,\n\n",
		"GET(1) / path=/ host=a minor=1 length=-1 conntokens [Host:a 1] [Connection:x, CLOSE ,, 2]")
	f("GET / HTTP/1.0\nConnection: keep-alive\nConnection: close\n\n",
		"GET(1) / path=/ minor=0 length=-1 [Connection:keep-alive 2] [Connection:close 2]")
	f("GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: keep-alive, Upgrade\n\n",
		"GET(1) / path=/ host=a minor=1 length=-1 keepalive upgrade=websocket [Host:a 1] [Upgrade:websocket 10] [Connection:keep-alive, Upgrade 2]")
	f("GET / HTTP/1.1\nHost: a\nUpgrade: websocket\n\n",
		"GET(1) / path=/ host=a minor=1 length=-1 keepalive [Host:a 1] [Upgrade:websocket 10]")
	f("GET / HTTP/1.0\nUpgrade: websocket\nConnection: upgrade\nExpect: 100-continue\n\n",
		"GET(1) / path=/ minor=0 length=-1 [Upgrade:websocket 10] [Connection:upgrade 2] [Expect:100-continue 11]")

	// Framing.
	f("POST / HTTP/1.1\nHost: a\nContent-Length: 9223372036854775807\nExpect: 100-Continue\n\n",
		"POST(3) / path=/ host=a minor=1 length=9223372036854775807 keepalive expect [Host:a 1] [Content-Length:9223372036854775807 3] [Expect:100-Continue 11]")
	f("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\n\n",
		"POST(3) / path=/ host=a minor=1 length=-1 chunked keepalive [Host:a 1] [Transfer-Encoding:Chunked 4]")
}

func TestParseRequestLineEnds(t *testing.T) {
	const want = "GET(1) / path=/ host=a minor=1 length=-1 keepalive [Host:a 1] [B:c 0]"
	f := func(in string) {
		t.Helper()
		if got, n, err := parseRequestEverywhere(t, []byte(in), nil); err != nil || got != want || n != len(in) {
			t.Errorf("%q: %d, %v, %s", in, n, err, got)
		}
	}
	f("GET / HTTP/1.1\nHost: a\nB: c\n\n")
	f("GET / HTTP/1.1\r\nHost: a\nB: c\r\n\n")
	f("\n\r\nGET / HTTP/1.1\nHost: a\r\nB:c\t\n\r\n")
}

// Every way to smuggle a request, or to be unclear about where one ends, has to end in an error.
func TestParseRequestErrors(t *testing.T) {
	f := func(in string, status int, want *Error) {
		t.Helper()
		_, _, err := parseRequestEverywhere(t, crlf(in), nil)
		if err != want || err.Status != status {
			t.Errorf("%q: got %v, want %d %v", in, err, status, want)
		}
	}
	// Request line.
	f("get / HTTP/1.1\n", 400, errMethod)
	f("x", 400, errMethod)
	f(" GET / HTTP/1.1\n", 400, errMethod)
	f("GET\t/ HTTP/1.1\n", 400, errMethod)
	f("GET1 / HTTP/1.1\n", 400, errMethod)
	f("\x16\x03\x01", 400, errMethod)
	f("GET\n", 400, errMethod)
	f("GET  / HTTP/1.1\n", 400, errTarget)
	f("GET x HTTP/1.1\n", 400, errTarget)
	f("GET * HTTP/1.1\n", 400, errTarget)
	f("PRI * HTTP/2.0\n", 400, errTarget)
	f("GET /\x00 HTTP/1.1\n", 400, errTarget)
	f("GET /\t HTTP/1.1\n", 400, errTarget)
	f("GET /\x7f HTTP/1.1\n", 400, errTarget)
	f("GET #a HTTP/1.1\n", 400, errTarget)
	f("GET ftp://a/ HTTP/1.1\n", 400, errTarget)
	f("GET http:/a HTTP/1.1\n", 400, errTarget)
	f("GET http:///a HTTP/1.1\n", 400, errTarget)
	f("GET http://u@a/ HTTP/1.1\n", 400, errTarget)
	f("GET http://a\\b/ HTTP/1.1\n", 400, errTarget)
	f("CONNECT / HTTP/1.1\n", 400, errTarget)
	f("CONNECT a HTTP/1.1\n", 400, errTarget)
	f("CONNECT a: HTTP/1.1\n", 400, errTarget)
	f("CONNECT :1 HTTP/1.1\n", 400, errTarget)
	f("CONNECT a:b HTTP/1.1\n", 400, errTarget)
	f("CONNECT http://a:1 HTTP/1.1\n", 400, errTarget)
	f("OPTIONS *a HTTP/1.1\n", 400, errTarget)
	f("GET /\n", 400, errVersion)
	f("GET http://a\n", 400, errVersion)
	f("GET / \n", 400, errVersion)
	f("GET / HTTP/0.9\n", 400, errVersion)
	f("GET / HTTP/1\n", 400, errVersion)
	f("GET / HTTP/1.\n", 400, errVersion)
	f("GET / HTTP/1.10\n", 400, errVersion)
	f("GET / HTTP/1.1 \n", 400, errVersion)
	f("GET / http/1.1\n", 400, errVersion)
	f("GET / x HTTP/1.1\n", 400, errVersion)
	f("GET / HTTP/2.0\n", 505, errVersionSupport)
	f("GET / HTTP/3\n", 505, errVersionSupport)
	f("GET / HTTP/1.1\rX", 400, errBareCR)
	f("\rGET / HTTP/1.1\n", 400, errBareCR)

	// Field lines.
	const line = "GET / HTTP/1.1\nHost: a\n"
	f(line+" b: c\n", 400, errFold)
	f(line+"\tb: c\n", 400, errFold)
	f("GET / HTTP/1.1\n Host: a\n\n", 400, errFold)
	f(line+"X: a\n b\n\n", 400, errFold)
	f(line+"b : c\n", 400, errFieldSpace)
	f(line+"b\t: c\n", 400, errFieldSpace)
	f(line+"b c: d\n", 400, errFieldSpace)
	f(line+":b\n", 400, errFieldName)
	f(line+"b\x00: c\n", 400, errFieldName)
	f(line+"Transfer-Encoding\x0b: chunked\n", 400, errFieldName)
	f(line+"b\x7f: c\n", 400, errFieldName)
	f(line+"b\n", 400, errFieldColon)
	f(line+"b: c\x00d\n", 400, errFieldValue)
	f(line+"b: \x01\n", 400, errFieldValue)
	f(line+"b: cdefghijklmnop\x1fqr\n", 400, errFieldValue)
	f(line+"b: \x7f\n", 400, errFieldValue)
	f(line+"b: c\rd: e\n", 400, errBareCR)
	f(line+"b\rc: e\n", 400, errBareCR)
	f(line+"b: c\r\n", 400, errBareCR)
	f(line+"\rX", 400, errBareCR)

	// Host.
	f("GET / HTTP/1.1\n\n", 400, errNoHost)
	f("GET http://a/ HTTP/1.1\n\n", 400, errNoHost)
	f(line+"Host: a\n\n", 400, errHostRepeated)
	f("GET / HTTP/1.0\nHost: a\nhost: b\nHOST: c\n\n", 400, errHostRepeated)

	// Framing, RFC 9112 section 6.
	f(line+"Content-Length:\n\n", 400, errLength)
	f(line+"Content-Length: +5\n\n", 400, errLength)
	f(line+"Content-Length: -5\n\n", 400, errLength)
	f(line+"Content-Length: 5, 5\n\n", 400, errLength)
	f(line+"Content-Length: 5 5\n\n", 400, errLength)
	f(line+"Content-Length: 0x5\n\n", 400, errLength)
	f(line+"Content-Length: 5.0\n\n", 400, errLength)
	f(line+"Content-Length: \xd9\xa5\n\n", 400, errLength)
	f(line+"Content-Length: 9223372036854775808\n\n", 400, errLength)
	f(line+"Content-Length: 18446744073709551621\n\n", 400, errLength)
	f(line+"Content-Length: 5\nContent-Length: 5\n\n", 400, errLengthRepeated)
	f(line+"Content-Length: 5\ncontent-LENGTH: 6\n\n", 400, errLengthRepeated)
	f(line+"Transfer-Encoding: chunked\nContent-Length: 5\n\n", 400, errCodingLength)
	f(line+"Content-Length: 0\nTransfer-Encoding: chunked\n\n", 400, errCodingLength)
	f(line+"Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", 400, errCodingRepeated)
	f(line+"Transfer-Encoding: identity\nTransfer-Encoding: chunked\n\n", 400, errCodingRepeated)
	f(line+"Transfer-Encoding: identity\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: gzip, chunked\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: chunked, identity\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: chunked, chunked\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: chunked,\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: \"chunked\"\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding: xchunked\n\n", 501, errCodingUnknown)
	f(line+"Transfer-Encoding:\n\n", 501, errCodingUnknown)
	f("GET / HTTP/1.0\nTransfer-Encoding: chunked\n\n", 400, errCodingVersion)
	f("GET / HTTP/1.0\nTransfer-Encoding: identity\n\n", 400, errCodingVersion)

	// Unfinished.
	f("", 0, NeedMore)
	f("\n", 0, NeedMore)
	f("GET", 0, NeedMore)
	f("GET http://a", 0, NeedMore)
	f(line, 0, NeedMore)
	f(line+"\r", 0, NeedMore)
	f(line+"X", 0, NeedMore)
}

func TestParseRequestLimits(t *testing.T) {
	f := func(in string, lim Limits, want *Error) {
		t.Helper()
		if _, _, err := parseRequestEverywhere(t, crlf(in), &lim); err != want {
			t.Errorf("%q %+v: got %v, want %v", in, lim, err, want)
		}
	}
	const head = "GET /12 HTTP/1.0\nA: 23456\nBc: 34\n\n" // 18, 10, 8 and 2 bytes
	f(head, Limits{Line: 18, Field: 10, Total: 38, Count: 2}, nil)
	f(head, Limits{Line: 17}, errLineTooLong)
	f(head, Limits{Field: 9}, errHeadTooLarge)
	f(head, Limits{Total: 37}, errHeadTooLarge)
	f(head, Limits{Total: 17}, errHeadTooLarge)
	f(head, Limits{Count: 1}, errTooManyFields)
	f(head, Limits{Line: 9, Field: 1}, errLineTooLong)
	// Without an end in sight, the limit ends it.
	f("GET /"+strings.Repeat("a", 20), Limits{Line: 20}, errLineTooLong)
	f("GET / HTTP/1.0\n"+strings.Repeat("a", 20), Limits{Field: 20}, errHeadTooLarge)
	f("GET / HTTP/1.0\na:"+strings.Repeat("\t ", 10), Limits{Field: 20}, errHeadTooLarge)
	f("GET / HTTP/1.0\n"+strings.Repeat("a:b\n", 10), Limits{Total: 40}, errHeadTooLarge)
	f(strings.Repeat("\n", 10), Limits{Total: 20}, NeedMore)
	f(strings.Repeat("\n", 11), Limits{Total: 20}, errHeadTooLarge)
	// A wrong byte in front of the limit is found first, one behind it never.
	f("GET /\x00234567890", Limits{Line: 10}, errTarget)
	f("GET /67890\x00", Limits{Line: 10}, errLineTooLong)
}

func TestRequestHeadReuse(t *testing.T) {
	var h RequestHead
	for range 3 {
		if _, err := ParseRequest([]byte(browserRequest), &h, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRequest([]byte("GET / HTTP/1.0\r\n\r\n"), &h, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := requestText(&h), "GET(1) / path=/ minor=0 length=-1"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestEffectiveHost(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var h RequestHead
		if _, err := ParseRequest(crlf(in), &h, nil); err != nil || string(h.EffectiveHost()) != want {
			t.Errorf("%q: got %q, %v, want %q", in, h.EffectiveHost(), err, want)
		}
	}
	f("GET / HTTP/1.1\nHost: b\n\n", "b")
	f("GET http://a/ HTTP/1.1\nHost: b\n\n", "a")
	f("GET / HTTP/1.0\n\n", "")
}

func TestFieldNamed(t *testing.T) {
	var h RequestHead
	if _, err := ParseRequest(crlf("GET / HTTP/1.1\nHost: b\nX-a: 1\nx-A: 2\nE:\n\n"), &h, nil); err != nil {
		t.Fatal(err)
	}
	f := func(name, want string, found bool) {
		t.Helper()
		if v := h.FieldNamed(name); string(v) != want || (v != nil) != found {
			t.Errorf("%q: got %q", name, v)
		}
	}
	f("x-a", "1", true)
	f("HOST", "b", true)
	f("e", "", true)
	f("X-B", "", false)
}

func TestParseDoesNotAllocate(t *testing.T) {
	var req RequestHead
	var resp ResponseHead
	request, response := []byte(browserRequest), []byte(typicalResponse)
	chunked := []byte("5\r\nhello\r\n0\r\nA: b\r\n\r\n")
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		ParseRequest(request, &req, &benchLimits)
		ParseRequest(request[:300], &req, &benchLimits)
		ParseResponse(response, &resp, &benchLimits)
		var d Chunked
		d.Next(chunked)
		if ParseRequest(request, &req, &benchLimits); req.HopByHop(&req.Fields[2]) || resp.HopByHop(&resp.Fields[0]) {
			t.Error("wrong hop")
		}
		out = AppendStatusLine(AppendRequestLine(out[:0], "GET", "/", 1), 200, Reason(200))
		for i := range req.Fields {
			out = AppendField(out, req.Buf, &req.Fields[i])
		}
		out = AppendFieldLine(AppendUint(AppendChunkHeader(out, 1), 77), "a", req.FieldNamed("cookie"))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
