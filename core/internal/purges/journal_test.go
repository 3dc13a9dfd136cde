package purges

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/store"
)

// purgeOf is one purge of the model of a journal, which forgets none.
type purgeOf struct {
	url  string
	soft bool
	n    uint64
}

func modelOf(done []purgeOf, url string) (p newest) {
	for _, d := range done {
		if !strings.HasPrefix(url, d.url) {
			continue
		}
		if rest := url[len(d.url):]; d.url != "" && rest != "" && !strings.HasSuffix(d.url, "/") && !strings.ContainsAny(rest[:1], "/?|") {
			continue
		}
		p.Soft, p.At = d.n, d.n*10
		if !d.soft {
			p.Hard = d.n
		}
	}
	return p
}

// none are no tags.
func none(func(string) bool) {}

// numbered is the journal after the purge that has got the number n.
func numbered(t interface{ Fatalf(string, ...any) }, j *journal, n uint64) *journal {
	text := strings.ReplaceAll(j.encode(), store.Number, strconv.FormatUint(n, 10))
	out, ok := decodeJournal(store.Journal{Began: 1, Text: text})
	if !ok {
		t.Fatalf("%s is no journal", text)
	}
	return out
}

// TestJournalModel: a journal tells of every purge that it was told of, of what has a
// primary key by its URL and of what is tagged with that. Until it is full it tells of
// nothing else.
func TestJournalModel(t *testing.T) {
	const first = 100
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{"", "/", "/a", "/a/", "/ab", "/a/b", "/a?q=1", "/b", "/b|h:x=1"})
		j := &journal{All: newest{Hard: first, Soft: first, At: first * 10}}
		done := []purgeOf{{"", false, first}}
		many := rapid.IntRange(0, maxPrefixes+20).Draw(t, "others")
		n := uint64(first)
		one := func(p purgeOf) {
			n++
			p.n = n
			j = numbered(t, j.withPurge(p.url, p.soft, n*10), n)
			done = append(done, p)
		}
		for range rapid.IntRange(1, 30).Draw(t, "purges") {
			p := purgeOf{url: "//h" + words.Draw(t, "url"), soft: rapid.Bool().Draw(t, "soft")}
			if rapid.IntRange(0, 4).Draw(t, "all") == 0 {
				p.url = ""
			}
			one(p)
			if many > 0 && rapid.Bool().Draw(t, "another") {
				many--
				one(purgeOf{url: fmt.Sprint("//other/", many)})
			}
			for _, path := range []string{"", "/", "/a", "/a/", "/a/x", "/a/b", "/a/b/c", "/ab", "/a?q=1", "/a?q=12", "/a|h:x", "/b", "/b|h:x=1", "/c"} {
				url := "//h" + path
				want := modelOf(done, url)
				if got := j.purgesOf(url, none); got != want {
					t.Fatalf("%s: %+v, want %+v; %+v", url, got, want, j)
				}
				if got := j.purgesOf("", slices.Values([]string{OfHandler + "//other/", OfURL + url})); got != want {
					t.Fatalf("tagged with %s: %+v, want %+v; %+v", url, got, want, j)
				}
			}
		}
	})
}

// TestJournalIsBounded: with one prefix too many the oldest becomes a purge of
// everything, and none is lost.
func TestJournalIsBounded(t *testing.T) {
	j := &journal{All: newest{Hard: 1, Soft: 1}}
	url := func(i int) string { return fmt.Sprint("//h/", i) }
	of := func(url string) newest { return j.purgesOf(url, none) }
	for i := range 3 * maxPrefixes {
		n := uint64(i + 2)
		j = numbered(t, j.withPurge(url(i), i%2 == 1, n), n)
		if len(j.Prefixes) > maxPrefixes {
			t.Fatalf("%d prefixes", len(j.Prefixes))
		}
		if p := of(url(i)); p.Soft != n || i%2 == 0 && p.Hard != n {
			t.Errorf("%s: %+v, want %d", url(i), p, n)
		}
		if i >= maxPrefixes {
			gone := i - maxPrefixes
			if p := of("//elsewhere/"); p.Soft != uint64(gone+2) || p.At != p.Soft {
				t.Errorf("after %d prefixes everything is purged by %+v, want %d", i+1, p, gone+2)
			}
		}
	}
	j = numbered(t, j.withPurge(j.Prefixes[0].URL, false, 1000), 1000)
	j = numbered(t, j.withPurge("//h/new", false, 1001), 1001)
	if of("//elsewhere/").Hard >= 1000 {
		t.Error("what was purged again counts as the oldest")
	}
	if n := len(j.encode()); n > maxPrefixes*100 {
		t.Errorf("%d bytes", n)
	}
	j = numbered(t, j.withPurge("", false, 1002), 1002)
	if len(j.Prefixes) != 0 {
		t.Errorf("%+v after a purge of everything", j)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	j := &journal{All: newest{Hard: 1, Soft: 2}}
	f.Add(j.encode(), "//h/a")
	f.Add(numbered(f, numbered(f, j.withPurge("//h/a", true, 3), 3).withPurge("//h/b/", false, 4), 4).encode(), "//h/a/b")
	f.Add(`{"all":{"hard":5,"soft":4}}`, "")
	f.Add(`{"all":{"hard":5,"soft":5},"prefixes":[{"url":""},null,{}]}`, "//")
	f.Add("null", "")
	f.Fuzz(func(t *testing.T, text, url string) {
		j, ok := decodeJournal(store.Journal{Began: 1, Text: text})
		if !ok || text == "" {
			return
		}
		again, ok := decodeJournal(store.Journal{Began: 1, Text: j.encode()})
		if !ok || !reflect.DeepEqual(again, j) && len(j.Prefixes) > 0 {
			t.Fatalf("%+v, then %+v", j, again)
		}
		of := func(j *journal) newest { return j.purgesOf(url, slices.Values([]string{OfURL + url})) }
		p := of(j)
		if p.Hard < j.All.Hard || p.Soft < j.All.Soft {
			t.Fatalf("%+v of %+v", p, j)
		}
		n := max(p.Soft, p.Hard) + 1
		if n >= nextNumber {
			return
		}
		for _, key := range []string{url, ""} {
			next := j.withPurge(key, false, n)
			if h := of(next).Hard; h < n || len(next.Prefixes) > max(maxPrefixes, len(j.Prefixes)+1) {
				t.Fatalf("%q purged in %+v is %+v", key, j, next)
			}
		}
	})
}
