package httprules

import "strings"

// CodingWeights reads the lines of Accept-Encoding as one list (RFC 9110 section 12.5.3)
// and sets weights[i], in thousandths, to that of the coding names[i]; 0 is not acceptable.
// Names are in lower case, fewer than 64 and not "x-gzip" or "x-compress", which mean what
// they mean without "x-" (section 8.4.1). A weight stays as it is where the field says
// nothing of its coding, neither by name nor by "*".
//
//   - "*" gives its weight to every coding that is not named.
//   - A coding named more than once has the highest of its weights, but is not acceptable
//     if one of them is 0: the field contradicts itself.
//   - A member that is malformed, or has a weight out of range, is ignored. "*" does not
//     give its coding a weight then, for nobody knows what was meant; identity is no coding
//     that a client could fail to decode, so it is not kept from that.
//
// It does not allocate.
func CodingWeights(weights []uint16, names []string, lines []string) {
	var (
		named   uint64 // bits: has a weight by name
		unclear uint64 // bits: is in a malformed member
		rest    uint16 // the weight of "*"
		star    bool   // there is a "*"
	)
	for _, line := range lines {
		for line != "" {
			var member string
			member, line, _ = strings.Cut(line, ",")
			name, param, weighted := strings.Cut(member, ";")
			name = trimOWS(name)
			weight, ok := 1000, true
			if weighted {
				weight, ok = parseWeight(trimOWS(param))
			}
			if name == "*" {
				if ok {
					rest, star = agree(rest, uint16(weight), star), true
				}
				continue
			}
			i := codingIndex(names, name)
			switch {
			case i < 0:
			case ok:
				weights[i] = agree(weights[i], uint16(weight), named&(1<<i) != 0)
				named |= 1 << i
			case names[i] != "identity":
				unclear |= 1 << i
			}
		}
	}
	if !star {
		return
	}
	for i := range weights {
		if (named|unclear)&(1<<i) == 0 {
			weights[i] = rest
		}
	}
}

// agree returns the weight of what was given one before, if it was, and is given another.
func agree(before, weight uint16, given bool) uint16 {
	switch {
	case !given:
		return weight
	case before == 0 || weight == 0:
		return 0
	}
	return max(before, weight)
}

// codingIndex returns the index of the coding in names, or -1. What is no token is none
// of them.
func codingIndex(names []string, name string) int {
	if len(name) > 2 && lowerByte(name[0]) == 'x' && (EqualFold(name, "x-gzip") || EqualFold(name, "x-compress")) {
		name = name[len("x-"):]
	}
	for i, n := range names {
		if EqualFold(n, name) {
			return i
		}
	}
	return -1
}
