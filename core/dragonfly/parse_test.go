package dragonfly

import (
	"fmt"
	"testing"

	"github.com/cacheaside/cacheaside/core"
)

// FuzzParseStamp: a stamp is what the scripts write, in the one way in which
// they write it, and anything else is none.
func FuzzParseStamp(f *testing.F) {
	for _, text := range []string{"", "0", "7", "5 6", "6 5", "5 5", "5  6", "05 6", "+5", "5 6 7", "9007199254740990", "9007199254740991", "1 9007199254740990", "18446744073709551616"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseStamp(text)
		if s == (core.Stamp{}) {
			return
		}
		if s.Hard == 0 || s.Soft < s.Hard || s.Soft >= endOfNumbers {
			t.Fatalf("%q is %+v", text, s)
		}
		if two := fmt.Sprint(s.Hard, s.Soft); text != two && (s.Hard != s.Soft || text != fmt.Sprint(s.Hard)) {
			t.Fatalf("%q is taken for %s", text, two)
		}
	})
}
