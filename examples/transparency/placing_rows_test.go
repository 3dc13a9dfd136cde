package transparency

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A row says where middleware of a kind goes: right shows what comes of it, wrong what
// the row says of the other place. Both are asked of every framework, but for what a
// remark says differently.
type row struct {
	middleware, where, because, otherwise string
	right, wrong                          func(t *testing.T, h house)
}

func rows() []row {
	return []row{
		{
			"recover", "in front, before all else",
			"a handler's panic is a 500, and nothing of it is stored",
			"behind, the cache does not see the panic: half a page goes out as a 200",
			func(t *testing.T, h house) {
				s := h.with(t, "recover", "cache")
				for range 2 {
					s.get("/panic").is(t, 500, miss)
					if g := s.get("/late-panic").is(t, 500, miss); strings.Contains(g.body, "half of") {
						t.Errorf("half a page: %q", g.body)
					}
				}
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "recover")
				if g := s.get("/late-panic").is(t, 200, miss); g.body != "half of" {
					t.Errorf("got %q", g.body)
				}
			},
		},
		{
			"logger", "in front",
			"every request is logged",
			"behind, hits are not",
			func(t *testing.T, h house) {
				s := h.with(t, "logger", "cache")
				s.get("/page").is(t, 200, miss)
				s.logged(t, 1)
				s.get("/page").is(t, 200, hit)
				s.logged(t, 1)
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "logger")
				s.get("/page").is(t, 200, miss)
				s.logged(t, 1)
				s.get("/page").is(t, 200, hit)
				s.logged(t, 0)
			},
		},
		{
			"request id", "in front",
			"every request has an id of its own",
			"behind, the id of one request is stored, and all others get it",
			func(t *testing.T, h house) {
				s := h.with(t, "request id", "cache")
				first := s.get("/page").is(t, 200, miss).id(t)
				if second := s.get("/page").is(t, 200, hit).id(t); second == first {
					t.Errorf("the same id again: %s", second)
				}
				if id := s.get("/page", "X-Request-Id", "mine").is(t, 200, hit).id(t); id != "mine" {
					t.Errorf("got %s for an id of the client", id)
				}
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "request id")
				first := s.get("/page", "X-Request-Id", "mine").is(t, 200, miss).id(t)
				if second := s.get("/page").is(t, 200, hit).id(t); first != "mine" || second != first {
					t.Errorf("got %s, then %s", first, second)
				}
			},
		},
		{
			"CORS", "in front",
			"one stored page is for all origins, each gets its own fields",
			"behind, each `Origin` costs a run of the handler and a copy",
			func(t *testing.T, h house) {
				s := h.with(t, "CORS", "cache")
				s.get("/page", "Origin", origins[0]).is(t, 200, miss).allows(t, origins[0])
				s.get("/page", "Origin", origins[1]).is(t, 200, hit).allows(t, origins[1])
				s.get("/page").is(t, 200, hit).allows(t, "")
				// Gin's answers 403 itself.
				if g := s.get("/page", "Origin", "https://evil.example"); g.code != 403 {
					g.is(t, 200, hit).allows(t, "")
				}
				g := s.do("OPTIONS", "/page", "", "Origin", origins[0], "Access-Control-Request-Method", "GET")
				g.allows(t, origins[0])
				if g.code != 200 && g.code != 204 {
					t.Errorf("preflight: %d", g.code)
				}
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "CORS")
				s.get("/page").is(t, 200, miss).allows(t, "")
				s.get("/page", "Origin", origins[0]).is(t, 200, miss).allows(t, origins[0])
				s.get("/page", "Origin", origins[1]).is(t, 200, miss).allows(t, origins[1])
				s.get("/page", "Origin", origins[0]).is(t, 200, hit).allows(t, origins[0])
			},
		},
		{
			"limiter", "in front",
			"all that a client asks for counts, hits too",
			"behind, only misses count (which may be what you want: it spares the handler)",
			func(t *testing.T, h house) {
				s := h.with(t, "limiter", "cache")
				s.get("/page").is(t, 200, miss)
				for range limit - 1 {
					s.get("/page").is(t, 200, hit)
				}
				s.get("/page").is(t, 429, miss)
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "limiter")
				s.get("/page").is(t, 200, miss)
				for range limit {
					s.get("/page").is(t, 200, hit)
				}
				for i := range limit - 1 {
					s.get(fmt.Sprint("/json?", i)).is(t, 200, miss)
				}
				s.get("/json").is(t, 429, miss)
				s.get("/page").is(t, 200, hit)
				s.get("/json").is(t, 429, miss) // it was not stored
			},
		},
		{
			"static", "in front",
			"files come from the disk, as they are now",
			"behind, a file that has changed is sent as it was until its `TTL` is over",
			func(t *testing.T, h house) {
				s := h.with(t, "static", "cache")
				s.file(t, "old")
				s.get("/files/hello.txt").is(t, 200, miss).says(t, "old")
				s.file(t, "new")
				s.get("/files/hello.txt").is(t, 200, miss).says(t, "new")
				if g := s.get("/files/hello.txt"); g.header.Get("Cache-Status") != "" {
					t.Errorf("files pass the cache: %s", g.header.Get("Cache-Status"))
				}
				s.get("/page").is(t, 200, miss)
				s.get("/page").is(t, 200, hit)
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "static")
				s.file(t, "old")
				s.get("/files/hello.txt").is(t, 200, miss).says(t, "old")
				s.file(t, "new")
				s.get("/files/hello.txt").is(t, 200, hit).says(t, "old")
			},
		},
		{
			"basic auth", "in front, with `Storing.Authorized`",
			"hits are checked as well; with `WithPartition` each user has pages of their own",
			"without `Authorized` nothing is stored; with it, behind, whoever has no password gets the page",
			authInFront("basic auth", basic), authBehind("basic auth", basic),
		},
		{
			"JWT", "in front, with `Storing.Authorized`",
			"likewise",
			"likewise, without a token",
			authInFront("JWT", bearer), authBehind("JWT", bearer),
		},
		{
			"API key", "in front",
			"hits are checked as well",
			"behind, the page that was stored for one with a key goes to everybody without",
			func(t *testing.T, h house) {
				s := h.with(t, "API key", "cache")
				s.get("/page", "X-Key", "secret").is(t, 200, miss)
				s.get("/page", "X-Key", "secret").is(t, 200, hit)
				for _, g := range []got{s.get("/page"), s.get("/page", "X-Key", "wrong")} {
					if g.code != 400 && g.code != 401 {
						t.Errorf("without the key: %d", g.code)
					}
				}
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "API key")
				s.get("/page", "X-Key", "secret").is(t, 200, miss)
				s.get("/page").is(t, 200, hit)
				s.get("/page", "X-Key", "wrong").is(t, 200, hit)
			},
		},
		{
			"session", "in either place, saved only when it changes",
			"an answer that sets its cookie is not stored; other pages are, for those without cookies",
			"saved on every request, each answer sets a cookie: no hits",
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"session", "cache"}, {"cache", "session"}} {
					s := h.with(t, order...)
					given := map[string]bool{}
					for range 3 {
						g := s.get("/session").is(t, 200, miss)
						if g.cookies() == "" {
							t.Error("no cookie of a session")
						}
						given[g.cookies()] = true
						if id := s.get("/page", "Cookie", g.cookies()).is(t, 200, miss).cookies(); id != "" {
							t.Errorf("a cookie again: %s", id)
						}
					}
					// Gin's and Echo's is the cookie itself: what is equal in them is equal.
					if h.name != "Gin" && h.name != "Echo" && len(given) != 3 {
						t.Errorf("%d sessions for 3 visitors", len(given))
					}
					s.get("/page").is(t, 200, miss)
					if g := s.get("/page").is(t, 200, hit); g.cookies() != "" {
						t.Errorf("a cookie from the store: %s", g.cookies())
					}
				}
			},
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"session", "rolling", "cache"}, {"cache", "session", "rolling"}} {
					s := h.with(t, order...)
					for range 3 {
						if g := s.get("/page").is(t, 200, miss); g.cookies() == "" {
							t.Error("no cookie")
						}
					}
				}
			},
		},
		{
			"csrf", "on the routes with forms, which `Skip` leaves out",
			"each visitor has a token of their own, and all other pages are hits",
			"on the whole service, each answer sets a cookie or varies by it: no page is shared",
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"/form csrf", "cache"}, {"cache", "/form csrf"}} {
					s := h.under(t, skipForms, order...)
					s.get("/page").is(t, 200, miss)
					s.get("/page").is(t, 200, hit)
					tokens := map[string]bool{}
					for range 2 {
						g := s.get("/form").is(t, 200, miss)
						tokens[g.token(t)] = true
						s.post(t, "/form", g).is(t, 200, miss)
						if bad := s.do("POST", "/form", "a=b", "Origin", s.url, "Content-Type", form); bad.code != 403 && bad.code != 400 {
							t.Errorf("without a token: %d", bad.code)
						}
					}
					if len(tokens) != 2 {
						t.Error("one token for two visitors")
					}
				}
			},
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"csrf", "cache"}, {"cache", "csrf"}} {
					s := h.with(t, order...)
					jack, jill := s.get("/page").is(t, 200, miss), s.get("/page").is(t, 200, miss)
					s.get("/page", "Cookie", jack.cookies()).is(t, 200, miss)
					s.get("/page", "Cookie", jill.cookies()).is(t, 200, miss)
				}
			},
		},
		{
			"compression", "[`Policy.Compression`](README.md#compression) in its place; else in front",
			"the cache compresses once; in front, a page is compressed for each client, on each hit",
			"behind, one client without `Accept-Encoding` decides for all: they get it as it is",
			func(t *testing.T, h house) {
				s := h.under(t, compresses, "cache")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, miss).coded(t, "")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, hit).coded(t, "gzip")
				s.get("/page").is(t, 200, hit).coded(t, "")
				s = h.with(t, "compression", "cache")
				s.get("/page").is(t, 200, miss).coded(t, "")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, hit).coded(t, "gzip")
				s.get("/page").is(t, 200, hit).coded(t, "")
				s.get("/page?gzip-first", "Accept-Encoding", "gzip").is(t, 200, miss).coded(t, "gzip")
				s.get("/page?gzip-first").is(t, 200, hit).coded(t, "")
			},
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "compression")
				s.get("/page").is(t, 200, miss).coded(t, "")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, hit).coded(t, "")
			},
		},
		{
			"etag", "behind, or `Storing.GenerateETag`",
			"the tag is made once and stored; the cache answers with 304 itself",
			"in front, it is made anew for every hit",
			func(t *testing.T, h house) {
				s := h.under(t, generateETag, "cache")
				if h.ownETag {
					s = h.with(t, "cache", "etag")
				}
				tag := s.get("/page").is(t, 200, miss).header.Get("ETag")
				s.log.take()
				if again := s.get("/page").is(t, 200, hit).header.Get("ETag"); tag == "" || again != tag {
					t.Errorf("ETag %q, then %q", tag, again)
				}
				if g := s.get("/page", "If-None-Match", tag).is(t, 304, hit); g.header.Get("ETag") != tag {
					t.Errorf("ETag %q of the 304", g.header.Get("ETag"))
				}
				s.logged(t, 0)
			},
			func(t *testing.T, h house) {
				s := h.with(t, "etag", "cache")
				tag := s.get("/page").is(t, 200, miss).header.Get("ETag")
				s.logged(t, 1)
				s.get("/page").is(t, 200, hit)
				s.logged(t, 1)
				s.get("/page", "If-None-Match", tag).is(t, 304, hit)
				s.logged(t, 1)
			},
		},
		{
			"timeout", "behind",
			"a hit needs none, and `Stale.IfError` can stand in for its error",
			"in front, its error goes out although a stale answer is there",
			func(t *testing.T, h house) { timesOut(t, h, true, "cache", "timeout") },
			func(t *testing.T, h house) { timesOut(t, h, false, "timeout", "cache") },
		},
	}
}

// A remark is a line of the page's last table: what is to be added in some frameworks,
// or is so there in place of what the row says.
type remark struct {
	frameworks, middleware, text string
	instead                      bool
	right, wrong                 func(t *testing.T, h house)
}

func (r remark) isFor(h house, middleware string) bool {
	return r.middleware == middleware && slices.Contains(strings.Split(r.frameworks, ", "), h.name)
}

func remarks() []remark {
	return []remark{
		{
			"Fiber", "recover", "behind, nothing half goes out; but a panic in front of it (in `Skip`, say) ends the process", true, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "recover")
				if g := s.get("/late-panic").is(t, 500, miss); strings.Contains(g.body, "half of") {
					t.Errorf("got %q", g.body)
				}
				// Once more with a panic in Skip: in front it is a 500, behind nobody survives.
				h.under(t, skipPanics, "recover", "cache").get("/page").is(t, 500, miss)
				cmd := exec.Command(os.Args[0], "-test.run=^TestPlacing$")
				cmd.Env = append(os.Environ(), panicInFront+"=1")
				if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "panic: in front of recover") {
					t.Errorf("it goes on: %v\n%s", err, out)
				}
			},
		},
		{
			"Echo", "recover", "behind, `Recover` hides the panic so well that half a page is stored", false, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "recover")
				s.get("/late-panic").is(t, 200, miss).says(t, "half of")
				s.get("/late-panic").is(t, 200, hit).says(t, "half of")
			},
		},
		{
			"Gin", "CORS", "gin-contrib/cors says `Vary` only to requests with an `Origin`: those without have a copy of their own", false,
			func(t *testing.T, h house) {
				s := h.with(t, "CORS", "cache")
				s.get("/page").is(t, 200, miss).allows(t, "")
				s.get("/page", "Origin", origins[0]).is(t, 200, miss).allows(t, origins[0])
				s.get("/page", "Origin", origins[1]).is(t, 200, hit).allows(t, origins[1])
			}, nil,
		},
		{
			"Fiber, Gin, chi, net/http", "limiter", "behind, the `X-RateLimit-…` fields of a miss are stored with its page", false, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "limiter")
				for range 2 {
					if n := s.get("/page").header.Get("X-RateLimit-Remaining"); n != fmt.Sprint(limit-1) {
						t.Errorf("remaining %q", n)
					}
				}
			},
		},
		{
			"Fiber", "static", "behind, files are streams, which are not stored: each request looks for them in vain", true, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "static")
				for range 2 {
					s.file(t, "hello")
					if g := s.get("/files/hello.txt").is(t, 200, miss); !strings.Contains(g.header.Get("Cache-Status"), "fwd=miss; detail=stream") {
						t.Errorf("Cache-Status: %s", g.header.Get("Cache-Status"))
					}
				}
			},
		},
		{
			"chi, net/http", "session", "scs says `Vary: Cookie` of every page: visitors with cookies share none, whatever `Requests.Cookies` says", false,
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"session", "cache"}, {"cache", "session"}} {
					s := h.under(t, readNoCookies, order...)
					s.get("/page", "Cookie", "theme=dark").is(t, 200, miss)
					s.get("/page", "Cookie", "theme=light").is(t, 200, miss)
					s.get("/page", "Cookie", "theme=dark").is(t, 200, hit)
				}
			}, nil,
		},
		{
			"Fiber, Gin, Echo", "session", "with `Requests.Cookies` for what handlers read, visitors with a session share the other pages as well", false,
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"session", "cache"}, {"cache", "session"}} {
					s := h.under(t, readNoCookies, order...)
					visitor := s.get("/session").is(t, 200, miss).cookies()
					s.get("/page").is(t, 200, miss)
					if g := s.get("/page", "Cookie", visitor).is(t, 200, hit); g.cookies() != "" {
						t.Errorf("a cookie from the store: %s", g.cookies())
					}
				}
			}, nil,
		},
		{
			"Echo", "csrf", "a client that sends `Sec-Fetch-Site` gets no cookie and its form is stored, which others then cannot post: `Skip` it", false, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "csrf")
				if g := s.get("/form", "Sec-Fetch-Site", "none").is(t, 200, miss); g.cookies() != "" {
					t.Errorf("a cookie: %s", g.cookies())
				}
				g := s.get("/form").is(t, 200, hit)
				if p := s.post(t, "/form", g); p.code != 400 && p.code != 403 {
					t.Errorf("posted: %d", p.code)
				}
			},
		},
		{
			"chi, net/http", "csrf", "`http.CrossOriginProtection` sets no cookie: on the whole service, in either place", false,
			func(t *testing.T, h house) {
				for _, order := range [][]string{{"csrf by origin", "cache"}, {"cache", "csrf by origin"}} {
					s := h.with(t, order...)
					s.get("/page").is(t, 200, miss)
					s.get("/page").is(t, 200, hit)
					s.do("POST", "/form", "a=b", "Content-Type", form, "Sec-Fetch-Site", "same-origin").is(t, 200, miss)
					s.do("POST", "/form", "a=b", "Content-Type", form, "Sec-Fetch-Site", "cross-site").is(t, 403, miss)
				}
			}, nil,
		},
		{
			"Echo, net/http", "compression", "behind, it says `Vary`: each `Accept-Encoding` costs a run of the handler and a copy, which is compressed once", true, nil,
			func(t *testing.T, h house) {
				s := h.with(t, "cache", "compression")
				s.get("/page").is(t, 200, miss).coded(t, "")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, miss).coded(t, "gzip")
				s.get("/page", "Accept-Encoding", "gzip, br").is(t, 200, miss).coded(t, "gzip")
				s.get("/page", "Accept-Encoding", "gzip").is(t, 200, hit).coded(t, "gzip")
				s.get("/page").is(t, 200, hit).coded(t, "")
			},
		},
		{
			"Fiber", "timeout", "in front: behind, `timeout` makes the handler's error a 408, which `Stale.IfError` does not stand in for", true,
			func(t *testing.T, h house) { timesOut(t, h, true, "timeout", "cache") },
			func(t *testing.T, h house) { timesOut(t, h, false, "cache", "timeout") },
		},
		{
			"Echo", "timeout", "in either place: the handler's error reaches the cache in both", true, nil,
			func(t *testing.T, h house) { timesOut(t, h, true, "timeout", "cache") },
		},
	}
}

// authInFront has users with credentials of a kind, each by credentials.
func authInFront(layer string, credentials func(user string) string) func(*testing.T, house) {
	return func(t *testing.T, h house) {
		jack, jill := credentials("jack"), credentials("jill")
		s := h.under(t, authorized, layer, "cache")
		s.get("/page", "Authorization", jack).is(t, 200, miss)
		s.get("/page", "Authorization", jill).is(t, 200, hit)
		s.get("/page").refused(t)
		s.get("/page", "Authorization", jack+"x").refused(t)

		s = h.under(t, authorized, layer, "cache per user")
		for _, found := range []bool{miss, hit} {
			s.get("/me", "Authorization", jack).is(t, 200, found).says(t, "hello jack")
			s.get("/me", "Authorization", jill).is(t, 200, found).says(t, "hello jill")
		}
		s.get("/me").refused(t)
	}
}

func authBehind(layer string, credentials func(user string) string) func(*testing.T, house) {
	return func(t *testing.T, h house) {
		for _, order := range [][]string{{layer, "cache"}, {"cache", layer}} {
			s := h.with(t, order...)
			for range 2 {
				s.get("/page", "Authorization", credentials("jack")).is(t, 200, miss)
			}
			s.get("/page").refused(t)
		}
		s := h.under(t, authorized, "cache", layer)
		s.get("/me", "Authorization", credentials("jack")).is(t, 200, miss).says(t, "hello jack")
		s.get("/me").is(t, 200, hit).says(t, "hello jack")
	}
}

// timesOut has a handler time out when there is a stale answer, and when there is none.
func timesOut(t *testing.T, h house, stale bool, order ...string) {
	t.Helper()
	s := h.under(t, staleIfError, order...)
	for range 2 {
		if g := s.get("/slow?first", "X-Slow", "1"); g.code < 400 || g.hit {
			t.Errorf("%d for a time-out", g.code)
		}
	}
	s.get("/slow").is(t, 200, miss).says(t, "fast")
	s.get("/slow").is(t, 200, hit).says(t, "fast")
	if order[len(order)-1] == "timeout" { // a hit does not reach it
		s.get("/slow", "X-Slow", "1").is(t, 200, hit).says(t, "fast")
	}
	s.ahead.Store(int64(2 * time.Minute)) // of its lifetime
	g := s.get("/slow", "X-Slow", "1")
	if stale {
		g.is(t, 200, miss).says(t, "fast")
	} else if g.code < 400 {
		t.Errorf("%d for a time-out: %s", g.code, g.header.Get("Cache-Status"))
	}
}

// panicInFront is set in the process that a remark on recover is about.
const panicInFront = "CACHEASIDE_PANIC_IN_FRONT"
