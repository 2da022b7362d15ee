package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxIncludes bounds how deep include directives nest. A file that includes itself is found at once; this is for
// folders that link to themselves, where each round has a new name.
const maxIncludes = 32

// Load reads the file at path and expands include directives in every context and at any depth: the directives of
// the included file take the place of the include, with positions of their own. File names are absolute in
// positions and in Config.Files.
//
// A name in an include is relative to the folder of path, also inside included files, and may be a pattern with *, ?
// and [ ]. Files that match are read in byte order of their names; names with a leading dot only match a pattern
// that has the dot; a pattern that matches nothing is no error. A plain name that cannot be read is one, as are a
// file that includes itself, directly or not, and a block that does not end in the file it began in.
// Source: nginx, ngx_conf_file.c (ngx_conf_include); patterns as in glob(3).
//
// The error is an *Error, except when path itself cannot be read.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot find configuration file %q: %w", path, err)
	}
	text, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration file %q: %w", abs, reason(err))
	}
	ld := &loader{dir: filepath.Dir(abs), stack: []string{abs}, config: &Config{}}
	ld.add(abs, text)
	p := parser{lex: newLexer(abs, text), load: ld}
	ld.config.Directives, err = p.file(nil)
	if err != nil {
		return nil, err
	}
	return ld.config, nil
}

// loader is what the parsers of one Load share.
type loader struct {
	dir    string   // folder of the main file
	stack  []string // files being parsed, the main one first
	config *Config
	seen   map[string]bool // names in config.Files
}

func (ld *loader) add(name string, text []byte) {
	if ld.seen[name] {
		return
	}
	if ld.seen == nil {
		ld.seen = make(map[string]bool)
	}
	ld.seen[name] = true
	ld.config.Files = append(ld.config.Files, File{Name: name, Text: text})
}

// include gives the directives that the include directive d stands for.
func (p *parser) include(d *Directive) ([]*Directive, error) {
	if p.load == nil {
		return nil, Errorf(d.Name.Pos, `"include" directive is not allowed here; it is allowed in configuration files`)
	}
	if err := checkShape(d, 1, 1, false); err != nil {
		return nil, err
	}
	names, err := p.load.match(d.Args[0].Text)
	if err != nil {
		return nil, Errorf(d.Args[0].Pos, "cannot match pattern %s: %v", quote(d.Args[0].Text), err)
	}
	var ds []*Directive
	for _, name := range names {
		sub, err := p.includeFile(name, d.Args[0].Pos)
		if err != nil {
			return nil, err
		}
		ds = append(ds, sub...)
	}
	return ds, nil
}

// includeFile parses the file called name, which an include directive at at asks for.
func (p *parser) includeFile(name string, at Pos) ([]*Directive, error) {
	ld := p.load
	if i := slices.Index(ld.stack, name); i >= 0 {
		return nil, Errorf(at, "cannot include %s: it includes itself: %s", quote(name),
			strings.Join(append(slices.Clone(ld.stack[i:]), name), " includes "))
	}
	if len(ld.stack) > maxIncludes {
		return nil, Errorf(at, "cannot include %s: files may include each other %d deep", quote(name), maxIncludes)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, Errorf(at, "cannot open %s: %v", quote(name), reason(err))
	}
	ld.add(name, text)
	ld.stack = append(ld.stack, name)
	sub := parser{lex: newLexer(name, text), load: ld, depth: p.depth}
	ds, err := sub.file(nil)
	ld.stack = ld.stack[:len(ld.stack)-1]
	return ds, err
}

// globMeta are the bytes that make the name in an include a pattern.
const globMeta = "*?["

// match gives the absolute names of the files that the name in an include stands for.
func (ld *loader) match(name string) ([]string, error) {
	if !strings.ContainsAny(name, globMeta) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(ld.dir, name)
		}
		return []string{filepath.Clean(name)}, nil
	}
	pattern := strings.ReplaceAll(name, "[!", "[^") // glob(3) has both, path/filepath only the second
	if !filepath.IsAbs(pattern) {
		dir := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(ld.dir)
		pattern = filepath.Join(dir, pattern)
	}
	pattern = filepath.Clean(pattern)
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return hiddenMatch(pattern, n) })
	slices.Sort(names)
	return names, nil
}

// hiddenMatch tells whether a wildcard of pattern stands for a leading dot in name, which glob(3) never does: an
// editor's .x.conf.swp is not part of conf.d/*.
func hiddenMatch(pattern, name string) bool {
	for p, n := range zipElements(pattern, name) {
		if strings.HasPrefix(n, ".") && p != "" && strings.Contains(globMeta, p[:1]) {
			return true
		}
	}
	return false
}

// zipElements walks the elements of two paths of equal depth side by side.
func zipElements(a, b string) func(yield func(a, b string) bool) {
	return func(yield func(a, b string) bool) {
		for more := true; more; {
			var x, y string
			x, a, more = strings.Cut(a, "/")
			y, b, _ = strings.Cut(b, "/")
			if !yield(x, y) {
				return
			}
		}
	}
}

// reason drops the operation and path from a file error, which the message has already.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
