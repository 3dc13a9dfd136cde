package coretest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/store"
)

// What a store holds or answers that is none of ours: it may cost misses, but never
// gives what was purged, or an error, to a client.
var foreignCases = []testCase{
	{name: "foreign values", run: testForeign},
	{name: "refused writes", run: testRefused},
	{name: "writes that fail", run: testUnwritten},
	{name: "a token that is lost", run: testLostToken},
}

// command sends a command to the server under test, and gives the texts of its answer.
func (c *run) command(args ...string) (answer []string) {
	c.Helper()
	u, err := url.Parse(c.addr)
	if err != nil {
		c.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, giveUp)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(giveUp))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		c.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for left := 1; left > 0; left-- {
		line, err := r.ReadString('\n')
		if err != nil {
			c.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\r\n")
		n, _ := strconv.Atoi(line[1:])
		switch line[0] {
		case '*':
			left += n
		case '$':
			text := make([]byte, n+2)
			if _, err := io.ReadFull(r, text); err != nil {
				c.Fatal(err)
			}
			answer = append(answer, string(text[:n]))
		case '-':
			c.Fatalf("%q: %s", args, line)
		default:
			answer = append(answer, line[1:])
		}
	}
	return answer
}

// versions is a site whose responses tell when they were made: of a plain, a tagged and
// a varied resource.
func (c *run) versions(cache *cacheaside.Cache, version *atomic.Int64) *site {
	c.Helper()
	handler := func(fields ...string) Handler {
		return func(x Ctx) error {
			return answered(x, 200, append(fields, "X-Version", fmt.Sprint(version.Load()), "Cache-Tag", "row")...)
		}
	}
	return c.Site(App{Global: cache, Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error { return answered(x, 200, "X-Version", fmt.Sprint(version.Load())) }},
		{Path: "/t", Handler: handler()},
		{Path: "/v", Handler: handler("Vary", "Accept")},
	}})
}

var versionPaths = []string{"/x", "/t", "/v"}

// testForeign: whatever is under any of our keys, and whenever it got there.
func testForeign(c *run) {
	if c.server == nil {
		c.Skip("the embedded store has no keys that others could write")
	}
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Breaker.Failures = -1 })
	var version atomic.Int64
	s := c.versions(cache, &version)
	fresh := func(when string) {
		c.Helper()
		for _, path := range versionPaths {
			if got := s.Get(path).Is(200, "body").Header.Get("X-Version"); got != fmt.Sprint(version.Load()) {
				c.Errorf("%s: %s is version %s, want %d", when, path, got, version.Load())
			}
		}
		c.flush(cache)
	}
	stored := func(when string) {
		c.Helper()
		for _, path := range versionPaths {
			c.Eventually(when+": "+path+" is stored", func() bool {
				hit := s.Get(path).Is(200, "body").CacheStatus()["hit"] != ""
				c.flush(cache)
				c.Clock.Advance(time.Second) // or what failed is not tried again yet
				return hit
			})
		}
	}
	purge := func() {
		c.Helper()
		ctx := c.context()
		version.Add(1)
		c.purged(cache.PurgeTags(ctx, "row"))
		c.purged(cache.PurgeURL(ctx, pairURL+"/x"))
	}
	fresh("at first")
	ours := c.command("KEYS", c.namespace+"*")
	for _, key := range ours {
		if !strings.HasPrefix(key, c.namespace+":2:{") {
			c.Errorf("the key %q is not of this version: what another one has written would be read", key)
		}
	}
	if len(ours) < 6 {
		c.Fatalf("only %q", ours)
	}
	for _, path := range versionPaths {
		ours = append(ours, c.namespace+":2:{GET:http://"+defaultHost+path+"}:lock")
	}
	ours = append(ours, c.namespace+":2:{tags}:clock:ring")
	for what, put := range map[string][]string{
		"text":           {"SET", "", "something of somebody else"},
		"nothing":        {"SET", "", ""},
		"bytes":          {"SET", "", "\x00\xff\r\n"},
		"huge":           {"SET", "", strings.Repeat("x", 1<<20)},
		"a list":         {"RPUSH", "", "a", "b"},
		"a long element": {"RPUSH", "", strings.Repeat("0", 1<<16)},
		"a hash":         {"HSET", "", "a", "b"},
		"a set":          {"SADD", "", "a"},
		// What an older version has used.
		"a guard":        {"SET", "", "3f2a9c0d5e6b7a8190a1b2c3d4e5f607"},
		"an old token":   {"SET", "", "pass"},
		"an old note":    {"SET", "", "pass:"},
		"an old stamp":   {"SET", "", "1795000000000000 1795000000000000"},
		"an old clock":   {"SET", "", "1795000000000000"},
		"an old journal": {"SET", "", `{"all":{"hard":1795000000000000,"soft":1795000000000000}}`},
	} {
		spoil := func() {
			c.Helper()
			for _, key := range ours {
				c.command("DEL", key)
				c.command(append([]string{put[0], key}, put[2:]...)...)
			}
			c.Clock.Advance(time.Second) // the copy of the journal is too old
		}
		stored(what + ", before")
		spoil() // while nothing was purged
		fresh(what + " where it was stored")
		stored(what)
		purge()
		spoil()
		fresh(what + " after a purge")
		stored(what)
		spoil()
		purge()
		fresh(what + " before a purge")
		if put[0] != "RPUSH" && what != "text" {
			continue
		}
		for _, key := range ours { // each for itself
			stored(what + ", alone before")
			purge()
			c.command("DEL", key)
			c.command(append([]string{put[0], key}, put[2:]...)...)
			c.Clock.Advance(time.Second)
			fresh(what + " under " + key)
		}
	}
	stored("in the end")
	c.command("SCRIPT", "FLUSH")
	purge()
	fresh("without scripts")
	c.command("SCRIPT", "FLUSH")
	stored("without scripts")
}

// refusing is a store that does not do some of what it is asked for.
type refusing struct {
	store.Coordinator
	method atomic.Pointer[string] // which; "*": all that write
	err    error
}

func (s *refusing) fails(method string) error {
	if m := s.method.Load(); m != nil && (*m == method || *m == "*") {
		return fmt.Errorf("%s: %w", method, s.err)
	}
	return nil
}

func (s *refusing) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.fails("Set"); err != nil {
		return err
	}
	return s.Coordinator.Set(ctx, key, value, ttl)
}

func (s *refusing) Delete(ctx context.Context, keys ...string) error {
	if err := s.fails("Delete"); err != nil {
		return err
	}
	return s.Coordinator.Delete(ctx, keys...)
}

func (s *refusing) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	if err := s.fails("Begin"); err != nil {
		return store.Begun{}, err
	}
	return s.Coordinator.Begin(ctx, f)
}

func (s *refusing) Extend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	if err := s.fails("Extend"); err != nil {
		return false, err
	}
	return s.Coordinator.Extend(ctx, lock, token, ttl)
}

func (s *refusing) Swap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	if err := s.fails("Swap"); err != nil {
		return false, err
	}
	return s.Coordinator.Swap(ctx, lock, token, next, ttl)
}

func (s *refusing) Write(ctx context.Context, w store.Write) (store.Written, error) {
	if err := s.fails("Write"); err != nil {
		return store.Written{}, err
	}
	return s.Coordinator.Write(ctx, w)
}

func (s *refusing) Raise(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if err := s.fails("Raise"); err != nil {
		return store.Mark{}, err
	}
	return s.Coordinator.Raise(ctx, clock, keys, soft, at, ttl)
}

func (s *refusing) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if err := s.fails("ReadJournal"); err != nil { // it may have to make it
		return store.Journal{}, err
	}
	return s.Coordinator.ReadJournal(ctx, clock)
}

func (s *refusing) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if err := s.fails("WriteJournal"); err != nil {
		return store.Journal{}, false, err
	}
	return s.Coordinator.WriteJournal(ctx, clock, old, text)
}

var refusingMethods = []string{"Set", "Delete", "Begin", "Extend", "Swap", "Write", "Raise", "ReadJournal", "WriteJournal", "*"}

// testRefused: a store that takes no more costs the store of that response.
func testRefused(c *run) {
	broken := &refusing{Coordinator: c.Store().(store.Coordinator), err: store.ErrRefused}
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Store, cfg.Breaker.Failures = broken, 2 })
	c.unwritten(cache, broken, func(method string, before, after cacheaside.Stats) {
		refused := after.Refused - before.Refused
		if (method == "Begin" || method == "Write" || method == "*") && refused == 0 {
			c.Errorf("%s: nothing was counted as refused", method)
		}
		if n := after.StoreErrors - before.StoreErrors; n > 0 {
			c.Errorf("%s: %d were counted as failures", method, n)
		}
		if cache.BreakerOpen() {
			c.Errorf("%s: the circuit breaker is open", method)
		}
	})
}

// testUnwritten: as with a server that has become a copy of another.
func testUnwritten(c *run) {
	broken := &refusing{Coordinator: c.Store().(store.Coordinator), err: errors.New("READONLY: it is a replica")}
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Store, cfg.Breaker.Failures = broken, -1 })
	c.unwritten(cache, broken, func(method string, before, after cacheaside.Stats) {
		if (method == "Begin" || method == "Write" || method == "*") && after.StoreErrors == before.StoreErrors {
			c.Errorf("%s: nothing was counted as a failure", method)
		}
	})
}

func (c *run) unwritten(cache *cacheaside.Cache, broken *refusing, check func(method string, before, after cacheaside.Stats)) {
	c.Helper()
	const clients = 4
	app := App{Global: cache}
	for _, method := range refusingMethods {
		for _, kind := range [][]string{nil, {"Cache-Tag", "row"}, {"Vary", "Accept"}} {
			app.Routes = append(app.Routes, Route{Path: fmt.Sprint("/", strings.ReplaceAll(method, "*", "all"), len(app.Routes)), Handler: func(x Ctx) error {
				time.Sleep(5 * time.Millisecond) // for others to wait
				return answered(x, 200, append(kind, "X-A", "1")...)
			}})
		}
	}
	s := c.Site(app)
	for i, method := range refusingMethods {
		before := cache.Stats()
		broken.method.Store(&method)
		for _, route := range app.Routes[3*i : 3*i+3] {
			atOnce(clients, func(int) {
				r, err := s.Try(context.Background(), http.MethodGet, route.Path, "")
				if err != nil || r.Status != 200 || r.Body != "body" || r.Header.Get("X-A") != "1" {
					c.Errorf("%s of %s: %v, %v", method, route.Path, r, err)
				}
			})
		}
		c.flush(cache)
		check(method, before, cache.Stats())
		broken.method.Store(nil)
		c.Clock.Advance(time.Second) // or the journal is not asked for again yet
		for _, route := range app.Routes[3*i : 3*i+3] {
			c.Eventually(method+": "+route.Path+" is stored later", func() bool {
				hit := s.Get(route.Path).Is(200, "body").CacheStatus()["hit"] != ""
				c.flush(cache)
				return hit
			})
		}
	}
}

// testLostToken: a process that stands still for longer than its token lives does not
// write what was purged meanwhile.
func testLostToken(c *run) {
	slow := &refusing{Coordinator: c.Store().(store.Coordinator), err: context.DeadlineExceeded}
	extend := "Extend"
	slow.method.Store(&extend)
	var version atomic.Int64
	begun, end := make(chan struct{}), make(chan struct{})
	one := c.Cache(func(cfg *cacheaside.Config) { cfg.Store = slow })
	two := c.Cache(func(cfg *cacheaside.Config) { cfg.Store = slow.Coordinator })
	var held atomic.Bool
	held.Store(true)
	handler := func(fields ...string) Handler {
		return func(x Ctx) error {
			now := fmt.Sprint(version.Load())
			if held.Load() {
				begun <- struct{}{}
				<-end
			}
			return answered(x, 200, append(fields, "X-Version", now)...)
		}
	}
	app := App{Global: one, Routes: []Route{
		{Path: "/x", Handler: handler()}, {Path: "/t", Handler: handler("Cache-Tag", "row")}, {Path: "/v", Handler: handler("Vary", "Accept")},
	}}
	paused := c.Site(app)
	app.Global = two
	other := c.Site(app)
	done := make(chan struct{})
	go func() {
		defer close(done)
		atOnce(len(app.Routes), func(i int) {
			if r, err := paused.Try(context.Background(), http.MethodGet, app.Routes[i].Path, ""); err != nil || r.Status != 200 || r.Header.Get("X-Version") != "0" {
				c.Errorf("%s: %v, %v", app.Routes[i].Path, r, err)
			}
		})
	}()
	for range app.Routes {
		await(c, "the handler", begun)
	}
	held.Store(false)
	version.Add(1)
	var locks []string
	for _, route := range app.Routes {
		locks = append(locks, c.namespace+":2:{GET:http://"+defaultHost+route.Path+"}:lock")
	}
	if err := slow.Coordinator.Delete(c.context(), locks...); err != nil { // as the token has expired
		c.Fatal(err)
	}
	for _, route := range app.Routes {
		c.purged(two.PurgeURL(c.context(), pairURL+route.Path))
		other.Get(route.Path).Has("X-Version", "1").Stored()
	}
	close(end)
	await(c, "the clients", done)
	c.flush(one)
	for _, route := range app.Routes {
		other.Get(route.Path).Hit().Has("X-Version", "1")
		paused.Get(route.Path).Has("X-Version", "1")
	}
}
