package coretest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Handlers that fail, stream, take the connection over or run side by side.
var flowCases = []testCase{
	{name: "returned error", run: testError},
	{name: "panic", run: testPanic},
	{name: "panic after a part", run: testPanicLate},
	{name: "recovery behind the cache", run: testInnerRecovery},
	{name: "ErrAbortHandler", run: testAbortHandler, breaks: true},
	{name: "Goexit", run: testGoexit, breaks: true},
	{name: "event stream", run: func(c *run) { testStream(c, "text/event-stream") }},
	{name: "event stream at once", run: testStreamAtOnce},
	{name: "flush", run: func(c *run) { testStream(c, c.live()) }},
	{name: "client leaves", run: testClientLeaves},
	{name: "hijack", run: testHijack},
	{name: "WebSocket", run: testWebSocket},
	{name: "103", run: testEarlyHints},
	{name: "trailers", run: func(c *run) { testTrailers(c, true) }},
	{name: "trailers not announced", run: func(c *run) { testTrailers(c, false) }},
	{name: "HTTP/2", run: testHTTP2},
	{name: "concurrent", run: testConcurrent},
	{name: "concurrent on one URL", run: testHot},
	{name: "concurrent cookies", run: testConcurrentCookies},
	{name: "concurrent private", run: testConcurrentPrivate},
	{name: "concurrent panic", run: testConcurrentPanic},
	{name: "concurrent mixture", run: testMixture},
}

func testError(c *run) {
	app := one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-H", "1")
		return x.Error(503, "later")
	})
	app.Routes = append(app.Routes,
		Route{Path: "/404", Handler: func(x Ctx) error { return x.Error(404, "none") }},
		Route{Path: "/fresh", Handler: func(x Ctx) error {
			x.SetHeader("Cache-Control", "max-age=60")
			return x.Error(500, "broken")
		}},
	)
	bare, s := c.Plain(app), c.Site(app)
	for _, path := range []string{"/x", "/404", "/fresh"} {
		want := bare.Get(path)
		if want.Status < 400 || want.Body == "" {
			c.Fatalf("%s without the cache: %d %q", path, want.Status, want.Body)
		}
		for i := range 3 {
			s.Get(path).Miss().NotStored().Same(want)
			s.Handled(path, i+1)
		}
		s.Head(path).Same(bare.Head(path))
	}
}

// recovering is an outer middleware that notes a panic and answers 500.
func recovering(seen *atomic.Value) Middleware {
	return func(x Ctx, next func() error) (err error) {
		defer func() {
			if v := recover(); v != nil {
				seen.Store([]any{v})
				err = x.Send(500, plain, []byte("recovered"))
			}
		}()
		return next()
	}
}

func testPanic(c *run) {
	type own struct{ n int }
	var seen atomic.Value
	var value atomic.Value
	value.Store([]any{nil})
	app := one(c.Cache(), func(x Ctx) error {
		if v := value.Load().([]any)[0]; v != nil {
			panic(v)
		}
		return x.Send(200, plain, []byte("fine"))
	})
	app.Outer = []Middleware{recovering(&seen)}
	s := c.Site(app)
	for _, v := range []any{"text", &own{7}, io.ErrUnexpectedEOF} {
		value.Store([]any{v})
		for range 2 {
			seen.Store([]any{nil})
			s.Get("/x").Is(500, "recovered")
			if got := seen.Load().([]any)[0]; got != v {
				c.Errorf("recovered %#v, want %#v", got, v)
			}
		}
	}
	value.Store([]any{nil})
	s.Get("/x").Miss().Stored().Is(200, "fine")
	s.Get("/x").Hit().Is(200, "fine")
	s.Handled("/x", 7)
}

// testPanicLate: what was written before the panic is no response.
func testPanicLate(c *run) {
	var seen atomic.Value
	app := one(c.Cache(), func(x Ctx) error {
		if x.Header("X-Fine") != "" {
			return x.Send(200, plain, []byte("whole"))
		}
		x.SetHeader("Content-Type", plain)
		x.Status(200)
		if _, err := x.Write([]byte("part")); err != nil {
			return err
		}
		panic("late")
	})
	app.Outer = []Middleware{recovering(&seen)}
	s := c.Site(app)
	for i := range 2 {
		_, _ = s.Try(c.context(), "GET", "/x", "")
		s.Handled("/x", i+1)
	}
	if v, ok := seen.Load().([]any); !ok || v[0] != "late" {
		c.Errorf("recovered %v", v)
	}
	s.Get("/x", "X-Fine: 1").Miss().Stored().Is(200, "whole")
	s.Get("/x").Hit().Is(200, "whole")
}

func testInnerRecovery(c *run) {
	var seen atomic.Value
	app := one(c.Cache(), func(x Ctx) error {
		if x.Header("X-Fine") != "" {
			return x.Send(200, plain, []byte("fine"))
		}
		panic("inside")
	})
	app.Inner = []Middleware{recovering(&seen)}
	s := c.Site(app)
	for range 2 {
		s.Get("/x").Miss().NotStored().Is(500, "recovered")
	}
	s.Get("/x", "X-Fine: 1").Miss().Stored().Is(200, "fine")
	s.Get("/x").Hit().Is(200, "fine")
}

func testAbortHandler(c *run) { testGone(c, func() { panic(http.ErrAbortHandler) }) }

func testGoexit(c *run) { testGone(c, runtime.Goexit) }

// testGone: the handler ends the connection, which the client must notice.
func testGone(c *run, leave func()) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if x.Header("X-Fine") != "" {
			return x.Send(200, plain, []byte("fine"))
		}
		x.SetHeader("Content-Type", plain)
		x.Status(200)
		if _, err := x.Write([]byte("part")); err != nil {
			return err
		}
		leave()
		return nil
	}))
	for range 2 {
		if r := s.Raw("GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\n\r\n"); r != nil {
			c.Errorf("the client got %d %q for an answer that was given up", r.Status, r.Body)
		}
	}
	s.Handled("/x", 2)
	s.Get("/x", "X-Fine: 1").Miss().Stored().Is(200, "fine")
	s.Get("/x").Hit().Is(200, "fine")
}

// testStream: what is flushed reaches the client at once.
func testStream(c *run, contentType string) {
	proceed := make(chan struct{}, 2) // never blocks, should the handler have given up
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.SetHeader("X-H", "1")
		return x.Stream(200, contentType, func(w Stream) error {
			if _, err := io.WriteString(w, "data: 1\n\n"); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			select {
			case <-proceed:
			case <-time.After(giveUp / 2):
				_, err := io.WriteString(w, "nobody read the first event\n")
				return err
			}
			_, err := io.WriteString(w, "data: 2\n\n")
			return err
		})
	}))
	for i := range 2 {
		req, err := http.NewRequestWithContext(c.context(), "GET", s.base+"/x", nil)
		if err != nil {
			c.Fatal(err)
		}
		req.Host = defaultHost
		res, err := s.Client.Do(req)
		if err != nil {
			c.Fatal(err)
		}
		first := make([]byte, len("data: 1\n\n"))
		_, err = io.ReadFull(res.Body, first)
		if err != nil || string(first) != "data: 1\n\n" {
			c.Errorf("the first event is %q, %v", first, err)
		}
		proceed <- struct{}{}
		r := &response{c: c, site: s, What: "the rest of the stream"}
		if err := r.read(res); err != nil {
			c.Fatal(err)
		}
		_ = res.Body.Close()
		r.Is(200, "data: 2\n\n").Fwd("miss").NotStored().Detail(adapter.ReasonStream).Has("X-H", "1").Has("Content-Type", contentType)
		s.Handled("/x", i+1)
	}
}

// testStreamAtOnce: events are for one client also where nothing was flushed.
func testStreamAtOnce(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		return x.Send(200, "Text/Event-Stream; charset=utf-8", []byte("data: 1\n\n"))
	}))
	for i := range 2 {
		s.Get("/x").Miss().NotStored().Detail(adapter.ReasonStream).Is(200, "data: 1\n\n")
		s.Handled("/x", i+1)
	}
}

// testClientLeaves: a handler that stops because its client has left has
// nothing to say to others.
func testClientLeaves(c *run) {
	began, ended := make(chan struct{}, 1), make(chan bool, 1)
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if x.Header("X-Stay") != "" {
			return x.Send(200, plain, []byte("whole"))
		}
		began <- struct{}{}
		told := false
		select {
		case <-x.Context().Done():
			told = true
		case <-time.After(time.Second):
		}
		ended <- told
		return x.Send(200, plain, []byte("half"))
	}))
	ctx, cancel := context.WithCancel(c.context())
	result := make(chan error, 1)
	go func() {
		_, err := s.Try(ctx, "GET", "/x", "")
		result <- err
	}()
	await(c, "the handler", began)
	cancel()
	if err := await(c, "the client", result); err == nil {
		c.Errorf("the client that left got an answer")
	}
	if !await(c, "the handler's end", ended) {
		c.Errorf("the handler was not told that its client has left")
	}
	s.Get("/x", "X-Stay: 1").Is(200, "whole")
	s.Handled("/x", 2)
	s.Get("/x", "X-Stay: 1").Hit().Is(200, "whole")
}

func testHijack(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		return x.Hijack(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		})
	}))
	for i := range 2 {
		r := s.Raw("GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\n\r\n")
		if r == nil {
			c.Fatal("no answer of a hijacked connection")
		}
		r.Is(200, "hi").Has("Cache-Status")
		s.Handled("/x", i+1)
	}
	if n := s.cache.Stats().Stores; n != 0 {
		c.Errorf("%d responses were stored", n)
	}
}

func testWebSocket(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		if x.Header("Upgrade") == "" {
			return x.Send(200, plain, []byte("no socket"))
		}
		return x.Hijack(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			_ = conn.SetDeadline(time.Now().Add(giveUp))
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil {
				_, _ = io.WriteString(conn, "echo "+line)
			}
		})
	}))
	for range 2 {
		conn := s.Dial()
		_, err := io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: "+defaultHost+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if err != nil {
			c.Fatal(err)
		}
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			c.Fatalf("upgrading: %v, %v", res, err)
		}
		_ = res.Body.Close()
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			c.Fatal(err)
		}
		if line, err := r.ReadString('\n'); err != nil || line != "echo hello\n" {
			c.Errorf("the socket answers %q, %v", line, err)
		}
		_ = conn.Close()
		s.Get("/x").Is(200, "no socket")
	}
	s.Get("/x").Hit() // and an upgrade still goes to the handler
	n := s.Calls("/x")
	if r := s.Raw("GET /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); r != nil && r.Body == "no socket" {
		c.Errorf("an upgrade was answered from the cache")
	}
	s.Handled("/x", n+1)
}

func testEarlyHints(c *run) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.SetHeader("Link", "</a.css>; rel=preload")
		if err := x.EarlyHints(); err != nil {
			return err
		}
		x.SetHeader("X-Final", "1")
		return x.Send(200, plain, []byte("final"))
	}))
	first := s.Get("/x").Miss().Stored().Is(200, "final").Has("X-Final", "1")
	if len(first.Hints) != 1 || first.Hints[0].Get("Link") != "</a.css>; rel=preload" || first.Hints[0].Get("X-Final") != "" {
		c.Errorf("hints: %v", first.Hints)
	}
	s.Get("/x").Hit().Is(200, "final").Has("X-Final", "1").Has("Link", "</a.css>; rel=preload")
	s.Handled("/x", 1)
	s.Do("POST", "/x", "") // and where nothing is held back
}

func testTrailers(c *run, announced bool) {
	s := c.Site(one(c.Cache(), func(x Ctx) error {
		x.SetHeader("Content-Type", plain)
		return x.Trailer([]byte("body"), "X-Sum", "42", announced)
	}))
	for i := range 2 {
		r := s.Get("/x").Miss().NotStored().Is(200, "body").Has("X-Sum")
		// fasthttp sends trailers after streams only.
		if d := r.CacheStatus()["detail"]; d != adapter.ReasonTrailers && d != adapter.ReasonStream {
			c.Errorf("detail=%s", d)
		}
		if got := r.Trailer.Values("X-Sum"); len(got) != 1 || got[0] != "42" {
			c.Errorf("trailers: %v", r.Trailer)
		}
		s.Handled("/x", i+1)
	}
}

func testHTTP2(c *run) {
	app := one(c.Cache(), with("a", "X-M", "1", "X-M", "2"))
	app.Routes = append(app.Routes, Route{Path: "/stream", Handler: scripts["stream"]})
	s := c.Site(app)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	old := s.Client.Transport
	s.Client.Transport = tr
	r := s.Get("/x").Miss().Stored().Is(200, "a")
	if r.Proto != "HTTP/2.0" {
		c.Errorf("the protocol is %s", r.Proto)
	}
	s.Get("/x").Hit().Same(r)
	s.Head("/x").Hit().Is(200, "").Has("Content-Length", "1")
	for range 2 {
		s.Get("/stream").Fwd("miss").NotStored().Is(200, "one two three")
	}
	s.Client.Transport = old // the key is the same in both versions
	s.Get("/x").Hit().Same(r)
	s.Handled("/x", 1)
}

func testConcurrent(c *run) {
	const urls, workers, rounds = 20, 16, 25
	s := c.Site(App{Global: c.Cache(), Routes: []Route{{Path: "/u/*", Handler: func(x Ctx) error {
		q := x.Query("n")
		n, err := strconv.Atoi(q)
		if err != nil {
			return err
		}
		x.SetHeader("X-N", q)
		return x.Send(200, plain, []byte(strings.Repeat(q+".", 1+n*50)))
	}}}})
	atOnce(workers, func(i int) {
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		for range rounds {
			n := rnd.IntN(urls)
			target := fmt.Sprintf("/u/%d?n=%d", n, n)
			r, err := s.Try(context.Background(), "GET", target, "")
			if err != nil {
				c.Errorf("%s: %v", target, err)
				return
			}
			r.Is(200, strings.Repeat(strconv.Itoa(n)+".", 1+n*50)).Has("X-N", strconv.Itoa(n))
		}
	})
	if n := s.Calls("/u/*"); n >= workers*rounds {
		c.Errorf("the handler ran for each of %d requests", n)
	}
	for n := range urls {
		s.Get(fmt.Sprintf("/u/%d?n=%d", n, n))
		s.Get(fmt.Sprintf("/u/%d?n=%d", n, n)).Hit()
	}
}

func testHot(c *run) {
	s := c.Site(one(c.Cache(), text("hot")))
	atOnce(32, func(int) {
		for range 10 {
			r, err := s.Try(context.Background(), "GET", "/x", "")
			if err != nil {
				c.Errorf("%v", err)
				return
			}
			r.Is(200, "hot")
		}
	})
	if n := s.Calls("/x"); n > 32 {
		c.Errorf("the handler ran %d times", n)
	}
}

// gathering is an outer middleware that opens the gate when n requests have
// arrived, so that they are in the service at the same time, whether they wait
// for one another or not.
func gathering(n int64, gate chan struct{}) Middleware {
	var arrived atomic.Int64
	return func(_ Ctx, next func() error) error {
		if arrived.Add(1) == n {
			close(gate)
		}
		return next()
	}
}

func waitFor(gate <-chan struct{}) {
	select {
	case <-gate:
	case <-time.After(giveUp):
	}
}

func testConcurrentCookies(c *run) {
	const n = 8
	gate := make(chan struct{})
	var id atomic.Int64
	app := one(c.Cache(), func(x Ctx) error {
		waitFor(gate)
		v := strconv.FormatInt(id.Add(1), 10)
		x.AddHeader("Set-Cookie", "id="+v)
		return x.Send(200, plain, []byte(v))
	})
	app.Outer = []Middleware{gathering(n, gate)}
	testEachItsOwn(c, c.Site(app), n)
}

func testConcurrentPrivate(c *run) {
	const n = 8
	gate := make(chan struct{})
	var id atomic.Int64
	app := one(c.Cache(), func(x Ctx) error {
		waitFor(gate)
		x.SetHeader("Cache-Control", "private, max-age=60")
		return x.Send(200, plain, []byte(strconv.FormatInt(id.Add(1), 10)))
	})
	app.Outer = []Middleware{gathering(n, gate)}
	testEachItsOwn(c, c.Site(app), n)
}

func testEachItsOwn(c *run, s *site, n int) {
	bodies := make([]string, n)
	atOnce(n, func(i int) {
		r, err := s.Try(context.Background(), "GET", "/x", "")
		if err != nil {
			c.Errorf("%v", err)
			return
		}
		if bodies[i] = r.Body; r.Status != 200 {
			c.Errorf("status %d", r.Status)
		}
		if cookie := r.Header.Get("Set-Cookie"); cookie != "" && cookie != "id="+r.Body {
			c.Errorf("the body is %s's and the cookie %s", r.Body, cookie)
		}
	})
	seen := make(map[string]bool)
	for _, b := range bodies {
		if seen[b] {
			c.Errorf("two clients got the answer of one: %q", bodies)
			break
		}
		seen[b] = true
	}
	s.Handled("/x", n)
}

// testConcurrentPanic: the first handler's panic strands nobody.
func testConcurrentPanic(c *run) {
	const n = 8
	gate := make(chan struct{})
	var seen atomic.Value
	var calls, failed, fine atomic.Int64
	app := one(c.Cache(patient), func(x Ctx) error {
		first := calls.Add(1) == 1
		waitFor(gate)
		if first {
			panic("first")
		}
		return x.Send(200, plain, []byte("fine"))
	})
	app.Outer = []Middleware{recovering(&seen), gathering(n, gate)}
	s := c.Site(app)
	atOnce(n, func(int) {
		r, err := s.Try(context.Background(), "GET", "/x", "")
		switch {
		case err != nil:
			c.Errorf("%v", err)
		case r.Status == 500 && r.Body == "recovered":
			failed.Add(1)
		case r.Status == 200 && r.Body == "fine":
			fine.Add(1)
		default:
			c.Errorf("%d %q", r.Status, r.Body)
		}
	})
	if failed.Load() != 1 || fine.Load() != n-1 {
		c.Errorf("%d failed and %d went well, want 1 and %d", failed.Load(), fine.Load(), n-1)
	}
	s.Handled("/x", 2) // one of those who waited took over
	s.Get("/x").Hit().Is(200, "fine")
}

// testMixture sends all kinds of requests at once: what frameworks and the
// cache pool must not travel from one to another.
func testMixture(c *run) {
	const workers, rounds = 12, 40
	var seen atomic.Value
	mw, _ := counted("X-Request-Id")
	app := App{Outer: []Middleware{mw, recovering(&seen)}, Global: c.Cache(), Routes: []Route{
		{Path: "/cached/*", Handler: func(x Ctx) error {
			x.SetHeader("X-Q", x.Query("q"))
			return x.Send(200, plain, []byte("cached "+x.Query("q")))
		}},
		{Path: "/vary", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "X-Kind")
			return x.Send(200, plain, []byte("kind "+x.Header("X-Kind")))
		}},
		{Path: "/error", Handler: func(x Ctx) error { return x.Error(500, "err "+x.Query("q")) }},
		{Path: "/panic", Handler: func(Ctx) error { panic("mixed") }},
		{Path: "/stream", Handler: scripts["stream"]},
		{Path: "/none", Handler: scripts["no-content"]},
		{Path: "/private", Handler: func(x Ctx) error {
			x.SetHeader("Cache-Control", "no-store")
			x.SetHeader("X-Q", x.Query("q"))
			return x.Send(200, plain, []byte("private "+x.Query("q")))
		}},
		{Path: "/post", Methods: []string{"POST"}, Handler: func(x Ctx) error {
			b, err := x.Body()
			if err != nil {
				return err
			}
			return x.Send(201, plain, append([]byte("posted "), b...))
		}},
	}}
	s := c.Site(app)
	atOnce(workers, func(i int) {
		rnd := rand.New(rand.NewPCG(2, uint64(i)))
		for range rounds {
			q := strconv.Itoa(rnd.IntN(10))
			method, target, body, want, status := "GET", "", "", "", 200
			var fields []string
			switch rnd.IntN(10) {
			case 0, 1:
				target, want = "/cached/"+q+"?q="+q, "cached "+q
			case 2:
				method, target = "HEAD", "/cached/"+q+"?q="+q
			case 3:
				target, want, fields = "/vary", "kind "+q, []string{"X-Kind: " + q}
			case 4:
				target, status, want = "/error?q="+q, 500, "err "+q
			case 5:
				target, status, want = "/panic", 500, "recovered"
			case 6:
				target, want = "/stream", "one two three"
			case 7:
				target, status = "/none", 204
			case 8:
				target, want = "/private?q="+q, "private "+q
			case 9:
				method, target, body, status, want = "POST", "/post", "b"+q, 201, "posted b"+q
			}
			r, err := s.Try(context.Background(), method, target, body, fields...)
			if err != nil {
				c.Errorf("%s %s: %v", method, target, err)
				return
			}
			if r.Status != status || !strings.Contains(r.Body, want) || method == "HEAD" && r.Body != "" {
				c.Errorf("%s: %d %s, want %d %q", r.What, r.Status, brief(r.Body), status, want)
			}
			if x := r.Header.Get("X-Q"); x != "" && x != q || len(r.Header.Values("X-Request-Id")) != 1 {
				c.Errorf("%s: X-Q is %q, X-Request-Id %q", r.What, x, r.Header.Values("X-Request-Id"))
			}
		}
	})
}
