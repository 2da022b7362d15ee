package site

import "dyups/codec"

// AppendErrorPage appends the small HTML page for a status, as nginx words it. tokens shows the version
// (server_tokens). 494 is shown as 400 with its own words.
func AppendErrorPage(dst []byte, status int, tokens bool, version string) []byte {
	title := func(dst []byte) []byte {
		if status == 494 {
			return append(dst, "400 Request Header Or Cookie Too Large"...)
		}
		dst = appendInt(dst, int64(status))
		if status == 401 {
			return append(dst, " Authorization Required"...) // nginx's title, not its status line
		}
		if status == 302 {
			return append(dst, " Found"...) // likewise
		}
		if reason := codec.Reason(status); reason != "" {
			dst = append(append(dst, ' '), reason...)
		}
		return dst
	}
	if status == 494 {
		dst = append(dst, "<html>\r\n<head><title>"...)
		dst = title(dst)
		dst = append(dst, "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>Request Header Or Cookie Too Large</center>\r\n"...)
	} else {
		dst = append(dst, "<html>\r\n<head><title>"...)
		dst = title(dst)
		dst = append(dst, "</title></head>\r\n<body>\r\n<center><h1>"...)
		dst = title(dst)
		dst = append(dst, "</h1></center>\r\n"...)
	}
	dst = append(dst, "<hr><center>dyups"...)
	if tokens && version != "" {
		dst = append(append(dst, '/'), version...)
	}
	return append(dst, "</center>\r\n</body>\r\n</html>\r\n"...)
}
