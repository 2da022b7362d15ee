// Package codec turns bytes into HTTP/1 heads and bodies and back. See README of the project for the map.
package codec
