package dragonfly

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
)

// A large value is in the store in two parts: its bytes under a key of their own,
// behind the identity of the write, and a stub under the value's key, which makes
// them visible. All numbers are little-endian:
//
//	0   magic, version
//	8   which of two keys the bytes are under
//	9   how many bytes there are
//	17  identity of the write
//	33  CRC-32C of all before
//
// There are two keys, so that what is there stays whole while it is replaced, and
// so that there are never more than two: bytes without a stub expire.
const (
	magic    = "\xffcalarg\x01"
	idLen    = 16
	offSlot  = len(magic)
	offSize  = offSlot + 1
	offID    = offSize + 8
	offCheck = offID + idLen
	stubLen  = offCheck + 4
)

// maxLarge is how long a value may be: with its identity, what Redis takes.
const maxLarge = 512<<20 - idLen

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stub is what is known of a large value.
type stub struct {
	slot byte // 0 or 1
	size int
	id   [idLen]byte
}

// newStub is that of a write which nobody else has.
func newStub(slot byte, size int) stub {
	s := stub{slot: slot, size: size}
	_, _ = rand.Read(s.id[:]) // never fails
	return s
}

func (s *stub) encode() []byte {
	b := append(make([]byte, 0, stubLen), magic...)
	b = append(b, s.slot)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size)) // not negative
	b = append(b, s.id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// isStub reports whether value is a stub, of whatever content. No other value in the
// store is: one that looks like a stub is stored as a large one.
func isStub(value []byte) bool {
	return len(value) == stubLen && string(value[:len(magic)]) == magic
}

// parseStub fails where value is no stub, or a damaged one.
func parseStub(value []byte) (s stub, ok bool) {
	if !isStub(value) || crc32.Checksum(value[:offCheck], castagnoli) != binary.LittleEndian.Uint32(value[offCheck:]) {
		return s, false
	}
	size := binary.LittleEndian.Uint64(value[offSize:])
	s.slot, s.size = value[offSlot], int(size) // checked below
	copy(s.id[:], value[offID:])
	return s, s.slot <= 1 && size <= maxLarge
}

// bodyKey is where the bytes of a large value are. In a cluster that must be the slot
// of its key: it fails where the key has no hash tag, and the value is not split. The
// key stays in front, since a user may be allowed no other ones.
func (l *large) bodyKey(key string, slot byte) (name string, ok bool) {
	name = key + ":body:" + string('0'+rune(slot))
	return name, !l.cluster || hashTag(name) == hashTag(key)
}

// LargeSize reports whether value, as it is under a key of the server, stands for a large
// value, and how many bytes that has: a Get of the key returns those. One that is damaged
// has -1.
func LargeSize(value []byte) (size int, ok bool) {
	if !isStub(value) {
		return 0, false
	}
	s, sound := parseStub(value)
	if !sound {
		return -1, true
	}
	return s.size, true
}
