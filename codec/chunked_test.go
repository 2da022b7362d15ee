package codec

import (
	"strings"
	"testing"
)

// decode runs a Chunked over in, cut into pieces of at most step bytes after a first one of first bytes.
func decode(t testing.TB, in []byte, first, step int) (data string, n int, done bool, err *Error) {
	t.Helper()
	var d Chunked
	var b strings.Builder
	for end := min(first, len(in)); ; end = min(end+step, len(in)) {
		for {
			k, piece, over, err := d.Next(in[n:end])
			if k < 0 || n+k > end || len(piece) > k {
				t.Fatalf("%q: Next(%q) = %d, %q", in, in[n:end], k, piece)
			}
			n += k
			b.Write(piece)
			if over || err != nil {
				return b.String(), n, over, err
			}
			if k == 0 {
				break
			}
		}
		if n != end {
			t.Fatalf("%q: stopped at %d of %d", in, n, end)
		}
		if end == len(in) {
			return b.String(), n, false, nil
		}
	}
}

// decodeEverywhere demands the same outcome for every cut in two (for long inputs a sample), for single bytes and for
// the whole.
func decodeEverywhere(t testing.TB, in []byte) (data string, n int, done bool, err *Error) {
	t.Helper()
	data, n, done, err = decode(t, in, len(in), 1)
	check := func(first, step int) {
		t.Helper()
		d, m, o, e := decode(t, in, first, step)
		if d != data || m != n || o != done || e != err {
			t.Fatalf("%q cut at %d, %d: %q, %d, %v, %v; whole: %q, %d, %v, %v", in, first, step, d, m, o, e, data, n, done, err)
		}
	}
	for k := 0; k < len(in); k += 1 + len(in)/512 {
		check(k, len(in))
	}
	check(1, 1)
	check(0, 3)
	return data, n, done, err
}

func TestChunked(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		buf := crlf(in)
		data, n, done, err := decodeEverywhere(t, append(buf, "5\r\nnext"...))
		if err != nil || !done || n != len(buf) || data != want {
			t.Errorf("%q: got %q, %d of %d, %v, %v", in, data, n, len(buf), done, err)
		}
	}
	f("0\n\n", "")
	f("0000000000000000\n\n", "")
	f("5\nhello\n0\n\n", "hello")
	f("1\na\n00b\nbcdefghijkl\nA\n0123456789\n0\n\n", "abcdefghijkl0123456789")
	f("2\n\n\n0\n\n", "\r\n")
	f("1;a\nx\n1;a=b;c=\"d;\\\"\\\\\t\x80\";e\ny\n0;f\n\n", "xy")
	f("1\nx\n0\nA: b\nC:\nD: \te\xff \n\n", "x")
}

func TestChunkedErrors(t *testing.T) {
	f := func(in string, want *Error) {
		t.Helper()
		if _, _, done, err := decodeEverywhere(t, crlf(in)); err != want || done {
			t.Errorf("%q: got %v, %v, want %v", in, done, err, want)
		}
	}
	f("\n", errChunkSize)
	f("x\n", errChunkSize)
	f(" 5\n", errChunkSize)
	f("+5\n", errChunkSize)
	f("-5\n", errChunkSize)
	f("0x5\n", errChunkSize)
	f("5 \n", errChunkSize)
	f("5\t;a\n", errChunkSize)
	f("5,5\n", errChunkSize)
	f("5_0\n", errChunkSize)
	f("00000000000000005\n", errChunkSize)
	f("8000000000000000\n", errChunkSize)
	f("ffffffffffffffff\n", errChunkSize)
	f("10000000000000000\n", errChunkSize)
	f(";a\n", errChunkSize)

	f("5;\n", errChunkExt)
	f("5; a\n", errChunkExt)
	f("5;a \n", errChunkExt)
	f("5;a;\n", errChunkExt)
	f("5;a=\n", errChunkExt)
	f("5;a= b\n", errChunkExt)
	f("5;a=b c\n", errChunkExt)
	f("5;=b\n", errChunkExt)
	f("5;a=\"b\n", errChunkExt)
	f("5;a=\"b\"c\n", errChunkExt)
	f("5;a=\"\\\x00\"\n", errChunkExt)
	f("5;a\x00\n", errChunkExt)
	f("5;"+strings.Repeat("a", maxChunkExt)+"\n", errChunkExtLong)
	f("5;a=\""+strings.Repeat("a", maxChunkExt), errChunkExtLong)

	f("4\nSEE-THIS\n0\n\n", errChunkData)
	f("5\nhell\n0\n\n", errChunkData)
	f("5\nhellox0\n\n", errChunkData)
	f("0\nA b\n\n", errTrailer)
	f("0\n A: b\n\n", errTrailer)
	f("0\nA : b\n\n", errTrailer)
	f("0\nA: b\n c\n\n", errTrailer)
	f("0\n:b\n\n", errTrailer)
	f("0\nA: b\x00\n\n", errTrailer)
	f("0\nGET / HTTP/1.1\n\n", errTrailer)
	f("0\n"+strings.Repeat("A: b\n", maxTrailer/6+1), errTrailerLong)
	f("0\nA:"+strings.Repeat(" ", maxTrailer), errTrailerLong)

	f("", nil)
	f("5\nhell", nil)
	f("0\nA: b\n", nil)

	// Bare LF and bare CR end nothing here.
	g := func(in string, want *Error) {
		t.Helper()
		if _, _, done, err := decodeEverywhere(t, []byte(in)); err != want || done {
			t.Errorf("%q: got %v, %v, want %v", in, done, err, want)
		}
	}
	g("5\nhello\r\n0\r\n\r\n", errChunkSize)
	g("5;a\nhello\r\n0\r\n\r\n", errChunkExt)
	g("5\rhello\r\n0\r\n\r\n", errChunkLine)
	g("5\r\nhello\n0\r\n\r\n", errChunkData)
	g("5\r\nhello\r0\r\n\r\n", errChunkData)
	g("5\r\nhello\r\r\n0\r\n\r\n", errChunkData)
	g("0\r\n\n", errTrailer)
	g("0\n\n", errChunkSize)
	g("0\r\nA: b\n\r\n", errTrailer)
	g("0\r\nA: b\rC: d\r\n\r\n", errTrailer)
	g("0\r\n\rX", errTrailer)
}

func TestChunkedOutcomeIsFinal(t *testing.T) {
	var d Chunked
	if n, data, done, err := d.Next([]byte("1\r\na\rX")); n != 5 || string(data) != "a" || done || err != nil {
		t.Fatal(n, data, done, err)
	}
	for _, in := range []string{"X", "", "\n0\r\n\r\n"} {
		if n, data, done, err := d.Next([]byte(in)); n != 0 || data != nil || done || err != errChunkData {
			t.Errorf("%q: %d, %q, %v, %v", in, n, data, done, err)
		}
	}
	d = Chunked{}
	if n, _, done, err := d.Next([]byte("1\r\na\r\n0\r\n\r\nmore")); n != 11 || !done || err != nil {
		t.Fatal(n, done, err)
	}
	for _, in := range []string{"5", ""} {
		if n, data, done, err := d.Next([]byte(in)); n != 0 || data != nil || !done || err != nil {
			t.Errorf("%q: %d, %q, %v, %v", in, n, data, done, err)
		}
	}
}

func TestChunkedLeaveTrailer(t *testing.T) {
	in := []byte("1\r\na\r\n0\r\nA: b\r\n\r\nmore")
	d := Chunked{LeaveTrailer: true}
	n, data, done, err := d.Next(in)
	if string(in[n:]) != "A: b\r\n\r\nmore" || string(data) != "a" || !done || err != nil {
		t.Fatal(n, data, done, err)
	}
	if fields, k, err := ParseTrailer(in[n:], nil, nil); string(in[n+k:]) != "more" || len(fields) != 1 || err != nil {
		t.Fatal(fields, k, err)
	}
}

// TestChunkBlanks: blanks behind a size are an error, unless the decoder is told to take them, and nowhere else.
func TestChunkBlanks(t *testing.T) {
	f := func(in string, blanks bool, want string, ok bool) {
		t.Helper()
		buf := crlf(in)
		for step := 1; step <= len(buf); step++ {
			d := Chunked{Blanks: blanks}
			var got strings.Builder
			var done bool
			var err *Error
			for n, end := 0, step; !done && err == nil && n < len(buf); end = min(end+step, len(buf)) {
				for k := 1; k > 0 && !done && err == nil; n += k {
					var data []byte
					k, data, done, err = d.Next(buf[n:end])
					got.Write(data)
				}
			}
			if done != ok || ok && got.String() != want {
				t.Fatalf("%q in steps of %d: %q, %v, %v", in, step, got.String(), done, err)
			}
		}
	}
	const padded = "4   \nbody\n2 \t\nxy\n0  \n\n"
	f(padded, false, "", false)
	f(padded, true, "bodyxy", true)
	f("4 ;a=b\nbody\n0\n\n", true, "body", true)
	f(" 4\nbody\n0\n\n", true, "", false)
	f("4 4\nbody\n0\n\n", true, "", false)
	f("4"+strings.Repeat(" ", maxChunkExt+1)+"\nbody\n0\n\n", true, "", false)
}
