package coding

import (
	"bytes"
	"errors"
	"runtime/metrics"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

func FuzzRoundTrip(f *testing.F) {
	f.Add(bodies.JSON(1<<10), byte(0), byte(0), uint16(1))
	f.Add([]byte{}, byte(1), byte(1), uint16(0))
	f.Add([]byte("ab"), byte(2), byte(5), uint16(900))
	f.Add(noise(300), byte(3), byte(11), uint16(3))
	f.Fuzz(func(t *testing.T, plain []byte, c, level byte, times uint16) {
		if n := len(plain) * int(times); n <= 1<<20 {
			plain = bytes.Repeat(plain, int(times))
		}
		coding := codings[int(c)%len(codings)]
		l := int(level) % (levels[coding].highest + 1)
		if coding == Brotli {
			l = min(l, 9) // two orders slower beyond it
		}
		first := roundTrip(t, coding, l, plain)
		if again := encode(t, coding, l, plain); !bytes.Equal(again, first) {
			t.Errorf("%s, level %d: coded in two ways", coding, l)
		}
	})
}

// fuzzLimit is what a body may decode to in FuzzDecode.
const fuzzLimit = 1 << 20

// Whatever the bytes are, Decode and Size agree, do not panic and hold no more than is
// allowed.
func FuzzDecode(f *testing.F) {
	for _, c := range codings {
		for _, plain := range [][]byte{nil, []byte("a"), bodies.HTML(2 << 10), make([]byte, 100_000)} {
			coded := encode(f, c, 0, plain)
			f.Add(byte(c), coded)
			f.Add(byte(c), coded[:len(coded)/2])
			f.Add(byte(c), append(coded, coded...))
		}
	}
	f.Add(byte(Brotli), []byte{0xcf, 0xff, 0xff, 0xff, 'a'})
	f.Add(byte(Zstd), []byte{0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x68, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0})
	f.Fuzz(func(t *testing.T, n byte, coded []byte) {
		c := Coding(n % Count)
		before := allocations()
		size, err := Size(c, coded, fuzzLimit)
		switch {
		case err == nil:
			plain, err := Decode(c, coded, size)
			if err != nil || uint64(len(plain)) != size {
				t.Errorf("%s: Size returns %d, Decode %d bytes and %v", c, size, len(plain), err)
			}
			if _, err := Decode(c, coded, size+1); err == nil {
				t.Errorf("%s: Decode returns one more than Size says", c)
			}
			if size > 0 {
				if _, err := Decode(c, coded, size-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s: Decode of one less returns %v", c, err)
				}
			}
		case errors.Is(err, ErrTooLarge):
			if _, err := Decode(c, coded, fuzzLimit); err == nil {
				t.Errorf("%s: Decode returns what Size says is too large", c)
			}
		default:
			for _, size := range []uint64{0, 1, uint64(len(coded)), fuzzLimit} {
				if _, err := Decode(c, coded, size); err == nil {
					t.Errorf("%s: Decode of %d bytes takes what Size does not: %v", c, size, err)
				}
			}
		}
		if used := allocations() - before; used > 5*(window[c]+fuzzLimit)+uint64(len(coded)) {
			t.Errorf("%s: %d bytes allocated for %d", c, used, len(coded))
		}
	})
}

// allocations is what this process has allocated so far, in bytes.
func allocations() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
