package coding

import "github.com/cacheaside/cacheaside/core/internal/httprules"

// Accepted has the weight of each coding in thousandths; 0: it is not acceptable.
type Accepted [Count]uint16

// unmentioned is the weight of identity where nothing is said of it: acceptable, and no
// better than any coding that is.
const unmentioned = 1

// Accept reads the lines of Accept-Encoding (RFC 9110 section 12.5.3).
//
// A request without the field gets identity only. By the RFC it may get any coding, but
// who says nothing is as a rule a client that decodes nothing.
//
// Identity is acceptable with a weight of 1, the least, unless the field gives it another:
// by its name, or by "*" if it is not named. So a coding comes before it if it has
// any weight.
func Accept(lines []string) Accepted {
	if len(lines) == 1 {
		// What nearly all clients send needs not be read at every hit.
		switch lines[0] {
		case "gzip, deflate, br, zstd":
			return Accepted{Identity: unmentioned, Gzip: 1000, Brotli: 1000, Zstd: 1000}
		case "gzip, deflate, br":
			return Accepted{Identity: unmentioned, Gzip: 1000, Brotli: 1000}
		case "gzip, deflate", "gzip":
			return Accepted{Identity: unmentioned, Gzip: 1000}
		}
	}
	return read(lines)
}

func read(lines []string) Accepted {
	a := Accepted{Identity: unmentioned}
	httprules.CodingWeights(a[:], names[:], lines)
	return a
}
