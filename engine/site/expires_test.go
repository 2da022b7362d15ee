package site

import (
	"fmt"
	"testing"
	"time"
)

func TestExpires(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("", -5*3600) // now is 22:13:20 UTC, 17:13:20 here
	defer func() { time.Local = local }()
	const early = "Mon, 28 Sep 1970 06:00:00 GMT"
	f := func(argument, lastModified, want string) {
		t.Helper()
		for _, form := range []string{"expires " + argument, "set $v '" + lastWord(argument) + "'; expires " + firstWords(argument) + "$v"} {
			s := mustCompile(t, "server { listen 80; location / { "+form+"; proxy_pass http://up; } }")
			r := at(t, s, "80", "/")
			got := "off"
			if e := r.Loc.Expires; e != nil {
				if when, age, on := e.At(r, []byte(lastModified)); on {
					got = fmt.Sprint(when.UTC().Format("2006-01-02 15:04:05 "), age)
				}
			}
			if got != want {
				t.Errorf("%s after %q: %s, want %s", form, lastModified, got, want)
			}
		}
	}
	f("off", "", "off")
	f("epoch", early, "1970-01-01 00:00:01 -1")
	f("max", early, "2037-12-31 23:55:55 315360000")
	f("0", early, "2023-11-14 22:13:20 0")
	f("2048", early, "2023-11-14 22:47:28 2048")
	f("+1d", "", "2023-11-15 22:13:20 86400")
	f("-1h", "", "2023-11-14 21:13:20 -1")
	f("@17h13m20s", "", "2023-11-15 22:13:20 86400")
	f("@17h13m21s", "", "2023-11-14 22:13:21 1")
	f("@0", "", "2023-11-15 05:00:00 24400")
	f("@24h", "", "2023-11-15 05:00:00 24400")
	f("modified 2048", early, "1970-09-28 06:34:08 -1676648352")
	f("modified 2048", "Monday, 28-Sep-70 06:00:00 GMT", "1970-09-28 06:34:08 -1676648352")
	f("modified 2048", "Mon Sep 28 06:00:00 1970", "1970-09-28 06:34:08 -1676648352")
	f("modified 2048", "yesterday", "2023-11-14 22:47:28 2048")
	f("modified 2048", "", "2023-11-14 22:47:28 2048")
	f("modified 0", early, "2023-11-14 22:13:20 0")
	f("modified -1h", "Tue, 14 Nov 2023 22:13:20 GMT", "2023-11-14 21:13:20 -1")
}

// lastWord and firstWords cut "modified 1h" at its last word.
func lastWord(s string) string { return s[len(firstWords(s)):] }

func firstWords(s string) string {
	for i := len(s); i > 0; i-- {
		if s[i-1] == ' ' {
			return s[:i]
		}
	}
	return ""
}

// What is an error in a configuration says nothing where a variable holds it.
func TestExpiresErrors(t *testing.T) {
	f := func(argument, want string) {
		t.Helper()
		_, err := compile("expires "+argument+";", nil)
		if err == nil || err.Error() != "t:1:"+want {
			t.Errorf("%s: %v, want t:1:%s", argument, err, want)
		}
		s := mustCompile(t, "server { listen 80; set $v '"+lastWord(argument)+"'; location / { expires "+firstWords(argument)+"$v; proxy_pass http://up; } }")
		r := at(t, s, "80", "/")
		if _, _, on := r.Loc.Expires.At(r, nil); on {
			t.Errorf("%s in a variable is on", argument)
		}
	}
	const form = `, it must be a time with or without a sign (10m, -1h), "@" and a time of the day (@15h30m), "epoch", "max" or "off"`
	const plain = `, it must be a time with or without a sign (10m, -1h)`
	f("bad", `9: invalid value "bad" in "expires" directive`+form)
	f("@25h", `9: invalid value "@25h" in "expires" directive`+form)
	f("5ms", `9: invalid value "5ms" in "expires" directive`+form)
	f("--1", `9: invalid value "--1" in "expires" directive`+form)
	f("@-1h", `9: invalid value "@-1h" in "expires" directive`+form)
	f("modified epoch", `18: invalid value "epoch" in "expires" directive`+plain)
	f("modified @1h", `18: invalid value "@1h" in "expires" directive`+plain)
	if _, err := compile("expires changed 1h;", nil); err == nil ||
		err.Error() != `t:1:9: invalid value "changed" in "expires" directive, it must be "modified"` {
		t.Error(err)
	}
}
