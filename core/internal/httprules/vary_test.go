package httprules

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRFC9110_12_5_5_Vary(t *testing.T) {
	many := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, "X"+strconv.Itoa(i+10))
		}
		return strings.Join(names, ",")
	}
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string
		any   bool
	}{
		{"none", nil, nil, false},
		{"empty", []string{"", " , "}, nil, false},
		{"sorted and canonical", []string{"foo, ACCEPT-encoding"}, []string{"Accept-Encoding", "Foo"}, false},
		{"several lines, each once", []string{"Foo,Bar", "\tbar , foo"}, []string{"Bar", "Foo"}, false},
		{"*", []string{"*"}, nil, true},
		{"* twice", []string{"*, *"}, nil, true},
		{"* after an empty member", []string{", *"}, nil, true},
		{"* on the second line", []string{"", "*"}, nil, true},
		{"* first", []string{"*, Foo"}, nil, true},
		{"* last", []string{"Foo, *"}, nil, true},
		{"no name", []string{"Foo, Bar Baz"}, nil, true},
		{"no name either", []string{"Foo\x00"}, nil, true},
		{"as many as allowed", []string{many(16), "x10"}, strings.Split(many(16), ","), false},
		{"too many", []string{many(17)}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, unmatchable := VaryNames(http.Header{"Vary": tt.lines})
			if !slices.Equal(got, tt.want) || unmatchable != tt.any {
				t.Errorf("got %q, %v; want %q, %v", got, unmatchable, tt.want, tt.any)
			}
		})
	}
}

func selected(name string, lines ...string) string {
	h := http.Header{}
	if lines != nil {
		h[name] = lines
	}
	return string(AppendSelected(nil, name, h.Values(name)))
}

func TestRFC9111_4_1_SelectedValue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		field string
		lines []string
		want  string // without length
	}{
		{"empty", "Foo", []string{""}, ""},
		{"plain", "Foo", []string{"a b"}, "a b"},
		{"as it came", "Foo", []string{" \ta,b , c\u00a0"}, " \ta,b , c\u00a0"},
		{"trimmed", "Accept", []string{" \ta\t "}, "a"},
		{"no more than spaces and tabs", "Accept", []string{" \u00a0a\u0085\v "}, "\u00a0a\u0085\v"},
		{"spaces at commas", "Accept", []string{"a,b ,\tc ,, d,"}, "a, b, c,, d, "},
		{"quoted commas", "Accept", []string{`"a , b" ,c`}, `"a , b", c`},
		{"escaped marks", "Accept", []string{`"a\" , b" ,c`}, `"a\" , b", c`},
		{"no list", "User-Agent", []string{"Mozilla (KHTML,like  Gecko)"}, "Mozilla (KHTML,like  Gecko)"},
		{"cookies", "Cookie", []string{"a=1,2; b=3 "}, "a=1,2; b=3 "},

		{"codings sorted", "Accept-Encoding", []string{"gzip, deflate, br"}, "br,deflate,gzip"},
		{"codings in any case and spaces", "Accept-Encoding", []string{"GZip ,br,\tDeflate"}, "br,deflate,gzip"},
		{"codings without weights", "Accept-Encoding", []string{"gzip;q=0.5, br ; Q=1.000"}, "br,gzip"},
		{"codings not accepted", "Accept-Encoding", []string{"gzip, br;q=0, zstd;q=0.000"}, "gzip"},
		{"x-gzip", "Accept-Encoding", []string{"x-gzip, gzip, X-Compress"}, "compress,gzip"},
		{"identity goes without saying", "Accept-Encoding", []string{"gzip, identity"}, "gzip"},
		{"identity alone", "Accept-Encoding", []string{"identity"}, ""},
		{"identity refused", "Accept-Encoding", []string{"gzip, identity;q=0"}, "gzip,identity;q=0"},
		{"all else refused", "Accept-Encoding", []string{"gzip, *;q=0"}, "*;q=0,gzip"},
		{"all else refused but identity", "Accept-Encoding", []string{"identity, *;q=0"}, "*;q=0,identity"},
		{"all but one", "Accept-Encoding", []string{"*, br;q=0"}, "*,br;q=0"},
		{"codings, contradiction", "Accept-Encoding", []string{"gzip;q=0,gzip"}, "?gzip;q=0,gzip"},
		{"codings, malformed", "Accept-Encoding", []string{"gzip;level=1,br"}, "?gzip;level=1,br"},
		{"codings, bad weight", "Accept-Encoding", []string{"gzip;q=2"}, "?gzip;q=2"},
		{"codings, no weight", "Accept-Encoding", []string{"gzip;q="}, "?gzip;q="},
		{"codings, no number", "Accept-Encoding", []string{"gzip;q=0.x"}, "?gzip;q=0.x"},
		{"codings, no point", "Accept-Encoding", []string{"gzip;q=0_5"}, "?gzip;q=0_5"},
		{"codings, no '='", "Accept-Encoding", []string{"gzip;q:0.5"}, "?gzip;q:0.5"},
		{"codings, other parameter", "Accept-Encoding", []string{"gzip;w=0.5"}, "?gzip;w=0.5"},
		{"codings, weight too long", "Accept-Encoding", []string{"gzip;q=0.0001"}, "?gzip;q=0.0001"},
		{"codings, weight above 1", "Accept-Encoding", []string{"gzip;q=1.001"}, "?gzip;q=1.001"},
		{"codings, too many", "Accept-Encoding", []string{strings.Repeat("a,", 25) + "a"}, "?" + strings.Repeat("a,", 25) + "a"},

		{"languages by weight", "Accept-Language", []string{"de;q=0.5, EN-us, fr;q=0.7"}, "en-us,fr,de"},
		{"languages, weights alone", "Accept-Language", []string{"en-US,en;q=0.9"}, "en-us,en"},
		{"languages, of one weight", "Accept-Language", []string{"en, de"}, "en,de"},
		{"languages, of one weight, other way", "Accept-Language", []string{" De ,eN"}, "de,en"},
		{"languages, of two weights", "Accept-Language", []string{"en;q=0.5, de, fr;q=0.5, it"}, "de,it,en,fr"},
		{"languages, order", "Accept-Language", []string{"de, en;q=0.9"}, "de,en"},
		{"languages, not wanted", "Accept-Language", []string{"*;q=0, en"}, "en,*;q=0"},
		{"languages, malformed", "Accept-Language", []string{"de=en"}, "?de=en"},
		{"languages, empty", "Accept-Language", []string{","}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := strconv.Itoa(len(tt.want)) + ":" + tt.want
			equal(t, tt.field, selected(tt.field, tt.lines...), want)
		})
	}
	for _, field := range []string{"Foo", "Accept-Encoding", "Accept-Language", "Cookie", "User-Agent"} {
		equal(t, "absent "+field, selected(field), "-")
		equal(t, "two lines of "+field, selected(field, "a", ""), "2*1:a0:")
	}
	if got := string(AppendSelected([]byte("x"), "Foo", []string{"a"})); got != "x1:a" {
		t.Errorf("appended: %q", got)
	}
}

// split reads the values that AppendSelected has written in a row.
func split(t *testing.T, s string) (values []string) {
	t.Helper()
	for s != "" {
		if s[0] == '-' {
			values, s = append(values, "absent"), s[1:]
			continue
		}
		lines := 1
		if n, rest, ok := strings.Cut(s, "*"); ok {
			if many, err := strconv.Atoi(n); err == nil {
				lines, s = many, rest
			}
		}
		for lines--; lines > 0; lines-- {
			length, rest, _ := strings.Cut(s, ":")
			n, err := strconv.Atoi(length)
			if err != nil || n < 0 || n > len(rest) {
				t.Fatalf("cannot be read: %q", s)
			}
			s = rest[n:]
		}
		length, rest, ok := strings.Cut(s, ":")
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n < 0 || n > len(rest) {
			t.Fatalf("cannot be read: %q", s)
		}
		values, s = append(values, "present "+rest[:n]), rest[n:]
	}
	return values
}

func FuzzVary(f *testing.F) {
	f.Add("gzip, br;q=0.5", "3:abc", "-", uint8(7))
	f.Add("1:a", "", `"a , b`, uint8(5))
	f.Add("identity;q=0, *", "de, en;q=0.5", "a\\\"b,c", uint8(7))
	f.Fuzz(func(t *testing.T, a, b, c string, present uint8) {
		for _, names := range [][]string{{"A", "B", "C"}, {"Accept-Encoding", "Accept-Language", "Cookie"}, {"Accept-Language", "Foo", "Accept-Encoding"}} {
			h := http.Header{}
			for i, v := range []string{a, b, c} {
				if present>>i&1 == 1 {
					h[names[i]] = []string{v}
				}
			}
			var row []byte
			for _, n := range names {
				row = AppendSelected(row, n, h[n])
			}
			values := split(t, string(row))
			if len(values) != len(names) {
				t.Fatalf("%d values in %q", len(values), row)
			}
			for i, n := range names {
				if (values[i] != "absent") != (present>>i&1 == 1) {
					t.Fatalf("presence of %s lost in %q", n, row)
				}
			}
		}
		// Of an unknown field nothing gets lost, and its lines stay apart.
		equal(t, "one line", selected("Foo", a), strconv.Itoa(len(a))+":"+a)
		equal(t, "two lines", selected("Foo", a, b), "2*"+selected("Foo", a)+selected("Foo", b))
		equal(t, "two lines of codings", selected("Accept-Encoding", a, b), "2*"+selected("Accept-Encoding", a)+selected("Accept-Encoding", b))
		// Of a list nothing but whitespace at commas gets lost.
		bare := func(s string) string { return strings.NewReplacer(" ", "", "\t", "").Replace(s) }
		if got := split(t, selected("Accept", a))[0]; bare(got) != "present"+bare(a) {
			t.Fatalf("%q became %q", a, got)
		}
		// Codings: accepted before is accepted after.
		if got := split(t, selected("Accept-Encoding", a))[0]; !strings.HasPrefix(got, "present ?") {
			var before, after [maxPreferences]preference
			list, _ := parsePreferences(&before, a)
			norm, ok := parsePreferences(&after, strings.TrimPrefix(got, "present "))
			if !ok {
				t.Fatalf("%q became %q", a, got)
			}
			for _, coding := range []string{"gzip", "br", "identity", "other"} {
				equal(t, a+" became "+got+": "+coding, accepts(norm, coding), accepts(list, coding))
			}
		}
		names, unmatchable := VaryNames(http.Header{"Vary": {a, b}})
		if unmatchable && names != nil || len(names) > maxVaryNames || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Fatalf("names %q, unmatchable %v", names, unmatchable)
		}
		for _, n := range names {
			if n != http.CanonicalHeaderKey(n) || !IsToken(n) {
				t.Fatalf("name %q", n)
			}
		}
		if _, unmatchable := VaryNames(http.Header{"Vary": {a, b, c + ",*"}}); !unmatchable {
			t.Fatalf("* lost after %q %q %q", a, b, c)
		}
	})
}

// accepts is RFC 9110 section 12.5.3 as it stands there.
func accepts(list []preference, coding string) bool {
	star := -1
	for _, p := range list {
		name := strings.TrimPrefix(strings.ToLower(p.name), "x-")
		if name == coding && (name == strings.ToLower(p.name) || coding == "gzip") {
			return p.weight > 0
		}
		if p.name == "*" {
			star = p.weight
		}
	}
	if star >= 0 {
		return star > 0
	}
	return coding == "identity"
}

func BenchmarkAppendSelected(b *testing.B) {
	h := fields("Accept-Encoding", "gzip, deflate, br, zstd", "Accept-Language", "en-US,en;q=0.9,de;q=0.8",
		"Foo", "a,b , c", "Cookie", "a=b; c=d")
	for _, name := range []string{"Accept-Encoding", "Accept-Language", "Foo", "Cookie", "Absent"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 128)
			for b.Loop() {
				AppendSelected(buf, name, h[name])
			}
		})
	}
}

func TestAppendSelectedAllocs(t *testing.T) {
	h := fields("Accept-Encoding", "GZIP, deflate, br;q=0.5", "Accept-Language", "en-US,en;q=0.9,de;q=0.8", "Foo", "a,b , c")
	for _, name := range []string{"Accept-Encoding", "Accept-Language", "Foo", "Absent"} {
		buf := make([]byte, 0, 128)
		if n := testing.AllocsPerRun(100, func() { AppendSelected(buf, name, h[name]) }); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestLists(t *testing.T) {
	for line, want := range map[string]bool{
		"Accept-Encoding": true, "accept-encoding": true, "Origin ,\tAccept-Encoding ,": true, "*": false, "": false,
		"X-Accept-Encoding": false, "Accept, Encoding": false,
	} {
		if got := Lists(line, "Accept-Encoding"); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Lists("Origin, Accept-Encoding", "Accept-Encoding") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
