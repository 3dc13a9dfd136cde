package cacheaside_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

func searching(cfg *cacheaside.Config) { cfg.Policy.Key.NoVarySearch = true }

// declaring is a handler whose responses say so.
func declaring(field string) *rows {
	r := &rows{header: http.Header{"No-Vary-Search": {field}, "Accept-Ranges": {"bytes"}, "Etag": {`"1"`}}}
	r.set("/p", 1)
	return r
}

// announce has a handler say what it has to say, on a path of its own.
func (i *instance) announce(t testing.TB) {
	t.Helper()
	i.want(t, "/first", "0", "stored")
}

// searchStores are what two processes may share, or one has.
var searchStores = map[string]func(testing.TB) (store.Store, bool){
	"server": func(t testing.TB) (store.Store, bool) { return newServer(t), true },
	"memory": func(t testing.TB) (store.Store, bool) {
		m, err := memory.New(1<<20, memory.WithClock(time.Now))
		must(t, err)
		t.Cleanup(func() { _ = m.Close() })
		return m, false
	},
}

// bothStores runs f for one process, and for two.
func bothStores(t *testing.T, f func(t *testing.T, h *rows, one, two *instance), change ...func(*cacheaside.Config)) {
	t.Helper()
	for name, open := range searchStores {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared, another := open(t)
				h := declaring(`params=("a" "b")`)
				change := append([]func(*cacheaside.Config){searching}, change...)
				one := newInstance(t, shared, h, change...)
				two := one
				if another {
					two = newInstance(t, shared, h, change...)
				}
				f(t, h, one, two)
			})
		})
	}
}

// TestNoVarySearch: what is stored for one URL answers for those that differ in nothing
// that makes a difference, in other processes as well, and for no other.
func TestNoVarySearch(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		h.set("/P", 1)
		h.set("/p/", 1)
		one.want(t, "/p?a=1", "1", "stored") // the first to say so
		one.want(t, "/p?a=2", "1", "stored")
		one.want(t, "/p?a=1", "1", "hit; ttl=3600")
		for _, i := range []*instance{one, two} {
			for range 2 { // the second time by what is remembered
				for _, query := range []string{"?a=3", "?b", "?b=1&a=2&a=3", "?&%61=", ""} {
					i.want(t, "/p"+query, "1", "hit; ttl=3600; detail=no-vary-search")
				}
			}
		}
		for _, other := range []string{"/p?c=1", "/p?a=1&c", "/p?A=1", "/p?aa=1", "/p?a%3D=1", "/p?a=%zz", "/p?a=1;c=1", "/p/?a=1", "/P?a=1"} {
			two.want(t, other, "1", "stored")
		}
		one.want(t, "/p?c=1&a=4", "1", "no-vary-search")
		one.want(t, "/p?a&c=2", "1", "fwd=miss")
		time.Sleep(10 * time.Second) // nothing is remembered any more
		two.want(t, "/p?c=1&a=4", "1", "no-vary-search")
	})
}

// TestNoVarySearchSelects: all else that tells requests apart does so still.
func TestNoVarySearchSelects(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		h.header.Set("Vary", "Accept-Language")
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored", "X-Key", "x", "Accept-Language", "de")
		two.want(t, "/p?a=2", "1", "no-vary-search", "X-Key", "x", "Accept-Language", "de")
		for _, other := range [][]string{
			{"X-Key", "y", "Accept-Language", "de"}, {"X-Key", "x", "Accept-Language", "en"}, {"Accept-Language", "de"},
			{"X-Key", "x", "Accept-Language", "de", "X-Forwarded-Host", "other.example"},
			{"X-Key", "x", "Accept-Language", "de", "Cookie", "c=1"}, {"X-Key", "x", "Accept-Language", "de", "Cookie", "k=1"},
			{"X-Key", "x", "Accept-Language", "de", "Authorization", "Basic x"},
			{"X-Key", "x", "Accept-Language", "de", "Origin", "http://other.example"},
			{"X-Key", "x", "Accept-Language", "de", "User", "u"},
		} {
			two.want(t, "/p?a=3", "1", "fwd=", other...)
		}
		one.want(t, "/p?a=5", "1", "no-vary-search", "X-Key", "y", "Accept-Language", "de")
		one.want(t, "/p?a=5", "1", "fwd=", "X-Key", "x", "Accept-Language", "de") // Origin selects as well, since the last but one
		for _, language := range []string{"de", "en", "de", "en"} {
			one.want(t, "/p?a=6", "1", "no-vary-search", "X-Key", "x", "Accept-Language", language)
			one.get(t, "/p?a=7", "X-Key", "x", "Accept-Language", "en")
		}
	}, func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Headers, cfg.Policy.Key.Cookies, cfg.Policy.Storing.Headers = []string{"X-Key"}, []string{"k"}, cacheaside.None()
		cfg.Policy.Key.Partition = func(r *cacheaside.Request) string { return strings.Join(r.Header.Values("User"), ",") }
	})
}

// TestNoVarySearchAnswersAsItIs: only what needs no validation answers for another URL,
// whatever of it is asked for.
func TestNoVarySearchAnswersAsItIs(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		two.want(t, "/p?a=0", "", "detail=only-if-cached", "Cache-Control", "only-if-cached")
		time.Sleep(6 * time.Second) // for that was remembered
		one.want(t, "/p?a=1", "1", "stored")
		two.want(t, "/p?a=2", "1", "no-vary-search", "Cache-Control", "only-if-cached")
		two.want(t, "/p?a=2", "1", "no-vary-search", "Range", "bytes=0-0")
		two.want(t, "/p?a=2", "", "no-vary-search", "If-None-Match", `"1"`)
		if _, status := two.send(t, http.MethodHead, "/p?a=2"); !strings.Contains(status, "no-vary-search") {
			t.Errorf("HEAD: %s", status)
		}
		h.set("/p", 2)
		two.want(t, "/p?a=3", "2", "fwd=", "Cache-Control", "no-cache")
		two.want(t, "/p?a=4", "2", "no-vary-search") // the third is the latest now
		one.want(t, "/p?a=1", "1", "hit; ttl")
		time.Sleep(time.Hour)
		h.set("/p", 3)
		two.want(t, "/p?a=5", "3", "fwd=miss")
		one.want(t, "/p?a=6", "3", "no-vary-search")
		one.want(t, "/p?a=1", "3", "")
	})
}

// searchPurges are the ways to purge what is stored for /p?a=1, c=1 apart.
var searchPurges = map[string]way{
	"its own URL":        purging(cacheaside.Purge{URLs: []string{"http://example.com/p?a=1"}}),
	"another URL":        purging(cacheaside.Purge{URLs: []string{"http://example.com/p?b=7&a=8"}}),
	"none of them":       purging(cacheaside.Purge{URLs: []string{"https://EXAMPLE.com:443/p?"}}),
	"another spelling":   purging(cacheaside.Purge{URLs: []string{"http://example.com/%70?%61=9&b"}}),
	"a prefix":           purging(cacheaside.Purge{Prefixes: []string{"http://example.com/p"}}),
	"all":                purging(cacheaside.Purge{All: true}),
	"its tag":            purging(cacheaside.Purge{Tags: []string{"row-p"}}),
	"its tag, softly":    purging(cacheaside.Purge{Tags: []string{"row-p"}, Soft: true}),
	"a prefix, softly":   purging(cacheaside.Purge{Prefixes: []string{"http://example.com/"}, Soft: true}),
	"an unsafe request":  nil,
	"who has just begun": nil,
	"who has it as well": nil,
}

// TestNoVarySearchPurges: a purge of any URL for which a response answers reaches it, in
// whatever process, and nobody is given it afterwards.
func TestNoVarySearchPurges(t *testing.T) {
	ctx := context.Background()
	for name, purge := range searchPurges {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
				one.announce(t)
				one.want(t, "/p?a=1", "1", "stored")
				one.want(t, "/p?a=1&c=1", "1", "stored")
				for range 2 {
					one.want(t, "/p?a=2", "1", "no-vary-search")
					two.want(t, "/p?a=3", "1", "no-vary-search")
					two.want(t, "/p?a=1", "1", "hit")
				}
				h.set("/p", 2)
				switch name {
				case "an unsafe request":
					two.send(t, http.MethodPost, "/p?b=1")
				case "who has just begun":
					late := newInstance(t, one.shared, h)
					must(t, late.PurgeURL(ctx, "http://example.com/p?a=77"))
				case "who has it as well":
					late := newInstance(t, one.shared, h, searching)
					must(t, late.PurgeURL(ctx, "http://example.com/p?a=77"))
				default:
					must(t, purge(two))
				}
				for _, i := range []*instance{one, two} {
					for _, query := range []string{"?a=2", "?a=3", "?a=1", "?b", ""} {
						body, status := i.get(t, "/p"+query)
						if body != "2" && !(query == "?a=1" && strings.Contains(status, "stale-while-revalidate") && strings.Contains(name, "softly")) {
							t.Errorf("/p%s: %q, %s", query, body, status)
						}
					}
				}
				if strings.Contains(name, "URL") {
					one.want(t, "/p?a=1&c=1", "1", "hit")
				}
				synctest.Wait()
			})
		})
	}
}

// TestNoVarySearchPurgeDuringFill: a response that is under way while another URL is
// purged for which it would answer is not stored.
func TestNoVarySearchPurgeDuringFill(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		h.during = func(path string) {
			if h.during = nil; path == "/p" {
				h.set("/p", 2)
				must(t, two.PurgeURL(context.Background(), "http://example.com/p?b=1"))
			}
		}
		one.want(t, "/p?a=1", "1", "")
		two.want(t, "/p?a=2", "2", "fwd=")
		one.want(t, "/p?a=1", "2", "")
	})
}

// TestNoVarySearchIsAnnounced: what a handler gives that was called before others knew of
// its No-Vary-Search is for its own URL alone, for a purge may not have reached it.
func TestNoVarySearchIsAnnounced(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		h.during = func(string) {
			h.during = nil
			one.announce(t)
		}
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=2", "1", "fwd=")
		one.want(t, "/p?a=3", "1", "no-vary-search")
	})
}

// TestNoVarySearchOfLostJournal: where the journal was lost, a purge need not know what
// was in it.
func TestNoVarySearchOfLostJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, h := newServer(t), declaring(`except=("c")`)
		one := newInstance(t, shared, h, searching)
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=2", "1", "no-vary-search")
		shared.loseClock()
		clear(shared.journals)
		time.Sleep(time.Second)
		h.set("/p", 2)
		must(t, newInstance(t, shared, h).PurgeURL(context.Background(), "http://example.com/p?a=4"))
		one.want(t, "/p?a=2", "2", "fwd=")
		one.want(t, "/p?a=3", "2", "fwd=") // it is announced again
		one.want(t, "/p?a=4", "2", "no-vary-search")
	})
}

// TestNoVarySearchChanges: what responses for a path say may change, and differ.
func TestNoVarySearchChanges(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		say := func(field string) {
			h.header = http.Header{"No-Vary-Search": {field}}
			one.want(t, "/announced?"+field[:3], "0", "")
		}
		say(`params=("a")`)
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=2", "1", "no-vary-search")
		say(`key-order, except=("c" "d")`)
		one.want(t, "/p?c=1&d=1&x", "1", "stored")
		for _, i := range []*instance{one, two} {
			i.want(t, "/p?y&d=1&c=1", "1", "no-vary-search")
			i.want(t, "/p?a=3", "1", "no-vary-search") // of the first
			i.want(t, "/p?d=1&c=1", "1", "no-vary-search")
		}
		h.header = http.Header{}
		two.want(t, "/p?d=2&c=1", "1", "stored")
		one.want(t, "/p?d=2&c=1&x", "1", "fwd=miss") // it says nothing
		must(t, two.PurgeURL(context.Background(), "http://example.com/p?z&d=1&c=1"))
		one.want(t, "/p?a=3", "1", "no-vary-search")
		one.want(t, "/p?y&d=1&c=1", "1", "fwd=miss")
	}, func(cfg *cacheaside.Config) { cfg.Policy.Key.KeepQueryOrder = true })
}

// TestNoVarySearchIsLimited: of many different fields the first are heeded.
func TestNoVarySearchIsLimited(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		shared := 0
		for n := range 40 {
			h.header = http.Header{"No-Vary-Search": {fmt.Sprintf(`params=("p%d")`, n)}}
			path := fmt.Sprintf("/%d", n)
			one.want(t, path+"?", "0", "stored")
			one.want(t, fmt.Sprintf("%s?p%d=1", path, n), "0", "stored")
			time.Sleep(time.Second) // a copy of the journal is as old as that
			if _, status := two.get(t, fmt.Sprintf("%s?p%d=2", path, n)); strings.Contains(status, "no-vary-search") {
				shared++
			}
		}
		if shared != 16 {
			t.Errorf("%d different fields are heeded", shared)
		}
		must(t, two.PurgeURL(context.Background(), "http://example.com/0?p0=7"))
		one.want(t, "/0?p0=3", "0", "fwd=")
	})
}

// TestNoVarySearchAndSelection: what the policy leaves out of keys, the response need not
// name, and a purge knows both.
func TestNoVarySearchAndSelection(t *testing.T) {
	for name, query := range map[string]cacheaside.Selection{
		"deny": cacheaside.Except("utm_*", "x"), "allow": cacheaside.Only("a*", "b", "c", "d*"),
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
				one.announce(t)
				one.want(t, "/p?a=1&c=1&utm_x=1", "1", "stored")
				one.want(t, "/p?c=1&b=1&x=2", "1", "no-vary-search")
				two.want(t, "/p?c=1&b=1&x=3&utm_y=2", "1", "no-vary-search")
				two.want(t, "/p?c=1&a=1", "1", "hit; ttl=3600")
				two.want(t, "/p?c=1&ab=1", "1", "fwd=")
				h.set("/p", 2)
				must(t, two.PurgeURL(context.Background(), "http://example.com/p?c=1&b=9&utm_z=1"))
				one.want(t, "/p?c=1&b=1&x=2", "2", "fwd=")
				two.want(t, "/p?a=1&c=1&utm_x=1", "2", "no-vary-search")
			}, func(cfg *cacheaside.Config) { cfg.Policy.Key.Query, cfg.Policy.Key.IgnoreHost = query, true })
		})
	}
}

// TestNoVarySearchOff: where the policy does not ask for it, each URL has its own.
func TestNoVarySearchOff(t *testing.T) {
	generator := func(cfg *cacheaside.Config) {
		cfg.Policy.Key.Generator = func(r *cacheaside.Request) string { return r.Path + "?" + r.RawQuery }
	}
	for name, change := range map[string]func(*cacheaside.Config){
		"off": func(*cacheaside.Config) {}, "generator": func(cfg *cacheaside.Config) { searching(cfg); generator(cfg) },
		"no coordinator": func(cfg *cacheaside.Config) {
			searching(cfg)
			cfg.Store = struct{ store.Store }{cfg.Store}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := declaring(`except=()`)
			one := newInstance(t, newServer(t), h, change)
			one.announce(t)
			for n := range 3 {
				one.want(t, fmt.Sprintf("/p?a=%d", n), "1", "stored")
				one.want(t, fmt.Sprintf("/p?a=%d", n), "1", "hit")
			}
		})
	}
}

// TestNoVarySearchOfOthers: a handle that does not heed it, or another way, is given
// nothing that a purge of its URLs would not reach.
func TestNoVarySearchOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, h := newServer(t), declaring(`params=("a")`)
		one := newInstance(t, shared, h, searching)
		plain := newInstance(t, shared, h)
		selective := newInstance(t, shared, h, searching, func(cfg *cacheaside.Config) { cfg.Policy.Key.Query = cacheaside.Except("u") })
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		plain.want(t, "/p?a=1", "1", "hit")
		plain.want(t, "/p?a=2", "1", "fwd=")
		selective.want(t, "/p?a=3&u=1", "1", "fwd=") // by its way nothing is tagged yet
		selective.want(t, "/p?a=4&u=1", "1", "fwd=")
		selective.want(t, "/p?a=5&u=2", "1", "no-vary-search")
		h.set("/p", 2)
		must(t, plain.PurgeURL(context.Background(), "http://example.com/p?a=6&u=3"))
		selective.want(t, "/p?a=5&u=2", "2", "")
	})
}

// TestNoVarySearchCommands: a hit on its own URL costs what it has cost, one on another
// URL one command a few times each five seconds and then one; a miss on a path of which
// nothing was said one more each five seconds.
func TestNoVarySearchCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, h := newServer(t), declaring(`params=("a")`)
		one := newInstance(t, shared, h, searching)
		reads := func(want int64, path, status string) {
			t.Helper()
			shared.trips.Store(0)
			_, got := one.get(t, path)
			if n := shared.trips.Load(); n != want || !strings.Contains(got, status) {
				t.Errorf("%s: %d round trips, %s; want %d, %s", path, n, got, want, status)
			}
		}
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		reads(1, "/p?a=1", "hit")
		reads(1, "/p?a=1", "hit")
		reads(3, "/p?a=2", "no-vary-search") // itself, the hint, the response
		reads(1, "/p?a=2", "no-vary-search")
		time.Sleep(5*time.Second + 1)
		reads(4, "/p?a=2", "no-vary-search") // and what was said
		h.header = nil
		one.get(t, "/other?a=1")
		shared.trips.Store(0)
		one.get(t, "/other?a=2")
		miss := shared.trips.Load()
		plain := newInstance(t, shared, h)
		plain.get(t, "/another?a=1")
		shared.trips.Store(0)
		plain.get(t, "/another?a=2")
		if n := shared.trips.Load(); n != miss {
			t.Errorf("a miss takes %d round trips, and %d without", miss, n)
		}
	})
}

// TestNoVarySearchHintsLie: what a hint leads to answers nobody else.
func TestNoVarySearchHintsLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, h := newServer(t), declaring(`params=("a")`)
		begin := func() *instance {
			return newInstance(t, shared, h, searching, func(cfg *cacheaside.Config) {
				cfg.Policy.Key.Headers, cfg.Policy.Key.KeepQueryOrder = []string{"X-Key"}, true
			})
		}
		one := begin()
		one.announce(t)
		one.want(t, "/secret?a=1", "0", "stored")
		one.want(t, "/p?a=1&c=1", "1", "stored")
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=1", "1", "stored", "X-Key", "x")
		one.want(t, "/p?a=1&c=1&d=1", "1", "stored")
		one.want(t, "/p?a=1&d=1&c=1", "1", "stored")
		w := httptest.NewRecorder()
		one.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://example.com/p?a=1", nil))
		must(t, one.Flush(context.Background()))
		hints := map[string]*entry.Entry{}
		leads := []string{"GET:", "GET:http://example.com/p?a=1|k:x", "GET:http://example.com/p"}
		for key, v := range shared.values {
			if e := new(entry.Entry); entry.Decode(v.data, e) == nil && e.Kind == entry.KindVary && len(e.Body) > 0 {
				hints[key], leads = e, append(leads, string(e.Body))
			}
		}
		if len(hints) != 7 {
			t.Fatalf("%d hints", len(hints))
		}
		for key, e := range hints {
			if strings.HasPrefix(string(e.Body), "GET:https") {
				continue // it is what others are led to
			}
			path, _, _ := strings.Cut(strings.TrimPrefix(string(e.Body), "GET:http://example.com"), "|")
			fields := []string{"Cache-Control", "only-if-cached"}
			if strings.HasSuffix(string(e.Body), "=x") {
				fields = append(fields, "X-Key", "x")
			}
			was := shared.values[key]
			for _, lead := range leads {
				lie, err := entry.Encode(entry.Content{Meta: e.Meta, Key: e.Key, Body: []byte(lead)})
				must(t, err)
				shared.values[key] = standing{data: lie, end: was.end}
				_, status := begin().get(t, path+"&a=2", fields...)
				if honest := lead == string(e.Body); strings.Contains(status, "no-vary-search") != honest {
					t.Errorf("%s %v, where the hint leads to %s: %s", path, fields, lead, status)
				}
			}
			shared.values[key] = was
		}
	})
}

// TestNoVarySearchUntagged: what somebody has stored who does not heed the field is out of
// reach of a purge of another URL, and answers for none.
func TestNoVarySearchUntagged(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		two.want(t, "/p?a=2", "1", "no-vary-search")
		must(t, one.PurgeTags(context.Background(), "row-p"))
		newInstance(t, one.shared, h).want(t, "/p?a=1", "1", "stored")
		two.want(t, "/p?a=2", "1", "fwd=")
	})
}

// TestNoVarySearchIsNotRefreshed: a background run for one URL would store another.
func TestNoVarySearchIsNotRefreshed(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		time.Sleep(40 * time.Minute)
		calls := h.calls.Load()
		two.want(t, "/p?a=2", "1", "no-vary-search")
		synctest.Wait()
		if h.calls.Load() != calls {
			t.Error("it was refreshed")
		}
		one.want(t, "/p?a=1", "1", "hit")
		synctest.Wait()
		if h.calls.Load() == calls {
			t.Error("its own URL was not")
		}
	}, func(cfg *cacheaside.Config) { cfg.Policy.Stale.RefreshAhead = 0.5 })
}

// TestNoVarySearchLeavesNoTrace: a response that does not answer after all changes nothing
// of what is known of the request's own URL.
func TestNoVarySearchLeavesNoTrace(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		h.header.Set("Vary", "Accept-Language")
		one.announce(t)
		one.want(t, "/p?a=2", "1", "stored", "Accept-Language", "en")
		time.Sleep(50 * time.Minute)
		one.want(t, "/p?a=1", "1", "stored", "Accept-Language", "de", "Cache-Control", "no-cache")
		time.Sleep(20 * time.Minute)
		one.want(t, "/p?a=1", "1", "fwd=vary-miss; ttl=3600; stored", "Accept-Language", "en") // the other one is stale
		one.want(t, "/p?a=1", "1", "hit; ttl=2400", "Accept-Language", "de")
	})
}

// TestNoVarySearchOwnFirst: what is stored for a URL comes first.
func TestNoVarySearchOwnFirst(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=2", "1", "no-vary-search")
		h.set("/p", 2)
		h.during = func(string) {
			h.during = nil
			one.want(t, "/p?a=2", "1", "no-vary-search") // which is remembered
		}
		one.want(t, "/p?a=2", "2", "stored", "Cache-Control", "no-cache")
		one.want(t, "/p?a=2", "2", "hit; ttl=3600")
		two.want(t, "/p?a=1", "1", "hit; ttl=3600")
	})
}

// TestNoVarySearchRenewed: a response that was validated answers for others again.
func TestNoVarySearchRenewed(t *testing.T) {
	bothStores(t, func(t *testing.T, h *rows, one, two *instance) {
		one.announce(t)
		one.want(t, "/p?a=1", "1", "stored")
		var revalidated atomic.Bool
		h.during = func(string) { revalidated.Store(true) }
		time.Sleep(time.Hour)
		one.want(t, "/p?a=1", "1", "fwd=stale")
		if !revalidated.Load() {
			t.Error("nothing was validated")
		}
		two.want(t, "/p?a=2", "1", "no-vary-search")
	})
}

// A response says that the order of the parameters makes no difference to it, nor does
// where its client came from.
func ExampleKeyPolicy_noVarySearch() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Policy: cacheaside.Policy{TTL: time.Minute, Key: cacheaside.KeyPolicy{NoVarySearch: true}},
	}))
	defer func() { _ = cache.Close(context.Background()) }()

	service := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("No-Vary-Search", `key-order, params=("from")`)
		fmt.Fprintf(w, "page %s of %s", r.URL.Query().Get("page"), r.URL.Query().Get("q"))
	}))

	visit(service, "/search?q=milk&page=1") // what it says becomes known
	visit(service, "/search?q=tea&page=2&from=mail")
	visit(service, "/search?page=2&q=tea")
	visit(service, "/search?from=news&q=tea&page=2")
	visit(service, "/search?q=tea&page=3")
	// Output:
	// /search?q=milk&page=1: page 1 of milk (fwd=miss)
	// /search?q=tea&page=2&from=mail: page 2 of tea (fwd=miss)
	// /search?page=2&q=tea: page 2 of tea (hit, detail=no-vary-search)
	// /search?from=news&q=tea&page=2: page 2 of tea (hit, detail=no-vary-search)
	// /search?q=tea&page=3: page 3 of tea (fwd=miss)
}
