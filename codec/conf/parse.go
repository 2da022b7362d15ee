package conf

import "strings"

// maxDepth bounds how deep blocks nest, counted over includes too. No directive of nginx comes near it; without it
// a command body of opening braces would cost a stack frame a byte.
const maxDepth = 64

// Parse parses a text without a file system: an include directive is an error. name stands in error positions and
// may be empty. Use it for command bodies and for directives on the command line. The tree keeps
// nothing of text. The error, if any, is an *Error.
//
// A statement ends with ";" or has a block; an unfinished or empty statement, a NUL byte outside a comment, a word
// over 4095 bytes and a UTF-8 byte order mark are errors. Whether a directive may have a block is not looked at:
// that is for a Table. Source of the grammar: nginx, ngx_conf_file.c (ngx_conf_read_token).
func Parse(name string, text []byte) ([]*Directive, error) {
	p := parser{lex: newLexer(name, text)}
	var room [4]Word
	p.args = room[:0]
	return p.file(nil)
}

// parser builds the tree of one text. Files that it includes get a parser of their own.
type parser struct {
	lex   *lexer
	load  *loader // nil: include is an error
	depth int     // of open blocks, those of the including files counted
	args  []Word  // of the statement being read; reused
	// What directives are made of; a new piece is made when one is used up.
	nodes []Directive
	words []Word
}

// Sizes of the pieces, which live as long as anything in them: small, as a short text needs little, and as the tree of a
// configuration is let go of as a whole.
const (
	nodePiece = 2
	wordPiece = 4
)

// file parses a whole text, which no "}" from outside closes. What it finds is appended to ds.
func (p *parser) file(ds []*Directive) ([]*Directive, error) {
	if strings.HasPrefix(p.lex.src, "\xef\xbb\xbf") {
		return nil, Errorf(p.lex.pos(), "unexpected UTF-8 byte order mark, the text must begin with a directive or a comment")
	}
	return p.block(nil, ds)
}

// block parses statements up to the "}" of open, or to the end of the text when open is nil, and appends them to ds.
func (p *parser) block(open *Directive, ds []*Directive) ([]*Directive, error) {
	for {
		d, err := p.statement(open)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return ds, nil
		}
		if d.Name.Text != "include" {
			ds = append(ds, d)
			continue
		}
		included, err := p.include(d)
		if err != nil {
			return nil, err
		}
		ds = append(ds, included...)
	}
}

// statement parses one statement with its block. It gives nil at the end of the block of open, whose End it sets.
func (p *parser) statement(open *Directive) (*Directive, error) {
	p.args = p.args[:0]
	for {
		kind, err := p.lex.next()
		if err != nil {
			return nil, err
		}
		at := p.lex.start
		switch {
		case kind == tokenWord:
			p.args = append(p.args, p.lex.word)
		case kind == tokenEOF && len(p.args) > 0:
			return nil, p.unfinished(at, `end of file, expecting ";" or "}"`)
		case kind == tokenEOF && open != nil:
			return nil, Errorf(at, `unexpected end of file, expecting "}" of %s at %s`, quote(open.Name.Text), open.Name.Pos.From(at))
		case kind == tokenEOF:
			return nil, nil
		case kind == tokenClose && len(p.args) > 0:
			return nil, p.unfinished(at, `"}"`)
		case kind == tokenClose && open == nil:
			return nil, Errorf(at, `unexpected "}", no block is open in this text`)
		case kind == tokenClose:
			open.End = at
			return nil, nil
		case len(p.args) == 0:
			return nil, Errorf(at, "unexpected %s, expecting a directive", quote(p.lex.src[p.lex.off-1:p.lex.off]))
		case kind == tokenEnd:
			return p.directive(at), nil
		default:
			d := p.directive(at)
			return d, p.openBlock(d, at)
		}
	}
}

func (p *parser) directive(end Pos) *Directive {
	if len(p.nodes) == 0 {
		p.nodes = make([]Directive, nodePiece)
	}
	d := &p.nodes[0]
	p.nodes = p.nodes[1:]
	*d = Directive{Name: p.args[0], End: end}
	if args := p.args[1:]; len(args) > 0 {
		if len(p.words) < len(args) {
			p.words = make([]Word, max(wordPiece, len(args)))
		}
		n := copy(p.words, args)
		d.Args, p.words = p.words[:n:n], p.words[n:]
	}
	return d
}

// openBlock reads the block of d, whose "{" is at at.
func (p *parser) openBlock(d *Directive, at Pos) (err error) {
	if p.depth == maxDepth {
		return Errorf(at, `unexpected "{", blocks may nest %d deep`, maxDepth)
	}
	p.depth++
	d.HasBlock = true
	d.Block, err = p.block(d, nil)
	p.depth--
	return err
}

// unfinished is the error for a statement that what was found at at cuts off.
func (p *parser) unfinished(at Pos, found string) *Error {
	name := p.args[0]
	return Errorf(at, `unexpected %s: directive %s at %d:%d is not terminated by ";"`,
		found, quote(name.Text), name.Pos.Line, name.Pos.Col)
}
