package transparency

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// The page core/MIDDLEWARE.md, line by line. Its first table is rows, its second one is
// the uses of the houses, its third one is remarks. TestMiddlewarePage compares the
// texts; what they say is what the other tests here show.

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
			"compression", "in front",
			"a page is stored once, as it is, and compressed for each client, on hits too",
			"behind, one client without `Accept-Encoding` decides for all: they get it as it is",
			func(t *testing.T, h house) {
				s := h.with(t, "compression", "cache")
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
			"chi, net/http", "csrf", "`http.CrossOriginProtection` needs no token: in front of the whole service", false,
			func(t *testing.T, h house) {
				s := h.with(t, "csrf by origin", "cache")
				s.get("/page").is(t, 200, miss)
				s.get("/page").is(t, 200, hit)
				s.do("POST", "/form", "a=b", "Content-Type", form, "Sec-Fetch-Site", "same-origin").is(t, 200, miss)
				s.do("POST", "/form", "a=b", "Content-Type", form, "Sec-Fetch-Site", "cross-site").is(t, 403, miss)
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

// order is the line of the page that begins the chain.
var order = []string{"recover", "logger", "request id", "CORS", "limiter", "static", "basic auth", "compression", "cache", "etag", "timeout"}

func TestPlacing(t *testing.T) {
	if os.Getenv(panicInFront) != "" {
		fiberHouse().under(t, skipPanics, "cache", "recover").get("/page")
		return
	}
	for _, r := range rows() {
		t.Run(r.middleware, func(t *testing.T) {
			for _, h := range houses() {
				t.Run(h.name, func(t *testing.T) {
					play := func(name string, test func(*testing.T, house)) {
						if test != nil {
							t.Run(name, func(t *testing.T) { test(t, h) })
						}
					}
					right, wrong := r.right, r.wrong
					for i, m := range remarks() {
						if !m.isFor(h, r.middleware) {
							continue
						}
						play(fmt.Sprint("remark", i, "right"), m.right)
						play(fmt.Sprint("remark", i, "wrong"), m.wrong)
						if m.instead && m.right != nil {
							right = nil
						}
						if m.instead && m.wrong != nil {
							wrong = nil
						}
					}
					if r.middleware == "etag" && !h.ownETag {
						wrong = nil
					}
					play("right", right)
					play("wrong", wrong)
				})
			}
		})
	}
}

// TestPlacedTogether is the order that the page begins with.
func TestPlacedTogether(t *testing.T) {
	for _, h := range houses() {
		t.Run(h.name, func(t *testing.T) {
			layers := slices.Clone(order)
			if !h.ownETag {
				layers = slices.DeleteFunc(layers, func(name string) bool { return name == "etag" })
			}
			s := h.under(t, authorized, layers...)
			ask := func() got {
				return s.get("/page", "Authorization", basic("jack"), "Origin", origins[0], "Accept-Encoding", "gzip")
			}
			first := ask().is(t, 200, miss).coded(t, "gzip").allows(t, origins[0])
			s.log.take()
			second := ask().is(t, 200, hit).coded(t, "gzip").allows(t, origins[0])
			s.logged(t, 1)
			if first.id(t) == second.id(t) {
				t.Errorf("the same id again: %s", first.id(t))
			}
			s.get("/page").is(t, 401, miss)
			s.get("/page", "Authorization", basic("jack")).is(t, 429, miss)
		})
	}
}

// TestMiddlewarePage compares the page with what is tested.
func TestMiddlewarePage(t *testing.T) {
	b, err := os.ReadFile("../../core/MIDDLEWARE.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|-") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{"| middleware | where | because | otherwise |"}
	for _, r := range rows() {
		want = append(want, cells(r.middleware, r.where, r.because, r.otherwise))
	}
	all := houses()
	names := []string{""}
	for _, h := range all {
		names = append(names, h.name)
	}
	want = append(want, cells(names...))
	for _, r := range rows() {
		of := []string{r.middleware}
		for _, h := range all {
			of = append(of, h.uses[r.middleware])
		}
		want = append(want, cells(of...))
	}
	want = append(want, "| framework | middleware | |")
	for _, m := range remarks() {
		want = append(want, cells(m.frameworks, m.middleware, m.text))
	}
	for i := range max(len(lines), len(want)) {
		switch {
		case i >= len(lines):
			t.Errorf("tested, but not on the page:\n%s", want[i])
		case i >= len(want):
			t.Errorf("on the page, but not tested:\n%s", lines[i])
		case lines[i] != want[i]:
			t.Errorf("the page:\n%s\nthe tests:\n%s", lines[i], want[i])
		}
	}
	if chain := strings.Join(order, " → ") + " → handler"; !strings.Contains(string(b), chain) {
		t.Errorf("the page has no %q", chain)
	}
	for _, h := range all {
		if len(h.uses) != len(rows()) {
			t.Errorf("%s: %d of %d rows", h.name, len(h.uses), len(rows()))
		}
	}
	example, err := os.ReadFile("placing_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if !strings.Contains(strings.ReplaceAll(string(example), "\n\t", "\n"), "\n"+code[1]) {
			t.Errorf("nobody runs this:\n%s", code[1])
		}
	}
}

// cells is a line of a table.
func cells(of ...string) string {
	var b strings.Builder
	for _, c := range of {
		b.WriteString("| ")
		b.WriteString(c)
		if c != "" {
			b.WriteByte(' ')
		}
	}
	return b.String() + "|"
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

// Policies of the services.
type policyOf = func(*cacheaside.Policy)

func skipForms(p *cacheaside.Policy) {
	p.Skip = func(r *cacheaside.Request) bool { return r.Path == "/form" }
}

func skipPanics(p *cacheaside.Policy) {
	p.Skip = func(*cacheaside.Request) bool { panic("in front of recover") }
}

func readNoCookies(p *cacheaside.Policy) { p.Requests.Cookies = cacheaside.None() }

func generateETag(p *cacheaside.Policy) { p.Storing.GenerateETag = true }

func staleIfError(p *cacheaside.Policy) { p.Stale.IfError = time.Hour }

// What the layers agree on.
const (
	limit      = 3 // requests of a client
	signingKey = "an example's key: 32 bytes and more"
	form       = "application/x-www-form-urlencoded"
)

var origins = []string{"https://a.example", "https://b.example"}

func basic(user string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":secret"))
}

// bearer has a token that never expires soon.
func bearer(user string) string {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(signingKey))
	if err != nil {
		panic(err)
	}
	return "Bearer " + token
}

var lastID atomic.Int64

func freshID() string { return fmt.Sprint("request-", lastID.Add(1)) }

// A house is a framework. Its services have layers that are given by name, the first
// one outermost: "cache", "cache per user", or middleware. One may be for a path alone:
// "/form csrf".
type house struct {
	name    string
	uses    map[string]string // by row: what the framework has for it
	ownETag bool              // middleware, that is; others use the policy
	build   func(order []string, dir string) builder
}

func houses() []house {
	return []house{fiberHouse(), ginHouse(), echoHouse(), chiHouse(), httpHouse()}
}

// layersOf makes the layers named.
func layersOf[L any](order []string, layer func(name string) L, only func(path string, l L) L) []L {
	var all []L
	for _, name := range order {
		if path, rest, ok := strings.Cut(name, " "); ok && strings.HasPrefix(path, "/") {
			all = append(all, only(path, layer(rest)))
		} else {
			all = append(all, layer(name))
		}
	}
	return all
}

// A tenancy is a service for as long as a test lasts.
type tenancy struct {
	*site
	t     *testing.T
	dir   string
	ahead *atomic.Int64 // of the cache's clock
}

func (h house) with(t *testing.T, order ...string) tenancy {
	t.Helper()
	return h.under(t, nil, order...)
}

// under is with a change of the policy.
func (h house) under(t *testing.T, policy policyOf, order ...string) tenancy {
	t.Helper()
	s := tenancy{t: t, dir: t.TempDir(), ahead: new(atomic.Int64)}
	cfg := cacheaside.Config{
		Logger:   slog.New(slog.DiscardHandler),
		Now:      func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
		Timeouts: cacheaside.Timeouts{Lookup: time.Minute},
		Policy:   cacheaside.Policy{TTL: time.Minute},
	}
	if policy != nil {
		policy(&cfg.Policy)
	}
	cache, err := cacheaside.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	s.site = start(t, stack{}, func(e *env) server {
		e.cache = cache
		return h.build(order, s.dir)(e)
	}, false)
	return s
}

// file writes what the static middleware serves as /files/hello.txt.
func (s tenancy) file(t *testing.T, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "files", "hello.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged checks how many lines were logged since the last time.
func (s tenancy) logged(t *testing.T, lines int) {
	t.Helper()
	if log := s.log.take(); strings.Count(log, "\n") != lines {
		t.Errorf("%d lines logged, not %d: %q", strings.Count(log, "\n"), lines, log)
	}
}

func (s tenancy) get(path string, header ...string) got {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", header...)
}

// post sends the form that a visitor has got, as from a page of this service.
func (s tenancy) post(t *testing.T, path string, g got) got {
	t.Helper()
	return s.do(http.MethodPost, path, "a=b", "Content-Type", form, "Origin", s.url, "Cookie", g.cookies(), "X-CSRF-Token", g.token(t))
}

func (s tenancy) do(method, path, body string, header ...string) got {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	res, err := s.once.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Fatal("the service does not come to an end")
	}
	return got{res.StatusCode, res.Header, string(b), strings.Contains(res.Header.Get("Cache-Status"), "; hit")}
}

// got is what a client gets.
type got struct {
	code   int
	header http.Header
	body   string
	hit    bool
}

const miss, hit = false, true

func (g got) is(t *testing.T, code int, hit bool) got {
	t.Helper()
	if g.code != code || g.hit != hit {
		t.Errorf("got %d %q, Cache-Status: %s; want %d, hit %t", g.code, g.body[:min(len(g.body), 50)], g.header.Get("Cache-Status"), code, hit)
	}
	return g
}

func (g got) says(t *testing.T, body string) {
	t.Helper()
	if g.body != body {
		t.Errorf("got %q, not %q", g.body, body)
	}
}

// refused: 401, or 400 with those that take no credentials for a bad request.
func (g got) refused(t *testing.T) {
	t.Helper()
	if g.code != 401 && g.code != 400 || g.hit {
		t.Errorf("%d for somebody who is not allowed", g.code)
	}
}

func (g got) id(t *testing.T) string {
	t.Helper()
	id := g.header.Get("X-Request-Id")
	if id == "" || len(g.header["X-Request-Id"]) != 1 {
		t.Errorf("ids: %q", g.header["X-Request-Id"])
	}
	return id
}

func (g got) allows(t *testing.T, origin string) got {
	t.Helper()
	if o := strings.Join(g.header["Access-Control-Allow-Origin"], ", "); o != origin {
		t.Errorf("allowed origin %q, not %q", o, origin)
	}
	return g
}

// coded checks the coding, and that it is the page.
func (g got) coded(t *testing.T, coding string) got {
	t.Helper()
	body := g.body
	if coding == "gzip" {
		body = gunzip([]byte(body))
	}
	if g.header.Get("Content-Encoding") != coding || body != pageText {
		t.Errorf("coding %q, not %q, of %d bytes", g.header.Get("Content-Encoding"), coding, len(g.body))
	}
	return g
}

func (g got) cookies() string {
	all := map[string]string{}
	for _, c := range (&http.Response{Header: g.header}).Cookies() {
		all[c.Name] = c.Value
	}
	var b []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b = append(b, name+"="+all[name])
	}
	return strings.Join(b, "; ")
}

func (g got) token(t *testing.T) string {
	t.Helper()
	m := token.FindStringSubmatch(g.body)
	if m == nil {
		t.Fatalf("no token in %q", g.body)
	}
	return m[1]
}
