package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// purgeOf is one purge of the model of a journal, which forgets none.
type purgeOf struct {
	url  string
	soft bool
	n    uint64
}

func modelOf(done []purgeOf, url string) (p purge) {
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
		j := &journal{All: purge{Hard: first, Soft: first, At: first * 10}}
		done := []purgeOf{{"", false, first}}
		many := rapid.IntRange(0, maxPrefixes+20).Draw(t, "others")
		n := uint64(first)
		one := func(p purgeOf) {
			n++
			p.n = n
			j = numbered(t, j.with(p.url, p.soft, n*10), n)
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
				for _, scheme := range []string{"http:", "https:", ""} {
					if got := j.about("GET:"+scheme+url, nil); got != want {
						t.Fatalf("%s: %+v, want %+v; %+v", url, got, want, j)
					}
				}
				if got := j.about("anything", []string{ofHandler + "//other/", ofURL + url}); got != want {
					t.Fatalf("tagged with %s: %+v, want %+v; %+v", url, got, want, j)
				}
			}
		}
	})
}

// TestJournalIsBounded: with one prefix too many the oldest becomes a purge of
// everything, and none is lost.
func TestJournalIsBounded(t *testing.T) {
	j := &journal{All: purge{Hard: 1, Soft: 1}}
	url := func(i int) string { return fmt.Sprint("//h/", i) }
	of := func(url string) purge { return j.about("GET:http:"+url, nil) }
	for i := range 3 * maxPrefixes {
		n := uint64(i + 2)
		j = numbered(t, j.with(url(i), i%2 == 1, n), n)
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
	j = numbered(t, j.with(j.Prefixes[0].URL, false, 1000), 1000)
	j = numbered(t, j.with("//h/new", false, 1001), 1001)
	if of("//elsewhere/").Hard >= 1000 {
		t.Error("what was purged again counts as the oldest")
	}
	if n := len(j.encode()); n > maxPrefixes*100 {
		t.Errorf("%d bytes", n)
	}
	j = numbered(t, j.with("", false, 1002), 1002)
	if len(j.Prefixes) != 0 {
		t.Errorf("%+v after a purge of everything", j)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	j := &journal{All: purge{Hard: 1, Soft: 2}}
	f.Add(j.encode(), "//h/a")
	f.Add(numbered(f, numbered(f, j.with("//h/a", true, 3), 3).with("//h/b/", false, 4), 4).encode(), "//h/a/b")
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
		of := func(j *journal) purge { return j.about("GET:http:"+url, []string{ofURL + url}) }
		p := of(j)
		if p.Hard < j.All.Hard || p.Soft < j.All.Soft {
			t.Fatalf("%+v of %+v", p, j)
		}
		n := max(p.Soft, p.Hard) + 1
		if n >= thisPurge {
			return
		}
		for _, key := range []string{url, ""} {
			next := j.with(key, false, n)
			if h := of(next).Hard; h < n || len(next.Prefixes) > max(maxPrefixes, len(j.Prefixes)+1) {
				t.Fatalf("%q purged in %+v is %+v", key, j, next)
			}
		}
	})
}

// counted is a store that is shared, as far as the engine knows, and counts how
// often the journal is read.
type counted struct {
	*memory.Store
	reads atomic.Int64
	fail  atomic.Bool
	slow  time.Duration
}

func (s *counted) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	s.reads.Add(1)
	time.Sleep(s.slow)
	if s.fail.Load() {
		return store.Journal{}, errors.New("down")
	}
	return s.Store.ReadJournal(ctx, clock)
}

func newCounted(t *testing.T, change func(*Config)) (*counted, *Cache) {
	t.Helper()
	s := &counted{Store: Must(memory.New(1 << 20))}
	cfg := Config{Store: s}
	change(&cfg)
	c := Must(New(cfg))
	t.Cleanup(func() {
		_ = c.Close(context.Background())
		_ = s.Close()
	})
	return s, c
}

// TestLease: one of many reads the journal; a copy is used for a lease, renewed
// beside it from its half on, and never used longer.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newCounted(t, func(*Config) {})
		s.slow = 10 * time.Millisecond
		at := func(want bool, reads int64, slow bool) {
			t.Helper()
			before, start := s.reads.Load(), time.Now()
			_, ok := c.purges.at(t.Context(), c, start)
			took := time.Since(start)
			synctest.Wait()
			if n := s.reads.Load() - before; ok != want || n != reads || (took > 0) != slow {
				t.Errorf("%t, with %d reads, after %v; want %t, %d, waiting: %t", ok, n, took, want, reads, slow)
			}
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, ok := c.purges.at(t.Context(), c, time.Now()); !ok {
					t.Error("no copy")
				}
			})
		}
		wg.Wait()
		if n := s.reads.Load(); n != 1 {
			t.Errorf("%d reads for 50 at once", n)
		}
		at(true, 0, false)
		time.Sleep(journalLease/2 - 11*time.Millisecond)
		at(true, 0, false)
		time.Sleep(time.Millisecond)
		at(true, 1, false) // the renewal
		at(true, 0, false) // which is not there yet
		time.Sleep(20 * time.Millisecond)
		at(true, 0, false)
		time.Sleep(journalLease)
		at(true, 1, true)

		s.fail.Store(true)
		time.Sleep(journalLease)
		at(false, 1, true)
		at(false, 0, false)
		time.Sleep(journalPause / 2)
		s.fail.Store(false)
		at(false, 0, false)
		time.Sleep(journalPause / 2)
		at(true, 1, true)
		c.purges.expire()
		at(true, 1, true)
	})
}

// TestLeaseHolds: a copy is good for requests that came a little earlier, and not
// for ever where the clock is set back.
func TestLeaseHolds(t *testing.T) {
	from := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]bool{
		0: true, journalLease - 1: true, journalLease: false, time.Hour: false,
		-1: true, -time.Minute + 1: true, -time.Minute: false, -time.Hour: false,
	} {
		if l := (&lease{from: from}); l.holds(from.Add(d), journalLease) != want {
			t.Errorf("%v after it was read: %t", d, !want)
		}
	}
}

// TestWaitingForALease: who waits for another reader gives up with his context.
func TestWaitingForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newCounted(t, func(*Config) {})
		s.slow = time.Second
		go c.purges.at(context.Background(), c, time.Now())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, ok := c.purges.at(ctx, c, start); ok || time.Since(start) != time.Millisecond {
			t.Errorf("%t after %v", ok, time.Since(start))
		}
		time.Sleep(time.Second)
	})
}

// TestForeignJournal: what is no journal of ours counts as a purge of everything,
// and gives way to one.
func TestForeignJournal(t *testing.T) {
	for _, text := range []string{"", "x", "{}", `{"all":{"hard":7,"soft":6}}`, "null", "[]"} {
		s, c := newCounted(t, func(*Config) {})
		before, err := s.ReadJournal(t.Context(), c.clock)
		if err == nil && text != "" {
			_, _, err = s.WriteJournal(t.Context(), c.clock, before, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		l, ok := c.purges.at(t.Context(), c, time.Now())
		if !ok || l.All.Hard == 0 || l.All.Hard != l.read.Mark.Seq {
			t.Fatalf("%q: %+v, %t", text, l, ok)
		}
		now, err := s.ReadJournal(t.Context(), c.clock)
		if j, ok := decodeJournal(now); err != nil || !ok || j.All != l.All {
			t.Errorf("%q: then there is %+v, %v", text, now, err)
		}
	}
}

// interrupted is a store of one process, where something happens just after the
// journal was read.
type interrupted struct {
	*memory.Store
	after func()
}

func (s *interrupted) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	j, err := s.Store.ReadJournal(ctx, clock)
	if f := s.after; f != nil {
		s.after = nil
		f()
	}
	return j, err
}

// TestPurgeWhileTheJournalIsRead: who asks after a purge is not told what was read
// before it, even where the purge does not wait for leases.
func TestPurgeWhileTheJournalIsRead(t *testing.T) {
	for _, had := range []bool{false, true} {
		s := &interrupted{Store: Must(memory.New(1 << 20))}
		c := Must(New(Config{Store: s}))
		c.ownStore = true // closes it as well
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		before, ok := c.purges.at(t.Context(), c, time.Now())
		if !ok {
			t.Fatal("no copy")
		}
		if !had {
			c.purges.expire()
		}
		s.after = func() {
			if err := c.Purge(t.Context(), Purge{All: true}); err != nil {
				t.Error(err)
			}
		}
		_, _ = c.purges.renew(t.Context(), c)
		if after, ok := c.purges.at(t.Context(), c, time.Now()); !ok || after.All.Hard <= before.All.Hard {
			t.Errorf("with a copy before, %t: %+v, %t", had, after, ok)
		}
	}
}

// TestPurgesDoNotExpireTheJournal: it is read as often as without purges of tags, and
// once for each of a URL, which has to know in what ways others tell URLs apart.
func TestPurgesDoNotExpireTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newCounted(t, func(*Config) {})
		for range 2 { // with the first copy it is not known how much is purged
			time.Sleep(journalLease)
			if _, ok := c.purges.at(t.Context(), c, time.Now()); !ok {
				t.Fatal("no copy")
			}
		}
		before := s.reads.Load()
		for range 100 {
			for _, err := range []error{c.PurgeTags(t.Context(), "a"), c.PurgeURL(t.Context(), "http://example.com/"), c.Purge(t.Context(), Purge{Tags: []string{"b"}, Soft: true})} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := s.reads.Load() - before; n != 100 {
			t.Errorf("%d reads for 200 purges of tags and 100 of URLs", n)
		}
	})
}
