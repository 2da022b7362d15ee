package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// oneOf draws one of some texts, of which "" leaves the thing out.
func oneOf(t *rapid.T, label string, texts ...string) string {
	return rapid.SampledFrom(texts).Draw(t, label)
}

// number draws a text with a number in place of its "#".
func number(t *rapid.T, text string, from, to int) string {
	return strings.Replace(text, "#", fmt.Sprint(rapid.IntRange(from, to).Draw(t, text)), 1)
}

// drawBlock draws the inside of an upstream block out of everything that one can hold.
func drawBlock(t *rapid.T) string {
	maybe := func(text string) string {
		if text == "" || rapid.Bool().Draw(t, "leave out "+text) {
			return ""
		}
		return text
	}
	method := oneOf(t, "method", "", "ip_hash", "least_conn", "hash $a", "hash '$a b' consistent", "hash $a consistent balance_factor=1.3",
		"random", "random two", "random two least_time=header", "random two least_time=last_byte", "least_time header",
		"least_time last_byte inflight", "maglev $a")
	ordered := method == "" || strings.HasPrefix(method, "least")
	var ds []string
	for i := range rapid.IntRange(1, 6).Draw(t, "servers") {
		words := []string{"server", oneOf(t, "address", "127.0.0.1", "127.0.0.1:81", "[::1]:82", "unix:/tmp/a", "'unix:/a b'", "one.test:83", "multi.test")}
		params := []string{number(t, "weight=#", 1, 300), number(t, "max_conns=#", 0, 9), number(t, "max_fails=#", 0, 9),
			number(t, "fail_timeout=#s", 0, 90), "down", "drain", number(t, "route=r#", 0, 9)}
		if ordered {
			params = append(params, number(t, "slow_start=#m", 0, 9))
			if i > 0 {
				params = append(params, "backup")
			}
		}
		for _, p := range params {
			if p = maybe(p); p != "" {
				words = append(words, p)
			}
		}
		ds = append(ds, strings.Join(words, " "))
	}
	if rapid.Bool().Draw(t, "names") {
		ds = append(ds, "server a.test:80 resolve", "server b.test service=http resolve weight=3")
	}
	others := []string{method, number(t, "keepalive #", 0, 99) + maybe(" local"), number(t, "keepalive_requests #", 0, 99), number(t, "keepalive_time #ms", 0, 9999),
		number(t, "keepalive_timeout #s", 0, 99), number(t, "queue #", 1, 99) + maybe(number(t, " timeout=#ms", 1, 9999)), "zone z 64k",
		oneOf(t, "sticky", "sticky cookie srv"+maybe(" expires=1h")+maybe(" domain=.a.test")+maybe(" httponly")+maybe(" samesite=lax")+maybe(" secret=s"),
			"sticky route $a '$b c'", "sticky learn create=$a lookup=$b lookup=$c zone=z:64k"+maybe(" timeout=1500ms")+maybe(" header")),
		oneOf(t, "check", "check"+number(t, " interval=#", 1, 99999)+maybe(" type=http")+maybe(" default_down=false")+maybe(" port=99"),
			"health_check"+number(t, " interval=#ms", 1, 99999)+maybe(" jitter=9ms")+maybe(" fails=2")+maybe(" passes=3")+maybe(" port=99")+
				oneOf(t, "type", "", " type=tcp", " type=ssl_hello", " uri=/a?b=c", " 'uri=/a;b'", " host=a.test", " keepalive_time=9s")+
				maybe(" mandatory"+maybe(" persistent"))+maybe(" timeout=2s")),
		number(t, "panic_threshold #%", 1, 100),
		"check_http_send 'HEAD / HTTP/1.0\\r\\n\\r\\n'", "check_http_expect_alive http_2xx http_4xx", "check_keepalive_requests 7",
		"resolver 127.0.0.1 valid=30s", "resolver_timeout 3s"}
	for i, d := range others {
		if i > 0 || !ordered { // a method that refuses parameters of servers comes first, others too
			d = maybe(d)
		}
		if d != "" {
			ds = slices.Insert(ds, rapid.IntRange(0, len(ds)).Draw(t, "place"), d)
		}
	}
	return strings.Join(ds, ";\n") + ";\n"
}

// TestParsePrint: what a definition prints is read back as the same definition, and printed alike; so it goes on through a table.
func TestParsePrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawBlock(t)
		spec, err := parseBlock(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		printed := string(spec.AppendBody(nil))
		again, err := parseBlock(printed)
		if err != nil {
			t.Fatalf("%s\nprinted as\n%s: %v", text, printed, err)
		}
		if !equal(spec, again) {
			t.Fatalf("%s\nprinted as\n%sis another one", text, printed)
		}
		s := NewStore()
		s.Apply([]Change{{Name: "dy", Spec: again}})
		if err := s.Load().check(); err != nil {
			t.Fatal(err)
		}
		if got := string(s.Load().Lookup([]byte("dy")).AppendBody(nil)); got != printed {
			t.Fatalf("printed as\n%sand then as\n%s", printed, got)
		}
	})
}

// TestStickyMovement: adding, removing and reordering servers moves no session of a server that stays.
func TestStickyMovement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := rapid.SliceOfNDistinct(rapid.IntRange(1, 50), 1, 20, rapid.ID[int])
		block := func(label string) (*Spec, []int) {
			list := ports.Draw(t, label)
			text := "sticky cookie s secret=x;"
			for _, p := range list {
				text += fmt.Sprintf("server 127.0.0.1:%d;", p)
			}
			spec, err := parseBlock(text)
			if err != nil {
				t.Fatal(err)
			}
			return spec, list
		}
		was, before := block("before")
		is, after := block("after")
		for i, p := range before {
			want := slices.Index(after, p)
			got := is.sticky.Find([]byte(was.sticky.Value(i)))
			if want < 0 && len(got) > 0 || want >= 0 && !slices.Equal(got, []int{want}) {
				t.Fatalf("a session of port %d goes to server %d, want %d", p, got, want)
			}
		}
	})
}
