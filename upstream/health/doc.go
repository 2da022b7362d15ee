// Package health asks the servers of upstreams whether they are well, and bars those that are not.
//
// A Checker watches a Store. For every (server address, check) that stands in the table there is one prober, however many
// upstreams name it: it asks at the check's interval, give or take a tenth so that probes spread, on a pool of workers, never on
// a loop. After Fall failures in a row it bars the States of the server in all those upstreams, after Rise successes it lets them
// go. It stops the moment the last of them leaves the table. An update that keeps server and check changes nothing of it; a
// server that is new starts as the prober knows it, or as default_down says, before any request can see it (Store.OnNew). The request
// of a health_check has a Host, by which servers may answer, so upstreams share a check of type http only if that is the same one: by
// host=, or in a location by a proxy_set_header Host that is fixed or is $host, $http_host or $server_name, which are the server's
// first name then. Else it is the upstream's name, and each upstream has a check of its own. All other parameters have to be equal too,
// except persistent and how the match block is called; the timeout of a location's check may come from its proxy_read_timeout.
//
// # When a server gets requests
//
//	administrative   down ──► never      drain ──► sessions only      (up)
//	                                                                   │
//	active checks    barred ◄── Fall failures of one ── well           ▼
//	                    └── Rise successes of all ──► slow start ──► may be picked, unless
//	passive          failed: max_fails within fail_timeout; then one request is let through,
//	                    and its success begins the slow start
//	load             full: max_conns
//	rank             backup: as long as a server that is none may be picked
//
// Each column is on its own: a server is picked when none of them stands in the way. upstream.Why tells which one does. When all
// servers are out, requests get 502 and the log "no live upstreams", as in nginx, or wait in the upstream's queue.
//
// With panic_threshold the column of the active checks gives way while less than that share of the servers is healthy: few servers
// that are well would not stand the load of all. Servers that are new and have to pass first do not count until they have passed, or
// have failed Fall times, and get nothing by a panic before.
//
// # Sources and differences
//
// Directives, defaults and the fields of the status page are those of nginx_upstream_check_module; of its types tcp, http and
// ssl_hello. The last one sends a ClientHello with all versions and ciphers there are and looks whether a ServerHello comes back, then
// it hangs up: what else the server wants of a client makes no difference. Of http the status line decides; the rest of an answer is
// only read if the connection is to be kept, and one whose end cannot be found costs the connection. health_check and match are NGINX
// Plus's, and pass over up to 16 interim answers, such as 103; a match block sees a head of up to 64 KiB, a longer one fails, and
// 256 KiB of a body. A server that is marked down is not asked. The first probe is made at random within a tenth of the interval,
// and a second at most, where the module takes the whole interval. Further times are spread by a tenth, where the module asks in
// step; those of health_check by its jitter. An upstream has one check, or any number of health_checks: those of its block or
// command, else those of locations, equal ones once. A server gets requests while all of them pass, as in NGINX Plus; a new one has
// to pass those first that are mandatory.
package health
