package conf

import (
	"bytes"
	"fmt"
	"testing"
)

// bigConfig is a file of n virtual servers with their upstreams, about 420 bytes each.
func bigConfig(n int) []byte {
	var b bytes.Buffer
	b.WriteString("events {}\nhttp {\n")
	for i := range n {
		fmt.Fprintf(&b, `    upstream backend%d {
        server 10.%d.%d.1:8080 weight=2 max_fails=3 fail_timeout=10s;
        server 10.%d.%d.2:8080 backup; # the spare one
    }
    server {
        listen 8080;
        server_name www%d.example.com;
        location / {
            proxy_set_header X-Real-IP "$remote_addr";
            proxy_pass http://backend%d;
        }
        location ~ \.php$ { return 404 'no such page'; }
    }
`, i, i>>8, i&255, i>>8, i&255, i, i)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

var commandBody = []byte("server 127.0.0.1:8088 weight=2;\nserver 127.0.0.1:8089;\n")

func BenchmarkParse(b *testing.B) {
	f := func(name string, text []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse("bench", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("10000servers", bigConfig(10000))
	f("command", commandBody)
}

func BenchmarkPrint(b *testing.B) {
	ds, err := Parse("bench", bigConfig(10000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(Print(ds))))
	}
}

func BenchmarkApply(b *testing.B) {
	ds, err := Parse("bench", commandBody)
	if err != nil {
		b.Fatal(err)
	}
	table := NewTable(Rule[*int]{Name: "server", In: Upstream, Min: 1, Max: -1, Many: true,
		Set: func(n *int, _ *Directive) error { *n++; return nil }})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := table.Apply(Upstream, &n, ds); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCommandAllocs bounds the garbage of a command body of two servers: a copy of the text, the words of a
// statement, and for each directive itself, its arguments, each word and its place in the tree.
func TestCommandAllocs(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		if _, err := Parse("body", commandBody); err != nil {
			t.Fatal(err)
		}
	})
	if n > 16 {
		t.Errorf("%v allocations, want at most 16", n)
	}
}
