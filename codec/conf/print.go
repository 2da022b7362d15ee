package conf

import "strings"

// Print writes the tree as nginx syntax, four spaces a level, one statement a line, without comments. Words keep
// their quotes; a word without quotes that could not be read back gets some. Parse(Print(ds)) equals ds but for
// positions, and Print of that is the same text. A name "include" is written like any other and cannot be read
// back; trees from Load and Parse have none. A NUL byte in a word cannot be read back either.
func Print(ds []*Directive) []byte { return appendBlock(nil, ds, 0) }

func appendBlock(b []byte, ds []*Directive, level int) []byte {
	for _, d := range ds {
		b = appendIndent(b, level)
		b = appendWord(b, d.Name)
		for _, w := range d.Args {
			b = append(b, ' ')
			b = appendWord(b, w)
		}
		if !d.HasBlock {
			b = append(b, ";\n"...)
			continue
		}
		b = append(b, " {\n"...)
		b = appendBlock(b, d.Block, level+1)
		b = appendIndent(b, level)
		b = append(b, "}\n"...)
	}
	return b
}

func appendIndent(b []byte, level int) []byte {
	for range level {
		b = append(b, "    "...)
	}
	return b
}

func appendWord(b []byte, w Word) []byte {
	if !w.Quoted {
		if out, ok := appendUnquoted(b, w.Text); ok {
			return out
		}
	}
	q := byte('"')
	if strings.Contains(w.Text, `"`) && !strings.Contains(w.Text, `'`) {
		q = '\''
	}
	b = append(b, q)
	for i := range len(w.Text) {
		if w.Text[i] == q {
			b = append(b, '\\', q)
		} else {
			b = appendByte(b, w.Text, i)
		}
	}
	return append(b, q)
}

// appendUnquoted is the inverse of lexer.unquoted; ok is false, and b spoilt, for a text that cannot stand without
// quotes.
func appendUnquoted(b []byte, text string) (_ []byte, ok bool) {
	if text == "" || strings.IndexByte("#}", text[0]) >= 0 {
		return b, false
	}
	variable := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', ';':
			return b, false
		case '{':
			if !variable {
				return b, false
			}
			b = append(b, c)
		case '$':
			variable = true
			b = append(b, c)
		case '"', '\'':
			if i == 0 {
				b = append(b, '\\')
			}
			variable = false
			b = append(b, c)
		case '\\':
			variable = false
			if i+1 < len(text) && strings.IndexByte(" ;{", text[i+1]) >= 0 {
				i++
				b = append(b, c, text[i]) // the backslash that kept this byte in the word
			} else if strings.HasPrefix(text[i+1:], "${") {
				b = append(b, `\\`...) // a lone one would take the "$" from the "{"
			} else {
				b = appendByte(b, text, i)
			}
		default:
			variable = false
			b = appendByte(b, text, i)
		}
	}
	return b, true
}

// appendByte writes byte i of a word so that it reads back as itself, in quotes or out of them, quotes aside. A
// backslash is doubled only where the byte behind it would otherwise make an escape of it.
func appendByte(b []byte, text string, i int) []byte {
	switch c := text[i]; c {
	case '\t':
		return append(b, `\t`...)
	case '\r':
		return append(b, `\r`...)
	case '\n':
		return append(b, `\n`...)
	case '\\':
		if i+1 == len(text) || strings.IndexByte("\"'\\trn\t\r\n", text[i+1]) >= 0 {
			b = append(b, c)
		}
		return append(b, c)
	default:
		return append(b, c)
	}
}
