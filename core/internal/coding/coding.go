// Package coding has the content codings that the cache makes and undoes (RFC 9110
// section 8.4.1): gzip (RFC 1952), br (RFC 7932) and zstd (RFC 8878, with the window of
// RFC 9659). All functions are pure, may be called concurrently and leave no goroutine.
package coding

import (
	"fmt"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Coding is a content coding. Its number is stored in entries: it never changes.
type Coding uint8

// The codings.
const (
	Identity Coding = iota // no coding
	Gzip
	Brotli
	Zstd
)

// Count is how many codings there are, Identity included.
const Count = 4

// names are those of the IANA registry, in the order of the numbers.
var names = [Count]string{"identity", "gzip", "br", "zstd"}

// levels are the highest level of each coding, and the one that level 0 stands for: where
// more time begins to gain little. It takes gzip and zstd 1 to 2 ms to code 300 KiB, and br
// 3 to 5 ms; a level more is half as slow again, and 1 to 3 % smaller. See
// BenchmarkEncodeLevels.
var levels = [Count]struct{ highest, standard int }{
	Gzip:   {9, 6},
	Brotli: {11, 5},
	Zstd:   {22, 7},
}

// Parse returns the coding of a name, in any case. False: it is none of this package's,
// or identity, which is not a coding that a body can have.
func Parse(name string) (Coding, bool) {
	for c := Gzip; c < Count; c++ {
		if httprules.EqualFold(name, names[c]) {
			return c, true
		}
	}
	if httprules.EqualFold(name, "x-gzip") { // RFC 9110 section 8.4.1.3
		return Gzip, true
	}
	return Identity, false
}

// String returns the name that goes into Content-Encoding.
func (c Coding) String() string {
	if c < Count {
		return names[c]
	}
	return fmt.Sprintf("Coding(%d)", uint8(c))
}

// CheckLevel says whether [Encode] has the level: 0, which is the default of the coding,
// or 1 to 9 for gzip, 1 to 11 for br, 1 to 22 for zstd.
func CheckLevel(c Coding, level int) error {
	if c >= Count {
		return unknown(c)
	}
	switch highest := levels[c].highest; {
	case level == 0:
		return nil
	case highest == 0:
		return fmt.Errorf("level of %s must be 0, not %d", c, level)
	case level < 0 || level > highest:
		return fmt.Errorf("level of %s must be 0 (the default) or 1 to %d, not %d", c, highest, level)
	}
	return nil
}

func unknown(c Coding) error {
	return fmt.Errorf("coding: no content coding has the number %d", uint8(c))
}
