package coding

import (
	"bytes"
	"errors"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for c := Identity; c < Count; c++ {
		for level := range levels[c].highest + 1 {
			for _, n := range []int{0, 1, 100, 30000, 3 << 20, 20 << 20} {
				if n > 30000 && level > 0 {
					continue
				}
				plain := bytes.Repeat([]byte("hello, world "), n/13+1)[:n]
				coded, err := Encode(c, level, plain)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Decode(c, coded, uint64(n))
				if err != nil || !bytes.Equal(got, plain) || cap(got) != n && n > 0 {
					t.Fatal(c, level, n, err, cap(got))
				}
				sz, err := Size(c, coded, uint64(n))
				if err != nil || sz != uint64(n) {
					t.Fatal(c, level, n, sz, err)
				}
				if _, err := Decode(c, coded, uint64(n+1)); err == nil {
					t.Fatal("longer", c, n)
				}
				if n > 0 {
					if _, err := Decode(c, coded, uint64(n-1)); !errors.Is(err, ErrTooLarge) {
						t.Fatal("shorter", c, n, err)
					}
					if _, err := Size(c, coded, uint64(n-1)); !errors.Is(err, ErrTooLarge) {
						t.Fatal("shorter", c, n, err)
					}
				}
				if c != Identity {
					if _, err := Decode(c, append(coded, 'x'), uint64(n)); err == nil {
						t.Fatal("garbage", c, n)
					}
					if _, err := Decode(c, coded[:len(coded)-1], uint64(n)); err == nil {
						t.Fatal("cut", c, n)
					}
				}
			}
		}
	}
}
