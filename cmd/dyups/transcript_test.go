package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// seedConf is the configuration that the module's own documentation begins with; only the ports are free ones.
const seedConf = `daemon off;
error_log logs/error.log debug;
events {
}
http {
    upstream host1 {
        server 127.0.0.1:{b8088};
    }
    upstream host2 {
        server 127.0.0.1:{b8089};
    }
    server {
        listen   {proxy};
        location / {
            proxy_pass http://$host;
        }
    }
    server {
        listen {b8088};
        location / {
            echo 8088;
        }
    }
    server {
        listen {b8089};
        location / {
            echo 8089;
        }
    }
    server {
        listen {api};
        location / {
            dyups_interface;
        }
    }
}
`

// TestTranscript plays the documented session and compares every byte but dates and the name of the server.
func TestTranscript(t *testing.T) {
	p := prepare(t, seedConf)
	p.run("-p", p.dir, "-c", "dyups.conf", "-g", p.expand("pid {dir}/pid;"))
	p.waitReady()
	if _, err := os.Stat(filepath.Join(p.dir, "logs", "error.log")); err != nil {
		t.Errorf("the error log below a folder that was missing: %v", err)
	}
	transcript(t, p)
}

var (
	dateLine   = regexp.MustCompile(`(?m)^Date: \w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT\r$`)
	serverName = regexp.MustCompile(`(?m)^Server: [^\r\n]+\r$`)
	pageName   = regexp.MustCompile(`<center>[a-z]+(/[0-9.]+)?</center>`)
)

// curl sends a request the way curl does and returns the response with the variable parts made fixed.
func curl(t *testing.T, addr, method, path, host, body string) string {
	t.Helper()
	w := dial(t, addr)
	defer w.Close()
	req := method + " " + path + " HTTP/1.1\r\nhost: " + host + "\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
	if body != "" {
		req += "Content-Length: " + strconv.Itoa(len(body)) + "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	}
	w.send(req + "Connection: close\r\n\r\n" + body)
	got := w.all()
	got = dateLine.ReplaceAllString(got, "Date: DATE\r")
	got = serverName.ReplaceAllString(got, "Server: SERVER\r")
	return pageName.ReplaceAllString(got, "<center>SERVER</center>")
}

func transcript(t *testing.T, p *proc) {
	t.Helper()
	f := func(addr, method, path, host, body, want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "\n", "\r\n")
		if got := curl(t, p.addr(addr), method, path, host, body); got != want {
			t.Errorf("%s %s of %s:\n got %q\nwant %q", method, path, host, got, want)
		}
	}
	page502 := `HTTP/1.1 502 Bad Gateway
Server: SERVER
Date: DATE
Content-Type: text/html
Content-Length: LENGTH
Connection: close

<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>SERVER</center>
</body>
</html>
`
	gone := func() {
		t.Helper()
		got := curl(t, p.addr("proxy"), "GET", "/", "dyhost", "")
		got = regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(got, "Content-Length: LENGTH")
		if want := strings.ReplaceAll(page502, "\n", "\r\n"); got != want {
			t.Errorf("GET / of dyhost:\n got %q\nwant %q", got, want)
		}
	}
	success := "HTTP/1.1 200 OK\nServer: SERVER\nDate: DATE\nContent-Length: 7\nConnection: close\n\nsuccess"
	answers := func(host, want string) {
		t.Helper()
		if a := get(t, p.addr("proxy"), host); a.status != 200 || a.body != want {
			t.Errorf("host %s: %d %q, want 200 %q", host, a.status, a.body, want)
		}
	}
	detail := func(want string) {
		t.Helper()
		if a := api(t, p.addr("api"), "GET", "/detail", ""); a.status != 200 || a.body != p.expand(want) {
			t.Errorf("/detail: %d %q, want 200 %q", a.status, a.body, p.expand(want))
		}
	}

	gone()
	f("api", "POST", "/upstream/dyhost", "127.0.0.1", p.expand("server 127.0.0.1:{b8089};server 127.0.0.1:{b8088};"), success)
	for range 2 {
		answers("dyhost", "8089\n")
		answers("dyhost", "8088\n")
	}
	answers("host1", "8088\n")
	answers("host2", "8089\n")
	detail("host1\nserver 127.0.0.1:{b8088}\n\nhost2\nserver 127.0.0.1:{b8089}\n\n" +
		"dyhost\nserver 127.0.0.1:{b8089}\nserver 127.0.0.1:{b8088}\n\n")
	f("api", "DELETE", "/upstream/dyhost", "127.0.0.1", "", success)
	detail("host1\nserver 127.0.0.1:{b8088}\n\nhost2\nserver 127.0.0.1:{b8089}\n\n")
	gone()
}
