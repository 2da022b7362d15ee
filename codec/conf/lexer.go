package conf

import "strings"

// maxWord bounds a word in bytes, after escapes. nginx cannot hold more than 4095 bytes of one parameter in its
// read buffer; it counts them before escapes are resolved, so that all it takes is taken here.
// Source: nginx, ngx_conf_file.c (NGX_CONF_BUFFER).
const maxWord = 4095

type tokenKind uint8

const (
	tokenEOF   tokenKind = iota
	tokenWord            // lexer.word holds it
	tokenEnd             // ;
	tokenOpen            // {
	tokenClose           // }
)

// lexer cuts a text into words and the three signs.
type lexer struct {
	file      string
	src       string
	off       int
	line      int // of off, from 1
	lineStart int // offset of that line's first byte

	word  Word // the latest tokenWord
	start Pos  // where the latest token begins
}

func newLexer(file string, text []byte) *lexer {
	return &lexer{file: file, src: string(text), line: 1}
}

// shortText bounds the texts, in bytes, whose words are views of one copy: command bodies above all, which are to leave little
// garbage behind.
const shortText = 512

// pos is the place of the byte at l.off, which at the end of the text is one past the last byte.
func (l *lexer) pos() Pos { return Pos{File: l.file, Line: l.line, Col: l.off - l.lineStart + 1} }

// newline is called with l.off on an LF.
func (l *lexer) newline() {
	l.line++
	l.lineStart = l.off + 1
}

// next reads one token.
func (l *lexer) next() (tokenKind, error) {
	l.skipSpace()
	l.start = l.pos()
	if l.off == len(l.src) {
		return tokenEOF, nil
	}
	switch l.src[l.off] {
	case ';':
		l.off++
		return tokenEnd, nil
	case '{':
		l.off++
		return tokenOpen, nil
	case '}':
		l.off++
		return tokenClose, nil
	case '"', '\'':
		return tokenWord, l.quoted()
	}
	return tokenWord, l.unquoted()
}

// skipSpace moves to the next token. A "#" here is at the start of a token and comments out the rest of its line.
func (l *lexer) skipSpace() {
	for ; l.off < len(l.src); l.off++ {
		switch l.src[l.off] {
		case ' ', '\t', '\r':
		case '\n':
			l.newline()
		case '#':
			n := strings.IndexByte(l.src[l.off:], '\n')
			if n < 0 {
				l.off = len(l.src)
				return
			}
			l.off += n
			l.newline()
		default:
			return
		}
	}
}

// unquoted reads a word up to white space, ";" or "{". Quotes, "#" and "}" inside it are text. A "{" behind a "$"
// is text as well, or ${name} would open a block.
func (l *lexer) unquoted() error {
	from, escaped, variable := l.off, false, false
scan:
	for ; l.off < len(l.src); l.off++ {
		switch c := l.src[l.off]; c {
		case ' ', '\t', '\r', '\n', ';':
			break scan
		case '{':
			if !variable {
				break scan
			}
		case '$':
			variable = true
		case '\\':
			escaped, variable = true, false
			if err := l.escape(); err != nil {
				return err
			}
		case 0:
			return l.nul()
		default:
			variable = false
		}
	}
	l.word = Word{Text: l.text(from, escaped), Pos: l.start}
	if len(l.word.Text) > maxWord {
		return Errorf(l.start, "too long parameter %s started, it may have up to %d bytes",
			quote(l.word.Text[:10]+"..."), maxWord)
	}
	return nil
}

// quoted reads a word between two of the quote at l.off; a line feed in between is text.
func (l *lexer) quoted() error {
	q := l.src[l.off]
	l.off++
	from, escaped := l.off, false
	for ; l.off < len(l.src) && l.src[l.off] != q; l.off++ {
		switch l.src[l.off] {
		case '\n':
			l.newline()
		case '\\':
			escaped = true
			if err := l.escape(); err != nil {
				return err
			}
		case 0:
			return l.nul()
		}
	}
	if l.off < len(l.src) {
		l.word = Word{Text: l.text(from, escaped), Pos: l.start, Quoted: true}
	}
	switch {
	case l.off == len(l.src):
		return Errorf(l.pos(), "unexpected end of file, expecting the closing '%c' of the parameter at %s", q, l.start.From(l.pos()))
	case len(l.word.Text) > maxWord:
		return Errorf(l.start, "too long parameter, it may have up to %d bytes, probably missing terminating '%c' character",
			maxWord, q)
	}
	l.off++
	return l.afterQuote(q)
}

// afterQuote checks what stands behind a closing quote. nginx lets ")" follow, which then begins a word of its own:
// if ($http_x = "a") { … }.
func (l *lexer) afterQuote(q byte) error {
	if l.off == len(l.src) {
		return nil // the statement is found to be unfinished
	}
	switch c := l.src[l.off]; c {
	case ' ', '\t', '\r', '\n', ';', '{', ')':
		return nil
	case 0:
		return l.nul()
	default:
		return Errorf(l.pos(), `unexpected %s, expecting a space, ";", "{" or ")" behind the closing '%c'`,
			quote(l.src[l.off:l.off+1]), q)
	}
}

// escape steps from a backslash to the byte behind it, which so loses any special meaning.
func (l *lexer) escape() error {
	if l.off+1 == len(l.src) {
		return nil
	}
	l.off++
	switch l.src[l.off] {
	case '\n':
		l.newline()
	case 0:
		return l.nul()
	}
	return nil
}

func (l *lexer) nul() error {
	return Errorf(l.pos(), "unexpected NUL byte, it may only stand in a comment")
}

// text is the word from from to l.off with its escapes resolved: \" \' \\ \t \r \n, inside and outside quotes
// alike. Any other backslash stays, so that patterns such as \.php$ need no doubling. It owns its bytes, but for those of short
// texts: a name that is kept for ever must not keep the whole text.
func (l *lexer) text(from int, escaped bool) string {
	s := l.src[from:l.off]
	switch {
	case !escaped && len(l.src) <= shortText:
		return s
	case !escaped:
		return strings.Clone(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case '"', '\'', '\\':
				i++
				c = s[i]
			case 't':
				i++
				c = '\t'
			case 'r':
				i++
				c = '\r'
			case 'n':
				i++
				c = '\n'
			}
		}
		b = append(b, c)
	}
	return string(b)
}
