package bench

import (
	"bytes"
	"fmt"
	"strings"
)

// Scenario is one kind of request and the answer that belongs to it.
type Scenario struct {
	Name   string
	Method string
	Path   string      // chooses the answer, see answers
	Fields [][2]string // header fields besides Host and, with a body, Content-Length
	Body   []byte      // request body, nil for none
}

// browserFields are what a desktop browser sends for a page of a site it knows: twelve fields, about 700 bytes.
var browserFields = [][2]string{
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
	{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
	{"Accept-Language", "en-GB,en;q=0.9,de;q=0.7"},
	{"Accept-Encoding", "gzip, deflate, br, zstd"},
	{"Referer", "https://www.example.org/catalogue/index.html?page=3&sort=price"},
	{"Cookie", "sid=4f6c1d0a9be34d7f8c2e5a7b9d013f62; theme=dark; consent=all; _ga=GA1.2.1234567890.1700000000"},
	{"Sec-CH-UA", `"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"`},
	{"Sec-CH-UA-Mobile", "?0"},
	{"Sec-CH-UA-Platform", `"Linux"`},
	{"Sec-Fetch-Dest", "document"},
	{"Sec-Fetch-Mode", "navigate"},
	{"Sec-Fetch-Site", "same-origin"},
}

// scenarios in the order in which the usage text lists them.
var scenarios = []Scenario{
	{Name: "small", Method: "GET", Path: "/small"},
	{Name: "browser", Method: "GET", Path: "/small", Fields: browserFields},
	{Name: "1m", Method: "GET", Path: "/1m"},
	{Name: "100k", Method: "GET", Path: "/100k"},
	{Name: "post", Method: "POST", Path: "/small", Body: bytes.Repeat([]byte("0123456789abcdef"), 64),
		Fields: [][2]string{{"Content-Type", "application/octet-stream"}}},
	{Name: "newconn", Method: "GET", Path: "/small", Fields: [][2]string{{"Connection", "close"}}},
}

// scenarioNames lists the names, separated by "|".
func scenarioNames() string {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.Name
	}
	return strings.Join(names, "|")
}

// scenarioByName finds a scenario; the error names those there are.
func scenarioByName(name string) (*Scenario, error) {
	for i := range scenarios {
		if scenarios[i].Name == name {
			return &scenarios[i], nil
		}
	}
	return nil, fmt.Errorf("cannot run scenario %q: there is %s", name, scenarioNames())
}

// lua writes the scenario as a wrk script. It sets values only and defines no request function, so wrk formats the
// request once and sends the same bytes for the whole run. A quoted Go string of printable ASCII is a Lua string.
func (s *Scenario) lua() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wrk.method = %q\n", s.Method)
	for _, f := range s.Fields {
		fmt.Fprintf(&b, "wrk.headers[%q] = %q\n", f[0], f[1])
	}
	if s.Body != nil {
		fmt.Fprintf(&b, "wrk.body = %q\n", s.Body)
	}
	return b.String()
}
