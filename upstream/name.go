package upstream

import (
	"encoding/binary"
	"math/bits"
)

// nameKey is a name made comparable: its letters A to Z lowered, and their hash.
type nameKey struct {
	hash uint64
	fold []byte
}

// keyOf makes the key of a name.
func keyOf(name []byte) nameKey {
	fold := make([]byte, len(name))
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		fold[i] = c
	}
	return nameKey{hashName(name), fold}
}

const (
	everyByte = 0x0101010101010101
	topBits   = 0x80 * everyByte
)

// lower lowers the letters A to Z in eight bytes at once. Other bytes, those above 127 too, stay as they are.
func lower(x uint64) uint64 {
	low := x &^ uint64(topBits)
	atLeastA := low + (0x80-'A')*everyByte  // top bit set where the byte is at least 'A'
	pastZ := low + (0x80-('Z'+1))*everyByte // ... where it is past 'Z'
	letters := (atLeastA &^ pastZ) &^ x & topBits
	return x | letters>>2 // 0x80>>2 is the bit between the cases
}

// short reads a name of less than eight bytes.
func short(b []byte) uint64 {
	var x uint64
	for i, c := range b {
		x |= uint64(c) << (8 * i)
	}
	return x
}

// hashName hashes a name with its letters lowered. Names come from whoever may change upstreams, and requests only
// look them up, so it need not withstand chosen collisions; it has to be fast and to spread. What is left of a name
// behind the last full eight bytes is read together with the bytes before it.
func hashName(name []byte) uint64 {
	const k = 0x9e3779b97f4a7c15
	h := uint64(len(name)) * k
	if len(name) < 8 {
		return mix(mix(h^lower(short(name)), k), 0xd6e8feb86659fd93)
	}
	last := binary.LittleEndian.Uint64(name[len(name)-8:])
	for len(name) > 8 {
		h = mix(h^lower(binary.LittleEndian.Uint64(name)), k)
		name = name[8:]
	}
	return mix(mix(h^lower(last), k), 0xd6e8feb86659fd93)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// is reports whether name is the key's, its letters in any case.
func (k *nameKey) is(name []byte) bool {
	fold := k.fold
	if len(fold) != len(name) {
		return false
	}
	if len(name) < 8 {
		return lower(short(name)) == short(fold)
	}
	last := len(name) - 8
	if lower(binary.LittleEndian.Uint64(name[last:])) != binary.LittleEndian.Uint64(fold[last:]) {
		return false
	}
	for len(name) > 8 {
		if lower(binary.LittleEndian.Uint64(name)) != binary.LittleEndian.Uint64(fold) {
			return false
		}
		name, fold = name[8:], fold[8:]
	}
	return true
}
