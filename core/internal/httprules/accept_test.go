package httprules

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var someCodings = []string{"identity", "gzip", "br", "zstd"}

// weigh begins with a weight of identity, and of no other.
func weigh(lines ...string) [4]uint16 {
	w := [4]uint16{1}
	CodingWeights(w[:], someCodings, lines)
	return w
}

// RFC 9110 sections 12.4.2, 12.5.3 and 8.4.1.
func TestRFC9110_12_5_3_CodingWeights(t *testing.T) {
	type weights = [4]uint16 // identity, gzip, br, zstd
	for _, tt := range []struct {
		name  string
		lines []string
		want  weights
	}{
		{"absent", nil, weights{1}},
		{"empty", []string{""}, weights{1}},
		{"empty lines and members", []string{" \t", ",, ,"}, weights{1}},

		{"of the RFC: compress, gzip", []string{"compress, gzip"}, weights{1, 1000}},
		{"of the RFC: *", []string{"*"}, weights{1000, 1000, 1000, 1000}},
		{"of the RFC: compress;q=0.5, gzip;q=1.0", []string{"compress;q=0.5, gzip;q=1.0"}, weights{1, 1000}},
		{"of the RFC: gzip;q=1.0, identity; q=0.5, *;q=0", []string{"gzip;q=1.0, identity; q=0.5, *;q=0"}, weights{500, 1000}},

		{"of a browser", []string{"gzip, deflate, br, zstd"}, weights{1, 1000, 1000, 1000}},
		{"names in any case", []string{"GZip, BR;q=0.2, zStD"}, weights{1, 1000, 200, 1000}},
		{"x-gzip", []string{"x-gzip;q=0.3"}, weights{1, 300}},
		{"x-gzip in any case", []string{"X-GZIP"}, weights{1, 1000}},
		{"no x-br", []string{"x-br"}, weights{1}},
		{"names that are longer and shorter", []string{"gzipp, gzi, b, zst, x-, x"}, weights{1}},

		{"whitespace", []string{" \tgzip\t ; \tq=0.4 \t,\tbr "}, weights{1, 400, 1000}},
		{"no other whitespace", []string{"\u00a0gzip, br\v, zstd\r"}, weights{1}},
		{"no whitespace within a weight", []string{"gzip;q =0.4, br;q= 0.4, zstd;q=0. 4"}, weights{1}},
		{"lines are one list", []string{"gzip;q=0.1", "br", "*;q=0.3"}, weights{300, 100, 1000, 300}},

		{"Q", []string{"gzip;Q=0.5"}, weights{1, 500}},
		{"weights", []string{"gzip;q=0.001, br;q=1.000, zstd;q=0.999"}, weights{1, 1, 1000, 999}},
		{"weights without digits", []string{"gzip;q=0., br;q=1., zstd;q=1"}, weights{1, 0, 1000, 1000}},
		{"weights of 0", []string{"gzip;q=0, br;q=0.0, zstd;q=0.000"}, weights{1}},
		{"weights above 1", []string{"gzip;q=1.001, br;q=2, zstd;q=1.1"}, weights{1}},
		{"weights below 0", []string{"gzip;q=-0.1, br;q=-1"}, weights{1}},
		{"weights with too many digits", []string{"gzip;q=0.1234, br;q=1.0000, zstd;q=00.5"}, weights{1}},
		{"weights that are none", []string{"gzip;q=x, br;q=, zstd;q"}, weights{1}},
		{"weights without a point", []string{"gzip;q=05, br;q=0,5"}, weights{1, 0, 0}},
		{"other notations", []string{"gzip;q=.5, br;q=1e0, zstd;q=+1"}, weights{1}},
		{"other parameters", []string{"gzip;level=1, br;q=0.5;x=1, zstd;x=1;q=0.5"}, weights{1}},
		{"no parameter", []string{"gzip;, br; ,zstd;;"}, weights{1}},
		{"quoted", []string{`"gzip", br;q="0.5", zstd;x=",gzip,"`}, weights{1, 1000}}, // no quoted string has a place here
		{"no tokens", []string{"gz ip, br/1, zstd=1, (gzip)"}, weights{1}},
		{"malformed, and well", []string{"gzip;q=2, gzip;q=0.5"}, weights{1, 500}},
		{"malformed, identity", []string{"identity;q=2"}, weights{1}},

		{"identity", []string{"identity"}, weights{1000}},
		{"identity with a weight", []string{"identity;q=0.5, gzip"}, weights{500, 1000}},
		{"identity refused", []string{"identity;q=0, gzip"}, weights{0, 1000}},
		{"all refused", []string{"*;q=0"}, weights{}},
		{"all refused but one", []string{"gzip, *;q=0"}, weights{0, 1000}},
		{"all refused but identity", []string{"identity, *;q=0"}, weights{1000}},
		{"all refused, and identity malformed", []string{"identity;q=2, *;q=0"}, weights{}},

		{"all else", []string{"*;q=0.5, br;q=0.7"}, weights{500, 500, 700, 500}},
		{"all but one", []string{"br;q=0, *"}, weights{1000, 1000, 0, 1000}},
		{"all else, malformed", []string{"*;q=2, br"}, weights{1, 0, 1000}},
		{"all else, and one malformed", []string{"gzip;q=2, *"}, weights{1000, 0, 1000, 1000}},
		{"no other star", []string{"**, *gzip, * *"}, weights{1}},

		{"twice", []string{"gzip;q=0.2, gzip;q=0.7, gzip;q=0.5"}, weights{1, 700}},
		{"twice by two names", []string{"gzip;q=0.2, x-gzip;q=0.7"}, weights{1, 700}},
		{"twice, refused", []string{"gzip;q=0, gzip;q=0"}, weights{1}},
		{"contradiction", []string{"gzip, gzip;q=0"}, weights{1}},
		{"contradiction, other way", []string{"gzip;q=0", "x-gzip"}, weights{1}},
		{"contradiction, and again", []string{"gzip;q=0, gzip, gzip"}, weights{1}},
		{"contradiction of all else", []string{"*, *;q=0, br"}, weights{0, 0, 1000}},
		{"all else twice", []string{"*;q=0.1, *;q=0.2"}, weights{200, 200, 200, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, strings.Join(tt.lines, "|"), weigh(tt.lines...), tt.want)
		})
	}
}

// What is not mentioned keeps what it had.
func TestCodingWeightsDefault(t *testing.T) {
	w := [4]uint16{7, 8, 9, 10}
	CodingWeights(w[:], someCodings, []string{"br;q=0.5, deflate"})
	equal(t, "weights", w, [4]uint16{7, 8, 500, 10})
}

// longCodings are fields of 64 KiB, which servers let pass, with br last.
var longCodings = map[string]string{
	"commas":  strings.Repeat(",", 64<<10) + "br;q=0.5",
	"spaces":  strings.Repeat(" ", 64<<10) + "br;q=0.5",
	"unknown": strings.Repeat("a,", 32<<10) + "br;q=0.5",
	"one":     strings.Repeat("a", 64<<10) + ",br;q=0.5",
	"known":   strings.Repeat("x-gzip;q=0,*;q=0.1,", 3<<10) + "br;q=0.5",
	"params":  strings.Repeat("x-gzip;q=0,", 3<<10) + strings.Repeat(";", 32<<10) + ",br;q=0.5",
}

func TestCodingWeightsLong(t *testing.T) {
	for name, line := range longCodings {
		equal(t, name, weigh(line)[2], 500)
		lines := []string{line, line}
		w := [4]uint16{}
		if n := testing.AllocsPerRun(10, func() { CodingWeights(w[:], someCodings, lines) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	equal(t, "many lines", weigh(slices.Repeat([]string{"br;q=0.5"}, 10_000)...)[2], 500)
}

var wellFormed = regexp.MustCompile("^[ \t]*([-!#$%&'*+.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\\.[0-9]{0,3})?|1(?:\\.0{0,3})?))?[ \t]*$")

// slowWeights is CodingWeights by the grammar and the prose of the RFC.
func slowWeights(lines []string) (out [4]uint16) {
	weights := map[string][]uint16{}
	unread := map[string]bool{}
	canonical := func(name string) string {
		name = strings.ToLower(strings.Trim(name, " \t"))
		if name == "x-gzip" {
			name = "gzip"
		}
		return name
	}
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		m := wellFormed.FindStringSubmatch(member)
		if m == nil {
			name, _, _ := strings.Cut(member, ";")
			unread[canonical(name)] = true
			continue
		}
		weight := uint16(1000)
		if m[2] != "" {
			digits := (strings.Replace(m[2], ".", "", 1) + "000")[:4]
			weight = 0
			for _, d := range digits {
				weight = weight*10 + uint16(d-'0')
			}
		}
		weights[canonical(m[1])] = append(weights[canonical(m[1])], weight)
	}
	judge := func(all []uint16) uint16 {
		if slices.Contains(all, 0) {
			return 0
		}
		return slices.Max(all)
	}
	for i, name := range someCodings {
		switch {
		case len(weights[name]) > 0:
			out[i] = judge(weights[name])
		case unread[name] && name != "identity":
		case len(weights["*"]) > 0:
			out[i] = judge(weights["*"])
		case name == "identity":
			out[i] = 1
		}
	}
	return out
}

func FuzzCodingWeights(f *testing.F) {
	f.Add("gzip;q=1.0, identity; q=0.5, *;q=0", "br")
	f.Add("x-gzip;q=0.123, zstd;q=2,*;q=0.", "\tBR ; Q=1.000")
	f.Add("gzip, gzip;q=0, identity;q=x", ";q=1,,*")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, lines := range [][]string{{a}, {a, b}, {b, a, b}} {
			if got, want := weigh(lines...), slowWeights(lines); got != want {
				t.Errorf("%q: got %v, want %v", lines, got, want)
			}
		}
	})
}

func BenchmarkCodingWeights(b *testing.B) {
	for name, line := range map[string]string{
		"browser": "gzip, deflate, br, zstd",
		"weights": "gzip;q=0.8, br;q=0.9, zstd, *;q=0.1",
		"64KiB":   longCodings["known"],
	} {
		b.Run(name, func(b *testing.B) {
			lines := []string{line}
			var w [4]uint16
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				CodingWeights(w[:], someCodings, lines)
			}
		})
	}
}
