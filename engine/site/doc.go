// Package site says what a request means, without I/O: virtual servers, locations, variables, compiled values,
// set/return/rewrite/headers. In: a head. Out: an action.
//
// # Contract
//
// New compiles the inside of an http block into a Site, which is immutable from then on and read by every loop. It is
// the only part that may touch the outside (names in listen and set_real_ip_from are looked up). Everything that can be
// wrong in a configuration is an error of New, a *conf.Error with file, line and column.
//
// A Request is one request while it is worked on. The engine fills in its first part and calls, in this order,
//
//	Begin      once: host, target, server; or the status to refuse with
//	Route      what to do: an Action
//	ErrorPage  whenever something went wrong: another Action, or "send the stock page"
//	Target     for DoProxy: where to, and which request target
//	Reset      when all of it, the access log line included, is done
//
// and Value.Append wherever a configured text is needed. Nothing is parsed on a request. What these calls return lives
// in the head, in the Site or in the Request's arenas, and is valid until Reset; Head.Buf must not move in between,
// because the URI, the arguments, the host and captures are views of it wherever its bytes can be used unchanged.
//
// The status of the final answer is FinalStatus of what the answering location says: error_page fixes it in ErrStatus.
//
// # How a request is walked
//
// The phases and their order are nginx's: server rewrite, location search, location rewrite (up to ten rounds), real
// IP, access, content. nginx's marks (valid_unparsed_uri, valid_location, quoted_uri, internal, error_page ...) are kept
// under similar names, since proxy_pass, rewrite and error_page depend on their exact life. Inheritance is a copy: a
// level starts as a copy of the one around it once that is complete, and a list directive starts its list anew with its
// first use on a level.
//
// Names are found in three hash tables, paths in a sorted table with a link from each path to its longest prefix: one
// binary search and a short walk. Neither allocates.
//
// # Where this differs from nginx, and why
//
//   - Regular expressions are Go's (RE2), not PCRE: linear in time whatever the pattern. Look-around, back references and
//     possessive quantifiers are configuration errors. A match whose groups something may read costs one small
//     allocation inside package regexp; others cost none.
//   - proxy_pass with variables and a URI part escapes blanks and control bytes of the result, a Location escapes control
//     bytes, a host with either is a 500, and AppendField blanks out line ends: with nginx a decoded %0d%0a in a capture
//     splits the message.
//   - proxy_pass http://NAME?ARGS sends "/?ARGS"; nginx sends a target without a path.
//   - Content of a location (echo, dyups_interface) also holds inside its limit_except.
//   - A cookie that proxy_cookie_domain, _path or _flags changes loses its empty attributes.
//   - log_format may stand behind its use. map values are found at use, once a request unless "volatile".
//   - Not here: file tests in if, recursive_error_pages on, variables in index, listen with ssl, http2, quic or
//     proxy_protocol, proxy_pass https://, access_log syslog:. Each is an error that says so.
//
// TestAgainstNginx holds some 280 requests against a running nginx where there is one, TestRecorded against its recorded
// answers; both know each deviation above.
//
// # Measured
//
// Reset, Begin, Route, Target and the request fields of a proxied request with a browser's head, two servers and five
// locations: 0.28 to 0.38 µs and no allocation (BenchmarkRoute, TestAllocs); the smallest configuration 0.2 µs. What
// it took: phases pass a pointer to the one Action instead of copying 150 bytes through each return, Reset clears
// fields instead of the whole struct, host bytes go through a class table, and the text of the client's address is kept
// while it stays the same. A line of the combined log costs 0.3 µs. NameSet answers for an absent name after one load
// and one test, 3 to 4 ns, and takes 10 to 18 ns for a name that is there. Best of ten runs on a shared two-core machine.
package site
