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

// TestBodyKey: in a cluster the bytes are in the slot of their key, or nowhere.
func TestBodyKey(t *testing.T) {
	for key, shared := range map[string]bool{
		"cacheaside:2:{GET:http://h/a}": true, "cacheaside:2:{GET:http://h/a}:0": true, "x{y}z{w}": true, "a{{b}}": true,
		"": false, "plain": false, "{a": false, "a{": false, "}": false, "a}": false, "{}": false, "{}a": false, "a}{": false,
	} {
		for slot := range byte(2) {
			name, ok := (&large{cluster: true}).bodyKey(key, slot)
			if ok != shared || ok && hashTag(name) != hashTag(key) {
				t.Errorf("%q of %q in a cluster: %v", name, key, ok)
			}
			alone, ok := (&large{}).bodyKey(key, slot)
			if !ok || alone != name || !strings.HasPrefix(name, key) {
				t.Errorf("%q of %q: %v", alone, key, ok)
			}
		}
	}
}

func TestLargeSize(t *testing.T) {
	st := newStub(1, 12345)
	b := st.encode()
	if size, ok := LargeSize(b); size != 12345 || !ok {
		t.Errorf("a stub: %d, %v", size, ok)
	}
	b[offSize]++
	if size, ok := LargeSize(b); size != -1 || !ok {
		t.Errorf("a damaged one: %d, %v", size, ok)
	}
	if size, ok := LargeSize([]byte("something else")); size != 0 || ok {
		t.Errorf("what is none: %d, %v", size, ok)
	}
}
