package site

import "strings"

// NameSet is a small set of field names, compared without ASCII case. The zero value is empty. Immutable once built;
// safe for concurrent use.
//
// A name is first held against the lengths and first letters that occur, so that nearly every absent name costs one
// load and one test (BenchmarkNameSet).
type NameSet struct {
	first [nameSetMax + 1]uint32 // by length: bit (first letter & 31)
	lo    [nameSetMax + 2]uint8  // by length: where its names begin in names
	names []string               // lower case, by length
	long  []string               // longer than nameSetMax
}

// nameSetMax is the longest name that is found by its length.
const nameSetMax = 31

// newNameSet makes a set of names; repeated ones count once.
func newNameSet(list []string) NameSet {
	var s NameSet
	byLen := make([][]string, nameSetMax+1)
	seen := map[string]bool{}
	for _, n := range list {
		n = strings.ToLower(n)
		if seen[n] || n == "" {
			continue
		}
		seen[n] = true
		// More than 255 short names would overflow lo; such a set is never written by hand, but must stay right.
		if len(n) > nameSetMax || len(seen) > 255 {
			s.long = append(s.long, n)
			continue
		}
		byLen[len(n)] = append(byLen[len(n)], n)
		s.first[len(n)] |= 1 << (n[0] & 31)
	}
	for l, ns := range byLen {
		s.names = append(s.names, ns...)
		s.lo[l+1] = uint8(len(s.names))
	}
	return s
}

// Has reports whether name is in the set, without allocation.
func (s *NameSet) Has(name []byte) bool {
	n := len(name)
	if n <= nameSetMax {
		if n == 0 || s.first[n]>>(name[0]&31)&1 == 0 && len(s.long) == 0 {
			return false
		}
		for _, k := range s.names[s.lo[n]:s.lo[n+1]] {
			if foldEqual(name, k) {
				return true
			}
		}
	}
	for _, k := range s.long {
		if foldEqual(name, k) {
			return true
		}
	}
	return false
}

// Empty reports whether the set has no name.
func (s *NameSet) Empty() bool { return len(s.names)+len(s.long) == 0 }
