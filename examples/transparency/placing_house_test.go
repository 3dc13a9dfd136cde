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
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Policies of the services.
type policyOf = func(*cacheaside.Policy)

func skipForms(p *cacheaside.Policy) {
	p.Skip = func(r *cacheaside.Request) bool { return r.Path == "/form" }
}

func skipPanics(p *cacheaside.Policy) {
	p.Skip = func(*cacheaside.Request) bool { panic("in front of recover") }
}

func readNoCookies(p *cacheaside.Policy) { p.Requests.Cookies = cacheaside.None() }

func compresses(p *cacheaside.Policy) { p.Compression.Codings = []string{"gzip"} }

func authorizedAndCompressed(p *cacheaside.Policy) {
	authorized(p)
	compresses(p)
}

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
	return got{res.StatusCode, res.Header, string(b), fromStore(res.Header.Get("Cache-Status"))}
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
