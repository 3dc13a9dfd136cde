package core

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/memory"
)

// purgeOf is one purge of the model of a journal, which forgets none.
type purgeOf struct {
	key  string
	soft bool
	n    uint64
}

func modelOf(done []purgeOf, primary string) (hard, soft uint64) {
	for _, p := range done {
		if !strings.HasPrefix(primary, p.key) {
			continue
		}
		if rest := primary[len(p.key):]; p.key != "" && rest != "" && !strings.HasSuffix(p.key, "/") && !strings.ContainsAny(rest[:1], "/?|") {
			continue
		}
		soft = max(soft, p.n)
		if !p.soft {
			hard = max(hard, p.n)
		}
	}
	return hard, soft
}

// TestJournalModel: a journal tells of every purge that it was told of, in
// whatever order they arrive, since processes take their numbers before they
// write. Until it is full it tells of nothing else.
func TestJournalModel(t *testing.T) {
	const first = 100
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{"", "/", "/a", "/a/", "/ab", "/a/b", "/a?q=1", "/b", "/b|h:x=1"})
		j := &journal{All: Stamp{first, first}}
		done := []purgeOf{{"", false, first}}
		many := rapid.IntRange(0, maxPrefixes+20).Draw(t, "others")
		for range rapid.IntRange(1, 30).Draw(t, "purges") {
			p := purgeOf{"GET:http://h" + words.Draw(t, "key"), rapid.Bool().Draw(t, "soft"), rapid.Uint64Range(first+1, first+40).Draw(t, "n")}
			if rapid.IntRange(0, 4).Draw(t, "all") == 0 {
				p.key = ""
			}
			j, done = j.with(p.key, p.soft, p.n), append(done, p)
			if !j.has(p.key, p.soft, p.n) {
				t.Fatalf("%+v is not in %+v", p, j)
			}
			if many > 0 && rapid.Bool().Draw(t, "another") {
				many--
				p := purgeOf{fmt.Sprint("GET:http://other/", many), false, first + 41}
				j, done = j.with(p.key, p.soft, p.n), append(done, p)
			}
			again, ok := decodeJournal(j.encode())
			if !ok || !reflect.DeepEqual(again, j) {
				t.Fatalf("%+v is %+v, %t when decoded", j, again, ok)
			}
			for _, path := range []string{"", "/", "/a", "/a/", "/a/x", "/a/b", "/a/b/c", "/ab", "/a?q=1", "/a?q=12", "/a|h:x", "/b", "/b|h:x=1", "/c"} {
				primary := "GET:http://h" + path
				hard, soft := j.of(primary)
				if h, s := modelOf(done, primary); hard != h || soft != s {
					t.Fatalf("%s: %d and %d, want %d and %d; %+v", primary, hard, soft, h, s, j)
				}
			}
		}
	})
}

// TestJournalIsBounded: with one prefix too many the oldest becomes a purge of
// everything, and none is lost.
func TestJournalIsBounded(t *testing.T) {
	j := &journal{All: Stamp{1, 1}}
	key := func(i int) string { return fmt.Sprint("GET:http://h/", i) }
	for i := range 3 * maxPrefixes {
		n := uint64(i + 2)
		j = j.with(key(i), i%2 == 1, n)
		if len(j.Prefixes) > maxPrefixes {
			t.Fatalf("%d prefixes", len(j.Prefixes))
		}
		if hard, soft := j.of(key(i)); soft != n || i%2 == 0 && hard != n {
			t.Errorf("%s: %d and %d, want %d", key(i), hard, soft, n)
		}
		if i >= maxPrefixes {
			gone := i - maxPrefixes
			if _, soft := j.of("GET:http://elsewhere/"); soft != uint64(gone+2) {
				t.Errorf("after %d prefixes everything is purged by %d, want %d", i+1, soft, gone+2)
			}
		}
	}
	j = j.with(j.Prefixes[0].Key, false, 1000)
	j = j.with("GET:http://h/new", false, 1001)
	if hard, _ := j.of("GET:http://elsewhere/"); hard >= 1000 {
		t.Error("what was purged again counts as the oldest")
	}
	if n := len(j.encode()); n > maxPrefixes*100 {
		t.Errorf("%d bytes", n)
	}
	j = j.with("", false, 1002)
	if len(j.Prefixes) != 0 {
		t.Errorf("%+v after a purge of everything", j)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	j := &journal{All: Stamp{1, 2}}
	f.Add(j.encode(), "GET:http://h/a")
	f.Add(j.with("GET:http://h/a", true, 3).with("GET:http://h/b/", false, 4).encode(), "GET:http://h/a/b")
	f.Add(`{"all":{"Hard":5,"Soft":4}}`, "")
	f.Add(`{"all":{"Hard":5,"Soft":5},"prefixes":[{"key":""},null,{}]}`, "GET:")
	f.Add("null", "")
	f.Fuzz(func(t *testing.T, text, primary string) {
		j, ok := decodeJournal(text)
		if !ok {
			return
		}
		again, ok := decodeJournal(j.encode())
		if !ok || !reflect.DeepEqual(again, j) && len(j.Prefixes) > 0 {
			t.Fatalf("%+v, then %+v", j, again)
		}
		hard, soft := j.of(primary)
		if hard < j.All.Hard || soft < j.All.Soft {
			t.Fatalf("%d and %d of %+v", hard, soft, j)
		}
		n := max(soft, hard) + 1
		if n == 0 {
			return
		}
		for _, key := range []string{primary, ""} {
			next := j.with(key, false, n)
			if h, _ := next.of(primary); h < n && (key == primary || key == "") || len(next.Prefixes) > max(maxPrefixes, len(j.Prefixes)) {
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

func (s *counted) Sequence(ctx context.Context, clock string) (uint64, error) {
	s.reads.Add(1)
	time.Sleep(s.slow)
	if s.fail.Load() {
		return 0, errors.New("down")
	}
	return s.Store.Sequence(ctx, clock)
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
	for _, text := range []string{"", "x", "{}", `{"all":{"Hard":7,"Soft":6}}`, "null", "[]"} {
		s, c := newCounted(t, func(*Config) {})
		if _, err := s.Lock(t.Context(), c.journalKey, text, time.Hour); text != "" && err != nil {
			t.Fatal(err)
		}
		l, ok := c.purges.at(t.Context(), c, time.Now())
		if !ok || l.All.Hard == 0 || l.All.Hard != l.seq {
			t.Fatalf("%q: %+v, %t", text, l, ok)
		}
		held, err := s.Lock(t.Context(), c.journalKey, "mine", time.Hour)
		if j, ok := decodeJournal(held); err != nil || !ok || j.All != l.All {
			t.Errorf("%q: then there is %q, %v", text, held, err)
		}
	}
}

// interrupted is a store of one process, where something happens just after the
// journal was read.
type interrupted struct {
	*memory.Store
	after func()
}

func (s *interrupted) Lock(ctx context.Context, key, token string, ttl time.Duration) (string, error) {
	held, err := s.Store.Lock(ctx, key, token, ttl)
	if f := s.after; f != nil && strings.HasSuffix(key, ":journal") {
		s.after = nil
		f()
	}
	return held, err
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
			if err := c.PurgeAll(t.Context()); err != nil {
				t.Error(err)
			}
		}
		c.purges.renew(t.Context(), c)
		if after, ok := c.purges.at(t.Context(), c, time.Now()); !ok || after.All.Hard <= before.All.Hard {
			t.Errorf("with a copy before, %t: %+v, %t", had, after, ok)
		}
	}
}

// TestPurgesDoNotExpireTheJournal: it is read as often as without purges of tags
// and URLs, and what is asked for after them is newer than they are.
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
			for _, err := range []error{c.PurgeTags(t.Context(), "a"), c.PurgeURL(t.Context(), "http://example.com/"), c.SoftPurgeTags(t.Context(), "b")} {
				if err != nil {
					t.Fatal(err)
				}
			}
			last, err := s.Store.Sequence(t.Context(), c.clock)
			if n := c.sequence(t.Context(), time.Now()); n != last || err != nil {
				t.Fatalf("%d is known, and %d was given out; %v", n, last, err)
			}
		}
		if n := s.reads.Load() - before; n != 0 {
			t.Errorf("%d reads for 300 purges", n)
		}
	})
}

// TestAsReceived: a prefix is that of a URL as clients send it, too.
func TestAsReceived(t *testing.T) {
	c := Must(New(Config{}))
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	for target, path := range map[string]string{
		"":                     "",
		"/api/blogs?x=1":       "/api/blogs?x=1",
		"http://h/api/blogs":   "/api/blogs",
		"http://h:80":          "/",
		"http://h?x":           "?x",
		"/api/http://h/|t:/{}": "/api/http://h/^7Ct:/^7B^7D",
		"/api/blogs/" + "\xfc": "/api/blogs/^FC",
	} {
		for _, req := range []Request{
			{Scheme: "http", Host: "h", Path: "/blogs", Target: target, Partition: "p|t:"},
			{Scheme: "http", Host: "h", Path: "blogs//|t:", RawQuery: "q=/", Target: target},
		} {
			req.Header = http.Header{}
			primary, _ := c.keys.appendPrimary(nil, &req)
			want := ""
			if target != "" {
				want = "GET:http://h" + path
			}
			if got := asReceived(string(primary)); got != want {
				t.Errorf("%s: %q, want %q", primary, got, want)
			}
		}
	}
}
