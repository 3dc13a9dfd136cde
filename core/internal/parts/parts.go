// Package parts puts together what is known of a representation that came in parts (RFC
// 9111 sections 3.3 and 3.4): pure functions, no I/O. Which parts belong to one
// another, package httprules says.
package parts

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Max is how many parts of one representation are kept.
const Max = 16

// Body is what is known of a representation of Size bytes. The zero value is nothing of
// an empty one. It shares the bytes that it was made of, which must not change.
type Body struct {
	Size int64
	runs []run // in order, with at least one unknown byte between two
}

// run is a part from start on.
type run struct {
	start int64
	bytes []byte
}

func (r run) end() int64 { return r.start + int64(len(r.bytes)) }

// New is one part of a representation: b from start on.
func New(size, start int64, b []byte) Body {
	return Body{Size: size, runs: []run{{start, b}}}
}

// Of is the body of e, which is incomplete.
func Of(e *entry.Entry) Body {
	b := Body{Size: int64(e.Size)}
	rest := e.Body
	for p := range e.Parts {
		b.runs = append(b.runs, run{int64(p.Start), rest[:p.Length:p.Length]})
		rest = rest[p.Length:]
	}
	return b
}

// Cut returns the bytes of e, which is incomplete, in the range; false: not all of them
// are known. It takes no memory.
func Cut(e *entry.Entry, r httprules.ByteRange) ([]byte, bool) {
	at := int64(0)
	for p := range e.Parts {
		start, length := int64(p.Start), int64(p.Length)
		if from := r.Start - start; from >= 0 && from < length && r.Length <= length-from {
			at += from
			return e.Body[at : at+r.Length : at+r.Length], true
		}
		at += length
	}
	return nil, false
}

// Covers reports whether e, which is incomplete, has all of the ranges, and that there
// are any.
func Covers(e *entry.Entry, ranges []httprules.ByteRange) bool {
	for _, r := range ranges {
		if _, ok := Cut(e, r); !ok {
			return false
		}
	}
	return len(ranges) > 0
}

// VersionOf is the version of a stored response.
func VersionOf(e *entry.Entry) httprules.Version { return version(e.Header, e.Date) }

// VersionOfContent is the version of a response that is to be stored.
func VersionOfContent(c *entry.Content) httprules.Version {
	return version(slices.Values(c.Header), c.Date)
}

func version(header iter.Seq[entry.Field], date int64) httprules.Version {
	v := httprules.Version{Date: time.Unix(0, date)}
	for f := range header {
		switch f.Name {
		case "Etag":
			v.ETag = f.Value
		case "Last-Modified":
			v.LastModified = f.Value
		}
	}
	return v
}

// InWords says how much of e there is; "" if it is whole.
func InWords(e *entry.Entry) string {
	if e.Whole() {
		return ""
	}
	var b strings.Builder
	for p := range e.Parts {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d-%d", p.Start, p.Start+p.Length-1)
	}
	return fmt.Sprintf("bytes %s of %d", &b, e.Size)
}

// Covers reports whether all bytes in the range are known.
func (b *Body) Covers(r httprules.ByteRange) bool {
	return slices.ContainsFunc(b.runs, func(known run) bool {
		return r.Start >= known.start && r.Start < known.end() && r.Length <= known.end()-r.Start
	})
}

// Whole reports whether all bytes are known.
func (b *Body) Whole() bool { return b.Covers(httprules.ByteRange{Length: b.Size}) }

// Missing returns the shortest range with all the unknown bytes of those wanted; some
// says that there is a point in asking for just these, because others that are wanted
// are known.
func (b *Body) Missing(wanted []httprules.ByteRange) (gap httprules.ByteRange, some bool) {
	first, end, all := b.Size, int64(0), int64(0)
	for _, w := range wanted {
		from, to := b.unknown(w)
		if from < to {
			first, end = min(first, from), max(end, to)
		}
		all += w.Length
	}
	if first >= end {
		return httprules.ByteRange{}, false
	}
	gap = httprules.ByteRange{Start: first, Length: end - first}
	return gap, gap.Length < all
}

// unknown returns the first unknown byte of the range, and what comes after the last.
func (b *Body) unknown(r httprules.ByteRange) (from, to int64) {
	from, to = r.Start, r.Start+r.Length
	for _, known := range b.runs {
		if known.start <= from {
			from = max(from, known.end())
		}
	}
	for _, known := range slices.Backward(b.runs) {
		if known.end() >= to {
			to = min(to, known.start)
		}
	}
	return from, to
}

// Add returns what is known once the part from start on is known as well, which must be
// within the whole. Where it contradicts a byte known before, nothing of that is
// believed any more: agrees is false, and the part is all that is known.
//
// There are at most Max parts, and no more than limit bytes in them unless it is 0. The
// shortest are given up first, but never the one that has come.
func (b *Body) Add(start int64, part []byte, limit int64) (sum Body, agrees bool) {
	alone := New(b.Size, start, part)
	end := start + int64(len(part))
	var others []run
	joined := run{start, part}
	for _, known := range b.runs {
		if known.start > end || known.end() < start { // not even next to it
			others = append(others, known)
			continue
		}
		from, to := max(start, known.start), min(end, known.end())
		if from < to && !bytes.Equal(known.bytes[from-known.start:to-known.start], part[from-start:to-start]) {
			return alone, false
		}
		joined = union(joined, known)
	}
	size := int64(len(joined.bytes))
	for _, o := range others {
		size += int64(len(o.bytes))
	}
	for len(others) > 0 && (len(others) >= Max || limit > 0 && size > limit) {
		i := shortest(others)
		size -= int64(len(others[i].bytes))
		others = slices.Delete(others, i, i+1)
	}
	if limit > 0 && size > limit {
		return alone, true
	}
	at, _ := slices.BinarySearchFunc(others, joined.start, func(r run, start int64) int { return int(min(max(r.start-start, -1), 1)) })
	return Body{Size: b.Size, runs: slices.Insert(others, at, joined)}, true
}

// union is what a and b, which touch and agree, are together.
func union(a, b run) run {
	if a.start > b.start {
		a, b = b, a
	}
	if b.end() <= a.end() {
		return a
	}
	return run{a.start, slices.Concat(a.bytes, b.bytes[a.end()-b.start:])}
}

func shortest(runs []run) (at int) {
	for i := range runs {
		if len(runs[i].bytes) < len(runs[at].bytes) {
			at = i
		}
	}
	return at
}

// Stored is the body as an entry has it: without parts where it is whole.
func (b *Body) Stored() (list []entry.Part, all []byte) {
	if b.Whole() && len(b.runs) == 1 {
		return nil, b.runs[0].bytes
	}
	for _, r := range b.runs {
		list = append(list, entry.Part{Start: uint64(r.start), Length: uint64(len(r.bytes))})
		all = append(all, r.bytes...)
	}
	return list, all
}
