package coding

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// TestRatios shows what of a body is left, at the default levels: go test -v -run Ratios.
func TestRatios(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-16s", "coded / plain")
	for _, c := range codings {
		fmt.Fprintf(&table, "%8s", c)
	}
	for _, k := range bodies.Kinds {
		for _, n := range bodies.Sizes {
			plain := k.Make(n)
			fmt.Fprintf(&table, "\n%-6s%6d KiB", k.Name, n>>10)
			for _, c := range codings {
				ratio := float64(len(encode(t, c, 0, plain))) / float64(len(plain))
				fmt.Fprintf(&table, "%8.3f", ratio)
				// Real bodies of 30 KiB have 0.15 to 0.25.
				if n == 30<<10 && (ratio < 0.15 || ratio > 0.25) {
					t.Errorf("%s of %d bytes is coded as no real body is: %s leaves %.3f", k.Name, n, c, ratio)
				}
			}
		}
	}
	t.Log(table.String())
}

func BenchmarkEncode(b *testing.B) {
	each(b, func(b *testing.B, c Coding, plain []byte) {
		var coded []byte
		for b.Loop() {
			coded = encode(b, c, 0, plain)
		}
		b.ReportMetric(float64(len(coded))/float64(len(plain)), "coded/plain")
	})
}

// BenchmarkEncodeLevels is what the default levels were chosen by. Zstd has four.
func BenchmarkEncodeLevels(b *testing.B) {
	for c, all := range map[Coding][]int{Gzip: {1, 4, 5, 6, 7, 9}, Brotli: {1, 3, 4, 5, 6, 9, 11}, Zstd: {1, 3, 7, 11}} {
		for _, k := range bodies.Kinds {
			plain := k.Make(300 << 10)
			for _, level := range all {
				b.Run(fmt.Sprintf("%s/%s/%d", c, k.Name, level), func(b *testing.B) {
					var coded []byte
					for b.Loop() {
						coded = encode(b, c, level, plain)
					}
					b.ReportMetric(float64(len(coded))/float64(len(plain)), "coded/plain")
				})
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	each(b, func(b *testing.B, c Coding, plain []byte) {
		coded := encode(b, c, 0, plain)
		for b.Loop() {
			if _, err := Decode(c, coded, uint64(len(plain))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func each(b *testing.B, f func(b *testing.B, c Coding, plain []byte)) {
	for _, c := range codings {
		for _, k := range bodies.Kinds {
			for _, n := range bodies.Sizes {
				plain := k.Make(n)
				b.Run(fmt.Sprintf("%s/%s/%dKiB", c, k.Name, n>>10), func(b *testing.B) {
					b.SetBytes(int64(n))
					b.ReportAllocs()
					f(b, c, plain)
				})
			}
		}
	}
}
