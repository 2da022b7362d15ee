// Package site says what a request means, without I/O: virtual servers, locations, variables, compiled values,
// set/return/rewrite/headers.
package site
