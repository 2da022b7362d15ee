package upstream

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"dyups/codec/conf"
)

// TestAccepted checks bodies against the listing of the original's newer builds.
func TestAccepted(t *testing.T) {
	f := func(body string, want ...string) {
		t.Helper()
		u := storeOf(t, body).Load().Lookup([]byte("DY"))
		var lines []string
		for _, w := range want {
			if w = "server " + w; !strings.Contains(w, "weight=") {
				w += " weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0"
			}
			lines = append(lines, w+"\n")
		}
		if got := string(u.AppendDetail(nil, true)); got != strings.Join(lines, "") {
			t.Errorf("%q:\n%s", body, got)
		}
	}
	f("server 127.0.0.1:8088;", "127.0.0.1:8088")
	f("server 127.0.0.1:8088;server 127.0.0.1:8089;", "127.0.0.1:8088", "127.0.0.1:8089")
	f("server\n127.0.0.1:8088\nweight=2\n;", "127.0.0.1:8088 weight=2 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0")
	f("server 127.0.0.1;", "127.0.0.1:80")
	f("server one.test;", "127.0.0.1:80")
	f("server multi.test:8088;", "127.0.0.1:8088")
	f("server unix:/tmp/be.sock;", "unix:/tmp/be.sock")
	f("server unix:rel.sock;", "unix:rel.sock")
	f("server unix:/tmp/a:b weight=2;", "unix:/tmp/a:b weight=2 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0")
	f("server unix:"+strings.Repeat("p", 107)+";", "unix:"+strings.Repeat("p", 107))
	f("server 127.0.0.1:65535;", "127.0.0.1:65535")
	f("server 127.0.0.1:08088;", "127.0.0.1:8088")
	f("server 0.0.0.0:8088;", "0.0.0.0:8088")
	f("server 255.255.255.255:80;", "255.255.255.255:80")
	f("server 127.1;", "127.0.0.1:80")
	f("server 0x7f000001;", "127.0.0.1:80")
	f("server 0177.0.0.1;", "177.0.0.1:80")
	f("server 0177.1;", "127.0.0.1:80")
	f("server [0:0:0:0:0:0:0:1]:8088;", "[::1]:8088")
	f("server [FE80::ABCD];", "[fe80::abcd]:80")
	f("server [::ffff:127.0.0.1]:8088;", "[::ffff:127.0.0.1]:8088")
	p := func(params, want string) {
		t.Helper()
		f("server 127.0.0.1:1 "+params+"; server 127.0.0.1:2;", "127.0.0.1:1 "+want, "127.0.0.1:2")
	}
	p("weight=2 weight=7", "weight=7 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0")
	p("weight=007", "weight=7 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0")
	p("weight=9223372036854775807", "weight=9223372036854775807 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0")
	p("max_conns=7 max_fails=0 fail_timeout=0", "weight=1 max_conns=7 max_fails=0 fail_timeout=0 backup=0 down=0")
	p("max_fails=9999999999", "weight=1 max_conns=0 max_fails=9999999999 fail_timeout=10 backup=0 down=0")
	p("backup", "weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=1 down=0")
	p("backup down", "weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=1 down=1")
	p("fail_timeout=1M", "weight=1 max_conns=0 max_fails=1 fail_timeout=2592000 backup=0 down=0")
	p("fail_timeout=1h30m10s", "weight=1 max_conns=0 max_fails=1 fail_timeout=5410 backup=0 down=0")
	p(`"fail_timeout=1h 30m"`, "weight=1 max_conns=0 max_fails=1 fail_timeout=5400 backup=0 down=0")
	f("server 127.0.0.1:1 down;", "127.0.0.1:1 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=1")
	f("# c { } ;\nserver 127.0.0.1:1; # end", "127.0.0.1:1")
	f("ip_hash; ip_hash; least_conn; hash a; random; random two; random two least_conn; hash $arg_a consistent; server 127.0.0.1:1;", "127.0.0.1:1")
	f("ip_hash; least_conn; server 127.0.0.1:1; server 127.0.0.1:2 backup;",
		"127.0.0.1:1", "127.0.0.1:2 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=1 down=0")
}

// TestRefused checks the place and the wording of errors, and that every refused body of the recordings is refused.
func TestRefused(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		if _, err := parseBlock(body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", body, err, want)
		}
	}
	f("", "dy:1:1: no servers in upstream \"dy\": found no server directive")
	f(" \n\t \r\n", "no servers")
	f("ip_hash;", "body:1:8: no servers")
	f("server 127.0.0.1:8088 backup;", "body:1:29: no servers in upstream \"dy\": found backup servers only")
	f("server 127.0.0.1:8088", "body:1:")
	f("server 127.0.0.1:8088;server 127.0.0.1:8089", "body:1:")
	f("server;", "invalid number of arguments")
	f("SERVER 127.0.0.1:8088;", "unknown directive \"SERVER\"")
	f("server { 127.0.0.1:8088; }", "not a block")
	f("include /etc/passwd;", "include")
	f("server 127.0.0.1:1;\n  foo bar;", "body:2:3: unknown directive \"foo\"")
	for _, port := range []string{"0", "65536", "abc", "", "+80", "80:81", "8088#x"} {
		f("server 127.0.0.1:"+port+";", "body:1:8: invalid port in upstream \"127.0.0.1:"+port+"\"")
	}
	f("server *:80;", "host not found in upstream \"*:80\", it must be ADDRESS[:PORT], ")
	f("server nx.test:8088;", "host not found in upstream \"nx.test:8088\": no such host; it must be an address, a name that is known now, or have the parameter \"resolve\"")
	f("server empty.test;", "host not found in upstream \"empty.test\"")
	f("server a_b.test:80;", "host not found")
	f(`server 127\.0.0.1:8088;`, "host not found")
	f("server 127.0.0.1:8088/path;", "invalid host")
	f("server http://127.0.0.1:8088;", "invalid host")
	f("server [fe80::1%25lo]:80;", "invalid IPv6 address")
	f("server [127.0.0.1]:80;", "invalid IPv6 address")
	f("server [::1;", "invalid host")
	f("server [::1]80;", "invalid host")
	f("server :80;", "no host")
	f("server unix:;", "no path")
	f("server unix:"+strings.Repeat("p", 108)+";", "too long path")
	f("server 256.0.0.1;", "host not found")
	f("server 1.2.3.4.5;", "host not found")
	for _, p := range []string{
		"weight=0", "weight=-1", "weight=a", "weight=", "weight=+3", "weight=1.5", "weight=99999999999999999999",
		"weight=9223372036854775808", "max_fails=-3", "max_fails=", "max_conns=-1", "fail_timeout=30s1m", "fail_timeout=1.5s",
		"fail_timeout=", "fail_timeout=-1", "fail_timeout=500ms",
	} {
		key, value, _ := strings.Cut(p, "=")
		f("server 127.0.0.1:1 "+p+";", "invalid value \""+value+"\" of parameter \""+key+"\"")
	}
	for _, p := range []string{"WEIGHT=2", "down=1", "DOWN", "backup=1", "backupx", "slow_start", "id=1", "weight"} {
		f("server 127.0.0.1:1 "+p+";", "body:1:20: invalid parameter \""+p+"\" in \"server\" directive")
	}
	for _, m := range []string{"ip_hash", "hash $arg_k", "hash a consistent", "random", "random two"} {
		f(m+"; server 127.0.0.1:1; server 127.0.0.1:2 backup;", "does not support parameter \"backup\"")
	}
	for _, m := range []string{"ip_hash", "hash $arg_k", "maglev $arg_k", "random", "random two least_time=header"} {
		f(m+"; server 127.0.0.1:1 slow_start=5s;", "does not support parameter \"slow_start\"; allowed with it: weight=, max_conns=")
	}
	f("server 127.0.0.1:1 slow_start=500ms;", "invalid value \"500ms\" of parameter \"slow_start\"")
	f("hash $uri consistent balance_factor; server 127.0.0.1:1;", "invalid parameter \"balance_factor\" in \"hash\" directive")
	for _, v := range []string{"1", "1.00", "0.5", "1.255", "x", "", "-2", "1e3", ".5", "999999"} {
		f("hash $uri consistent balance_factor="+v+"; server 127.0.0.1:1;", "invalid value \""+v+"\" of parameter \"balance_factor\"")
	}
	f("hash $uri balance_factor=2 consistent; server 127.0.0.1:1;", "invalid parameter \"balance_factor=2\"")
	f("maglev $nosuch; server 127.0.0.1:1;", "body:1:8: invalid key \"$nosuch\" in \"maglev\" directive: unknown")
	f("least_time; server 127.0.0.1:1;", "invalid number of arguments")
	f("least_time body; server 127.0.0.1:1;", "invalid parameter \"body\"")
	f("least_time header x; server 127.0.0.1:1;", "invalid parameter \"x\"")
	f("queue 0; server 127.0.0.1:1;", "invalid value \"0\"")
	f("queue 5 10s; server 127.0.0.1:1;", "invalid parameter \"10s\" in \"queue\" directive")
	f("queue 5 timeout=x; server 127.0.0.1:1;", "invalid value \"x\" of parameter \"timeout\"")
	f("state /var/lib/servers; server 127.0.0.1:1;", "\"POST /upstream/NAME\" changes them")
	f("server 127.0.0.1:1; session_sticky cookie=a fallback=on;", "\"session_sticky\" directive is not supported: write \"sticky cookie NAME\"")
	f("consistent_hash $uri; server 127.0.0.1:1;", "write \"hash KEY consistent\"")
	f("hash; server 127.0.0.1:1;", "invalid number of arguments")
	f("hash $uri foo; server 127.0.0.1:1;", "invalid parameter \"foo\" in \"hash\" directive")
	f("hash $nosuch; server 127.0.0.1:1;", "body:1:6: invalid key \"$nosuch\" in \"hash\" directive: unknown")
	f("random one; server 127.0.0.1:1;", "invalid parameter \"one\"")
	f("random two least_time; server 127.0.0.1:1;", "invalid parameter \"least_time\"")
	f("keepalive x; server 127.0.0.1:1;", "invalid value \"x\"")
	f("keepalive x local; server 127.0.0.1:1;", "invalid value \"x\"")
	f("keepalive 8 Local; server 127.0.0.1:1;", "invalid parameter \"Local\" in \"keepalive\" directive")
	f("keepalive 8 local local; server 127.0.0.1:1;", "invalid number of arguments")
	f("keepalive 8; keepalive 9; server 127.0.0.1:1;", "is duplicate")
	f("keepalive_timeout 5s 4s; server 127.0.0.1:1;", "invalid number of arguments")
	f("zone z 1k; server 127.0.0.1:1;", "at least 32k")
	f("check; server 127.0.0.1:1;", "invalid number of arguments")
	f("check interval=1s; server 127.0.0.1:1;", "invalid value \"1s\" of parameter \"interval\" in \"check\" directive, it must be a whole number of milliseconds from 1 to 2147483648")
	f("check timeout=0; server 127.0.0.1:1;", "it must be a whole number of milliseconds from 1 to 2147483648")
	f("server 127.0.0.1:1 fail_timeout=300y;", "it must be a time of at most 292 years")
	f("server 127.0.0.1:1 weight=9223372036854775808;", "it must be a whole number from 1 to 9223372036854775807")
	f("server 127.0.0.1:1; keepalive 1; keepalive 2;", "body:1:34: \"keepalive\" directive is duplicate, first at 1:21")
	f("check rise=0; server 127.0.0.1:1;", "invalid value \"0\" of parameter \"rise\"")
	f("check type=mysql; server 127.0.0.1:1;", "invalid value \"mysql\" of parameter \"type\"")
	f("check port=0; server 127.0.0.1:1;", "invalid value \"0\" of parameter \"port\"")
	f("check default_down=no; server 127.0.0.1:1;", "invalid value \"no\" of parameter \"default_down\"")
	f("check up=1; server 127.0.0.1:1;", "invalid parameter \"up=1\" in \"check\" directive")
	f("check rise=1; check rise=1; server 127.0.0.1:1;", "is duplicate")
	f("check_http_expect_alive http_6xx; server 127.0.0.1:1;", "invalid value \"http_6xx\"")
	f("check_keepalive_requests 0; server 127.0.0.1:1;", "invalid value \"0\"")
	f("sticky cookie; server 127.0.0.1:1;", "invalid number of arguments")
	f("sticky lean $a; server 127.0.0.1:1;", "invalid parameter \"lean\" in \"sticky\" directive (did you mean \"learn\"?), it takes cookie, route, learn")
	l := func(params, want string) {
		t.Helper()
		f("sticky learn "+params+"; server 127.0.0.1:1;", want)
	}
	l("lookup=$b zone=z:1m", "\"sticky\" directive lacks \"create=\"")
	l("create=$b zone=z:1m", "\"sticky\" directive lacks \"lookup=\"")
	l("create=$b lookup=$b", "\"sticky\" directive lacks \"zone=\"")
	l("create=b", "invalid value \"b\" of parameter \"create\" in \"sticky\" directive, it must be a variable")
	l("lookup=$", "invalid value \"$\" of parameter \"lookup\"")
	l("lookup=$nosuch", "unknown \"nosuch\" variable")
	l("create=$a sync", "invalid parameter \"sync\"")
	l("zone=a:1m zone=b:1m", "body:1:24: parameter \"zone\" of \"sticky\" directive is duplicate")
	l("timeout=1 timeout=1", "parameter \"timeout\" of \"sticky\" directive is duplicate")
	l("create=$a create=$b header header", "lacks \"lookup=\"")
	l("timeout=0", "invalid value \"0\" of parameter \"timeout\"")
	for _, z := range []string{"z", "z:", ":1m", "z:31k", "z:x", ""} {
		l("zone="+z, "invalid value \""+z+"\" of parameter \"zone\"")
	}
	f("sticky cookie 'a b'; server 127.0.0.1:1;", "invalid value \"a b\" in \"sticky\" directive, it must be the name of a cookie")
	f("sticky cookie a samesite=x; server 127.0.0.1:1;", "invalid value \"x\" of parameter \"samesite\"")
	f("sticky cookie a expires=1.5s; server 127.0.0.1:1;", "invalid value \"1.5s\" of parameter \"expires\"")
	f("sticky cookie a secure secure; server 127.0.0.1:1;", "body:1:24: parameter \"secure\" of \"sticky\" directive is duplicate")
	f("sticky cookie a secret=; server 127.0.0.1:1;", "invalid value \"\" of parameter \"secret\"")
	f("sticky cookie a \"path=/;x\"; server 127.0.0.1:1;", "invalid value \"/;x\" of parameter \"path\"")
	f("sticky cookie a domain=$nosuch; server 127.0.0.1:1;", "unknown \"nosuch\" variable")
	f("sticky route $nosuch; server 127.0.0.1:1;", "body:1:14: invalid value \"$nosuch\" in \"sticky\" directive: unknown")
}

// TestDetail checks the short listing, and that what it prints with semicolons is read back as the same.
func TestDetail(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		s := storeOf(t, body)
		u := s.Load().Lookup([]byte("dy"))
		got := string(u.AppendDetail(nil, false))
		if got != want {
			t.Errorf("%q:\n%s", body, got)
		}
		if strings.Contains(got, ";") {
			set(t, s, "copy", got)
			again := s.Load().Lookup([]byte("copy"))
			if copied := string(again.AppendDetail(nil, false)); copied != got {
				t.Errorf("%q: posted back as %q", got, copied)
			}
		}
	}
	f("server 127.0.0.1:8089;server 127.0.0.1;", "server 127.0.0.1:8089\nserver 127.0.0.1:80\n")
	f("server 127.0.0.1:1 weight=3; server 127.0.0.1:2;", "server 127.0.0.1:1 weight=3;\nserver 127.0.0.1:2;\n")
	f("server 127.0.0.1:1; server 127.0.0.1:2 down backup fail_timeout=20 max_fails=0 max_conns=5 weight=1;",
		"server 127.0.0.1:1;\nserver 127.0.0.1:2 max_conns=5 max_fails=0 fail_timeout=20s backup down;\n")
	f("ip_hash; server 127.0.0.1:1;", "server 127.0.0.1:1;\nip_hash;\n")
	f("hash '$a b' consistent; server 127.0.0.1:1; server 127.0.0.1:2;", "server 127.0.0.1:1;\nserver 127.0.0.1:2;\nhash \"$a b\" consistent;\n")
	f("keepalive 4; server 127.0.0.1:1; keepalive_requests 5; keepalive_time 1500ms; keepalive_timeout 1m;",
		"server 127.0.0.1:1;\nkeepalive 4;\nkeepalive_requests 5;\nkeepalive_time 1500ms;\n")
	f("zone z 64k; zone y 32k; server 127.0.0.1:80;", "server 127.0.0.1:80;\nzone y 32k;\n")
	f("keepalive 0; random two; zone z 64k; server multi.test;", "server 127.0.0.1:80;\nrandom two least_conn;\nzone z 64k;\nkeepalive 0;\n")
	f("random two least_time=last_byte; queue 7; server 127.0.0.1:1; server 127.0.0.1:2;",
		"server 127.0.0.1:1;\nserver 127.0.0.1:2;\nrandom two least_time=last_byte;\nqueue 7;\n")
	f("queue 7 timeout=1500ms; random two least_time=header; server 127.0.0.1:1;",
		"server 127.0.0.1:1;\nrandom two least_time=header;\nqueue 7 timeout=1500ms;\n")
	f("least_time header; server 127.0.0.1:1 slow_start=30s; server 127.0.0.1:2 backup;",
		"server 127.0.0.1:1 slow_start=30s;\nserver 127.0.0.1:2 backup;\nleast_time header;\n")
	f("server 127.0.0.1:1 drain route=a; server 127.0.0.1:2 down drain \"route=b c\"; server 127.0.0.1:3 drain down;",
		"server 127.0.0.1:1 drain route=a;\nserver 127.0.0.1:2 drain \"route=b c\";\nserver 127.0.0.1:3 down;\n")
	f("sticky cookie srv expires=1h domain=.a.test path=/ httponly secure samesite=lax secret=s; server 127.0.0.1:1;",
		"server 127.0.0.1:1;\nsticky cookie srv expires=1h domain=.a.test path=/ httponly secure samesite=lax secret=s;\n")
	f("sticky cookie srv expires=0; server 127.0.0.1:1;", "server 127.0.0.1:1;\nsticky cookie srv expires=0;\n")
	f("sticky learn create=$upstream_cookie_a create=$b lookup=$cookie_a zone=z:1m timeout=1h header; server 127.0.0.1:1;",
		"server 127.0.0.1:1;\nsticky learn create=$upstream_cookie_a create=$b lookup=$cookie_a zone=z:1m timeout=1h header;\n")
	f("sticky route $arg_a $arg_b; server 127.0.0.1:1 route=a;", "server 127.0.0.1:1 route=a;\nsticky route $arg_a $arg_b;\n")
	f("check type=tcp; check_http_expect_alive http_2xx http_3xx; server 127.0.0.1:1;",
		"server 127.0.0.1:1;\ncheck interval=30000 rise=2 fall=5 timeout=1000 default_down=true type=tcp;\n")
	f("check_http_expect_alive http_4xx http_2xx; check type=http interval=500 rise=1 fall=3 timeout=250 default_down=false port=81; check_http_send \"HEAD / HTTP/1.1\\r\\n\\r\\n\"; check_keepalive_requests 9; server 127.0.0.1:1;",
		"server 127.0.0.1:1;\ncheck interval=500 rise=1 fall=3 timeout=250 default_down=false type=http port=81;\n"+
			"check_http_send \"HEAD / HTTP/1.1\\r\\n\\r\\n\";\ncheck_http_expect_alive http_2xx http_4xx;\ncheck_keepalive_requests 9;\n")
	f("check_keepalive_requests 9; server 127.0.0.1:1;", "server 127.0.0.1:1\n")
	f("least_time last_byte inflight; server 127.0.0.1:1;", "server 127.0.0.1:1;\nleast_time last_byte inflight;\n")
	f("maglev $uri; server 127.0.0.1:1; server 127.0.0.1:2;", "server 127.0.0.1:1;\nserver 127.0.0.1:2;\nmaglev $uri;\n")
	f("hash a consistent balance_factor=1.5; server 127.0.0.1:1;", "server 127.0.0.1:1;\nhash a consistent balance_factor=1.5;\n")
	f("keepalive 32; server multi.test;", "server 127.0.0.1:80\n")
	f("keepalive 32 local; server 127.0.0.1:1;", "server 127.0.0.1:1;\nkeepalive 32 local;\n")
	f("keepalive 0 local; server 127.0.0.1:1;", "server 127.0.0.1:1;\nkeepalive 0 local;\n")
	f("server 'unix:/a b';", "server \"unix:/a b\";\n")
	u := storeOf(t, "server multi.test; server one.test weight=2 down;").Load().Lookup([]byte("dy"))
	if got := string(u.AppendServers(nil)); got != "server 127.0.0.1:80\nserver 127.0.0.1:80\n" {
		t.Errorf("servers: %q", got)
	}
	if got := string(u.AppendBody(nil)); got != "server multi.test;\nserver one.test weight=2 down;\n" {
		t.Errorf("body: %q", got)
	}
	if len(u.Servers) != 3 || u.Tries() != 2 || u.Servers[1].Label != "[::1]:80" || u.Servers[1].Name != "multi.test" {
		t.Errorf("servers: %v, tries %d", u.Servers, u.Tries())
	}
}

func TestKeepaliveDefaults(t *testing.T) {
	f := func(body string, want keepalive) {
		t.Helper()
		u := storeOf(t, body+"server 127.0.0.1:1;").Load().Lookup([]byte("dy"))
		if got := (keepalive{u.Keepalive, false, u.KeepaliveRequests, u.KeepaliveTime, u.KeepaliveTimeout}); got != want {
			t.Errorf("%q: %+v", body, got)
		}
	}
	f("", keepalive{32, false, 1000, 3600e9, 60e9})
	f("keepalive 5 local;", keepalive{5, false, 1000, 3600e9, 60e9})
	f("keepalive 0;", keepalive{0, false, 1000, 3600e9, 60e9})
	f("keepalive 2; keepalive_requests 3; keepalive_time 4s; keepalive_timeout 500ms;", keepalive{2, false, 3, 4e9, 500e6})
}

// equal reports whether two specs say the same.
func equal(a, b *Spec) bool {
	x, y := *a, *b
	x.plan, y.plan = nil, nil
	return reflect.DeepEqual(x, y)
}

// FuzzCommands posts bodies and deletes by the bytes of a script: nothing panics, every accepted body prints to a
// body of an equal Spec, and the table keeps its invariants.
func FuzzCommands(f *testing.F) {
	f.Add("a\nserver 127.0.0.1:1;\x00A\nserver 127.0.0.1:2 weight=3;\x00a\n")
	f.Add("x\nserver a.test:1 resolve; server b.test service=_x._tcp resolve backup; resolver 127.0.0.1 valid=3s; resolver_timeout 10ms;")
	f.Add("x\nhash \"$a;b\" consistent; server unix:'/a b' max_conns=3;\x00x\nserver one.test; keepalive 3;")
	f.Add("x\nserver 127.1; server [::1]:1 down; zone \"\\n\" 64k;\x00y\nrandom two; server multi.test fail_timeout=1h;")
	f.Add("x\nserver 127.0.0.1;server 127.0.0.1;server 127.0.0.2;\x00x\nserver 127.0.0.2;server 127.0.0.1; keepalive_time 10ms;")
	f.Fuzz(func(t *testing.T, script string) {
		s := NewStore()
		for command := range strings.SplitSeq(script, "\x00") {
			name, body, _ := strings.Cut(command, "\n")
			c := Change{Name: name}
			if body != "" {
				ds, err := conf.Parse("body", []byte(body))
				if err != nil {
					continue
				}
				if c.Spec, err = ParseBlock(name, ds, testOptions); err != nil {
					continue
				}
				printed := c.Spec.AppendBody(nil)
				if again := parse(t, string(printed)); !equal(c.Spec, again) {
					t.Fatalf("%q prints as %q: %+v, %+v", body, printed, c.Spec, again)
				}
			}
			old := s.Load()
			if err := s.Apply([]Change{c})[0]; (err != nil) != (c.Spec == nil && old.Lookup([]byte(name)) == nil) {
				t.Fatalf("%q: %v", command, err)
			}
			if err := s.Load().check(); err != nil {
				t.Fatal(err)
			}
			if u := s.Load().Lookup([]byte(name)); u != nil {
				u.AppendDetail(nil, true)
				u.AppendDetail(nil, false)
			}
		}
	})
}

// TestBrief: a block for which somebody waits is refused where it would take long, and read alike otherwise.
func TestBrief(t *testing.T) {
	looked := 0
	f := func(body string, lengthy bool) {
		t.Helper()
		ds, err := conf.Parse("body", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		resolve := func(string) ([]netip.Addr, error) {
			looked++
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		long, err := ParseBlock("x", ds, &Options{Resolve: resolve})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		looked = 0
		s, err := ParseBlock("x", ds, &Options{Resolve: resolve, Brief: true})
		switch {
		case looked > 0:
			t.Errorf("%s: a name was looked up", body)
		case lengthy:
			if s != nil || err != ErrLengthy {
				t.Errorf("%s: got %v, %v, want ErrLengthy", body, s, err)
			}
		case err != nil || !reflect.DeepEqual(s, long):
			t.Errorf("%s: got %+v, %v, want %+v", body, s, err, long)
		}
	}
	f("server 127.0.0.1:1;", false)
	f("server 127.0.0.1:1 weight=5; server [::1]:2 weight=1000; server unix:/s backup;", false)
	f("hash $uri; server 127.0.0.1:1; server 127.0.0.1:2 weight=3;", false)
	f("server name.test:1;", true)
	f("server 127.0.0.1:1; server name.test:1;", true)
	f("server 127.0.0.1:1 weight=9223372036854775807;", true)
	f("server 127.0.0.1:1 weight=10000; server 127.0.0.1:2;", true)
	f("hash $uri consistent; server 127.0.0.1:1; server 127.0.0.1:2;", true)
}
