package main

import (
	"fmt"
	"io"
)

// printTour says what the built-in configuration listens on and what to try.
func printTour(w io.Writer) {
	fmt.Fprintf(w, `dyups/%s runs its built-in configuration, which listens on this machine only:

  127.0.0.1:8080  the proxy: the Host field names the upstream
  127.0.0.1:8081  the interface: GET /list, GET /detail, GET, POST and DELETE /upstream/NAME
  127.0.0.1:8088  a backend that answers 8088, upstream host1
  127.0.0.1:8089  a backend that answers 8089, upstream host2

Try, in another terminal:

  curl -d "server 127.0.0.1:8089;server 127.0.0.1:8088;" 127.0.0.1:8081/upstream/dyhost
  curl -H "host: dyhost" 127.0.0.1:8080
  curl 127.0.0.1:8081/detail

A configuration file of your own: dyups -c FILE. All options: dyups -h. Stop with Ctrl-C.
`, version)
}
