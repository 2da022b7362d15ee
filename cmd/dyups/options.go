package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// options is the command line. Paths are as written; see the methods for what they stand for.
type options struct {
	config   string // -c, "": the embedded configuration
	prefix   string // -p, "": the working directory
	errorLog string // -e, "": the default
	globals  string // -g
	signal   string // -s: "stop", "quit", "reopen" or "reload"

	help    bool // -h, -?
	version bool // -v
	build   bool // -V
	test    bool // -t and -T
	dump    bool // -T
	quiet   bool // -q
	strict  bool // --strict-dns
}

// signalNames are the values of -s.
var signalNames = []string{"stop", "quit", "reopen", "reload"}

// parseOptions reads the arguments behind the program's name the way nginx does: one-letter options may stand together
// (-tq), a value may be attached (-p/path) or be the next argument. Source: nginx.c (ngx_get_options).
func parseOptions(args []string) (*options, error) {
	o := &options{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch arg {
		case "--help":
			o.help = true
			continue
		case "--version":
			o.version = true
			continue
		case "--strict-dns":
			o.strict = true
			continue
		}
		letters, ok := strings.CutPrefix(arg, "-")
		if !ok {
			return nil, fmt.Errorf("invalid option: %q; options begin with \"-\", see -h", arg)
		}
		for letters != "" {
			c := letters[0]
			letters = letters[1:]
			if o.setFlag(c) {
				continue
			}
			if strings.IndexByte("cpegs", c) < 0 {
				return nil, fmt.Errorf("invalid option: %q; see -h", string(c))
			}
			value := letters
			letters = ""
			if value == "" {
				if len(args) == 0 || args[0] == "" {
					return nil, fmt.Errorf("option \"-%c\" requires %s", c, valueNames[c])
				}
				value, args = args[0], args[1:]
			}
			if err := o.setValue(c, value); err != nil {
				return nil, err
			}
		}
	}
	if o.strict && !o.test {
		return nil, fmt.Errorf("invalid option: \"--strict-dns\" goes with -t or -T: a name that cannot be looked up never keeps dyups from starting")
	}
	return o, nil
}

// valueNames says what an option with a value wants.
var valueNames = map[byte]string{
	'c': "a file name", 'p': "a folder name", 'e': "a file name", 'g': "directives", 's': "a signal name",
}

// setFlag sets an option without a value; it is false for any other letter.
func (o *options) setFlag(c byte) bool {
	switch c {
	case '?', 'h':
		o.help = true
	case 'v':
		o.version = true
	case 'V':
		o.build = true
	case 't':
		o.test = true
	case 'T':
		o.test, o.dump = true, true
	case 'q':
		o.quiet = true
	default:
		return false
	}
	return true
}

func (o *options) setValue(c byte, value string) error {
	switch c {
	case 'c':
		o.config = value
	case 'p':
		o.prefix = value
	case 'e':
		o.errorLog = value
	case 'g':
		o.globals = value
	case 's':
		for _, name := range signalNames {
			if value == name {
				o.signal = value
				return nil
			}
		}
		return fmt.Errorf("invalid option: \"-s %s\", the signal must be one of %s", value, strings.Join(signalNames, ", "))
	}
	return nil
}

// root is the prefix as an absolute folder with a trailing slash.
func (o *options) root() (string, error) {
	dir, err := filepath.Abs(o.prefix) // "": the working directory
	if err != nil {
		return "", fmt.Errorf("cannot find prefix %q: %w", o.prefix, err)
	}
	if dir == "/" {
		return dir, nil
	}
	return dir + "/", nil
}

// below gives a path as it is if absolute, else below the folder dir.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
