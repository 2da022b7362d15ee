package codec

import (
	"strings"
	"testing"
)

const smallRequest = "GET /index.html HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"

const browserRequest = "GET /catalogue/items/4711?sort=price&page=2 HTTP/1.1\r\n" +
	"Host: www.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"Cache-Control: max-age=0\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: navigate\r\n" +
	"Referer: https://www.example.com/catalogue/items?page=1\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=all\r\n\r\n"

const typicalResponse = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 07 Jul 2025 10:00:00 GMT\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n" +
	"Last-Modified: Mon, 07 Jul 2025 09:00:00 GMT\r\nETag: \"686b9a10-400\"\r\nAccept-Ranges: bytes\r\n\r\n"

var benchLimits = Limits{Line: 8 << 10, Field: 8 << 10, Total: 32 << 10, Count: 1000}

func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"small", smallRequest}, {"browser", browserRequest}} {
		b.Run(c.name, func(b *testing.B) {
			var h RequestHead
			buf := []byte(c.head)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if n, err := ParseRequest(buf, &h, &benchLimits); err != nil || n != len(buf) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkResponse(b *testing.B) {
	var h ResponseHead
	buf := []byte(typicalResponse)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if n, err := ParseResponse(buf, &h, &benchLimits); err != nil || n != len(buf) {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkChunked(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"16B", 16}, {"4KiB", 4 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(strings.Repeat(string(AppendChunkHeader(nil, c.size))+strings.Repeat("x", c.size)+"\r\n", 16) + LastChunk)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var d Chunked
				for src, done := body, false; !done; {
					n, _, end, err := d.Next(src)
					if err != nil || n == 0 {
						b.Fatal(n, err)
					}
					src, done = src[n:], end
				}
			}
		})
	}
}

func BenchmarkAppendField(b *testing.B) {
	var h RequestHead
	buf := []byte(browserRequest)
	if _, err := ParseRequest(buf, &h, nil); err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		for i := range h.Fields {
			out = AppendField(out, h.Buf, &h.Fields[i])
		}
	}
}
