package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"dyups/upstream/resolve"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program: the command line, then one of its modes. It returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintf(stderr, "dyups: [emerg] %v\n", err)
		return 1
	}
	opt, err := parseOptions(args)
	if err != nil {
		fmt.Fprintf(stderr, "dyups: %v\n", err)
		return 1
	}
	switch {
	case opt.help:
		printHelp(stderr)
		return 0
	case opt.build:
		printBuild(stderr)
		return 0
	case opt.version:
		printVersion(stderr)
		return 0
	}
	root, err := opt.root()
	if err != nil {
		return fail(err)
	}
	l := &loader{opt: opt, root: root}
	switch {
	case opt.test:
		return test(l, stdout, stderr)
	case opt.signal != "":
		c, err := l.read()
		if err == nil && opt.config == "" {
			err = fmt.Errorf("cannot signal without a configuration file: the built-in one has no pid file, give -c")
		}
		if err == nil {
			err = sendSignal(opt.signal, c.main.Pid)
		}
		if err != nil {
			return fail(err)
		}
		return 0
	}
	return start(l, stdout, stderr)
}

// test is -t and -T: check everything, bind and open nothing.
func test(l *loader, stdout, stderr io.Writer) int {
	r := resolve.New(0)
	defer r.Close()
	l.names = resolve.NewNames(r, nil)
	defer l.names.Close()
	c, err := l.load(context.Background())
	if err != nil {
		fmt.Fprintf(stderr, "dyups: [emerg] %v\n", err)
		fmt.Fprintf(stderr, "dyups: configuration file %s test failed\n", l.name())
		return 1
	}
	for _, w := range c.warnings {
		fmt.Fprintf(stderr, "dyups: [warn] %s\n", w)
	}
	if !l.opt.quiet {
		fmt.Fprintf(stderr, "dyups: the configuration file %s syntax is ok\n", l.name())
		fmt.Fprintf(stderr, "dyups: configuration file %s test is successful\n", l.name())
	}
	if l.opt.dump {
		for _, f := range c.files {
			fmt.Fprintf(stdout, "# configuration file %s:\n%s\n", f.Name, f.Text)
		}
	}
	return 0
}
