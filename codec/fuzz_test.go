package codec

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

// maxFuzz keeps parsing at every split point affordable.
const maxFuzz = 2 << 10

// FuzzRequest: any way to cut the input gives the same answer, with and without limits, and what is accepted
// net/http accepts as the same request. Where the two differ on purpose is listed at sameAsNetHTTP.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{smallRequest, browserRequest,
		"\r\nPOST http://h:80/a?b HTTP/1.1\nHost: x\r\nContent-Length: 5\nConnection: close, X\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
		"GET /a#b HTTP/1.1\r\nHost: x\r\nUpgrade: w\r\nConnection: Upgrade\r\na_b.c: \t \x80\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 5, 5\r\n folded\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(0), uint8(0), uint8(0), uint8(0))
		f.Add([]byte(s), uint8(20), uint8(30), uint8(200), uint8(4))
	}
	f.Fuzz(func(t *testing.T, in []byte, line, field, total, count uint8) {
		if len(in) > maxFuzz {
			return
		}
		parseRequestEverywhere(t, in, &Limits{int(line), int(field), int(total), int(count)})
		if _, n, err := parseRequestEverywhere(t, in, nil); err == nil {
			requestSameAsNetHTTP(t, in[:n])
		}
	})
}

// requestSameAsNetHTTP leaves out what this package takes on purpose and net/http refuses: names that are no tokens
// (marked Odd, the caller drops them), several spaces in front of the version, targets that are no URL to net/url
// (percent signs, ports and IPv6 literals are checked by who decodes them), and odd Trailer fields.
func requestSameAsNetHTTP(t *testing.T, in []byte) {
	t.Helper()
	var h RequestHead
	if n, err := ParseRequest(in, &h, nil); err != nil || n != len(in) {
		t.Fatalf("%q: parsed again: %d, %v", in, n, err)
	}
	for i := range h.Fields {
		if h.Fields[i].Odd || h.Fields[i].ID == Trailer {
			return
		}
	}
	target := h.Target.In(h.Buf)
	if h.Buf[h.Target.Off+h.Target.Len+1] == ' ' {
		return
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(h.Buf)))
	if err != nil {
		if strings.HasPrefix(err.Error(), "parse ") {
			return
		}
		t.Fatalf("%q: net/http says %v", in, err)
	}
	host := req.Host
	if !h.Authority.Empty() && bytes.IndexByte(target, '%') >= 0 {
		host = string(h.EffectiveHost()) // net/http decodes it
	}
	if req.Method != string(h.Method.In(h.Buf)) || req.RequestURI != string(target) || host != string(h.EffectiveHost()) ||
		min(req.ProtoMinor, 1) != int(h.Minor) {
		t.Fatalf("%q: net/http reads %s %s of %s, this package %s", in, req.Method, req.RequestURI, req.Host, requestText(&h))
	}
	kind, length := h.BodyKind()
	wantKind := BodyNone
	switch {
	case len(req.TransferEncoding) > 0:
		wantKind = BodyChunked
	case h.ContentLength >= 0:
		wantKind = BodyLength
	}
	if kind != wantKind || kind != BodyChunked && length != req.ContentLength || req.Close == h.KeepAlive {
		t.Fatalf("%q: net/http has %v, length %d, close %v, this package %s", in, req.TransferEncoding, req.ContentLength, req.Close, requestText(&h))
	}
	sameFields(t, in, h.Buf, h.Fields, req.Header)
}

// sameFields compares the values of each name, but for those that net/http moves elsewhere.
func sameFields(t *testing.T, in, buf []byte, fields []Field, header http.Header) {
	t.Helper()
	got := http.Header{}
	for i := range fields {
		key := textproto.CanonicalMIMEHeaderKey(string(fields[i].Name.In(buf)))
		got[key] = append(got[key], string(fields[i].Value.In(buf)))
	}
	for key, values := range got {
		switch key {
		case "Host", "Connection", "Transfer-Encoding", "Trailer":
			continue
		}
		if strings.Join(values, "\x00") != strings.Join(header[key], "\x00") {
			t.Fatalf("%q: net/http has %s: %q, this package %q", in, key, header[key], values)
		}
	}
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{typicalResponse,
		"HTTP/1.0 200\nContent-Length: 5\r\n\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 101 Switching\r\nUpgrade: w\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 204 \r\nX_y: \t\r\n@: z\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(0), uint8(0), uint8(0), uint8(0))
		f.Add([]byte(s), uint8(20), uint8(30), uint8(200), uint8(4))
	}
	f.Fuzz(func(t *testing.T, in []byte, line, field, total, count uint8) {
		if len(in) > maxFuzz {
			return
		}
		parseResponseEverywhere(t, in, &Limits{int(line), int(field), int(total), int(count)})
		if _, n, err := parseResponseEverywhere(t, in, nil); err == nil {
			responseSameAsNetHTTP(t, in[:n])
		}
	})
}

// responseSameAsNetHTTP leaves out the differences of requests, and Transfer-Encoding from HTTP/1.0, which net/http
// ignores: here it is decoded and the connection closed (RFC 9112 section 6.1).
func responseSameAsNetHTTP(t *testing.T, in []byte) {
	t.Helper()
	var h ResponseHead
	if n, err := ParseResponse(in, &h, nil); err != nil || n != len(in) {
		t.Fatalf("%q: parsed again: %d, %v", in, n, err)
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Odd || f.ID == Trailer || f.ID == TransferEncoding && h.Minor == 0 {
			return
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
	if err != nil {
		t.Fatalf("%q: net/http says %v", in, err)
	}
	kind, length := h.BodyKind(GET)
	wantKind, wantLength := BodyLength, max(resp.ContentLength, 0)
	switch {
	case resp.StatusCode < 200 || resp.StatusCode == 204 || resp.StatusCode == 304:
		wantKind, wantLength = BodyNone, 0
	case len(resp.TransferEncoding) > 0:
		wantKind = BodyChunked
	case resp.ContentLength < 0:
		wantKind = BodyUntilClose
	}
	keep := h.KeepAlive && kind != BodyUntilClose
	if resp.StatusCode != h.Status || min(resp.ProtoMinor, 1) != int(h.Minor) ||
		kind != wantKind || length != wantLength || resp.Close == keep {
		t.Fatalf("%q: net/http has %s %v, length %d, close %v, this package %s", in,
			resp.Status, resp.TransferEncoding, resp.ContentLength, resp.Close, responseText(&h))
	}
	sameFields(t, in, h.Buf, h.Fields, resp.Header)
}

// FuzzChunked: a body encoded with any chunking decodes to itself however it is cut, and any stream that is accepted
// is one to net/http, too, with the same data and the same end.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("hello, world"), []byte{3, 0x85, 1})
	f.Add([]byte("5\r\nhello\r\n00a;x=y;z=\"\\\"\"\r\n0123456789\r\n0\r\nA: b\r\n\r\nnext"), []byte{})
	f.Add([]byte("5 \r\nhello\n0\r\n\r\n"), []byte{0})
	f.Add([]byte("ffffffffffffffff\r\n"), []byte{0x7f})
	f.Fuzz(func(t *testing.T, in, sizes []byte) {
		if len(in) > maxFuzz {
			return
		}
		coded := encodeChunked(in, sizes)
		data, n, done, err := decodeEverywhere(t, append(coded, "0\r\n"...))
		if data != string(in) || n != len(coded) || !done || err != nil {
			t.Fatalf("%q coded as %q: got %q, %d, %v, %v", in, coded, data, n, done, err)
		}

		if data, n, done, _ := decodeEverywhere(t, in); done {
			const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			r := bufio.NewReaderSize(strings.NewReader(head+string(in)), 64<<10)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			rest, _ := io.ReadAll(r)
			if err != nil || string(body) != data || string(rest) != string(in[n:]) {
				t.Fatalf("%q: net/http reads %q, %v, leaves %q; this package reads %q, leaves %q", in, body, err, rest, data, in[n:])
			}
		}
	})
}

// encodeChunked takes the size of each chunk from the low bits of sizes; the high bit adds an extension, and to the last
// chunk a trailer.
func encodeChunked(data, sizes []byte) (out []byte) {
	var extra bool
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if i < len(sizes) {
			n = min(n, 1+int(sizes[i]&0x7f))
			extra = sizes[i]&0x80 != 0
		}
		out = AppendChunkHeader(out, n)
		if extra {
			out = append(out[:len(out)-2], ";a=\"b;\\\"\";c\r\n"...)
		}
		out = append(append(out, data[:n]...), "\r\n"...)
		data = data[n:]
	}
	if extra {
		return append(out, "0;x\r\nTrailer-Field: \tvalue\r\n\r\n"...)
	}
	return append(out, LastChunk...)
}

// TestFragments is the fuzz targets' check on heads put together at random from pieces that matter, which reaches
// combinations that byte mutation takes long to find. The seed is fixed.
func TestFragments(t *testing.T) {
	starts := []string{"GET / HTTP/1.1", "POST /a?b#c HTTP/1.1", "GET / HTTP/1.0", "OPTIONS * HTTP/1.1", "HEAD http://u/ HTTP/1.1",
		"CONNECT a:1 HTTP/1.1", "PUT /  HTTP/1.1", "GET /", "get / HTTP/1.1", "GET / HTTP/1.1 ", "GET http://h:1?x HTTP/1.0"}
	statuses := []string{"HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204", "HTTP/1.1 304 ", "HTTP/1.1 101 S", "HTTP/1.1 099 X"}
	names := []string{"Host", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "X_y", "a.b",
		"@", "", "Content-Length ", " Host", "\x00", "Content_Length", "Trailer"}
	colons := []string{":", ":", ": ", ": ", ":\t ", "", " :"}
	values := []string{"", "a", "5", "5", "5", "chunked", "chunked", "Chunked", "5, 5", "+5", "identity, chunked", "close", "keep-alive, X",
		"Upgrade", "100-continue", "a b\t", "\x00", "\x80", "\x7f", "a\rb", "5\v"}
	ends := []string{"\r\n", "\r\n", "\r\n", "\n", "\n", "\r", "\r\r\n", "\r\n "}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	rare := func(from []string) string { // one in eight from all, else the first three
		if rnd.IntN(8) == 0 {
			return pick(from)
		}
		return from[rnd.IntN(3)]
	}
	requests, responses := 0, 0
	for range 20_000 {
		fields := ""
		for range rnd.IntN(4) {
			fields += pick(names) + rare(colons) + pick(values) + rare(ends)
		}
		in := []byte(pick(starts) + rare(ends) + fields + rare(ends))
		if _, n, err := parseRequestEverywhere(t, in, nil); err == nil {
			requestSameAsNetHTTP(t, in[:n])
			requests++
		}
		in = []byte(pick(statuses) + rare(ends) + fields + rare(ends))
		if _, n, err := parseResponseEverywhere(t, in, nil); err == nil {
			responseSameAsNetHTTP(t, in[:n])
			responses++
		}
	}
	if requests < 500 || responses < 500 {
		t.Errorf("only %d requests and %d responses were accepted", requests, responses)
	}
}
