package rival

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"dyups/bench/churn"
)

// goProxySettings says in the report what ChildGoProxy sets.
const goProxySettings = `# http.Transport: MaxIdleConns 0 (no bound), MaxIdleConnsPerHost 1024, IdleConnTimeout 1h, DisableCompression,
#   no HTTP/2, no proxy from the environment, buffers of 4 KiB
# httputil.ReverseProxy: Rewrite, BufferPool of 32 KiB buffers, no error log; http.Server: IdleTimeout 1h
# round robin over an atomic pointer to the list; GOGC=400
`

// ChildGoProxy is the whole child process: it reads its configuration from in, serves, and returns when in ends or
// a listener fails. Settings that are not plain: without MaxIdleConnsPerHost two idle connections are kept for each origin,
// without DisableCompression origins are asked for gzip, without BufferPool each answer allocates 32 KiB (package
// net/http/httputil); GOGC 400 halves the collector's share, the live heap being small.
func ChildGoProxy(in io.Reader) error {
	var conf goProxyConfig
	dec := json.NewDecoder(in)
	if err := dec.Decode(&conf); err != nil {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	debug.SetGCPercent(400)
	front, err := net.Listen("tcp4", conf.Addr)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	api, err := net.Listen("tcp4", conf.API)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	p := &childProxy{byHost: conf.ByHost, first: conf.Upstreams[0].Name}
	for _, u := range conf.Upstreams {
		p.set(u.Name, u.Servers)
	}
	ended := make(chan error, 3)
	silent := log.New(io.Discard, "", 0)
	go func() {
		srv := &http.Server{Handler: p.handler(silent), IdleTimeout: time.Hour, ErrorLog: silent}
		ended <- srv.Serve(front)
	}()
	go func() { ended <- (&http.Server{Handler: http.HandlerFunc(p.update), ErrorLog: silent}).Serve(api) }()
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	return <-ended
}

// childProxy is the state of the child.
type childProxy struct {
	byHost bool
	first  string   // name of the upstream that requests go to unless byHost
	groups sync.Map // name to *group
}

// group is an upstream.
type group struct {
	turn atomic.Uint64
	list atomic.Pointer[[]string] // addresses, each as often as it weighs; never written again
}

// set makes servers the list of an upstream.
func (p *childProxy) set(name string, servers []churn.Server) {
	var list []string
	for _, s := range servers {
		for range s.Weight {
			list = append(list, s.Addr)
		}
	}
	g, ok := p.groups.Load(name)
	if !ok {
		g, _ = p.groups.LoadOrStore(name, new(group))
	}
	g.(*group).list.Store(&list)
}

// pick is the next server of the upstream that a request is for, "" if there is none.
func (p *childProxy) pick(r *http.Request) string {
	name := p.first
	if p.byHost {
		name = r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
	}
	g, ok := p.groups.Load(name)
	if !ok {
		return ""
	}
	list := g.(*group).list.Load()
	if list == nil || len(*list) == 0 {
		return ""
	}
	return (*list)[g.(*group).turn.Add(1)%uint64(len(*list))]
}

func (p *childProxy) handler(silent *log.Logger) http.Handler {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = p.pick(r.In) // without one the transport refuses the request: status 502
		},
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     time.Hour,
			DisableCompression:  true,
		},
		BufferPool: &buffers{},
		ErrorLog:   silent,
	}
}

// update is the interface: POST of a goProxyUpdate.
func (p *childProxy) update(w http.ResponseWriter, r *http.Request) {
	var u goProxyUpdate
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil || u.Name == "" {
		http.Error(w, fmt.Sprintf("malformed update: %v", err), http.StatusBadRequest)
		return
	}
	if len(u.Servers) == 0 {
		p.groups.Delete(u.Name)
		return
	}
	p.set(u.Name, u.Servers)
}

// buffers keeps the buffers in which bodies are copied. Its zero value is ready; it is safe for concurrent use.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
