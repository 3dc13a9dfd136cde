package httprules

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRFC9110_14_2_Range(t *testing.T) {
	many := "bytes=0-0" + strings.Repeat(",5-5", 15)
	for _, tt := range []struct {
		value   string
		size    int64
		want    []ByteRange
		verdict RangeVerdict
	}{
		{"bytes=0-1", 10, []ByteRange{{0, 2}}, RangeOK},
		{"bytes=0-0", 10, []ByteRange{{0, 1}}, RangeOK},
		{"bytes=1-", 10, []ByteRange{{1, 9}}, RangeOK},
		{"bytes=0-", 10, []ByteRange{{0, 10}}, RangeOK},
		{"bytes=9-9", 10, []ByteRange{{9, 1}}, RangeOK},
		{"bytes=5-99", 10, []ByteRange{{5, 5}}, RangeOK},
		{"bytes=5-99999999999999999999999", 10, []ByteRange{{5, 5}}, RangeOK},
		{"bytes=-1", 10, []ByteRange{{9, 1}}, RangeOK},
		{"bytes=-10", 10, []ByteRange{{0, 10}}, RangeOK},
		{"bytes=-99", 10, []ByteRange{{0, 10}}, RangeOK},
		{"bytes=0-1,5-6,-1", 10, []ByteRange{{0, 2}, {5, 2}, {9, 1}}, RangeOK},
		{"bytes=5-6, 0-1", 10, []ByteRange{{5, 2}, {0, 2}}, RangeOK},
		{"bytes= 0-1 ,\t5-6", 10, []ByteRange{{0, 2}, {5, 2}}, RangeOK},
		{"bytes=,0-1,,", 10, []ByteRange{{0, 2}}, RangeOK},
		{"BYTES=0-1", 10, []ByteRange{{0, 2}}, RangeOK},
		{" bytes=0-1 ", 10, []ByteRange{{0, 2}}, RangeOK},
		{"bytes=0-1,20-30", 10, []ByteRange{{0, 2}}, RangeOK},
		{"bytes=0-", math.MaxInt64, []ByteRange{{0, math.MaxInt64}}, RangeOK},

		{"bytes=10-", 10, nil, RangeUnsatisfiable},
		{"bytes=10-20", 10, nil, RangeUnsatisfiable},
		{"bytes=99999999999999999999999-", 10, nil, RangeUnsatisfiable},
		{"bytes=-0", 10, nil, RangeUnsatisfiable},
		{"bytes=10-,20-", 10, nil, RangeUnsatisfiable},
		{"bytes=0-", 0, nil, RangeUnsatisfiable},
		{"bytes=-0", 0, nil, RangeUnsatisfiable},
		{"bytes=-5", 0, nil, RangeNone},

		{"", 10, nil, RangeNone},
		{"bytes", 10, nil, RangeNone},
		{"bytes=", 10, nil, RangeNone},
		{"bytes=,", 10, nil, RangeNone},
		{"bytes=-", 10, nil, RangeNone},
		{"bytes=1", 10, nil, RangeNone},
		{"bytes=a-b", 10, nil, RangeNone},
		{"bytes=0x1-2", 10, nil, RangeNone},
		{"bytes=--1", 10, nil, RangeNone},
		{"bytes=0--1", 10, nil, RangeNone},
		{"bytes=+1-2", 10, nil, RangeNone},
		{"bytes=0 - 1", 10, nil, RangeNone},
		{"bytes=6-5", 10, nil, RangeNone},
		{"bytes=0-1,6-5", 10, nil, RangeNone},
		{"bytes=0-1;2-3", 10, nil, RangeNone},
		{"bytes =0-1", 10, nil, RangeNone},
		{"lines=0-1", 10, nil, RangeNone},
		{"bytes=0-1", -1, nil, RangeNone},

		// RFC 9110 section 17.15.
		{"bytes=0-,0-", 10, nil, RangeNone},
		{"bytes=0-5,4-9", 10, nil, RangeNone},
		{"bytes=0-,0-,0-", math.MaxInt64, nil, RangeNone},
		{many, 100, append([]ByteRange{{0, 1}}, slices.Repeat([]ByteRange{{5, 1}}, 15)...), RangeOK},
		{many + ",6-6", 100, nil, RangeNone},
	} {
		got, verdict := ParseRange(tt.value, tt.size)
		if !slices.Equal(got, tt.want) || verdict != tt.verdict {
			t.Errorf("ParseRange(%q, %d) = %v, %d; want %v, %d", tt.value, tt.size, got, verdict, tt.want, tt.verdict)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1, -5,7-", int64(10))
	f.Add("bytes=99999999999999999999-", int64(math.MaxInt64))
	f.Add("bytes=-9223372036854775807", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, value string, size int64) {
		ranges, verdict := ParseRange(value, size)
		if (verdict == RangeOK) != (len(ranges) > 0) || len(ranges) > maxRanges {
			t.Fatalf("%d ranges with verdict %d", len(ranges), verdict)
		}
		sum := int64(0)
		for _, r := range ranges {
			if r.Start < 0 || r.Length < 1 || r.Start >= size || r.Length > size-r.Start || r.Length > size-sum {
				t.Fatalf("%v of %d, %d before it", r, size, sum)
			}
			sum += r.Length
		}
	})
}
