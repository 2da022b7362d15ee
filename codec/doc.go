// Package codec turns bytes into HTTP/1 heads and bodies, and values back into bytes. It does no I/O, starts nothing,
// keeps nothing, imports only the standard library, and does not allocate in steady state.
//
// # Contract
//
// ParseRequest and ParseResponse read one head from the start of a buffer. They answer with the bytes consumed, with
// NeedMore, or with an *Error that carries the status for the client. A head is spans into the caller's buffer: it
// lives as long as those bytes, and moving them takes no more than setting Buf. Chunked decodes a chunked body from
// pieces of any size and holds nothing but its place in the grammar. The Append functions write.
//
// The answer never depends on how the input was cut: a prefix gives NeedMore or what the whole gives, errors and limits
// included, because every check belongs to one byte and a limit is a window that the scan runs out of. So garbage is
// refused at its first byte, without waiting for a line end, and an endless line ends at its limit. A head that comes in
// many pieces is scanned again from its start each time; the limits bound that, and a scan costs less than the read.
//
// # Strictness
//
// What two parties could read differently is an error, never a guess (RFC 9112 sections 2.2, 3, 5, 6, 11.2): control
// bytes, bare CR, folded lines, space before a colon, repeated Host, Content-Length or Transfer-Encoding, both of the
// latter together, any coding but a single "chunked". In chunked bodies all lines end with CRLF and a size has nothing
// around it but well-formed extensions; blanks behind it are taken from backends only (Chunked.Blanks).
//
// Tolerated, as nginx does, because it is harmless and in use: a bare LF at the end of a line of a head, empty lines in
// front of a request, several spaces in front of the version, "#fragment" in a target (dropped), bytes from 0x80 on in
// targets and values, a status line without reason. Field names with other bytes than letters, digits and '-' are
// kept and marked (Underscore, Odd); the caller drops or keeps them. Percent-encoding and the text of a host are not
// looked at here. Where nginx is laxer (spaces behind the version, several CRs, white space around a chunk size of a
// request) this package is not.
//
// Trailer sections are checked and dropped unless the decoder is told to leave them: few origins send any, and merging
// them into a head is a known way to smuggle fields.
//
// # Measured
//
// BenchmarkRequest, least of 32 runs, on two busy Xeon cores at 2.9 GHz, fasthttp's RequestHeader.Read in the same run:
// small (3 lines) 0.10 to 0.12 µs against 0.26 µs, browser (13 lines, 640 bytes) 0.38 to 0.41 µs against 1.1 to 1.3 µs.
// A response of nine lines takes 0.23 µs. bytes.IndexByte alone, called for each line of the browser head, is 0.11 µs:
// at these lengths half of all cost is leaving a loop, so the following was tried and kept or dropped:
//   - values and names are scanned eight bytes a word. Values need the scan anyway, since a control byte is an error; it
//     finds the line end on the way, which IndexByte would do once more. A table look-up a byte took 0.26 µs over the
//     browser head, this 0.14 µs;
//   - a Field is filled in its slot: building it and copying it in was a fifth of the profile;
//   - known names sit in a perfect hash of length and first byte: 5 ns a name, 7 ns with a switch on the length;
//   - two words a step, comparing names a word at a time, and one large function instead of a function a line gained
//     nothing.
package codec
