package site

import "testing"

func TestLimitRate(t *testing.T) {
	f := func(directives string, wantRate, wantAfter int64) {
		t.Helper()
		s := mustCompile(t, "server { listen 80; limit_rate 7; location / { "+directives+" proxy_pass http://up; } }")
		r := at(t, s, "80", "/?r=1k")
		var rate, after int64
		if r.Limited(r.Loc) {
			rate, after = r.Loc.Rate(r)
		}
		if rate != wantRate || after != wantAfter {
			t.Errorf("%s: %d after %d, want %d after %d", directives, rate, after, wantRate, wantAfter)
		}
	}
	f("", 7, 0)
	f("limit_rate 2m; limit_rate_after 3;", 2<<20, 3)
	f("limit_rate $arg_r; limit_rate_after $arg_r;", 1024, 1024)
	f("limit_rate $arg_none;", 0, 0)
	f("limit_rate 0;", 0, 0)
	f("set $limit_rate 5;", 5, 0)
	f("set $limit_rate 0;", 0, 0)
	f("set $limit_rate bad;", 7, 0)
	f("if ($arg_r) { limit_rate 9; proxy_pass http://up; }", 9, 0)
	_, err := compile("limit_rate_after fast;", nil)
	const want = `t:1:18: invalid value "fast" in "limit_rate_after" directive, it must be a number of bytes, or of k, m or g: 512, 4k, 8m, 1g`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
