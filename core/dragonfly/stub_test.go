package dragonfly

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"
)

func TestStub(t *testing.T) {
	for slot := range byte(2) {
		for _, size := range []int{0, 1, 64 << 10, maxLarge} {
			st := newStub(slot, size)
			b := st.encode()
			if got, ok := parseStub(b); !ok || got != st || !isStub(b) {
				t.Errorf("%+v became %+v, %v", st, got, ok)
			}
			for i := range b { // none of the bits may be another one
				for bit := range 8 {
					b[i] ^= 1 << bit
					if got, ok := parseStub(b); ok {
						t.Fatalf("%x is %+v", b, got)
					}
					b[i] ^= 1 << bit
				}
			}
			for _, other := range [][]byte{nil, b[1:], b[:len(b)-1], append([]byte{0}, b...), append(b[:len(b):len(b)], 0)} {
				if isStub(other) {
					t.Errorf("%x counts as a stub", other)
				}
			}
			if newStub(slot, size) == st {
				t.Error("two writes have one identity")
			}
		}
	}
}

// TestHostileStub: sizes and slots beyond what we write are refused, however sound
// the stub.
func TestHostileStub(t *testing.T) {
	forged := func(slot byte, size uint64) []byte {
		st := newStub(slot, 0)
		b := st.encode()
		binary.LittleEndian.PutUint64(b[offSize:], size)
		binary.LittleEndian.PutUint32(b[offCheck:], crc32.Checksum(b[:offCheck], castagnoli))
		return b
	}
	if _, ok := parseStub(forged(1, 5)); !ok {
		t.Fatal("what is forged well is refused")
	}
	for slot, size := range map[byte]uint64{0: maxLarge + 1, 1: math.MaxUint64, 2: 5, 255: 5} {
		if st, ok := parseStub(forged(slot, size)); ok {
			t.Errorf("a stub of %d bytes at %d: %+v", size, slot, st)
		}
	}
}

// TestBodyKey: the bytes are in the slot of their key, apart from others.
func TestBodyKey(t *testing.T) {
	names := map[string]string{}
	for _, key := range []string{"plain", "cacheaside:1:{GET:http://h/a}", "cacheaside:1:{GET:http://h/a}:0", "{a", "a{", "a{b", "a{{b}}", "x{y}z{w}", "{", "a b\r\n"} {
		for slot := range byte(2) {
			name, ok := bodyKey(key, slot)
			if !ok {
				t.Errorf("%q has no key for bytes", key)
			}
			if tag := hashTag(name); tag != hashTag(key) {
				t.Errorf("%q of %q has the tag %q, not %q", name, key, tag, hashTag(key))
			}
			if other, taken := names[name]; taken {
				t.Errorf("%q is for %q and %q", name, key, other)
			}
			names[name] = key
		}
	}
	for _, key := range []string{"", "}", "a}", "{}", "{}a", "a}{"} { // whose slot is that of the whole key
		if name, ok := bodyKey(key, 0); ok && hashTag(name) != hashTag(key) {
			t.Errorf("%q of %q is in another slot", name, key)
		}
	}
	if name, ok := bodyKey(strings.Repeat("k", 8), 0); !ok || len(name) < 17 {
		t.Errorf("%q: Dragonfly does not tell of the end of shorter keys", name)
	}
}
