// Package conf reads and writes nginx's configuration language, and nothing else: words, quotes, escapes, comments,
// blocks, include, and the walk over a table of directives. What a directive means is for the package that owns it.
//
// # The room
//
//	Load   file → Config: the tree with includes expanded, and the files that took part (for -T)
//	Parse  text → tree, without a file system: command bodies and directives on the command line
//	Print  tree → text; print∘parse is a fixpoint
//	Table  rules {name, contexts, number of arguments, block, repeatable, set} that check a block and apply it
//	Value  one argument and its place: OnOff, Int, Size, Time, TimeSeconds, Enum, all worded alike
//
// Files: lexer.go (text to tokens), parse.go (tokens to tree), load.go (include), print.go, table.go, helpers.go and
// units.go (values), nearest.go ("did you mean").
//
// Every error about a text is an *Error: the position, what was found, and what is allowed there. Found text is
// shown with control bytes escaped and cut at 100 bytes, so that an error is one line whatever was sent. Nothing
// here panics on input; a table with two rules for one name and context does (BUG:).
//
// All functions are pure but for Load, and safe for concurrent use. A tree is the caller's and keeps nothing of the
// text it was read from.
//
// # A table
//
//	var table = conf.NewTable(
//		conf.Rule[*Server]{Name: "listen", In: conf.Server, Min: 1, Max: -1, Many: true, Set: setListen},
//		conf.Rule[*Server]{Name: "root", In: conf.HTTP | conf.Server, Min: 1, Max: 1, Set: setRoot},
//	).Elsewhere(otherTable.Names())
//
//	err := table.Apply(conf.Server, server, directive.Block)
//
// Inside Set, d.Int(0, 1, 65535) and the like read an argument and complain at its position; d.Param(i) cuts
// weight=5 and points at the 5; d.BadParam lists what parameters there are; d.Errorf is for everything else.
//
// # Where it follows nginx
//
// The grammar is that of ngx_conf_read_token, its odd corners included: \" \' \\ \t \r \n are escapes outside
// quotes too, and any other backslash stays in the word but takes the meaning from the byte behind it; "{" behind
// "$" is text; "#" comments only at the start of a token; "}" inside a word is text; a closing quote must be
// followed by white space, ";", "{" or ")", and ")" then begins a word. TestLikeNginx gives random texts to both;
// 8,000 of them, before it was cut to 300 a run, gave the same words, lines and faults as nginx 1.22.1.
//
// # Where it does not
//
//   - A NUL byte outside a comment and a byte order mark are faults of the syntax. nginx makes words of them, which
//     then no directive knows.
//   - A parameter may have 4095 bytes after its escapes are resolved, not before, so that what Print writes can be
//     read back. A comment may have any length; nginx counts it as a parameter.
//   - Blocks nest up to 64 deep over all files, includes 32 deep, and a file that includes itself is named. nginx
//     goes on until it has no stack or no descriptors. Without the first bound a body of 1 MiB of "a{" would cost
//     half a million stack frames.
//   - include is expanded before a directive is looked at, in every block, as nginx has it nearly everywhere.
//   - The months and years of Time are taken for times that nginx keeps in milliseconds, too.
//   - A unit in a time needs a number: nginx takes "1hm".
//   - A faulty argument is reported at its own line and column; nginx has the line of the ";".
//
// # Measured
//
// On a busy 2-core Xeon, medians of 5 runs: a file of 10,000 servers and upstreams (4.3 MB, 110,000 statements) is
// parsed in 101 ms and printed in 73 ms; a command body of two servers is parsed in 3.5 µs (16 allocations) and walked
// in 103 ns (none).
//
// Words own their bytes. Slices of one copy of the text instead were 7 % faster on the big file (90 against 96 ms,
// medians of 3) and let one server name keep a command body of up to 1 MiB alive.
//
// A duplicate is looked for by a scan over the block and not by a map: it costs one pass for each rule that may not
// be repeated, and no memory.
package conf
