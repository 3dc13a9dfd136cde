package parts

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

const digits = "0123456789"

// at is a part of digits.
func at(start, end int64) Body { return New(10, start, []byte(digits[start:end])) }

// shape is what is known of digits, with a dot for what is not.
func shape(b *Body) string {
	out := bytes.Repeat([]byte{'.'}, int(b.Size))
	for _, r := range b.runs {
		copy(out[r.start:], r.bytes)
	}
	return string(out)
}

func TestAdd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		parts [][2]int64
		limit int64
		want  string
		runs  int
	}{
		{"apart", [][2]int64{{0, 2}, {4, 6}}, 0, "01..45....", 2},
		{"apart, the other way round", [][2]int64{{4, 6}, {0, 2}}, 0, "01..45....", 2},
		{"next to one another", [][2]int64{{0, 2}, {2, 4}}, 0, "0123......", 1},
		{"next to one another, the other way round", [][2]int64{{2, 4}, {0, 2}}, 0, "0123......", 1},
		{"overlapping", [][2]int64{{0, 5}, {3, 8}}, 0, "01234567..", 1},
		{"within", [][2]int64{{0, 8}, {3, 5}}, 0, "01234567..", 1},
		{"around", [][2]int64{{3, 5}, {0, 8}}, 0, "01234567..", 1},
		{"the same", [][2]int64{{3, 5}, {3, 5}}, 0, "...34.....", 1},
		{"a bridge", [][2]int64{{0, 2}, {6, 8}, {2, 6}}, 0, "01234567..", 1},
		{"over several", [][2]int64{{0, 1}, {2, 3}, {4, 5}, {9, 10}, {1, 6}}, 0, "012345...9", 2},
		{"whole", [][2]int64{{5, 10}, {0, 5}}, 0, digits, 1},
		{"the shortest is given up", [][2]int64{{0, 1}, {2, 5}, {6, 9}}, 6, "..234.678.", 2},
		{"and more than one", [][2]int64{{0, 1}, {2, 4}, {5, 10}}, 5, ".....56789", 1},
		{"not the one that has come", [][2]int64{{0, 4}, {6, 7}}, 4, "......6...", 1},
		{"nor what it touches, unless that is too much", [][2]int64{{0, 4}, {4, 7}}, 4, "....456...", 1},
	} {
		b := at(tt.parts[0][0], tt.parts[0][1])
		for _, p := range tt.parts[1:] {
			var agrees bool
			if b, agrees = b.Add(p[0], []byte(digits[p[0]:p[1]]), tt.limit); !agrees {
				t.Errorf("%s: does not agree", tt.name)
			}
		}
		if got := shape(&b); got != tt.want || len(b.runs) != tt.runs {
			t.Errorf("%s: %q in %d, want %q in %d", tt.name, got, len(b.runs), tt.want, tt.runs)
		}
	}
}

// A byte that is contradicted takes everything with it.
func TestContradiction(t *testing.T) {
	b := at(0, 4)
	b, _ = b.Add(6, []byte("67"), 0)
	for start, part := range map[int64]string{3: "x4", 2: "2x", 5: "5x", 0: "012345x789"} {
		sum, agrees := b.Add(start, []byte(part), 0)
		if alone := New(10, start, []byte(part)); agrees || shape(&sum) != shape(&alone) {
			t.Errorf("%q at %d: %q, agrees %t", part, start, shape(&sum), agrees)
		}
	}
	if sum, agrees := b.Add(4, []byte("xx"), 0); !agrees || shape(&sum) != "0123xx67.." {
		t.Errorf("%q, agrees %t, though nothing was known of it", shape(&sum), agrees)
	}
}

func TestAtMostMax(t *testing.T) {
	b := New(1000, 0, []byte{1})
	for i := int64(1); i < 40; i++ {
		b, _ = b.Add(i*10, bytes.Repeat([]byte{1}, int(1+i%3)), 0)
		if last := (httprules.ByteRange{Start: i * 10, Length: 1 + i%3}); len(b.runs) > Max || !b.Covers(last) {
			t.Fatalf("%d parts, the last among them: %t", len(b.runs), b.Covers(last))
		}
	}
}

func TestMissing(t *testing.T) {
	b := at(2, 4)
	b, _ = b.Add(6, []byte("67"), 0)
	whole := httprules.ByteRange{Length: 10}
	for _, tt := range []struct {
		wanted []httprules.ByteRange
		want   httprules.ByteRange
		some   bool
	}{
		{[]httprules.ByteRange{{Start: 2, Length: 2}}, httprules.ByteRange{}, false},
		{[]httprules.ByteRange{{Start: 2, Length: 2}, {Start: 7, Length: 1}}, httprules.ByteRange{}, false},
		{[]httprules.ByteRange{whole}, whole, false},
		{[]httprules.ByteRange{{Start: 0, Length: 2}}, httprules.ByteRange{Start: 0, Length: 2}, false},
		{[]httprules.ByteRange{{Start: 4, Length: 2}}, httprules.ByteRange{Start: 4, Length: 2}, false},
		{[]httprules.ByteRange{{Start: 0, Length: 3}}, httprules.ByteRange{Start: 0, Length: 2}, true},
		{[]httprules.ByteRange{{Start: 3, Length: 2}}, httprules.ByteRange{Start: 4, Length: 1}, true},
		{[]httprules.ByteRange{{Start: 3, Length: 4}}, httprules.ByteRange{Start: 4, Length: 2}, true},
		{[]httprules.ByteRange{{Start: 1, Length: 9}}, httprules.ByteRange{Start: 1, Length: 9}, false},
		{[]httprules.ByteRange{{Start: 2, Length: 8}}, httprules.ByteRange{Start: 4, Length: 6}, true},
		{[]httprules.ByteRange{{Start: 8, Length: 2}, {Start: 2, Length: 1}}, httprules.ByteRange{Start: 8, Length: 2}, true},
		{[]httprules.ByteRange{{Start: 9, Length: 1}, {Start: 0, Length: 1}}, whole, false}, // the span is more than what is wanted
	} {
		if got, some := b.Missing(tt.wanted); got != tt.want || some != tt.some {
			t.Errorf("%v: %v, %t; want %v, %t", tt.wanted, got, some, tt.want, tt.some)
		}
	}
}

// reference is a body byte by byte.
type reference struct{ bytes, known []byte }

func (r *reference) covers(from, to int64) bool { return !slices.Contains(r.known[from:to], 0) }

// FuzzCombine compares with a map of bytes: whatever comes in whatever order, nothing is
// known that did not come, and no byte is wrong, also not when the body has been stored
// and read in between.
func FuzzCombine(f *testing.F) {
	f.Add(uint64(1), uint16(10), uint8(0))
	f.Add(uint64(2), uint16(300), uint8(100))
	f.Fuzz(func(t *testing.T, seed uint64, wide uint16, limit uint8) {
		size := int64(wide%2000) + 1
		r := rand.New(rand.NewPCG(seed, 0))
		ref := reference{make([]byte, size), make([]byte, size)}
		var b Body
		for step := range 40 {
			start := r.Int64N(size)
			part := make([]byte, 1+r.Int64N(min(size-start, 60)))
			version := byte(r.IntN(8) / 7) // seldom one that lies
			for i := range part {
				part[i] = byte(start) + byte(i)*7 + version
			}
			end := start + int64(len(part))
			agrees := true
			for i := start; i < end; i++ {
				agrees = agrees && (ref.known[i] == 0 || ref.bytes[i] == part[i-start])
			}
			most := int64(limit)
			if int64(len(part)) > most {
				most = 0
			}
			if step == 0 {
				b = New(size, start, part)
			} else {
				var got bool
				if b, got = b.Add(start, part, most); got != agrees {
					t.Fatalf("agrees: %t, want %t", got, agrees)
				}
			}
			if !agrees {
				clear(ref.known)
			}
			copy(ref.bytes[start:], part)
			copy(ref.known[start:], bytes.Repeat([]byte{1}, len(part)))
			b = check(t, &b, &ref, httprules.ByteRange{Start: start, Length: int64(len(part))}, most, r)
		}
	})
}

// check compares b with ref, which may know more, and returns b as it is after it was
// stored.
func check(t *testing.T, b *Body, ref *reference, last httprules.ByteRange, limit int64, r *rand.Rand) Body {
	t.Helper()
	known, total, end := make([]byte, b.Size), int64(0), int64(-1)
	for _, run := range b.runs {
		if run.start <= end || len(run.bytes) == 0 || run.end() > b.Size {
			t.Fatalf("a part from %d to %d, after one to %d of %d", run.start, run.end(), end, b.Size)
		}
		end, total = run.end(), total+int64(len(run.bytes))
		copy(known[run.start:], bytes.Repeat([]byte{1}, len(run.bytes)))
		if !ref.covers(run.start, run.end()) || !bytes.Equal(ref.bytes[run.start:run.end()], run.bytes) {
			t.Fatalf("wrong bytes from %d to %d", run.start, run.end())
		}
	}
	if len(b.runs) > Max || limit > 0 && total > limit || !b.Covers(last) {
		t.Fatalf("%d parts of %d bytes, at most %d; the last is there: %t", len(b.runs), total, limit, b.Covers(last))
	}
	ref.known = known // less than that may be known, never more
	list, all := b.Stored()
	if (list == nil) != (total == b.Size) {
		t.Fatalf("%d parts of a body of which %d of %d bytes are known", len(list), total, b.Size)
	}
	if list == nil {
		if !b.Whole() || !bytes.Equal(all, ref.bytes) {
			t.Fatal("a whole that is none")
		}
		return *b
	}
	value, err := entry.Encode(entry.Content{Meta: entry.Meta{Kind: entry.KindResponse, Status: 206, Size: uint64(b.Size)}, Parts: list, Body: all})
	var e entry.Entry
	if err == nil {
		err = entry.Decode(value, &e)
	}
	if err != nil || e.Whole() {
		t.Fatalf("stored: %v, whole %t", err, e.Whole())
	}
	stored := Of(&e)
	if !slices.EqualFunc(stored.runs, b.runs, func(a, b run) bool { return a.start == b.start && bytes.Equal(a.bytes, b.bytes) }) {
		t.Fatal("stored, it is another")
	}
	start := r.Int64N(b.Size)
	asked := httprules.ByteRange{Start: start, Length: 1 + r.Int64N(b.Size-start)}
	got, ok := Cut(&e, asked)
	if want := ref.covers(asked.Start, asked.Start+asked.Length); ok != want || b.Covers(asked) != want ||
		ok && !bytes.Equal(got, ref.bytes[asked.Start:asked.Start+asked.Length]) {
		t.Fatalf("%v: %t, want %t", asked, ok, want)
	}
	gap, _ := b.Missing([]httprules.ByteRange{asked})
	for i := asked.Start; i < asked.Start+asked.Length; i++ {
		if known[i] == 0 && (i < gap.Start || i >= gap.Start+gap.Length) {
			t.Fatalf("byte %d of %v is unknown, and not in the gap %v", i, asked, gap)
		}
	}
	if gap.Length > 0 && (known[gap.Start] == 1 || known[gap.Start+gap.Length-1] == 1) {
		t.Fatalf("the gap %v is too wide", gap)
	}
	return stored
}

// What somebody else may have written to the store reads nothing beside it.
func TestHugeNumbers(t *testing.T) {
	for _, p := range []entry.Part{{Start: math.MaxUint64, Length: 2}, {Start: math.MaxInt64, Length: 2}, {Start: 0, Length: math.MaxUint64}} {
		value, err := entry.Encode(entry.Content{Meta: entry.Meta{Kind: entry.KindResponse, Status: 206, Size: math.MaxUint64}, Parts: []entry.Part{p}, Body: []byte("ab")})
		if err != nil {
			t.Fatal(err)
		}
		var e entry.Entry
		if entry.Decode(value, &e) == nil {
			t.Errorf("%v is taken for a part", p)
		}
	}
}
