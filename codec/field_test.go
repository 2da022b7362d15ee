package codec

import (
	"strings"
	"testing"
)

func TestIDOf(t *testing.T) {
	f := func(name string, want FieldID) {
		t.Helper()
		if got := IDOf([]byte(name)); got != want {
			t.Errorf("%q: got %d, want %d", name, got, want)
		}
	}
	for i, k := range known {
		if k.name == "" {
			continue
		}
		if knownSlot(k.name) != i {
			t.Errorf("%q is in slot %d", k.name, i)
		}
		f(k.name, k.id)
		f(strings.ToUpper(k.name), k.id)
		f(k.name+"x", Other)
		f(k.name[1:], Other)
		f("_"+k.name[1:], Other)
		f(k.name[:len(k.name)-1]+"0", Other)
		// Bytes that setting bit 5 would turn into those of the name.
		f(strings.ReplaceAll(k.name, "-", "\r"), map[bool]FieldID{true: Other, false: k.id}[strings.Contains(k.name, "-")])
		f(strings.ReplaceAll(k.name, "2", "\x12"), map[bool]FieldID{true: Other, false: k.id}[strings.Contains(k.name, "2")])
	}
	f("X-Accel-Buffering", XAccel)
	f("X-ACCEL-", XAccel)
	f("X-Accel", Other)
	f("X-Accelerate", Other)
	f("", Other)
	f("hos\x14", Other)
	f("Accept", Other)
}

// The word-wise tests have to agree with the byte-wise tables for every byte in every place.
func TestWordClasses(t *testing.T) {
	b := make([]byte, 9)
	for at := range 8 {
		for c := range 256 {
			for _, around := range []byte{'a', 'Z', '-', 0x7e, 0x80, 0xff} {
				for i := range b {
					b[i] = around
				}
				b[at] = byte(c)
				isText := func(c byte) bool { return c >= ' ' && c != 0x7f }
				isName := func(c byte) bool {
					return c == '-' || c|0x20 >= 'a' && c|0x20 <= 'z'
				}
				first := func(ok func(byte) bool) int {
					for i, c := range b[:8] {
						if !ok(c) {
							return i
						}
					}
					return 8
				}
				if got, want := textLen(b[:8]), first(isText); got != want {
					t.Fatalf("textLen(%q) = %d, want %d", b[:8], got, want)
				}
				if got, want := plainLen(b[:8]), first(isName); got != want {
					t.Fatalf("plainLen(%q) = %d, want %d", b[:8], got, want)
				}
			}
		}
	}
}

func TestEqualFold(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if EqualFold([]byte(a), b) != want || EqualFold([]byte(b), a) != want {
			t.Errorf("%q, %q: want %v", a, b, want)
		}
	}
	f("", "", true)
	f("aZ-9", "Az-9", true)
	f("a", "", false)
	f("@", "`", false)
	f("[", "{", false)
	f("-", "\r", false)
	f("\xe4", "\xc4", false)
	f("k", "\u212a", false)
}

func TestConnectionListsAndHopByHop(t *testing.T) {
	const fields = "Connection: close ,X-Hop\nconnection:,Host, Cookie\nHost: a\nCookie: b\nx-hop: c\nX-End: d\nTE: e\n" +
		"Keep-Alive: f\nProxy-Connection: g\nTrailer: h\nUpgrade: i\nHTTP2-Settings: j\nContent-Length: 1\n\n"
	var req RequestHead
	var resp ResponseHead
	if _, err := ParseRequest(crlf("GET / HTTP/1.1\n"+fields), &req, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseResponse(crlf("HTTP/1.1 200 OK\n"+fields), &resp, nil); err != nil {
		t.Fatal(err)
	}
	lists := func(token string, want bool) {
		t.Helper()
		if req.ConnectionLists([]byte(token)) != want || resp.ConnectionLists([]byte(token)) != want {
			t.Errorf("%q: want %v", token, want)
		}
	}
	lists("x-hop", true)
	lists("X-HOP", true)
	lists("close", true)
	lists("host", true)
	lists("x-end", false)
	lists("", false)

	end := map[string]bool{"Host": true, "Cookie": true, "X-End": true, "Content-Length": true}
	for i := range req.Fields {
		name := string(req.Fields[i].Name.In(req.Buf))
		if req.HopByHop(&req.Fields[i]) == end[name] || resp.HopByHop(&resp.Fields[i]) == end[name] {
			t.Errorf("%s: wrong", name)
		}
	}
}

func TestAppend(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(AppendUint(nil, 0), "0")
	f(AppendUint([]byte("a"), 18446744073709551615), "a18446744073709551615")
	f(AppendChunkHeader(nil, 0x1fA), "1fa\r\n")
	f(AppendRequestLine(nil, "GET", []byte("/a?b"), 1), "GET /a?b HTTP/1.1\r\n")
	f(AppendStatusLine(nil, 502, Reason(502)), "HTTP/1.1 502 Bad Gateway\r\n")
	f(AppendStatusLine(nil, 299, ""), "HTTP/1.1 299 \r\n")
	f(AppendFieldLine(nil, "A", []byte("b")), "A: b\r\n")

	var h RequestHead
	if _, err := ParseRequest([]byte("GET / HTTP/1.0\nA: b\r\nC:d\r\nE:  f\r\nG: h \r\nI: j\nK:\r\nL: \r\nM: \t\n\n"), &h, nil); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := range h.Fields {
		out = AppendField(out, h.Buf, &h.Fields[i])
	}
	f(out, "A: b\r\nC: d\r\nE: f\r\nG: h\r\nI: j\r\nK: \r\nL: \r\nM: \r\n")
}

func TestReason(t *testing.T) {
	f := func(status int, want string) {
		t.Helper()
		if got := Reason(status); got != want {
			t.Errorf("%d: got %q, want %q", status, got, want)
		}
	}
	f(200, "OK")
	f(302, "Moved Temporarily")
	f(405, "Not Allowed")
	f(494, "Request Header Or Cookie Too Large")
	f(503, "Service Temporarily Unavailable")
	f(507, "Insufficient Storage")
	f(299, "")
	f(508, "")
	f(-1, "")
}

func TestParseTrailer(t *testing.T) {
	fields, n, err := ParseTrailer([]byte("A: b\r\nGrpc-Status: 0\r\n\r\nrest"), nil, nil)
	if err != nil || n != 24 || len(fields) != 2 {
		t.Fatalf("got %v, %d, %v", fields, n, err)
	}
	f := func(in string, lim Limits, want *Error) {
		t.Helper()
		if _, _, err := ParseTrailer(crlf(in), nil, &lim); err != want {
			t.Errorf("%q: got %v, want %v", in, err, want)
		}
	}
	f("\n", Limits{}, nil)
	f("Content-Length: 1\nContent-Length: 1\n\n", Limits{}, nil)
	f("A: b\n", Limits{}, NeedMore)
	f(" A: b\n\n", Limits{}, errFold)
	f("A: b\n\n", Limits{Total: 7}, errHeadTooLarge)
}
