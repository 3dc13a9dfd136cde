package httprules

import "testing"

// FuzzGroups: what is no list of strings names no group.
func FuzzGroups(f *testing.F) {
	f.Add(`"a", "b"`, `"c";x=1`)
	f.Add(`a, "b"`, ``)
	f.Add(`("a" "b")`, `"c"`)
	f.Add("\"\x80\"", `"`)
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, g := range Groups([]string{one, two}) {
			for i := range len(g) {
				if g[i] < 0x20 || g[i] > 0x7e { // RFC 9651 section 3.3.3
					t.Fatalf("group %q of %q, %q", g, one, two)
				}
			}
		}
		if a, b := Groups([]string{one}), Groups([]string{one, two}); len(b) > 0 && len(a) > len(b) {
			t.Fatalf("%q has %q, and with %q only %q", one, a, two, b)
		}
	})
}
