//go:build !linux

package upstream

import "unsafe"

type ahead map[uintptr]struct{}

func (ahead) of(unsafe.Pointer) {}
