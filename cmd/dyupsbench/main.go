// Command dyupsbench compares HTTP proxies side by side in one run; see package bench and bench/README.md.
package main

import (
	"os"

	"dyups/bench"
)

func main() {
	if status, done := bench.Isolate(os.Args[1:], os.Stderr); done {
		os.Exit(status)
	}
	os.Exit(bench.Main(os.Args[1:], os.Stdout, os.Stderr))
}
