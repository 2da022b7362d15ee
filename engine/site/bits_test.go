package site

import "testing"

// TestBitsAddUp: directives that name a set may stand several times at one level, which adds up, and replace that of the level
// around; "off" of proxy_next_upstream excludes all else.
func TestBitsAddUp(t *testing.T) {
	s := mustCompile(t, `proxy_next_upstream http_500; proxy_ignore_headers X-Accel-Redirect; keepalive_disable safari; server { listen 80;
		location / { proxy_pass http://up; }
		location /two { proxy_pass http://up; proxy_next_upstream error; proxy_next_upstream timeout http_404;
			proxy_ignore_headers X-Accel-Redirect; proxy_ignore_headers Expires; keepalive_disable msie6; keepalive_disable none; }
		location /off { proxy_pass http://up; proxy_next_upstream error off; proxy_next_upstream timeout; proxy_ignore_headers Expires; } }`)
	f := func(target string, next Next, ignore, msie6, safari bool) {
		t.Helper()
		l := at(t, s, "80", target).Loc
		if p := l.Proxy; p.Next != next || p.IgnoreAccelRedirect != ignore || l.DisableMSIE6 != msie6 || l.DisableSafari != safari {
			t.Errorf("%s: next %b, ignored %v, disabled %v %v", target, p.Next, p.IgnoreAccelRedirect, l.DisableMSIE6, l.DisableSafari)
		}
	}
	f("/", Next500, true, false, true)
	f("/two", NextError|NextTimeout|Next404, true, true, false)
	f("/off", NextOff, false, false, true)
}

// TestAccessLogOff: "access_log off" excludes the other logs of its level, before and behind it, and no others.
func TestAccessLogOff(t *testing.T) {
	s := mustCompile(t, `access_log a; server { listen 80;
		location / { proxy_pass http://up; }
		location /off { proxy_pass http://up; access_log off; access_log b; access_log c; location /off/in { proxy_pass http://up; access_log d; } }
		location /late { proxy_pass http://up; access_log b; access_log off; } }`)
	for target, want := range map[string]int{"/": 1, "/off": 0, "/off/in": 1, "/late": 0} {
		if got := len(at(t, s, "80", target).Loc.AccessLogs); got != want {
			t.Errorf("%s: %d logs, want %d", target, got, want)
		}
	}
}
