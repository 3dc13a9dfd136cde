package httprules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestParseNoVarySearch: the examples of the draft, and what is in none of them.
func TestParseNoVarySearch(t *testing.T) {
	for field, want := range map[string]string{
		// What is valid, in one spelling.
		`key-order`:                           `key-order`,
		`params=("a")`:                        `params=("a")`,
		`except=("x")`:                        `except=("x")`,
		`except=()`:                           `except=()`,
		`key-order=?1`:                        `key-order`,
		`except=("x"), key-order`:             `key-order, except=("x")`,
		`params=("%C3%A9+%E6%B0%97")`:         `params=("%C3%A9%20%E6%B0%97")`,
		`params=("b" "a" "%61"), other=1;x=2`: `params=("a" "b")`,
		`params=("a";x=1);y, key-order;z=(1)`: ``, // no parameter is a list
		`params=("a";x=1);y, key-order;z="1"`: `key-order, params=("a")`,
		`params=("a"), params=("b")`:          `params=("b")`, // RFC 9651 section 4.2.2: the last one
		`params=("")`:                         `params=("")`,
		`params=("a*" "%zz")`:                 `params=("%25zz" "a%2A")`,
		// What says nothing.
		``: ``, `params=()`: ``, `key-order=?0`: ``, `unknown-key`: ``, `params=(), key-order=?0`: ``,
		// What is invalid.
		`key-order="not a boolean"`:    ``,
		`key-order=("a")`:              ``,
		`params="not an inner list"`:   ``,
		`params=(not-a-string)`:        ``,
		`params=("a" 1)`:               ``,
		`params=?0`:                    ``,
		`params=?1`:                    ``,
		`params`:                       ``,
		`params, except=("x")`:         ``,
		`params=?1, except=("x")`:      ``,
		`params=("a"), except=("x")`:   ``,
		`params=(), except=()`:         ``,
		`except="not an inner list"`:   ``,
		`except=(not-a-string)`:        ``,
		`except=?1`:                    ``,
		`params=("a"`:                  ``,
		`params=("a"),`:                ``,
		"params=(\"\u00e9\")":          ``,
		`params=("a"), key-order="no"`: ``,
		// What would stand for several names.
		`params=("%F6")`: ``, `except=("%EF%BF%BD")`: ``, `except=("a" "%C3")`: ``,
	} {
		v, ok := ParseNoVarySearch([]string{field})
		got := ""
		if ok {
			got = v.Text()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
		if again, ok := ParseNoVarySearch([]string{got}); ok != (want != "") || ok && again.Text() != want {
			t.Errorf("%s: %q is read as %q", field, want, again.Text())
		}
	}
	if v, ok := ParseNoVarySearch([]string{`key-order`, `params=("a")`}); !ok || v.Text() != `key-order, params=("a")` {
		t.Errorf("two lines: %q", v.Text())
	}
	if _, ok := ParseNoVarySearch(nil); ok {
		t.Error("no line says something")
	}
}

// TestNoVarySearchIsBounded: too many names, too long ones, too much of anything.
func TestNoVarySearchIsBounded(t *testing.T) {
	names := func(n int, name string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"%s%d"`, name, i))
		}
		return "params=(" + strings.Join(all, " ") + ")"
	}
	for _, c := range []struct {
		field string
		want  bool
	}{
		{names(maxSearchNames, "a"), true}, {names(maxSearchNames+1, "a"), false}, {names(10_000, "a"), false},
		{names(1, strings.Repeat("a", 1000)), true}, {names(1, strings.Repeat("a", 1024)), false},
		{names(4, strings.Repeat("%20", 90)), false}, {"key-order" + strings.Repeat(" ", maxSearchLine), false},
	} {
		if _, ok := ParseNoVarySearch([]string{c.field}); ok != c.want {
			t.Errorf("%.40s… of %d bytes: %v", c.field, len(c.field), ok)
		}
	}
	many := strings.Repeat("a=1&", maxSearchParams)
	v := Variance{Only: true}
	if v.Equivalent(many, many) || !v.Equivalent(many[:len(many)-4], "b=1") {
		t.Error("the bound on parameters is another one")
	}
}

// TestEquivalent: the examples of the draft, and where this is stricter.
func TestEquivalent(t *testing.T) {
	for _, c := range []struct {
		field, a, b string
		want        bool
	}{
		{`key-order`, "", "", true},
		{`key-order`, "a=x", "%61=%78", true},
		{`key-order`, "a=\u00e9", "a=%C3%A9", true},
		{`key-order`, "a=x&&&&", "a=x", true},
		{`key-order`, "a=", "a", true},
		{`key-order`, "a=%20", "a=+&", true},
		{`key-order`, "a=%C3%A9", "a=e%CC%81", false},
		{`key-order`, "a=1&b=2", "b=2&a=1", true},
		{`key-order`, "a=1&a=2", "a=2&a=1", false},
		{`key-order`, "a=1&b=2&a=3", "b=2&a=1&a=3", true},
		{`key-order`, "a=1", "A=1", false},
		{`params=("a")`, "a=1&b=2", "b=2&a=3&a", true},
		{`params=("a")`, "b=1&c=2", "c=2&b=1", false},
		{`params=("a")`, "b=1", "b=2", false},
		{`params=("a")`, "a=1", "", true},
		{`params=("a")`, "ab=1", "", false},
		{`params=("a*")`, "ab=1", "", false},
		{`params=("%C3%A9+%E6%B0%97")`, "\u00e9+\u6c17=2", "%C3%A9%20\u6c17=3&%c3%a9+%E6%B0%97=4", true},
		{`params=("a%26b")`, "a%26b=1", "", true},
		{`except=("x")`, "x=1&y=2", "z=3&x=1", true},
		{`except=("x")`, "x=1", "x=2", false},
		{`except=("x")`, "x=1", "", false},
		{`except=("x" "y")`, "x=1&y=1", "y=1&x=1", false},
		{`key-order, except=("x" "y")`, "x=1&y=1&z", "y=1&x=1", true},
		{`except=()`, "x=1", "y", true},
		{`except=()`, "", "x&=&", true},
		// Stricter than the draft.
		{`key-order`, "a=%f6", "a=%ef%bf%bd", false},
		{`key-order`, "a=%f6", "a=%f7", false},
		{`key-order`, "a=%f6", "a=%F6", true},
		{`key-order`, "a=%zz", "a=%zz", false},
		{`key-order`, "a=%zz", "a=%25zz", false},
		{`params=("a")`, "a=%", "", false},
		{`params=("a")`, "a=1;b=2", "a=1;b=3", false},
		{`except=()`, "a;b", "a", false},
	} {
		v, ok := ParseNoVarySearch([]string{c.field})
		if !ok {
			t.Fatalf("%s is none", c.field)
		}
		if v.Equivalent(c.a, c.b) != c.want || v.Equivalent(c.b, c.a) != c.want {
			t.Errorf("%s: %q and %q: %v", c.field, c.a, c.b, !c.want)
		}
	}
}

// byTheDraft compares two queries step by step as section 6 of the draft says.
func byTheDraft(unordered, only bool, names []string, a, b string) bool {
	parse := func(query string) (list [][2]string) {
		for _, sequence := range strings.Split(query, "&") {
			if sequence == "" {
				continue
			}
			name, value, _ := strings.Cut(sequence, "=")
			pair := [2]string{}
			for i, s := range []string{name, value} {
				s = strings.ReplaceAll(s, "+", " ")
				var out []byte
				for len(s) > 0 {
					var c byte
					if _, err := fmt.Sscanf(s[:min(3, len(s))], "%%%02x", &c); err == nil && len(s) >= 3 && strings.Trim(s[1:3], "0123456789abcdefABCDEF") == "" {
						out, s = append(out, c), s[3:]
					} else {
						out, s = append(out, s[0]), s[1:]
					}
				}
				pair[i] = strings.ToValidUTF8(string(out), "\ufffd")
			}
			list = append(list, pair)
		}
		var kept [][2]string
		for _, pair := range list {
			if slices.Contains(names, pair[0]) == only {
				kept = append(kept, pair)
			}
		}
		if unordered {
			slices.SortStableFunc(kept, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		}
		return kept
	}
	return slices.Equal(parse(a), parse(b))
}

// TestEquivalentAsTheDraft: what is equivalent is by the draft, and of what all handlers
// read alike nothing that is by the draft is missing.
func TestEquivalentAsTheDraft(t *testing.T) {
	letter := rapid.SampledFrom([]string{"a", "b", "%61", "%62", "%C3%A9", "\u00e9", "%20", "+", "%26", "%3D", "%2B", "%25zz", "%zz", "%", ";", "%3B", "%f6", "%F6", "%ef%bf%bd"})
	word := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(letter, 0, 2).Draw(t, "word"), "") })
	query := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "pairs") {
			b.WriteString(word.Draw(t, "name"))
			if rapid.Bool().Draw(t, "valued") {
				b.WriteString("=" + word.Draw(t, "value"))
			}
			b.WriteString(rapid.SampledFrom([]string{"&", "&", "&&"}).Draw(t, "and"))
		}
		return b.String()
	})
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "\u00e9", " ", "&", "%zz", ""}), 0, 3)
	plain := func(raw string) bool { // read alike by all handlers
		decoded, ok := FormDecoded(raw)
		return ok && !strings.Contains(raw, ";") && utf8.ValidString(decoded)
	}
	equal := 0
	rapid.Check(t, func(t *rapid.T) {
		v := Variance{Unordered: rapid.Bool().Draw(t, "unordered"), Only: rapid.Bool().Draw(t, "only"), Names: names.Draw(t, "names")}
		read, ok := ParseNoVarySearch([]string{v.Text()})
		if !ok { // it says nothing
			return
		}
		a := query.Draw(t, "a")
		b := query.Draw(t, "b")
		if rapid.Bool().Draw(t, "shuffled") {
			b = strings.Join(rapid.Permutation(strings.Split(a, "&")).Draw(t, "b"), "&") + "&" + word.Draw(t, "more")
		}
		got, want := read.Equivalent(a, b), byTheDraft(v.Unordered, v.Only, v.Names, a, b)
		if got && !want || want && !got && plain(a) && plain(b) {
			t.Fatalf("%s: %q and %q: %v, by the draft %v", v.Text(), a, b, got, want)
		}
		if got {
			equal++
		}
	})
	if equal == 0 {
		t.Error("none were equivalent")
	}
}

func FuzzNoVarySearch(f *testing.F) {
	f.Add(`params=("a")`, "a=1&b=2", "b=2")
	f.Add(`key-order, except=("%C3%A9")`, "%c3%A9=1", "x&\u00e9=1")
	f.Fuzz(func(t *testing.T, field, a, b string) {
		v, ok := ParseNoVarySearch([]string{field})
		if !ok {
			return
		}
		text := v.Text()
		if again, ok := ParseNoVarySearch([]string{text}); !ok || again.Text() != text || len(text) > maxSearchText {
			t.Fatalf("%q: %q is read as %q", field, text, again.Text())
		}
		if v.Equivalent(a, b) && !byTheDraft(v.Unordered, v.Only, v.Names, a, b) {
			t.Fatalf("%s: %q and %q", text, a, b)
		}
		if reduced, ok := v.AppendReduced(nil, a); ok && !v.Equivalent(a, string(reduced)) {
			t.Fatalf("%s: %q is not equivalent to %q, its own form", text, a, reduced)
		}
	})
}
