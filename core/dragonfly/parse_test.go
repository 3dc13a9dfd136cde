package dragonfly

import (
	"fmt"
	"testing"

	"github.com/cacheaside/cacheaside/core"
)

// FuzzParseNumbers: a stamp is what the scripts write, in the one way in which
// they write it, and anything else is none.
func FuzzParseNumbers(f *testing.F) {
	for _, text := range []string{"", "0", "7", "5 6", "6 5", "5 5", "5  6", "05 6", "+5", "5 6 7", "9007199254740990", "9007199254740991", "1 9007199254740990", "18446744073709551616"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseNumbers(text)
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

// FuzzParseStamp: no damage of a few bytes, and no other key's stamp, counts.
func FuzzParseStamp(f *testing.F) {
	f.Add("cacheaside:1:{tags}:t:user-1", uint64(1795406073186495), uint64(3), 5, byte('7'))
	f.Fuzz(func(t *testing.T, key string, hard, more uint64, at int, c byte) {
		hard = 1 + hard%(endOfNumbers/2-1)
		numbers := fmt.Sprint(hard)
		if more %= endOfNumbers / 2; more > 0 {
			numbers += fmt.Sprint(" ", hard+more)
		}
		text := fmt.Sprint(numbers, " ~", sumOf(key, numbers))
		if sum := sumOf(key, numbers); sum == 0 {
			return // a number that is written as none
		}
		if s := parseStamp(key, text); s.Hard != hard || s.Soft != hard+more {
			t.Fatalf("%q is %+v", text, s)
		}
		if s := parseStamp(key+"x", text); s != (core.Stamp{}) {
			t.Fatalf("another key's %q counts", text)
		}
		damaged := []byte(text)
		at = (at%len(text) + len(text)) % len(text)
		if damaged[at] == c {
			return
		}
		damaged[at] = c
		if s := parseStamp(key, string(damaged)); s != (core.Stamp{}) {
			t.Fatalf("%q, which was %q, counts", damaged, text)
		}
	})
}
