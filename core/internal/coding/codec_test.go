package coding

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

var codings = []Coding{Gzip, Brotli, Zstd}

func encode(tb testing.TB, c Coding, level int, plain []byte) []byte {
	tb.Helper()
	coded, err := Encode(c, level, plain)
	if err != nil {
		tb.Fatal(c, level, err)
	}
	return coded
}

// noise is n bytes that no coding makes shorter.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// roundTrip encodes and decodes, and looks at every bound of Decode and Size.
func roundTrip(tb testing.TB, c Coding, level int, plain []byte) (coded []byte) {
	tb.Helper()
	n := uint64(len(plain))
	what := fmt.Sprintf("%s, level %d, %d bytes", c, level, n)
	coded = encode(tb, c, level, plain)
	if cap(coded) != len(coded) {
		tb.Errorf("%s: Encode leaves room for %d bytes in %d", what, cap(coded)-len(coded), cap(coded))
	}
	decoded, err := Decode(c, coded, n)
	if err != nil || !bytes.Equal(decoded, plain) {
		tb.Fatalf("%s: Decode returns %d bytes and %v", what, len(decoded), err)
	}
	if cap(decoded) != len(decoded) {
		tb.Errorf("%s: Decode leaves room for %d bytes", what, cap(decoded)-len(decoded))
	}
	for _, limit := range []uint64{n, n + 1, math.MaxUint64} {
		if size, err := Size(c, coded, limit); err != nil || size != n {
			tb.Errorf("%s: Size up to %d returns %d and %v", what, limit, size, err)
		}
	}
	if b, err := Decode(c, coded, n+1); err == nil {
		tb.Errorf("%s: Decode of one more returns %d bytes", what, len(b))
	}
	if n > 0 {
		for _, less := range []uint64{n - 1, n / 2, 0} {
			if _, err := Decode(c, coded, less); !errors.Is(err, ErrTooLarge) {
				tb.Errorf("%s: Decode of %d returns %v", what, less, err)
			}
			if _, err := Size(c, coded, less); !errors.Is(err, ErrTooLarge) {
				tb.Errorf("%s: Size up to %d returns %v", what, less, err)
			}
		}
	}
	return coded
}

func TestRoundTrip(t *testing.T) {
	for c := range Coding(Count) {
		for level := range levels[c].highest + 1 {
			if raceEnabled && level > 1 {
				break
			}
			for _, plain := range [][]byte{nil, {0}, bodies.JSON(4 << 10), noise(5000), make([]byte, 50_000)} {
				roundTrip(t, c, level, plain)
			}
		}
		roundTrip(t, c, 0, bodies.HTML(300<<10))
		roundTrip(t, c, 0, slices.Concat(bodies.JSON(large), noise(large)))
		if !raceEnabled { // slow
			roundTrip(t, c, 0, make([]byte, atOnce))
			roundTrip(t, c, 0, make([]byte, 2*atOnce+1))
		}
	}
}

// Encode gives the same bytes whatever its pooled encoders have encoded before.
func TestDeterministic(t *testing.T) {
	if raceEnabled {
		t.Skip("slow, and nothing in it is concurrent")
	}
	mixed := slices.Concat(bodies.JSON(large/2), noise(large/4), bodies.CSS(large))
	inputs := [][]byte{
		mixed[:large-1], mixed[:large], mixed[:large+1], mixed[:1000], mixed[:30_000], mixed[:300_000],
		bodies.HTML(300 << 10), noise(70_000), noise(100), make([]byte, 3_000_000), bodies.CSS(4 << 10), nil, {0},
	}
	for _, c := range codings {
		for _, level := range []int{1, 2, 3, 4, levels[c].standard, levels[c].standard + 2, min(11, levels[c].highest)} {
			inputs := inputs
			if level > 9 && c == Brotli { // slow
				inputs = inputs[3:5]
			}
			var cold [][]byte
			for _, plain := range inputs {
				encoders = [Count]struct{ small, large [maxLevel + 1]sync.Pool }{}
				cold = append(cold, encode(t, c, level, plain))
			}
			for round := range 3 {
				for i := range inputs {
					i = (i*(round+2) + round) % len(inputs) // in another order each time
					if !bytes.Equal(encode(t, c, level, inputs[i]), cold[i]) {
						t.Errorf("%s, level %d: %d bytes are coded in two ways", c, level, len(inputs[i]))
					}
				}
			}
		}
	}
}

// Neither changes nor keeps what it is given.
func TestInputsAreCallers(t *testing.T) {
	for c := range Coding(Count) {
		plain := bodies.JSON(4 << 10)
		coded := encode(t, c, 0, plain)
		kept := slices.Clone(coded)
		clear(plain)
		if !bytes.Equal(coded, kept) {
			t.Errorf("%s: the result of Encode is a view of its argument", c)
		}
		decoded, err := Decode(c, coded, uint64(len(plain)))
		if err != nil || !bytes.Equal(coded, kept) {
			t.Fatalf("%s: Decode changed its argument, %v", c, err)
		}
		clear(coded)
		if !bytes.Equal(decoded, bodies.JSON(4<<10)) {
			t.Errorf("%s: the result of Decode is a view of its argument", c)
		}
	}
}

func TestConcurrent(t *testing.T) {
	plain := [][]byte{bodies.JSON(4 << 10), bodies.HTML(30 << 10), noise(10_000)}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 30 {
				c, b := codings[(worker+i)%len(codings)], plain[i%len(plain)]
				coded, err := Encode(c, 0, b)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := Decode(c, coded, uint64(len(b)))
				if err != nil || !bytes.Equal(got, b) {
					t.Errorf("%s: %v", c, err)
				}
				if n, err := Size(c, coded, math.MaxUint64); err != nil || n != uint64(len(b)) {
					t.Errorf("%s: %d, %v", c, n, err)
				}
				if _, err := Decode(c, coded[:len(coded)/2], uint64(len(b))); err == nil {
					t.Errorf("%s: half of it is no error", c)
				}
			}
		})
	}
	wg.Wait()
}

// Wherever a body is cut, and whatever follows it, is an error.
func TestWhole(t *testing.T) {
	plain := bodies.JSON(4 << 10)
	n := uint64(len(plain))
	for _, c := range codings {
		coded := encode(t, c, 0, plain)
		for cut := range coded {
			if _, err := Decode(c, coded[:cut], n); err == nil || errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: Decode of %d bytes of %d returns %v", c, cut, len(coded), err)
			}
			if size, err := Size(c, coded[:cut], n); err == nil || errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: Size of %d bytes of %d returns %d and %v", c, cut, len(coded), size, err)
			}
		}
		for _, rest := range [][]byte{{0}, {0xff}, []byte("\r\n"), make([]byte, 70_000), noise(70_000), coded[:len(coded)/2], coded[:4]} {
			more := slices.Concat(coded, rest)
			if _, err := Decode(c, more, n); err == nil {
				t.Errorf("%s: Decode takes %d bytes behind the end", c, len(rest))
			}
			if _, err := Size(c, more, math.MaxUint64); err == nil {
				t.Errorf("%s: Size takes %d bytes behind the end", c, len(rest))
			}
		}
		for _, nothing := range [][]byte{nil, {}} { // which no coding makes of an empty body
			if _, err := Decode(c, nothing, 0); err == nil {
				t.Errorf("%s: Decode takes nothing for an empty body", c)
			}
			if _, err := Size(c, nothing, 0); err == nil {
				t.Errorf("%s: Size takes nothing for an empty body", c)
			}
		}
		for _, other := range codings {
			if other != c {
				if _, err := Decode(other, coded, n); err == nil {
					t.Errorf("%s is taken for %s", c, other)
				}
			}
		}
		if _, err := Decode(c, plain, n); err == nil {
			t.Errorf("%s: takes a body that is not coded", c)
		}
	}
}

// gzip has a checksum, so that no flipped bit passes; the others must not panic, nor
// return anything but size bytes.
func TestFlippedBits(t *testing.T) {
	plain := bodies.CSS(2 << 10)
	for _, c := range codings {
		coded := encode(t, c, 0, plain)
		for bit := range len(coded) * 8 {
			flipped := slices.Clone(coded)
			flipped[bit/8] ^= 1 << (bit % 8)
			got, err := Decode(c, flipped, uint64(len(plain)))
			if err == nil && len(got) != len(plain) {
				t.Errorf("%s, bit %d: %d bytes", c, bit, len(got))
			}
			// Time, flags that say nothing of the data and the operating system.
			if inHeader := bit/8 >= 3 && bit/8 < 10; c == Gzip && err == nil && !inHeader {
				t.Errorf("gzip: bit %d flipped is no error", bit)
			}
		}
	}
}

// What other encoders make: more than one member or frame, fields in the header.
func TestForeign(t *testing.T) {
	plain := bodies.HTML(30 << 10)
	member := func(part []byte, header stdgzip.Header) []byte {
		var buf bytes.Buffer
		w := stdgzip.NewWriter(&buf)
		w.Header = header
		_, _ = w.Write(part)
		_ = w.Close()
		return buf.Bytes()
	}
	frame := func(part []byte, options ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderConcurrency(1))...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(part, nil)
	}
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	var stream bytes.Buffer // a frame that does not say its size, as of a server that streams
	e, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(plain, 1000) {
		_, _ = e.Write(part)
		_ = e.Flush()
	}
	_ = e.Close()
	var wide bytes.Buffer
	b := brotli.NewWriterOptions(&wide, brotli.WriterOptions{Quality: 4, LGWin: 24})
	for part := range slices.Chunk(plain, 1000) {
		_, _ = b.Write(part)
		_ = b.Flush()
	}
	_ = b.Close()
	for name, tt := range map[string]struct {
		c     Coding
		coded []byte
	}{
		"gzip, one member":       {Gzip, member(plain, stdgzip.Header{})},
		"gzip, two members":      {Gzip, slices.Concat(member(plain[:1000], stdgzip.Header{}), member(plain[1000:], stdgzip.Header{}))},
		"gzip, an empty member":  {Gzip, slices.Concat(member(nil, stdgzip.Header{}), member(plain, stdgzip.Header{}), member(nil, stdgzip.Header{}))},
		"gzip, header":           {Gzip, member(plain, stdgzip.Header{Name: "a.html", Comment: "c", Extra: make([]byte, 60_000), ModTime: time.Unix(1e9, 0)})},
		"zstd, checksum":         {Zstd, frame(plain, zstd.WithEncoderCRC(true))},
		"zstd, two frames":       {Zstd, slices.Concat(frame(plain[:9000]), frame(plain[9000:]))},
		"zstd, skippable frames": {Zstd, slices.Concat(skippable, frame(plain), skippable)},
		"zstd, size not said":    {Zstd, stream.Bytes()},
		"br, window of 16 MiB":   {Brotli, wide.Bytes()},
	} {
		got, err := Decode(tt.c, tt.coded, uint64(len(plain)))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if n, err := Size(tt.c, tt.coded, uint64(len(plain))); err != nil || n != uint64(len(plain)) {
			t.Errorf("%s: Size %d, %v", name, n, err)
		}
	}
	// A client need not hold more than 8 MiB (RFC 9659 section 3), and so does no one here.
	for name, wide := range map[string][]byte{
		"window":  frame(noise(9<<20), zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false)),
		"segment": frame(noise(9<<20), zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(true)),
	} {
		if n, err := Size(Zstd, wide, math.MaxUint64); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("zstd: a %s of more than 8 MiB: %d bytes, %v", name, n, err)
		}
		if _, err := Decode(Zstd, wide, 9<<20); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("zstd: a %s of more than 8 MiB: %v", name, err)
		}
	}
}

// The window of our own frames is one that every client has (RFC 9659 section 3).
func TestZstdWindow(t *testing.T) {
	for _, level := range []int{0, 1, 22} {
		for _, n := range []int{100, 4 << 10, 300 << 10, 1 << 20, 1<<20 + 1, 9 << 20} {
			var h zstd.Header
			if err := h.Decode(encode(t, Zstd, level, make([]byte, n))); err != nil {
				t.Fatal(err)
			}
			if h.WindowSize > 8<<20 || h.SingleSegment && h.FrameContentSize > 8<<20 || h.HasCheckSum || h.DictionaryID != 0 {
				t.Errorf("level %d, %d bytes: %+v", level, n, h)
			}
		}
	}
}

// An independent decoder understands our gzip, and its header tells nothing.
func TestGzipElsewhere(t *testing.T) {
	plain := bodies.JSON(30 << 10)
	r, err := stdgzip.NewReader(bytes.NewReader(encode(t, Gzip, 0, plain)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if !r.ModTime.IsZero() || r.Name != "" || r.Comment != "" || len(r.Extra) != 0 {
		t.Errorf("header %+v", r.Header)
	}
}

// bombs decode to 1 GiB each. That of br has less with the race detector, as it is slow
// to make.
func bombs(t *testing.T) map[Coding][]byte {
	zeros := make([]byte, 16<<20)
	rle := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58} // zstd, a window of 2 MiB, size not said
	for i := range 1 << 13 {
		header := uint32(128<<10)<<3 | 1<<1 // RLE of 128 KiB
		if i == 1<<13-1 {
			header |= 1 // last
		}
		rle = append(rle, byte(header), byte(header>>8), byte(header>>16), 0)
	}
	var br bytes.Buffer
	w := brotli.NewWriterLevel(&br, 1)
	times := 64
	if raceEnabled {
		times = 4
	}
	for range times {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	return map[Coding][]byte{
		Gzip:   bytes.Repeat(encode(t, Gzip, 1, zeros), 64),
		Brotli: br.Bytes(),
		Zstd:   rle,
	}
}

// window is what a format needs beside the body.
var window = [Count]uint64{Gzip: 256 << 10, Brotli: 17 << 20, Zstd: 10 << 20}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombs(t *testing.T) {
	for c, bomb := range bombs(t) {
		if len(bomb) > 4<<20 {
			t.Errorf("%s: a bomb of %d bytes is none", c, len(bomb))
		}
		if !raceEnabled && !testing.Short() {
			if n, err := Size(c, bomb, math.MaxUint64); err != nil || n != 1<<30 {
				t.Errorf("%s: the bomb decodes to %d bytes, %v", c, n, err)
			}
		}
		for _, size := range []uint64{0, 1, 1000, 1 << 20} {
			used := allocated(func() {
				if _, err := Decode(c, bomb, size); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s: Decode of %d bytes returns %v", c, size, err)
				}
				if _, err := Size(c, bomb, size); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s: Size up to %d returns %v", c, size, err)
				}
			})
			t.Logf("%s: %d bytes allocated for %d", c, used, size)
			if used > 2*window[c]+size {
				t.Errorf("%s: %d bytes allocated to refuse what is more than %d", c, used, size)
			}
		}
	}
}

// What is claimed costs nothing until it comes.
func TestClaims(t *testing.T) {
	header := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for name, tt := range map[string]struct {
		c     Coding
		coded []byte
	}{
		"zstd, 2^60 bytes in a window of 8 MiB": {Zstd, slices.Concat(header, []byte{0xc0, 0x68, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0})},
		"zstd, one segment of 2^60 bytes":       {Zstd, slices.Concat(header, []byte{0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0})},
		"zstd, a window of 3.75 TiB":            {Zstd, slices.Concat(header, []byte{0x00, 0xff, 1, 0, 0})},
		"zstd, a dictionary":                    {Zstd, slices.Concat(header, []byte{0x23, 7, 0, 0, 0, 4, 1, 0, 0})},
		"zstd, a skippable frame of 4 GiB":      {Zstd, []byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 0}},
		"br, 16 MiB that do not come":           {Brotli, []byte{0xcf, 0xff, 0xff, 0xff, 'a'}},
		"gzip, 64 KiB of a field":               {Gzip, []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 0xff, 0xff, 'a'}},
	} {
		for _, size := range []uint64{0, 10, 100_000} {
			used := allocated(func() {
				if b, err := Decode(tt.c, tt.coded, size); err == nil {
					t.Errorf("%s: Decode returns %d bytes", name, len(b))
				}
				if n, err := Size(tt.c, tt.coded, math.MaxUint64); err == nil {
					t.Errorf("%s: Size returns %d", name, n)
				}
			})
			if used > 2*window[tt.c]+size {
				t.Errorf("%s: %d bytes allocated", name, used)
			}
		}
	}
	// So is the size of an entry that is wrong.
	for c := range Coding(Count) {
		coded := encode(t, c, 0, []byte("a body"))
		for _, size := range []uint64{math.MaxInt, math.MaxUint64, 1 << 40} {
			used := allocated(func() {
				if _, err := Decode(c, coded, size); err == nil {
					t.Errorf("%s: Decode of %d bytes is no error", c, size)
				}
			})
			if used > atOnce+window[c] {
				t.Errorf("%s: %d bytes allocated for a size of %d", c, used, size)
			}
		}
	}
}

// Buffers are pooled: what is allocated is the result, and little beside it.
func TestAllocations(t *testing.T) {
	plain := bodies.JSON(30 << 10)
	for _, c := range codings {
		coded := encode(t, c, 0, plain)
		for what, f := range map[string]func(){
			"Encode": func() { encode(t, c, 0, plain) },
			"Decode": func() { _, _ = Decode(c, coded, uint64(len(plain))) },
			"Size":   func() { _, _ = Size(c, coded, uint64(len(plain))) },
		} {
			n := testing.AllocsPerRun(50, f)
			t.Logf("%s of %s: %v allocations", what, c, n)
			if n > 20 && !raceEnabled {
				t.Errorf("%s of %s: %v allocations", what, c, n)
			}
		}
	}
}
