package codec

import (
	"fmt"
	"strings"
	"testing"
)

func responseText(h *ResponseHead) string {
	var b strings.Builder
	fmt.Fprintf(&b, "minor=%d %d %q length=%d", h.Minor, h.Status, h.Reason.In(h.Buf), h.ContentLength)
	flag := func(on bool, name string) {
		if on {
			b.WriteString(" " + name)
		}
	}
	flag(h.Chunked, "chunked")
	flag(h.KeepAlive, "keepalive")
	flag(!h.Upgrade.Empty(), "upgrade="+string(h.Upgrade.In(h.Buf)))
	flag(h.ConnTokens, "conntokens")
	b.WriteString(fieldsText(h.Buf, h.Fields))
	return b.String()
}

func parseResponseEverywhere(t testing.TB, in []byte, lim *Limits) (text string, n int, err *Error) {
	t.Helper()
	var h ResponseHead
	n, err = ParseResponse(in, &h, lim)
	if err == nil {
		text = responseText(&h)
		if string(h.Buf) != string(in[:n]) {
			t.Fatalf("%q: Buf is %q of %d bytes consumed", in, h.Buf, n)
		}
	}
	final := false
	for k := range len(in) {
		var p ResponseHead
		pn, perr := ParseResponse(in[:k], &p, lim)
		switch {
		case perr == NeedMore && !final:
			continue
		case perr != err || pn != n:
			t.Fatalf("%q cut at %d: got %d, %v; the whole gives %d, %v", in, k, pn, perr, n, err)
		case perr == nil && responseText(&p) != text:
			t.Fatalf("%q cut at %d:\n got %s\nwant %s", in, k, responseText(&p), text)
		}
		final = true
	}
	return text, n, err
}

func TestParseResponse(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		for _, buf := range [][]byte{[]byte(in), crlf(in)} {
			got, n, err := parseResponseEverywhere(t, append(buf, "next"...), nil)
			if err != nil || n != len(buf) {
				t.Errorf("%q: consumed %d of %d, error %v", buf, n, len(buf), err)
			} else if got != want {
				t.Errorf("%q:\n got %s\nwant %s", buf, got, want)
			}
		}
	}
	f("HTTP/1.1 200 OK\n\n", `minor=1 200 "OK" length=-1 keepalive`)
	f("HTTP/1.1 200\n\n", `minor=1 200 "" length=-1 keepalive`)
	f("HTTP/1.1 200 \n\n", `minor=1 200 "" length=-1 keepalive`)
	f("HTTP/1.0 404 Not\tFound \xff\n\n", `minor=0 404 "Not\tFound \xff" length=-1`)
	f("HTTP/1.0 200 OK\nConnection: keep-alive\n\n", `minor=0 200 "OK" length=-1 keepalive [Connection:keep-alive 2]`)
	f("HTTP/1.1 999 x\nConnection: close, foo\n\n", `minor=1 999 "x" length=-1 conntokens [Connection:close, foo 2]`)
	f("HTTP/1.1 101 S\nUpgrade: a\nConnection: Upgrade\n\n",
		`minor=1 101 "S" length=-1 keepalive upgrade=a [Upgrade:a 10] [Connection:Upgrade 2]`)
	f("HTTP/1.1 200 OK\nContent-Length: 007\n\n", `minor=1 200 "OK" length=7 keepalive [Content-Length:007 3]`)
	f("HTTP/1.1 200 OK\nTransfer-Encoding: CHUNKED\n\n", `minor=1 200 "OK" length=-1 chunked keepalive [Transfer-Encoding:CHUNKED 4]`)
	f("HTTP/1.0 200 OK\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n",
		`minor=0 200 "OK" length=-1 chunked [Connection:keep-alive 2] [Transfer-Encoding:chunked 4]`)
	f("HTTP/1.1 200 OK\nHost: a\nHost: b\nx_y: \n@: 1\n\n",
		`minor=1 200 "OK" length=-1 keepalive [Host:a 1] [Host:b 1] [x_y: 0 underscore] [@:1 0 odd]`)
}

func TestParseResponseErrors(t *testing.T) {
	f := func(in string, want *Error) {
		t.Helper()
		if _, _, err := parseResponseEverywhere(t, crlf(in), nil); err != want {
			t.Errorf("%q: got %v, want %v", in, err, want)
		}
	}
	f("<html>", errVersion)
	f("\nHTTP/1.1 200 OK\n\n", errVersion)
	f("ICY 200 OK\n\n", errVersion)
	f("HTTP/2 200\n\n", errVersionSupport)
	f("HTTP/1.1\n", errStatusLine)
	f("HTTP/1.1  200 OK\n\n", errStatusLine)
	f("HTTP/1.1 20 OK\n\n", errStatusLine)
	f("HTTP/1.1 2000 OK\n\n", errStatusLine)
	f("HTTP/1.1 099 OK\n\n", errStatusLine)
	f("HTTP/1.1 -20 OK\n\n", errStatusLine)
	f("HTTP/1.1 2x0 OK\n\n", errStatusLine)
	f("HTTP/1.1 200OK\n\n", errStatusLine)
	f("HTTP/1.1 200 O\x00K\n\n", errStatusLine)
	f("HTTP/1.1 200 O\x7fK\n\n", errStatusLine)
	f("HTTP/1.1 200 OK\rX: y\n\n", errBareCR)
	const line = "HTTP/1.1 200 OK\n"
	f(line+"X : y\n", errFieldSpace)
	f(line+" X: y\n", errFold)
	f(line+"X: y\n z\n", errFold)
	f(line+"X: y\x00\n", errFieldValue)
	f(line+"Content-Length: x\n", errLength)
	f(line+"Content-Length:\n", errLength)
	f(line+"Content-Length: 1, 1\n", errLength)
	f(line+"Content-Length: 1\nContent-Length: 1\n", errLengthRepeated)
	f(line+"Content-Length: 1\nTransfer-Encoding: chunked\n\n", errCodingLength)
	f(line+"Transfer-Encoding: chunked\nContent-Length: 1\n\n", errCodingLength)
	f(line+"Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", errCodingRepeated)
	f(line+"Transfer-Encoding: gzip\n\n", errCodingUnknown)
	f(line+"Transfer-Encoding: gzip, chunked\n\n", errCodingUnknown)
	f(line, NeedMore)
	f("HTTP/1.1 20", NeedMore)
	f("", NeedMore)
}

func TestParseResponseLimits(t *testing.T) {
	f := func(in string, lim Limits, want *Error) {
		t.Helper()
		if _, _, err := parseResponseEverywhere(t, crlf(in), &lim); err != want {
			t.Errorf("%q %+v: got %v, want %v", in, lim, err, want)
		}
	}
	f("HTTP/1.1 200 OK\n\n", Limits{Line: 17, Total: 19}, nil)
	f("HTTP/1.1 200 OK\n\n", Limits{Line: 16}, errLineTooLong)
	f("HTTP/1.1 200 OK\n\n", Limits{Total: 18}, errHeadTooLarge)
	f("HTTP/1.1 200 "+strings.Repeat("x", 100), Limits{Line: 100}, errLineTooLong)
}

func TestBodyKind(t *testing.T) {
	f := func(in string, request Method, want Body, wantN int64) {
		t.Helper()
		var h ResponseHead
		if _, err := ParseResponse(crlf(in), &h, nil); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if got, n := h.BodyKind(request); got != want || n != wantN {
			t.Errorf("%q: got %d, %d", in, got, n)
		}
	}
	const length, chunked = "\nContent-Length: 5\n\n", "\nTransfer-Encoding: chunked\n\n"
	f("HTTP/1.1 200 OK\n\n", GET, BodyUntilClose, 0)
	f("HTTP/1.1 200 OK"+length, GET, BodyLength, 5)
	f("HTTP/1.1 200 OK"+chunked, POST, BodyChunked, 0)
	f("HTTP/1.1 200 OK"+length, HEAD, BodyNone, 0)
	f("HTTP/1.1 200 OK"+chunked, HEAD, BodyNone, 0)
	f("HTTP/1.1 204 No"+chunked, GET, BodyNone, 0)
	f("HTTP/1.1 304 No"+length, GET, BodyNone, 0)
	f("HTTP/1.1 100 Continue"+length, GET, BodyNone, 0)
	f("HTTP/1.1 101 S\n\n", GET, BodyNone, 0)
	f("HTTP/1.1 205 R"+length, GET, BodyLength, 5)
	f("HTTP/1.1 200 OK"+chunked, CONNECT, BodyNone, 0)
	f("HTTP/1.1 400 No"+length, CONNECT, BodyLength, 5)

	g := func(in string, want Body, wantN int64) {
		t.Helper()
		var h RequestHead
		if _, err := ParseRequest(crlf(in), &h, nil); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if got, n := h.BodyKind(); got != want || n != wantN {
			t.Errorf("%q: got %d, %d", in, got, n)
		}
	}
	g("GET / HTTP/1.0\n\n", BodyNone, 0)
	g("GET / HTTP/1.0\nContent-Length: 0\n\n", BodyLength, 0)
	g("HEAD / HTTP/1.1\nHost: a\nContent-Length: 7\n\n", BodyLength, 7)
	g("GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n", BodyChunked, 0)
}
