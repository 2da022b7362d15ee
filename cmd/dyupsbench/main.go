// Command dyupsbench compares HTTP proxies side by side in one run; see package bench and bench/README.md.
package main

import (
	"os"

	"dyups/bench"
)

func main() { os.Exit(bench.Main(os.Args[1:], os.Stdout, os.Stderr)) }
