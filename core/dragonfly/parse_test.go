package dragonfly

import (
	"crypto/sha1"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

func signed(key, text string) string {
	return fmt.Sprintf("%s%x", text, sha1.Sum([]byte(key+text)))[:len(text)+sumLen]
}

// FuzzParseNumbers: a stamp is what the scripts write, and anything else is none.
func FuzzParseNumbers(f *testing.F) {
	for _, text := range []string{
		"", "0", "7", "a 5 6 0", "a 6 5 0", "a 5 5 0", "a 5  6 0", "a 05 6 0", "a +5 6 0", "a 5 6", "a 5 6 0 0", "0 5 6 0", "a 0 6 0",
		"a 1 fffffffffff 0", "a 1 100000000000 0", "ffffffffffffffff 1 1 ffffffffffffffff", "10000000000000000 1 1 0", "a 5 6 0\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseNumbers(text)
		if !ok {
			if s != (store.Stamp{}) {
				t.Fatalf("%q is none, and %+v", text, s)
			}
			return
		}
		if s.Epoch == 0 || s.Hard == 0 || s.Soft < s.Hard || s.Soft >= maxSeq {
			t.Fatalf("%q is %+v", text, s)
		}
		if again, ok := parseNumbers(fmt.Sprintf("%x %x %x %x", s.Epoch, s.Hard, s.Soft, s.SoftAt)); !ok || again != s {
			t.Fatalf("%q is %+v, and that %+v", text, s, again)
		}
	})
}

// FuzzParseStamp: no damage of a byte, and no other key's stamp, counts.
func FuzzParseStamp(f *testing.F) {
	f.Add("cacheaside:2:{tags}:t:user-1", uint64(1795406073186495), uint64(3), uint64(1), 5, byte('7'))
	f.Fuzz(func(t *testing.T, key string, epoch, hard, more uint64, at int, c byte) {
		want := store.Stamp{Epoch: max(epoch, 1), Hard: 1 + hard%(maxSeq/2-1), SoftAt: epoch}
		want.Soft = want.Hard + more%(maxSeq/2)
		text := signed(key, fmt.Sprintf("%016x %x %x %x", want.Epoch, want.Hard, want.Soft, want.SoftAt))
		if s := parseStamp(key, text); s != want {
			t.Fatalf("%q is %+v, want %+v", text, s, want)
		}
		spoiled(t, text, key, at, c, func(key, text string) bool { return parseStamp(key, text) != store.Stamp{} })
	})
}

// FuzzParseClock: the same of the clock.
func FuzzParseClock(f *testing.F) {
	f.Add("cacheaside:2:{tags}:clock", uint64(1), uint64(3), 5, byte('7'))
	f.Fuzz(func(t *testing.T, key string, epoch, seq uint64, at int, c byte) {
		want := store.Mark{Epoch: max(epoch, 1), Seq: 1 + seq%(maxSeq-1)}
		text := signed(key, fmt.Sprintf("%016x %014x", want.Epoch, want.Seq))
		if mark, ok := parseClock(key, text); !ok || mark != want {
			t.Fatalf("%q is %+v, want %+v", text, mark, want)
		}
		spoiled(t, text, key, at, c, func(key, text string) bool { _, ok := parseClock(key, text); return ok })
	})
}

func spoiled(t *testing.T, text, key string, at int, c byte, counts func(key, text string) bool) {
	if counts(key+"x", text) {
		t.Fatalf("another key's %q counts", text)
	}
	if counts(key, text[:len(text)-1]) || counts(key, text+"0") || counts(key, "") {
		t.Fatalf("%q counts in part, or with more", text)
	}
	damaged := []byte(text)
	at = (at%len(text) + len(text)) % len(text)
	if damaged[at] == c {
		return
	}
	damaged[at] = c
	if counts(key, string(damaged)) {
		t.Fatalf("%q, which was %q, counts", damaged, text)
	}
}

// TestTagHash: a hash has the length that the ring counts on, and none of its own marks.
func TestTagHash(t *testing.T) {
	seen := map[string]string{}
	for i := range 10_000 {
		key := fmt.Sprint("cacheaside:2:{tags}:t:row-", i)
		h := tagHash(key)
		if len(h) != hashLen || strings.ContainsAny(h, ". ") || seen[h] != "" {
			t.Fatalf("%q is %q, like %q", key, h, seen[h])
		}
		seen[h] = key
	}
}

// TestCallsAreBounded: no script has more than maxKeys stamps, and each hash belongs to
// its key.
func TestCallsAreBounded(t *testing.T) {
	s := &Store{}
	for _, n := range []int{0, 1, maxKeys, maxKeys + 1, 1000} {
		w := store.Write{Lock: "some:{lock}", Token: "a", Clock: "some:{clock}", Values: []store.Value{{Key: "some:{lock}:key", TTL: 1e9}}}
		for i := range n {
			w.Stamps = append(w.Stamps, fmt.Sprint("some:{clock}:t:", i))
		}
		calls, err := s.calls(nil, &w)
		if err != nil || len(calls) != 1+(n+maxKeys-1)/maxKeys {
			t.Fatalf("%d stamps: %d scripts, %v", n, len(calls), err)
		}
		var got []string
		for _, c := range calls[1:] {
			stamps := c.keys[2:]
			if len(stamps) > maxKeys || c.keys[0] != w.Clock || c.keys[1] != ringKey(w.Clock) || len(c.args) != 4+len(stamps) {
				t.Errorf("%d keys, %d arguments", len(c.keys), len(c.args))
			}
			for i, key := range stamps {
				if c.args[4+i] != tagHash(key) {
					t.Errorf("%s has the hash of another one", key)
				}
			}
			got = append(got, stamps...)
		}
		if strings.Join(got, " ") != strings.Join(w.Stamps, " ") {
			t.Errorf("%d stamps: %d in scripts", n, len(got))
		}
	}
}

// TestRefusals: what says that the server is well.
func TestRefusals(t *testing.T) {
	if isRefusal(nil) || isUnknown(nil) || isSyntaxError(rueidis.Nil) {
		t.Error("no error is one")
	}
}
