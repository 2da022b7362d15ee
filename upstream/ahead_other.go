//go:build !linux

package upstream

type ahead map[uintptr]struct{}

func (ahead) of(uintptr) {}
