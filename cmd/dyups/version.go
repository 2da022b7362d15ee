package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

const (
	// version is the version of dyups.
	version = "0.1.0"
	// nginxLevel is the nginx release whose configuration language and observable behaviour dyups follows. Test suites
	// and scripts read it from -V.
	nginxLevel = "1.26.3"
)

// modules lists, as configure arguments of nginx, what is built in beyond nginx's default set and which modules of that
// set are missing. Scripts and nginx's own test suite decide by this text what may be used, so it has to be true.
var modules = append([]string{"--with-http_realip_module"}, missing(
	"http_charset_module", "http_gzip_module", "http_ssi_module", "http_mirror_module", "http_userid_module",
	"http_autoindex_module", "http_geo_module", "http_referer_module", "http_fastcgi_module",
	"http_uwsgi_module", "http_scgi_module", "http_grpc_module", "http_memcached_module", "http_limit_conn_module",
	"http_limit_req_module", "http_empty_gif_module", "http_browser_module", "http_split_clients_module",
	"http_tunnel_module", "http-cache", "mail_pop3_module", "mail_imap_module", "mail_smtp_module",
	"stream_access_module", "stream_geo_module", "stream_limit_conn_module", "stream_map_module", "stream_pass_module",
	"stream_return_module", "stream_set_module", "stream_split_clients_module", "stream_upstream_hash_module",
	"stream_upstream_least_conn_module", "stream_upstream_least_time_module", "stream_upstream_random_module",
	"stream_upstream_zone_module")...)

func missing(names ...string) []string {
	for i, n := range names {
		names[i] = "--without-" + n
	}
	return names
}

// printVersion is -v.
func printVersion(w io.Writer) {
	fmt.Fprintf(w, "nginx version: nginx/%s\ndyups version: dyups/%s\n", nginxLevel, version)
}

// printBuild is -V.
func printBuild(w io.Writer) {
	printVersion(w)
	fmt.Fprintf(w, "built by %s for %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "configure arguments: %s\n", strings.Join(modules, " "))
}

// printHelp is -h.
func printHelp(w io.Writer) {
	fmt.Fprintf(w, "dyups version: dyups/%s (speaks the configuration language of nginx/%s)\n", version, nginxLevel)
	io.WriteString(w, `
Usage: dyups [-?hvVtTq] [--strict-dns] [-s signal] [-p prefix] [-e filename] [-c filename] [-g directives]

Options:
  -?,-h,--help  : this help
  -v            : show version and exit
  -V            : show version, what is built in and what is not, and exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  --strict-dns  : with -t: a name of "server NAME resolve" that cannot be looked up is an error
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to the running dyups: stop, quit, reopen, reload
  -p prefix     : folder that relative log, pid, root and temporary paths start from (default: working directory)
  -e filename   : error log until, and unless, the configuration names one ("stderr": standard error)
  -c filename   : configuration file, relative to the prefix (default: a built-in example on 127.0.0.1)
  -g directives : directives of the main context, applied before those of the file

Examples:
  dyups                                   run the built-in example and say what to try
  dyups -t -c conf/nginx.conf             check a configuration without touching what runs
  dyups -p /srv/edge -c nginx.conf        run it; /srv/edge/logs/error.log is the default error log
  dyups -p /srv/edge -c nginx.conf -g 'daemon off;'
  dyups -p /srv/edge -c nginx.conf -s reload
  curl -d 'server 10.0.0.1:80; server 10.0.0.2:80 weight=2;' 127.0.0.1:8081/upstream/backend
`)
}
