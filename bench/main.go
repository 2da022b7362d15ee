package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dyups/bench/load"
	"dyups/bench/origin"
	"dyups/bench/result"
	"dyups/bench/rival"
)

// examples are the end of the usage text.
const examples = `
Examples:
  dyupsbench                                          everything, under 15 minutes
  dyupsbench -suite quick                             the headline scenarios, under 2 minutes
  dyupsbench -list                                    the scenarios and how long they take
  dyupsbench -scenario small-64,browser -rounds 9
  dyupsbench -scenario ./mine.txt -proxies nginx,dyups
  dyupsbench -scenario small-64 -dyups new/dyups -dyups2 old/dyups    two builds side by side
  dyupsbench -crosscheck                              our load generator beside wrk and hey

Format of a scenario, and how to read the report: bench/README.md
`

// outDir is where reports go unless the options say otherwise, from the working directory.
const outDir = "bench/out"

// Values of -network.
const (
	networkPrivate = "private"
	networkHost    = "host"
)

// command is the whole command line.
type command struct {
	Options
	json, html       string
	list, crosscheck bool
	network          string // see Isolate
}

// Main is the command dyupsbench: args without the program's name, the report on stdout, progress and errors on stderr.
// It returns the exit status: 0 done, 1 the bench or dyups failed or it was interrupted, 2 wrong usage. SIGINT, SIGTERM
// and SIGHUP end the run.
//
// With one of the flags of the children (load.ChildFlag and the like) as its first argument it becomes that child.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if child := children[args[0]]; child != nil {
			if err := child(); err != nil {
				fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
				return 1
			}
			return 0
		}
	}
	c, err := parseArgs(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch {
	case c.list:
		err = c.writeList(stdout)
	case c.crosscheck:
		err = Crosscheck(ctx, c.Options, stdout)
	default:
		if err := c.place(); err != nil {
			fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
			return 2
		}
		err = c.run(ctx, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
		return 1
	}
	return 0
}

// children are what the program becomes with a hidden first argument.
var children = map[string]func() error{
	load.ChildFlag:    func() error { return load.Child(os.Stdin, os.Stdout) },
	origin.ChildFlag:  func() error { return origin.Child(os.Stdin, os.Stdout) },
	rival.GoProxyFlag: func() error { return rival.ChildGoProxy(os.Stdin) },
}

// place says where the files of the report go, and makes sure that they can be written there.
func (c *command) place() error {
	if c.json == "" || c.html == "" {
		if err := os.MkdirAll(outDir, 0o755); err != nil {
			return fmt.Errorf("cannot make the folder for reports: %w", err)
		}
	}
	name := filepath.Join(outDir, "report-"+time.Now().UTC().Format("20060102-150405"))
	if c.json == "" {
		c.json = name + ".json"
	}
	if c.html == "" {
		c.html = name + ".html"
	}
	for _, file := range []string{c.json, c.html} {
		if err := tryFile(file); err != nil {
			return fmt.Errorf("cannot write the report to %q: %w", file, err)
		}
	}
	return nil
}

// tryFile opens a file for writing and leaves it as it was, also where it was not there.
func tryFile(file string) error {
	_, missing := os.Lstat(file)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	f.Close()
	if errors.Is(missing, os.ErrNotExist) {
		return os.Remove(file)
	}
	return nil
}

// run measures and writes the report in its three forms, each of them whatever becomes of the others. A report that is whole
// is written although dyups failed.
func (c *command) run(ctx context.Context, stdout io.Writer) error {
	r, err := Run(ctx, c.Options)
	if r == nil {
		return err
	}
	return errors.Join(err, c.report(stdout, r))
}

// report writes the report. The text is last: a reader that goes away ends the program.
func (c *command) report(stdout io.Writer, r *result.Report) error {
	var written []string
	var errs []error
	for _, form := range []struct {
		file  string
		write func(io.Writer) error
	}{{c.json, r.WriteJSON}, {c.html, r.WriteHTML}} {
		if err := writeFile(form.file, form.write); err != nil {
			errs = append(errs, err)
			continue
		}
		written = append(written, form.file)
	}
	errs = append(errs, r.WriteText(stdout))
	if len(written) > 0 {
		fmt.Fprintf(stdout, "\nreport: %s\n", strings.Join(written, "\n        "))
	}
	return errors.Join(errs...)
}

// writeFile writes one form of a report.
func writeFile(file string, write func(io.Writer) error) error {
	f, err := os.Create(file)
	if err == nil {
		err = write(f)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("cannot write the report to %q: %w", file, err)
	}
	return nil
}

// parseArgs reads the command line; it has told the user of any error of package flag already.
func parseArgs(args []string, stderr io.Writer) (*command, error) {
	c := &command{Options: Options{Progress: stderr}}
	fs := flag.NewFlagSet("dyupsbench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintln(stderr, "Usage: dyupsbench [options]\n\nCompares HTTP proxies side by side in one run.\n\nOptions:")
		fs.PrintDefaults()
		fmt.Fprint(stderr, examples)
	}
	fs.StringVar(&c.Suite, "suite", suiteFull, "scenarios and their length: `full` or quick")
	scenarios := fs.String("scenario", "", "scenarios instead of the suite's: `NAME|FILE,...`")
	proxies := fs.String("proxies", "", "these `NAMES,...` in every scenario, instead of those it names")
	fs.IntVar(&c.Rounds, "rounds", 0, "rounds of each contender, instead of the scenario's")
	fs.Float64Var(&c.Seconds, "seconds", 0, "seconds of a round, instead of the scenario's")
	fs.IntVar(&c.Connections, "connections", 0, "busy connections, instead of the scenario's")
	fs.Float64Var(&c.Rate, "rate", 0, "requests a second in an open loop, instead of what the scenario says")
	fs.StringVar(&c.json, "json", "", "`FILE` for the report as JSON (default "+outDir+"/report-DATE.json)")
	fs.StringVar(&c.html, "html", "", "`FILE` for the report as a page (default "+outDir+"/report-DATE.html)")
	fs.StringVar(&c.Dyups, "dyups", "bin/dyups", "the dyups binary")
	fs.StringVar(&c.OldDyups, "dyups2", "", "a second dyups binary, which takes part as "+oldDyups)
	fs.IntVar(&c.ProxyCPU, "proxy-cpu", 0, "core of the proxies")
	fs.IntVar(&c.LoadCPU, "load-cpu", 1, "core of load, origins and updates")
	fs.BoolVar(&c.list, "list", false, "list the scenarios that would run")
	fs.BoolVar(&c.crosscheck, "crosscheck", false, "compare the load generator with wrk and hey")
	fs.StringVar(&c.network, "network", networkPrivate, "network of the run: `private`, a namespace of its own where the user may make one, or host")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if c.network != networkPrivate && c.network != networkHost {
		return nil, fmt.Errorf("cannot measure in network %q: there is %s, %s", c.network, networkPrivate, networkHost)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot use argument %q: there are only options, see -h", fs.Arg(0))
	}
	c.Scenarios, c.Proxies = names(*scenarios), names(*proxies)
	return c, nil
}

// names splits a list at its commas.
func names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// writeList says what a run would do.
func (c *command) writeList(w io.Writer) error {
	items, err := c.plan()
	if err != nil {
		return err
	}
	for i := range items {
		it := &items[i]
		var who []string
		for _, c := range it.contenders {
			who = append(who, c.name)
		}
		fmt.Fprintf(w, "%-20s %s\n%-20s %d × %gs, about %v: %s\n", it.Name, it.Title, "", it.Rounds, it.Seconds,
			it.estimate().Round(time.Second), strings.Join(who, " "))
	}
	_, err = fmt.Fprintf(w, "%d scenarios, about %v with the start of the proxies\n", len(items), estimate(items).Round(time.Second))
	return err
}
