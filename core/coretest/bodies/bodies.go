// Package bodies makes the bodies that compression is measured with: JSON of an API, a
// page of HTML, a style sheet. They are written by code and always the same, so that
// figures can be compared, and are as redundant as real ones: their prose is of some
// thousand words that come as often as words do, and what is random in real bodies (ids,
// hashes, times, measures) is random in them.
package bodies

import "bytes"

// Kind is a sort of body.
type Kind struct {
	Name string // of a benchmark: "json"
	Type string // the Content-Type
	Make func(n int) []byte
}

// Kinds are all sorts of bodies.
var Kinds = []Kind{
	{"json", "application/json", JSON},
	{"html", "text/html; charset=utf-8", HTML},
	{"css", "text/css; charset=utf-8", CSS},
}

// Sizes are those that tables are made of: 1, 4, 30 and 300 KiB.
var Sizes = []int{1 << 10, 4 << 10, 30 << 10, 300 << 10}

// Whole bodies have n bytes, and up to slack more, as no word or rule is cut. No body is
// shorter than what must be in it: a JSON document of one post has some 700 bytes.
const slack = 64

// writer is a body that is being written.
type writer struct {
	bytes.Buffer
	random
	n int // how long the body is to be
}

func newWriter(n int) *writer {
	w := &writer{random: 0x9e3779b97f4a7c15, n: n}
	w.Grow(n + 1024)
	return w
}

// room is how many bytes are missing if tail bytes are to follow.
func (w *writer) room(tail string) int { return w.n - w.Len() - len(tail) }

// random is splitmix64: math/rand may change, and so would every figure.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

// one in n times it is true.
func (r *random) oneIn(n int) bool { return r.below(n) == 0 }

// hex writes random hexadecimal digits.
func (w *writer) hex(digits int) {
	for range digits {
		w.WriteByte("0123456789abcdef"[w.below(16)])
	}
}

// uuid writes a random UUID (RFC 9562 version 4).
func (w *writer) uuid() {
	w.hex(8)
	w.WriteByte('-')
	w.hex(4)
	w.WriteString("-4")
	w.hex(3)
	w.WriteByte('-')
	w.WriteByte("89ab"[w.below(4)])
	w.hex(3)
	w.WriteByte('-')
	w.hex(12)
}
