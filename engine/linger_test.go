package engine

import "testing"

// TestLingering: lingering_time bounds how long the rest of an answered request's body is read, and lingering_close, _time and
// _timeout are those of the location that answered.
func TestLingering(t *testing.T) {
	r := newRig(t, 1, `
server {
    listen 127.0.0.1:0; lingering_timeout 1h; lingering_time 1h;
    location /now { return 200 x; lingering_time 0; }
    location /long { return 200 x; }
    location /always { return 200 x; lingering_close always; lingering_timeout 100ms; }
}`)
	for _, f := range []struct {
		path string
		kept bool
	}{{"/now", false}, {"/long", true}} {
		c := r.dial(0)
		c.send("POST " + f.path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
		c.read("POST")
		c.send("bcGET " + f.path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := c.r.ReadByte(); (err == nil) != f.kept {
			t.Errorf("%s: kept %v, want %v", f.path, err == nil, f.kept)
		}
		_ = c.Close()
	}
	wait(t, "the clients to go", func() bool { return r.clients() == 0 })

	c := r.dial(0)
	c.send("GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	c.all()
	wait(t, "the client to be gone", func() bool { return r.clients() == 0 })
	c = r.dial(0)
	c.send("GET /always HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	c.all() // half closed
	c.send("what nobody reads")
	wait(t, "the client to be given up", func() bool { return r.clients() == 0 })
	c = r.dial(0)
	c.send("POST /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\na")
	c.read("POST")
	lingers := func(c *conn) bool { return c.state == lingering }
	wait(t, "the client to be waited for", func() bool { return r.count(lingers) == 1 })
	_ = c.Close()
	wait(t, "the client to go", func() bool { return r.clients() == 0 })
}
