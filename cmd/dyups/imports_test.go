package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// imports is the map of the rooms: which room may import which other room, and which package from outside. Arrows go
// down, never sideways. A new edge is one line here, and a reason in the commit.
var imports = map[string]struct{ rooms, outside []string }{
	"lb":         {},
	"codec":      {},
	"codec/conf": {},

	"upstream":         {rooms: []string{"lb", "codec/conf"}},
	"upstream/health":  {rooms: []string{"upstream"}, outside: []string{"github.com/panjf2000/ants/v2", "github.com/valyala/fasthttp"}},
	"upstream/resolve": {rooms: []string{"upstream"}, outside: []string{"github.com/miekg/dns"}},
	"engine/site": {rooms: []string{"codec", "codec/conf"},
		outside: []string{"github.com/GehirnInc/crypt", "github.com/GehirnInc/crypt/apr1_crypt", "github.com/GehirnInc/crypt/md5_crypt",
			"github.com/GehirnInc/crypt/sha256_crypt", "github.com/GehirnInc/crypt/sha512_crypt", "golang.org/x/crypto/bcrypt"}},

	"engine": {
		rooms: []string{"codec", "lb", "upstream", "engine/site"},
		outside: []string{"github.com/cloudwego/netpoll", "github.com/panjf2000/ants/v2",
			"github.com/valyala/bytebufferpool", "github.com/valyala/fasthttp"},
	},
	"admin": {
		rooms:   []string{"upstream", "codec/conf"},
		outside: []string{"github.com/valyala/bytebufferpool", "github.com/valyala/fasthttp"},
	},

	"cmd/dyups": {
		rooms:   []string{"admin", "codec/conf", "engine", "engine/site", "upstream", "upstream/health", "upstream/resolve"},
		outside: []string{"github.com/valyala/fasthttp"},
	},

	// The instrument measures every proxy the same way, so it knows none of ours.
	"bench/scenarios": {},
	"bench/poll":      {outside: []string{"golang.org/x/sys/unix"}},
	"bench/proc":      {outside: []string{"golang.org/x/sys/unix"}},
	"bench/origin":    {rooms: []string{"bench/poll", "bench/proc"}, outside: []string{"golang.org/x/sys/unix"}},
	"bench/load": {rooms: []string{"bench/churn", "bench/poll", "bench/proc"},
		outside: []string{"golang.org/x/sys/unix", "github.com/HdrHistogram/hdrhistogram-go"}},
	"bench/churn": {outside: []string{"golang.org/x/sys/unix", "github.com/HdrHistogram/hdrhistogram-go"}},
	"bench/rival": {rooms: []string{"bench/churn", "bench/origin", "bench/poll", "bench/proc"},
		outside: []string{"golang.org/x/sys/unix", "github.com/valyala/fasthttp"}},
	"bench/result": {rooms: []string{"bench/churn", "bench/load"}},
	"bench": {rooms: []string{"bench/churn", "bench/load", "bench/origin", "bench/poll", "bench/proc", "bench/result", "bench/rival"},
		outside: []string{"golang.org/x/sys/unix"}},
	"cmd/dyupsbench": {rooms: []string{"bench"}},
}

// pure are the rooms that do no I/O and read no clock, and what of the standard library would betray that.
var pure = map[string][]string{
	"lb":    {"os", "net", "net/http", "time", "syscall", "io"},
	"codec": {"os", "net", "net/http", "time", "syscall"},
}

func TestImportMap(t *testing.T) {
	const module = "dyups/"
	out, err := exec.Command("go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 0 || !strings.HasPrefix(words[0], module) {
			continue
		}
		seen++
		room := strings.TrimPrefix(words[0], module)
		allowed, known := imports[room]
		if !known {
			t.Errorf("package %s is not on the map", room)
			continue
		}
		for _, path := range words[1:] {
			first, _, _ := strings.Cut(path, "/")
			if to, ours := strings.CutPrefix(path, module); ours {
				if !slices.Contains(allowed.rooms, to) {
					t.Errorf("%s imports %s, which the map does not have", room, to)
				}
			} else if strings.Contains(first, ".") {
				if !slices.Contains(allowed.outside, path) {
					t.Errorf("%s imports %s, which the map does not have", room, path)
				}
			} else if slices.Contains(pure[room], path) {
				t.Errorf("%s imports %s: it is to do no I/O and read no clock", room, path)
			}
		}
	}
	if seen < 8 {
		t.Errorf("go list shows %d packages of ours", seen)
	}
}
