//go:build !linux

package admin

// yieldToLoops does nothing: elsewhere the nice value belongs to the whole process.
func yieldToLoops() {}
