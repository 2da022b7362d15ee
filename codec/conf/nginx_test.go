package conf

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLikeNginx gives random texts to nginx -t and to the parser. The text stands behind the directive "daemon",
// whose complaints tell how nginx read it: the one argument and its line, the wrong number of arguments, a block,
// or a fault in the syntax. It is skipped where nginx is not installed.
func TestLikeNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("starts nginx many times")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{" ", "\t", "\n", "\r\n", ";", ";", "{", "}", `"`, `"`, "'", "'", `\`, `\`, "$", "${", "#", ")", "a", "b", "n", "t", "r", "="}
	for range 300 {
		text := "daemon "
		for range 1 + random.IntN(10) {
			text += pieces[random.IntN(len(pieces))]
		}
		if random.IntN(3) > 0 {
			text += ";"
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(nginx, "-t", "-p", dir, "-e", "stderr", "-c", file).CombinedOutput()
		_, got, _ := bytes.Cut(out, []byte("[emerg] ")) // then comes "PID#TID: "
		_, got, _ = bytes.Cut(got, []byte(": "))
		if want := likeNginx(text, file); !strings.HasPrefix(string(got), want) {
			t.Errorf("%q:\nnginx %q\nhere  %q", text, got, want)
		}
	}
}

// likeNginx says about the first statement of text what nginx says when that is "daemon".
func likeNginx(text, file string) string {
	p := parser{lex: newLexer(file, []byte(text))}
	in := func(line int) string { return fmt.Sprintf(" in %s:%d\n", file, line) }
	d, err := p.statement(nil)
	switch {
	case err != nil && d == nil:
		e := err.(*Error)
		if strings.HasPrefix(e.Msg, "unexpected end of file,") {
			return `unexpected end of file, expecting ";" or "}"` + in(e.Pos.Line)
		}
		return e.Msg[:len(`unexpected "x`)] + `"` + in(e.Pos.Line)
	case d.HasBlock:
		return `directive "daemon" is not terminated by ";" in ` + file
	case len(d.Args) != 1:
		return `invalid number of arguments in "daemon" directive` + in(d.End.Line)
	}
	return `invalid value "` + d.Args[0].Text + `" in "daemon" directive, it must be "on" or "off"` + in(d.End.Line)
}
