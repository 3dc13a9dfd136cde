package fiberadapter_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cache"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

// testPrefix is one that nobody else uses.
func testPrefix() string { return strings.TrimSuffix(storetest.Prefix(), ":") }

func newStorage(tb testing.TB, cfg fiberadapter.StorageConfig) *fiberadapter.Storage {
	tb.Helper()
	s, err := fiberadapter.NewStorage(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

func newClient(tb testing.TB, addr string) rueidis.Client {
	tb.Helper()
	c, err := storetest.Patiently(func() (rueidis.Client, error) { return dragonfly.NewClient(context.Background(), addr) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func mustSet(tb testing.TB, s *fiberadapter.Storage, key string, value []byte, exp time.Duration) {
	tb.Helper()
	if err := s.Set(key, value, exp); err != nil {
		tb.Fatalf("Set(%q): %v", key, err)
	}
}

func mustGet(tb testing.TB, s *fiberadapter.Storage, key string) []byte {
	tb.Helper()
	v, err := s.Get(key)
	if err != nil {
		tb.Fatalf("Get(%q): %v", key, err)
	}
	return v
}

func TestStorageConfigIsChecked(t *testing.T) {
	client := newClient(t, storetest.Server(t))
	for _, c := range []struct {
		cfg  fiberadapter.StorageConfig
		want []string
	}{
		{fiberadapter.StorageConfig{}, []string{"URL and Client are both empty"}},
		{fiberadapter.StorageConfig{URL: "localhost", Client: client}, []string{"URL and Client are both set"}},
		{fiberadapter.StorageConfig{URL: "http://localhost"}, []string{"StorageConfig.URL", `scheme "http"`}},
		{fiberadapter.StorageConfig{Client: client, Prefix: "a b"}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Client: client, Prefix: "a\n"}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Client: client, Prefix: "é"}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Client: client, Prefix: "a:"}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Client: client, Prefix: "a::b"}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Client: client, Prefix: strings.Repeat("p", 65)}, []string{"Prefix"}},
		{fiberadapter.StorageConfig{Timeout: -1}, []string{"Timeout", "URL and Client"}},
	} {
		s, err := fiberadapter.NewStorage(c.cfg)
		if err == nil || s != nil {
			t.Errorf("%+v is taken", c.cfg)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
}

func TestStorageValues(t *testing.T) {
	s := newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()})
	if v, err := s.Get("missing"); v != nil || err != nil {
		t.Errorf("a missing key: %v, %v, want nil, nil", v, err)
	}
	if err := s.Delete("missing"); err != nil {
		t.Errorf("Delete of a missing key: %v", err)
	}
	for _, exp := range []time.Duration{0, time.Hour} {
		for i, value := range [][]byte{[]byte("value"), {}, {0, 255, '\r', '\n'}, bytes.Repeat([]byte("large"), 1<<18)} {
			key := fmt.Sprintf("%v-%d \x00 é", exp, i)
			mustSet(t, s, key, value, exp)
			if got := mustGet(t, s, key); got == nil || !bytes.Equal(got, value) {
				t.Errorf("exp %v: %d bytes came back as %d, nil %v", exp, len(value), len(got), got == nil)
			}
			if err := s.Delete(key); err != nil {
				t.Error(err)
			}
			if got := mustGet(t, s, key); got != nil {
				t.Errorf("exp %v: still there after Delete", exp)
			}
		}
	}
}

func TestStorageIgnoresEmptyKeysAndNil(t *testing.T) {
	s := newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()})
	mustSet(t, s, "", []byte("v"), 0)
	if v := mustGet(t, s, ""); v != nil {
		t.Errorf("an empty key has %q", v)
	}
	if err := s.Delete(""); err != nil {
		t.Error(err)
	}
	mustSet(t, s, "k", []byte("v"), 0)
	mustSet(t, s, "k", nil, 0)
	if v := mustGet(t, s, "k"); string(v) != "v" {
		t.Errorf("a nil value was not ignored: %q", v)
	}
	if err := s.Set("k", []byte("w"), -time.Second); err == nil {
		t.Error("a negative expiration is taken")
	}
}

func TestStorageExpiry(t *testing.T) {
	addr, prefix := storetest.Server(t), testPrefix()
	s := newStorage(t, fiberadapter.StorageConfig{URL: addr, Prefix: prefix})
	c := newClient(t, addr)
	pttl := func(key string) int64 {
		t.Helper()
		ms, err := c.Do(context.Background(), c.B().Pttl().Key(prefix+"::"+key).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return ms
	}
	mustSet(t, s, "forever", []byte("v"), 0)
	if ms := pttl("forever"); ms != -1 {
		t.Errorf("exp 0 expires in %d ms", ms)
	}
	mustSet(t, s, "k", []byte("v"), 1500*time.Millisecond)
	if ms := pttl("k"); ms <= 1000 || ms > 1500 {
		t.Errorf("exp 1.5s expires in %d ms", ms)
	}
	start := time.Now()
	mustSet(t, s, "short", []byte("v"), 200*time.Millisecond)
	set := time.Now()
	for asked := set; mustGet(t, s, "short") != nil; asked = time.Now() {
		if asked.Sub(set) > 800*time.Millisecond {
			t.Fatal("an expiration of 200ms was not kept")
		}
		time.Sleep(2 * time.Millisecond)
	}
	if age := time.Since(start); age < 190*time.Millisecond {
		t.Errorf("gone after %v", age)
	}
}

func TestStorageCopies(t *testing.T) {
	s := newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()})
	// The memory is reused as soon as the call is over, whatever became of it.
	key, value := []byte("key-0000"), []byte("value-0000")
	for i := range 50 {
		copy(key[4:], fmt.Sprintf("%04d", i))
		copy(value[6:], fmt.Sprintf("%04d", i))
		mustSet(t, s, rueidis.BinaryString(key), value, time.Duration(i%2)*time.Hour)
	}
	for i := range 50 {
		if got := mustGet(t, s, fmt.Sprintf("key-%04d", i)); string(got) != fmt.Sprintf("value-%04d", i) {
			t.Errorf("key %d has %q", i, got)
		}
	}
}

func TestStorageResetKeepsNeighbours(t *testing.T) {
	addr, base := storetest.Server(t), testPrefix()
	c := newClient(t, addr)
	prefixes := []string{"a", "ab", "a:b", "a*", "a?", "[a]", "a[b]", `a\`, `a\*`, "{a}", "a^"}
	storages := map[string]*fiberadapter.Storage{}
	for _, p := range prefixes {
		storages[p] = newStorage(t, fiberadapter.StorageConfig{Client: c, Prefix: base + p})
	}
	fill := func() {
		for _, p := range prefixes {
			for i := range 30 {
				mustSet(t, storages[p], fmt.Sprintf("key %d", i), []byte(p), time.Hour)
			}
			mustSet(t, storages[p], "b::key", []byte(p), 0)
			mustSet(t, storages[p], "::", []byte(p), 0)
		}
	}
	for _, reset := range prefixes {
		fill()
		if err := storages[reset].Reset(); err != nil {
			t.Fatalf("Reset of %q: %v", reset, err)
		}
		for _, p := range prefixes {
			for _, key := range []string{"key 0", "key 29", "b::key", "::"} {
				if there := mustGet(t, storages[p], key) != nil; there != (p != reset) {
					t.Errorf("after a Reset of %q, %q of %q is there: %v", reset, key, p, there)
				}
			}
		}
	}
}

func TestStorageResetOfMany(t *testing.T) {
	c := newClient(t, storetest.Server(t))
	s := newStorage(t, fiberadapter.StorageConfig{Client: c, Prefix: testPrefix()})
	const n = 3000
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if err := s.Set(fmt.Sprint(i), []byte("v"), time.Hour); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if mustGet(t, s, fmt.Sprint(i)) != nil {
			t.Fatalf("key %d survived", i)
		}
	}
}

func TestStorageResetOfCluster(t *testing.T) {
	ctx := context.Background()
	bus, err := servers.FreePort(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := storetest.StartServer(t, servers.ClusterNode(bus))
	setup, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{p.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer setup.Close()
	if err := setup.Do(ctx, setup.B().Arbitrary("CLUSTER", "ADDSLOTSRANGE", "0", "16383").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		info, err := setup.Do(ctx, setup.B().Arbitrary("CLUSTER", "INFO").Build()).ToString()
		if err == nil && strings.Contains(info, "cluster_state:ok") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the cluster does not come up: %s %v", info, err)
		}
	}
	s := newStorage(t, fiberadapter.StorageConfig{URL: p.Addr, Prefix: "a"})
	other := newStorage(t, fiberadapter.StorageConfig{URL: p.Addr, Prefix: "ab"})
	for i := range 200 {
		mustSet(t, s, fmt.Sprint(i), []byte("v"), time.Hour)
		mustSet(t, other, fmt.Sprint(i), []byte("v"), time.Hour)
	}
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if mustGet(t, s, fmt.Sprint(i)) != nil || mustGet(t, other, fmt.Sprint(i)) == nil {
			t.Fatalf("key %d: Reset went wrong", i)
		}
	}
}

func TestStorageClose(t *testing.T) {
	addr := storetest.Server(t)
	client := newClient(t, addr)
	given, err := fiberadapter.NewStorage(fiberadapter.StorageConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	if err := given.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(context.Background(), client.B().Ping().Build()).Error(); err != nil {
		t.Errorf("Close closed a client that it was given: %v", err)
	}

	running := goleak.IgnoreCurrent()
	opened, err := fiberadapter.NewStorage(fiberadapter.StorageConfig{URL: addr, Prefix: testPrefix()})
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, opened, "k", []byte("v"), time.Minute)
	for range 2 {
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := opened.Get("k"); err == nil {
		t.Error("a closed storage still answers")
	}
	goleak.VerifyNone(t, running)
}

func TestStorageEndsCalls(t *testing.T) {
	p := storetest.StartServer(t)
	s := newStorage(t, fiberadapter.StorageConfig{URL: p.Addr, Timeout: 50 * time.Millisecond})
	mustSet(t, s, "k", []byte("v"), time.Minute)
	p.Pause()
	defer p.Resume()
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := s.Get("k"); return err },
		"Set":    func() error { return s.Set("k", []byte("v"), time.Minute) },
		"Set 0":  func() error { return s.Set("k", []byte("v"), 0) },
		"Delete": func() error { return s.Delete("k") },
		"Reset":  s.Reset,
	} {
		start := time.Now()
		if err := call(); err == nil {
			t.Errorf("%s: no error from a server that does not answer", name)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s took %v with a timeout of 50ms", name, took)
		}
	}
}

// ask sends a request to app and returns status, header and body.
func ask(t *testing.T, app *fiber.App, method, path string, header ...string) (int, map[string]string, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := app.Test(r, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for name := range res.Header {
		fields[name] = res.Header.Get(name)
	}
	return res.StatusCode, fields, string(body)
}

func TestStorageUnderFiberCache(t *testing.T) {
	addr, prefix := storetest.Server(t), testPrefix()
	var runs int
	newApp := func() *fiber.App {
		app := fiber.New()
		app.Use(cache.New(cache.Config{
			Expiration: time.Minute, StoreResponseHeaders: true,
			Storage: newStorage(t, fiberadapter.StorageConfig{URL: addr, Prefix: prefix}),
		}))
		app.Get("/empty", func(c *fiber.Ctx) error { runs++; return c.SendString("") })
		app.Get("/:what", func(c *fiber.Ctx) error {
			runs++
			c.Set("X-Run", fmt.Sprint(runs))
			return c.JSON(fiber.Map{"what": c.Params("what"), "run": runs})
		})
		return app
	}
	// The second app is another process that shares the server.
	first, second := newApp(), newApp()
	for i, path := range []string{"/one", "/two", "/empty"} {
		runs = 0
		status, header, body := ask(t, first, "GET", path)
		if header["X-Cache"] != "miss" || runs != 1 {
			t.Errorf("%s: X-Cache %q after %d runs", path, header["X-Cache"], runs)
		}
		for _, app := range []*fiber.App{first, second} {
			gotStatus, gotHeader, gotBody := ask(t, app, "GET", path)
			if gotHeader["X-Cache"] != "hit" || runs != 1 || gotStatus != status || gotBody != body ||
				gotHeader["X-Run"] != header["X-Run"] || body != "" && gotHeader["Content-Type"] != header["Content-Type"] {
				t.Errorf("%d %s: %d %v %q after %d runs, want what came first: %d %v %q", i, path, gotStatus, gotHeader, gotBody, runs, status, header, body)
			}
		}
	}
}

func TestStorageUnderFiberSession(t *testing.T) {
	storage := newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()})
	sessions := session.New(session.Config{Storage: storage, Expiration: time.Minute})
	app := fiber.New()
	app.Get("/count", func(c *fiber.Ctx) error {
		s, err := sessions.Get(c)
		if err != nil {
			return err
		}
		n, _ := s.Get("n").(int)
		s.Set("n", n+1)
		if err := s.Save(); err != nil {
			return err
		}
		return c.SendString(fmt.Sprint(n + 1))
	})
	app.Get("/logout", func(c *fiber.Ctx) error {
		s, err := sessions.Get(c)
		if err != nil {
			return err
		}
		return s.Destroy()
	})
	visit := func(path, cookie string) (string, string) {
		t.Helper()
		status, header, body := ask(t, app, "GET", path, "Cookie", cookie)
		if status != 200 {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		set, _, _ := strings.Cut(header["Set-Cookie"], ";")
		return body, set
	}
	_, alice := visit("/count", "")
	_, bob := visit("/count", "")
	if alice == bob || !strings.HasPrefix(alice, "session_id=") {
		t.Fatalf("cookies %q and %q", alice, bob)
	}
	for _, want := range []string{"2", "3"} {
		if n, _ := visit("/count", alice); n != want {
			t.Errorf("count %s, want %s", n, want)
		}
	}
	visit("/logout", alice)
	if n, _ := visit("/count", alice); n != "1" {
		t.Errorf("count %s after logout, want 1", n)
	}
	if n, _ := visit("/count", bob); n != "2" {
		t.Errorf("the other session's count is %s, want 2", n)
	}
	if err := sessions.Reset(); err != nil {
		t.Fatal(err)
	}
	if n, _ := visit("/count", bob); n != "1" {
		t.Errorf("count %s after Reset, want 1", n)
	}
}

func TestStorageUnderFiberLimiter(t *testing.T) {
	addr, prefix := storetest.Server(t), testPrefix()
	newApp := func() *fiber.App {
		app := fiber.New()
		app.Use(limiter.New(limiter.Config{
			Max: 4, Expiration: time.Minute, KeyGenerator: func(c *fiber.Ctx) string { return c.Get("X-Client") },
			Storage: newStorage(t, fiberadapter.StorageConfig{URL: addr, Prefix: prefix}),
		}))
		app.Get("/", func(c *fiber.Ctx) error { return c.SendString("ok") })
		return app
	}
	apps := []*fiber.App{newApp(), newApp()}
	for i := range 6 {
		status, _, _ := ask(t, apps[i%2], "GET", "/", "X-Client", "one")
		if want := map[bool]int{true: 200, false: 429}[i < 4]; status != want {
			t.Errorf("request %d: %d, want %d", i, status, want)
		}
	}
	if status, _, _ := ask(t, apps[0], "GET", "/", "X-Client", "two"); status != 200 {
		t.Errorf("another client: %d", status)
	}
}

func TestStorageUnderFiberCSRF(t *testing.T) {
	app := fiber.New()
	app.Use(csrf.New(csrf.Config{Storage: newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()})}))
	app.All("/", func(c *fiber.Ctx) error { return c.SendString("ok") })
	_, header, _ := ask(t, app, "GET", "/")
	cookie, _, _ := strings.Cut(header["Set-Cookie"], ";")
	_, token, _ := strings.Cut(cookie, "=")
	if status, _, _ := ask(t, app, "POST", "/", "Cookie", cookie, "X-Csrf-Token", token); status != 200 {
		t.Errorf("with its token: %d", status)
	}
	forged := strings.Repeat("0", len(token))
	if status, _, _ := ask(t, app, "POST", "/", "Cookie", "csrf_="+forged, "X-Csrf-Token", forged); status != 403 {
		t.Errorf("with a token of nobody's: %d", status)
	}
}

func TestStorageUnderFiberIdempotency(t *testing.T) {
	app := fiber.New()
	app.Use(idempotency.New(idempotency.Config{
		Lifetime: time.Minute,
		Storage:  newStorage(t, fiberadapter.StorageConfig{URL: storetest.Server(t), Prefix: testPrefix()}),
	}))
	var runs int
	app.Post("/", func(c *fiber.Ctx) error { runs++; return c.SendString(fmt.Sprint(runs)) })
	const key = "00000000-0000-0000-0000-000000000001"
	for range 3 {
		if _, _, body := ask(t, app, "POST", "/", "X-Idempotency-Key", key); body != "1" {
			t.Errorf("body %q, want that of the first run", body)
		}
	}
	if _, _, body := ask(t, app, "POST", "/"); body != "2" {
		t.Errorf("body %q without a key", body)
	}
}

func BenchmarkStorageGet(b *testing.B) {
	s := newStorage(b, fiberadapter.StorageConfig{URL: storetest.Server(b), Prefix: testPrefix()})
	mustSet(b, s, "key", make([]byte, 1024), time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if v, err := s.Get("key"); v == nil || err != nil {
			b.Fatal(v, err)
		}
	}
}
