package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Main is the command dyupsbench: args without the program's name, the report on stdout, progress and errors on stderr.
// It returns the exit status: 0 done, 1 failed or interrupted, 2 wrong usage. SIGINT, SIGTERM and SIGHUP end the run.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == originFlag {
		if err := runOrigins(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
			return 1
		}
		return 0
	}
	opt, jsonFile, err := parseArgs(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = opt.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r, err := Run(ctx, opt)
	if err == nil {
		err = r.WriteText(stdout)
	}
	if err == nil && jsonFile != "" {
		err = writeJSON(jsonFile, r)
	}
	if err != nil {
		fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
		return 1
	}
	return 0
}

// parseArgs reads the command line; it has told the user of any error of package flag already.
func parseArgs(args []string, stderr io.Writer) (Options, string, error) {
	opt := Options{Progress: stderr}
	fs := flag.NewFlagSet("dyupsbench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&opt.Rounds, "rounds", 5, "measured rounds of each proxy, after one to warm up")
	fs.IntVar(&opt.Seconds, "seconds", 4, "seconds of a round")
	fs.IntVar(&opt.Connections, "connections", 64, "client connections, all busy")
	proxies := fs.String("proxies", "nginx,haproxy,dyups", "proxies to compare; missing ones are skipped")
	fs.StringVar(&opt.Scenario, "scenario", "small", "requests to send: "+scenarioNames())
	fs.IntVar(&opt.Churn, "churn", 0, "add rounds of dyups with this many upstream updates a second")
	jsonFile := fs.String("json", "", "also write everything to this file")
	fs.IntVar(&opt.ProxyCPU, "proxy-cpu", 0, "core of the proxies")
	fs.IntVar(&opt.LoadCPU, "load-cpu", 1, "core of the load, the origins and the updates")
	fs.StringVar(&opt.Dyups, "dyups", "bin/dyups", "the dyups binary")
	if err := fs.Parse(args); err != nil {
		return opt, "", err
	}
	if fs.NArg() > 0 {
		return opt, "", fmt.Errorf("cannot use argument %q: there are only options, see -h", fs.Arg(0))
	}
	for name := range strings.SplitSeq(*proxies, ",") {
		if name = strings.TrimSpace(name); name != "" {
			opt.Proxies = append(opt.Proxies, name)
		}
	}
	return opt, *jsonFile, nil
}

// writeJSON writes the whole report, indented.
func writeJSON(file string, r *Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write the report to %q: %w", file, err)
	}
	return nil
}
