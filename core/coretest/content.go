package coretest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Requests with content: the content is part of the key, and the handler gets all of it.
var contentCases = []testCase{
	{name: "content: keyed", run: func(c *run) { testContentKeyed(c, false) }},
	{name: "content: keyed, from a stream", run: func(c *run) { testContentKeyed(c, true) }},
	{name: "content: how it is told", run: testContentTold},
	{name: "content: too long", run: func(c *run) { testContentTooLong(c, false) }},
	{name: "content: too long, from a stream", run: func(c *run) { testContentTooLong(c, true) }},
	{name: "content: without end", run: testContentWithoutEnd},
	{name: "content: that breaks off", run: func(c *run) { testContentBreaksOff(c, false) }},
	{name: "content: that breaks off, from a stream", run: func(c *run) { testContentBreaksOff(c, true) }},
	{name: "content: trailers", run: testContentTrailers},
	{name: "content: Expect", run: testContentExpected},
	{name: "content: normalised", run: testContentNormalised},
	{name: "content: GraphQL", run: testGraphQL},
	{name: "content: not listed", run: testContentNotListed},
	{name: "content: HEAD", run: testContentHead},
	{name: "content: what is safe", run: testContentSafe},
	{name: "content: purged", run: testContentPurged},
	{name: "content: refreshed", run: func(c *run) { testContentRefreshed(c, false) }},
	{name: "content: refreshed, from a stream", run: func(c *run) { testContentRefreshed(c, true) }},
	{name: "content: renewed ahead", run: testContentAhead},
	{name: "content: a handler that takes its time", run: testContentSoft},
	{name: "content: coalesced", run: testContentCoalesced},
	{name: "content: variants", run: testContentVaries},
	{name: "content: conditions", run: testContentConditions},
	{name: "content: validated", run: testContentValidated},
	{name: "content: ranges", run: testContentRanges},
	{name: "content: policies behind one another", run: testContentNested},
}

const asJSON = "Content-Type: application/json"

// withContent are methods whose content may be part of a key.
var withContent = []string{"QUERY", http.MethodPost, http.MethodGet}

// keyed makes a cache answer all requests with content.
func keyed(cfg *cacheaside.Config) {
	cfg.Policy.Requests = cacheaside.RequestPolicy{
		Methods: append([]string{http.MethodHead}, withContent...), Content: cacheaside.ContentPolicy{OfGet: true},
	}
}

// echoed answers with what it sees of its content.
func echoed(x Ctx) error {
	b, err := x.Body()
	if err != nil {
		return x.Error(http.StatusBadRequest, "unread: "+err.Error())
	}
	return x.Send(200, plain, []byte(strings.Join([]string{x.Method(), x.Header("Content-Type"), x.Header("Content-Language"), string(b)}, "|")))
}

// summed answers with the SHA-256 of its content.
func summed(x Ctx) error {
	h := sha256.New()
	n, err := io.Copy(h, x.BodyReader())
	if err != nil {
		return x.Error(http.StatusBadRequest, "unread: "+err.Error())
	}
	return x.Send(200, plain, fmt.Appendf(nil, "%d %x", n, h.Sum(nil)))
}

func contentApp(cache *cacheaside.Cache, h Handler) App {
	return App{Global: cache, Routes: []Route{{Path: "/x", Methods: append([]string{http.MethodHead, http.MethodPut}, withContent...), Handler: h}}}
}

// contentSite is a service at /x whose requests may have content.
func (c *run) contentSite(h Handler, change ...func(*cacheaside.Config)) *site {
	c.Helper()
	return c.Site(contentApp(c.Cache(append([]func(*cacheaside.Config){keyed}, change...)...), h))
}

// chunks is a request with content of a length that it does not declare.
func chunks(method, content string, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n", method, defaultHost)
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	for len(content) > 0 {
		n := min(len(content), 10_000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, content[:n])
		content = content[n:]
	}
	b.WriteString("0\r\n")
	return b.String() // but for trailers and the last line
}

func testContentKeyed(c *run, streamed bool) {
	app := contentApp(c.Cache(keyed), echoed)
	app.Streamed = streamed
	s := c.Site(app)
	for _, method := range withContent {
		s.Do(method, "/x", `{"a":1}`, asJSON).Miss().Stored().Is(200, method+`|application/json||{"a":1}`)
		s.Do(method, "/x", `{"a":1}`, asJSON).Hit().Is(200, method+`|application/json||{"a":1}`)
		s.Do(method, "/x", `{"a":2}`, asJSON).Miss().Stored().Is(200, method+`|application/json||{"a":2}`)
		s.Do(method, "/x", `{"a":1}`, "Content-Type: text/plain").Miss().Stored().Is(200, method+`|text/plain||{"a":1}`)
		s.Do(method, "/x", `{"a":1}`, asJSON, "Content-Language: de").Miss().Stored().Is(200, method+`|application/json|de|{"a":1}`)
		s.Do(method, "/x", `{"a":1}`, asJSON, "Content-Digest: sha-256=:AA==:").Miss().Stored()
		s.Do(method, "/x", `{"a":1}`).Miss().Stored().Is(200, method+`|||{"a":1}`)
		s.Do(method, "/x", `{"a":2}`, asJSON).Hit().Is(200, method+`|application/json||{"a":2}`)
		s.Do(method, "/x?q", `{"a":1}`, asJSON).Miss()
		whole := method + "|||" + strings.Repeat("0123456789", 6000)
		s.Do(method, "/x", whole[len(method)+3:]).Miss().Stored().Is(200, whole)
		s.Do(method, "/x", whole[len(method)+3:]).Hit().Is(200, whole)
		for _, want := range []string{"miss", ""} {
			r := s.Raw(chunks(method, "in chunks") + "\r\n")
			if r == nil {
				c.Fatalf("%s in chunks is not answered", method)
			}
			if r.Is(200, method+"|||in chunks").Fwd(want); want == "miss" {
				r.Stored()
			}
		}
	}
	for range 2 {
		s.Get("/x").Is(200, "GET|||")
		s.Do("QUERY", "/x", "").Is(200, "QUERY|||")
		s.Do("POST", "/x", "").Is(200, "POST|||")
		c.Eventually("all are stored", func() bool { return s.Get("/x").CacheStatus()["hit"] != "" })
	}
	s.Get("/x").Hit().Is(200, "GET|||")
	s.Do("QUERY", "/x", "").Hit().Is(200, "QUERY|||")
	s.Do("POST", "/x", "").Hit().Is(200, "POST|||")
}

// testContentTold: requests whose handlers may tell them apart do not share a response.
func testContentTold(c *run) {
	s := c.contentSite(echoed)
	ask := func(fields string) *response {
		r := s.Raw("QUERY /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\nContent-Length: 1\r\n" + fields + "\r\na")
		if r == nil {
			c.Fatalf("no answer to %q", fields)
		}
		return r
	}
	for _, fields := range []string{
		"", "Content-Type:\r\n", "Content-Type: a/b\r\n", "Content-Type: a/B\r\n", "Content-Type: a/b;c=d\r\n", "Content-Type: a/b; c=d\r\n",
		"Content-Type: a/b\r\nContent-Type: c/d\r\n", "Content-Type: c/d\r\nContent-Type: a/b\r\n",
		"Content-Encoding: x\r\n", "Content-Encoding: x, y\r\n", "Content-Encoding: x\r\nContent-Encoding: y\r\n",
		"Repr-Digest: a\r\n", "Content-Location: /y\r\n", "Content-Md5: a\r\n",
	} {
		first := ask(fields)
		if p := first.CacheStatus(); p["fwd"] != "miss" {
			// fasthttp keeps one Content-Type, and none that is empty
			if !c.fw.Streams || !strings.Contains(fields, "Content-Type") {
				c.Errorf("%q shares the answer to another request", fields)
			}
			continue
		}
		first.Stored()
		ask(fields).Hit().Is(first.Status, first.Body)
	}
}

func testContentTooLong(c *run, streamed bool) {
	app := contentApp(c.Cache(keyed), summed)
	app.Streamed = streamed
	s := c.Site(app)
	for _, n := range []int{64<<10 + 1, 10 << 20} {
		content := strings.Repeat("0123456789abcde\n", n/16) + "0123456789abcde"[:n%16]
		sum := sha256.Sum256([]byte(content))
		want := fmt.Sprintf("%d %s", n, hex.EncodeToString(sum[:]))
		for _, method := range withContent {
			for range 2 {
				s.Do(method, "/x", content).Fwd("bypass").Detail("content-too-long").Is(200, want)
				r := s.Raw(chunks(method, content) + "\r\n")
				if r == nil {
					c.Fatalf("%s of %d bytes in chunks is not answered", method, n)
				}
				r.Fwd("bypass").Detail("content-too-long").Is(200, want)
			}
		}
	}
	exactly := strings.Repeat("x", 64<<10)
	s.Do("QUERY", "/x", exactly).Miss().Stored()
	s.Do("QUERY", "/x", exactly).Hit()
}

// testContentWithoutEnd: who sends for ever gets the handler's answer, and takes no
// memory.
func testContentWithoutEnd(c *run) {
	const enough = 1 << 20
	app := contentApp(c.Cache(keyed), func(x Ctx) error {
		n, err := io.CopyN(io.Discard, x.BodyReader(), enough)
		return x.Send(200, plain, fmt.Append(nil, n, err))
	})
	app.Streamed = true
	s := c.Site(app)
	for _, method := range withContent {
		conn := s.Dial()
		go func() {
			chunk := fmt.Sprintf("%x\r\n%s\r\n", 8000, strings.Repeat("x", 8000))
			_, err := io.WriteString(conn, method+" /x HTTP/1.1\r\nHost: "+defaultHost+"\r\nTransfer-Encoding: chunked\r\n\r\n")
			for err == nil { // until the connection is closed
				_, err = io.WriteString(conn, chunk)
			}
		}()
		r, err := s.answer(conn, method)
		if err != nil {
			c.Fatalf("%s: %v", method, err)
		}
		r.Fwd("bypass").Detail("content-too-long").Is(200, strconv.Itoa(enough)+" <nil>")
		_ = conn.Close()
	}
}

// testContentBreaksOff: the handler finds what it finds without a cache.
func testContentBreaksOff(c *run, streamed bool) {
	var mu sync.Mutex
	var seen []string
	app := contentApp(c.Cache(keyed), func(x Ctx) error {
		b, err := io.ReadAll(x.BodyReader())
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %q %v", x.Method(), b, err))
		return x.Send(200, plain, []byte("seen"))
	})
	app.Streamed = streamed
	all := func(s *site) []string {
		seen = nil
		for _, method := range withContent {
			for _, rest := range []string{"Content-Length: 100\r\n\r\n0123456789", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n567", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nx\r\n"} {
				conn := s.Dial()
				_, _ = io.WriteString(conn, method+" /x HTTP/1.1\r\nHost: "+defaultHost+"\r\n"+rest)
				if half, ok := conn.(*net.TCPConn); ok {
					_ = half.CloseWrite()
				}
				r, err := s.answer(conn, method)
				_ = conn.Close()
				mu.Lock()
				if err != nil || r.Status != 200 {
					seen = append(seen, "refused") // by the server
				} else if s.cache != nil && r.Header.Get("Cache-Status") != "" {
					r.Fwd("bypass").Detail("content-unread")
				}
				mu.Unlock()
			}
		}
		return seen
	}
	want, got := all(c.Plain(app)), all(c.Site(app))
	if strings.Join(want, "\n") != strings.Join(got, "\n") {
		c.Errorf("handlers have seen\n%q, without the cache\n%q", got, want)
	}
}

func testContentTrailers(c *run) {
	for _, streamed := range []bool{false, true} {
		app := contentApp(c.Cache(keyed), echoed)
		app.Streamed = streamed
		s := c.Site(app)
		for _, announced := range []string{"Trailer: X-T", "X-Other: 1"} {
			for range 2 {
				r := s.Raw(chunks("QUERY", "a", announced) + "X-T: 1\r\n\r\n")
				if r == nil {
					c.Fatal("no answer")
				}
				r.Is(200, "QUERY|||a")
				if announced == "Trailer: X-T" { // of others few handlers can know
					r.Fwd("bypass").Detail("content-unread")
				}
			}
		}
	}
}

func testContentExpected(c *run) {
	s := c.contentSite(echoed)
	ask := func() *response {
		conn := s.Dial()
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "QUERY /x HTTP/1.1\r\nHost: "+defaultHost+"\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		const line = "HTTP/1.1 100 Continue\r\n\r\n"
		b := make([]byte, len(line))
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != line {
			c.Fatalf("%q, %v", b, err)
		}
		_, _ = io.WriteString(conn, "full")
		r, err := s.answer(conn, "QUERY")
		if err != nil {
			c.Fatal(err)
		}
		return r.Is(200, "QUERY|||full")
	}
	ask().Miss().Stored()
	ask().Hit()
}

func testContentNormalised(c *run) {
	var panics atomic.Int64
	s := c.contentSite(echoed, func(cfg *cacheaside.Config) {
		cfg.Policy.Requests.Content.Normalize = func(r *cacheaside.Request, b []byte) ([]byte, bool) {
			if r.Path != "/x" {
				c.Errorf("the path is %q", r.Path)
			}
			switch string(b) {
			case "panic":
				panics.Add(1)
				panic("no such content")
			case "refuse":
				return b, false
			}
			return []byte(strings.ToLower(strings.TrimSpace(string(b)))), true
		}
	})
	for _, method := range withContent {
		s.Do(method, "/x", "AbC").Miss().Stored().Is(200, method+"|||AbC")
		s.Do(method, "/x", "aBc").Hit().Is(200, method+"|||AbC")
		s.Do(method, "/x", " abc  ").Hit().Is(200, method+"|||AbC") // of another length
		for _, content := range []string{"panic", "refuse"} {
			for range 2 {
				s.Do(method, "/x", content).Fwd("bypass").Detail("content-refused").Is(200, method+"|||"+content)
			}
		}
	}
	if panics.Load() != 6 {
		c.Errorf("%d panics", panics.Load())
	}
}

// testContentNotListed: without a word in the policy nothing with content is shared.
func testContentNotListed(c *run) {
	s := c.Site(contentApp(c.Cache(), echoed))
	for range 2 {
		s.Do("QUERY", "/x", "a").Fwd("method").Is(200, "QUERY|||a")
		s.Do("POST", "/x", "a").Fwd("method").Is(200, "POST|||a")
		s.Do("GET", "/x", "a").Fwd("bypass").Detail("request-body").Is(200, "GET|||a")
	}
}

func testContentHead(c *run) {
	s := c.contentSite(echoed)
	s.Do("QUERY", "/x", "").Miss().Stored()
	s.Head("/x").Miss()
	s.Get("/x").Miss().Stored()
	s.Head("/x").Hit()
	r := s.Raw("HEAD /x HTTP/1.1\r\nHost: " + defaultHost + "\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil")
	if r == nil {
		c.Fatal("no answer")
	}
	r.Fwd("bypass").Detail("request-body")
}

// testContentSafe: what removes what is stored for its URL.
func testContentSafe(c *run) {
	s := c.contentSite(echoed, func(cfg *cacheaside.Config) {
		cfg.Policy.Requests.Content.Normalize = func(_ *cacheaside.Request, b []byte) ([]byte, bool) {
			return b, !strings.HasPrefix(string(b), "change")
		}
	})
	stored := func() {
		c.Helper()
		for _, method := range withContent {
			if s.Do(method, "/x", "a").CacheStatus()["hit"] == "" {
				c.Eventually("it is stored", func() bool { return s.Do(method, "/x", "a").CacheStatus()["hit"] != "" })
			}
		}
	}
	remain := func(what string, want bool) {
		c.Helper()
		for _, method := range withContent {
			if got := s.Do(method, "/x", "a").CacheStatus()["hit"] != ""; got != want {
				c.Errorf("after %s the response to %s is there: %t", what, method, got)
			}
		}
	}
	long := strings.Repeat("x", 70_000)
	for _, safe := range []struct{ method, content string }{
		{"POST", "b"}, {"QUERY", "b"}, {"QUERY", "change"}, {"QUERY", long}, {"GET", "change"}, {"GET", long}, {"GET", ""},
	} {
		stored()
		s.Do(safe.method, "/x", safe.content)
		remain(safe.method+" "+brief(safe.content), true)
	}
	for _, unsafe := range []struct {
		method, content string
		fields          []string
	}{
		{"PUT", "b", nil}, {"POST", "change", nil}, {"POST", long, nil}, {"POST", "b", []string{`If-None-Match: "a"`}}, {"POST", "b", []string{`If-Match: *`}},
	} {
		stored()
		s.Do(unsafe.method, "/x", unsafe.content, unsafe.fields...).Is(200, unsafe.method+"|||"+unsafe.content)
		remain(fmt.Sprint(unsafe.method, brief(unsafe.content), unsafe.fields), false)
	}

	// One that is not listed.
	cache := c.Cache(func(cfg *cacheaside.Config) { cfg.Policy.Requests.Methods = []string{"GET", "QUERY"} })
	s = c.Site(contentApp(cache, echoed))
	s.Do("QUERY", "/x", "b").Miss().Stored()
	s.Do("QUERY", "/x", "b").Hit()
	s.Do("POST", "/x", "b").Fwd("method")
	s.Do("QUERY", "/x", "b").Miss()
}

func testContentPurged(c *run) {
	var version atomic.Int64
	s := c.contentSite(func(x Ctx) error {
		x.SetHeader("Cache-Tag", "things")
		b, _ := x.Body()
		return x.Send(200, plain, fmt.Append(nil, string(b), " ", version.Load()))
	})
	const url = "http://" + defaultHost + "/x"
	for what, p := range map[string]cacheaside.Purge{
		"URL": {URLs: []string{url}}, "tag": {Tags: []string{"things"}}, "prefix": {Prefixes: []string{"http://" + defaultHost + "/"}},
		"everything": {All: true},
	} {
		for _, method := range withContent {
			for _, content := range []string{"a", "b"} {
				s.Do(method, "/x", content)
				c.Eventually("it is stored", func() bool { return s.Do(method, "/x", content).CacheStatus()["hit"] != "" })
			}
		}
		now := version.Add(1)
		if err := s.cache.Purge(c.context(), p); err != nil {
			c.Fatalf("%s: %v", what, err)
		}
		for _, method := range withContent {
			for _, content := range []string{"a", "b"} {
				s.Do(method, "/x", content).NotHit().Is(200, fmt.Sprint(content, " ", now))
			}
		}
	}
}

func testContentRefreshed(c *run, streamed bool) {
	var calls atomic.Int64
	var proceed sync.Mutex
	app := contentApp(c.Cache(keyed, unlocked, func(cfg *cacheaside.Config) { cfg.Policy.Stale.WhileRevalidate = time.Minute }), func(x Ctx) error {
		proceed.Lock()
		defer proceed.Unlock()
		b, err := io.ReadAll(x.BodyReader())
		if err != nil {
			return err
		}
		return x.Send(200, plain, fmt.Append(nil, calls.Add(1), " ", x.Method(), " ", x.Header("Content-Type"), " ", x.Header("Content-Language"), " ", string(b)))
	})
	app.Streamed = streamed
	s := c.Site(app)
	for i, method := range withContent {
		for j, ask := range []func() *response{
			func() *response { return s.Do(method, "/x", "some content", asJSON, "Content-Language: de") },
			func() *response {
				if r := s.Raw(chunks(method, "some content", asJSON, "Content-Language: de") + "\r\n"); r != nil {
					return r
				}
				c.Fatal("no answer")
				return nil
			},
		} {
			n := 2 * (2*i + j)
			want := func(n int) string { return fmt.Sprint(n, " ", method, " application/json de some content") }
			ask().Miss().Stored().Is(200, want(n+1))
			c.Clock.Advance(61 * time.Second)
			proceed.Lock()
			ask().Hit().Detail("stale-while-revalidate").Is(200, want(n+1))
			for range 10 { // what is pooled is used again
				s.Do(method, "/other", strings.Repeat("z", 100))
			}
			proceed.Unlock()
			c.Eventually("the response is renewed", func() bool { return int(s.cache.Stats().Refreshed) == n/2+1 })
			ask().Hit().TTL(60).Is(200, want(n+2))
		}
	}
}

func testContentAhead(c *run) {
	var calls atomic.Int64
	s := c.contentSite(func(x Ctx) error {
		b, _ := x.Body()
		return x.Send(200, plain, fmt.Append(nil, string(b), calls.Add(1)))
	}, unlocked, func(cfg *cacheaside.Config) { cfg.Policy.Stale.RefreshAhead = 0.5 })
	s.Do("QUERY", "/x", "a").Miss().Stored().Is(200, "a1")
	c.Clock.Advance(40 * time.Second)
	s.Do("QUERY", "/x", "a").Hit().Is(200, "a1")
	c.Eventually("the response is renewed", func() bool { return s.cache.Stats().Refreshed == 1 })
	s.Do("QUERY", "/x", "a").Hit().TTL(60).Is(200, "a2")
}

func testContentSoft(c *run) {
	var calls atomic.Int64
	slow := make(chan struct{})
	s := c.contentSite(func(x Ctx) error {
		b, _ := x.Body()
		n := calls.Add(1)
		if n > 1 {
			<-slow
		}
		return x.Send(200, plain, fmt.Append(nil, string(b), n))
	}, unlocked, func(cfg *cacheaside.Config) {
		cfg.Policy.Stale.IfError, cfg.Policy.Stale.SoftTimeout = time.Hour, 10*time.Millisecond
	})
	s.Do("POST", "/x", "a").Miss().Stored().Is(200, "a1")
	c.Clock.Advance(61 * time.Second)
	s.Do("POST", "/x", "a").Detail("soft-timeout").Is(200, "a1")
	close(slow)
	c.Eventually("the response is renewed", func() bool { return s.cache.Stats().Refreshed == 1 })
	s.Do("POST", "/x", "a").Hit().Is(200, "a2")
}

func testContentCoalesced(c *run) {
	const n = 20
	var calls atomic.Int64
	proceed := make(chan struct{})
	s := c.contentSite(func(x Ctx) error {
		b, _ := x.Body()
		calls.Add(1)
		<-proceed
		return x.Send(200, plain, b)
	})
	var all sync.WaitGroup
	for i := range 2 * n {
		all.Go(func() {
			content := strconv.Itoa(i % 2)
			r, err := s.Try(context.Background(), "QUERY", "/x", content)
			if err != nil {
				c.Errorf("%v", err)
				return
			}
			r.Is(200, content)
		})
	}
	c.Eventually("all wait for two", func() bool { return s.cache.Stats().Waiting == 2*n-2 })
	close(proceed)
	all.Wait()
	if calls.Load() != 2 {
		c.Errorf("the handler was called %d times, want 2", calls.Load())
	}
}

func testContentVaries(c *run) {
	s := c.contentSite(func(x Ctx) error {
		x.SetHeader("Vary", "Accept-Language")
		b, _ := x.Body()
		return x.Send(200, plain, append(b, x.Header("Accept-Language")...))
	})
	const de, en = "Accept-Language: de", "Accept-Language: en"
	s.Do("QUERY", "/x", "a", de).Miss().Stored().Is(200, "ade")
	s.Do("QUERY", "/x", "a", en).Fwd("vary-miss").Stored().Is(200, "aen")
	s.Do("QUERY", "/x", "b", en).Fwd("miss").Stored().Is(200, "ben")
	s.Do("QUERY", "/x", "a", de).Hit().Is(200, "ade")
	s.Do("QUERY", "/x", "a", en).Hit().Is(200, "aen")
}

func testContentConditions(c *run) {
	s := c.contentSite(func(x Ctx) error {
		x.SetHeader("Etag", `"1"`)
		return x.Send(200, plain, []byte("whole"))
	})
	const known = `If-None-Match: "1"`
	for _, method := range []string{"QUERY", "GET"} {
		s.Do(method, "/x", "a", known).Miss().Stored().Is(304, "")
		s.Do(method, "/x", "a", known).Hit().Is(304, "")
		s.Do(method, "/x", "a", `If-None-Match: "2"`).Hit().Is(200, "whole")
		s.Do(method, "/x", "a", "If-Match: *").Fwd("bypass").Detail("precondition")
	}
	s.Do("POST", "/x", "a").Miss().Stored()
	s.Do("POST", "/x", "a", known).Fwd("bypass").Detail("precondition").Is(200, "whole")
}

// testContentValidated: a handler says 304 to a QUERY, or 412 where it does not know the
// method; a POST is never asked under a condition.
func testContentValidated(c *run) {
	for _, as := range []struct {
		method string
		status int
	}{{"QUERY", 304}, {"QUERY", 412}, {"GET", 304}, {"POST", 0}} {
		method, status := as.method, as.status
		var calls atomic.Int64
		s := c.contentSite(func(x Ctx) error {
			n := calls.Add(1)
			x.SetHeader("Etag", `"1"`)
			b, _ := x.Body()
			asked := x.Header("If-None-Match")
			if status == 0 && asked != "" {
				c.Errorf("a %s is asked under a condition", method)
			}
			if asked == `"1"` {
				return x.NoContent(status)
			}
			return x.Send(200, plain, append(b, strconv.FormatInt(n, 10)...))
		}, func(cfg *cacheaside.Config) { cfg.Namespace += method + strconv.Itoa(status) })
		s.Do(method, "/x", "a").Miss().Stored().Is(200, "a1")
		c.Clock.Advance(61 * time.Second)
		if status == 0 {
			s.Do(method, "/x", "a").Fwd("stale").Stored().Is(200, "a2")
			continue
		}
		s.Do(method, "/x", "a").Fwd("stale").Stored().Is(200, "a1").Has("Content-Type", plain)
		s.Do(method, "/x", "a").Hit().TTL(60).Is(200, "a1").Has("Content-Type", plain)
	}
}

func testContentRanges(c *run) {
	s := c.contentSite(func(x Ctx) error {
		x.SetHeader("Accept-Ranges", "bytes")
		if x.Method() == "POST" && x.Header("Range") != "" {
			c.Error("a POST is asked for a part")
		}
		return x.Send(200, plain, []byte("0123456789"))
	})
	const part = "Range: bytes=2-4"
	for _, method := range []string{"QUERY", "GET"} {
		s.Do(method, "/x", "a").Miss().Stored()
		s.Do(method, "/x", "a", part).Hit().Is(206, "234").Has("Content-Range", "bytes 2-4/10")
	}
	s.Do("POST", "/x", "a", part).Miss().Stored().Is(200, "0123456789")
	s.Do("POST", "/x", "a", part).Hit().Is(200, "0123456789")
}

// testContentNested: of two policies the one nearest to the handler decides.
func testContentNested(c *run) {
	for _, name := range []string{"within", "in front", "both"} {
		without := c.Cache(func(cfg *cacheaside.Config) { cfg.Namespace += strconv.Itoa(len(name)) })
		with := c.With(without, func(p *cacheaside.Policy) {
			p.Requests.Methods, p.Requests.Content.OfGet = append([]string{"HEAD"}, withContent...), true
		})
		app := map[string]App{
			"within":   {Global: without, Routes: []Route{{Path: "/x", Methods: withContent, Cache: with, Handler: echoed}}},
			"in front": {Global: with, Routes: []Route{{Path: "/x", Methods: withContent, Cache: without, Handler: echoed}}},
			"both":     {Global: with, Routes: []Route{{Path: "/x", Methods: withContent, Cache: with, Handler: echoed}}},
		}[name]
		s := c.Site(app)
		for _, method := range withContent {
			for range 3 {
				for _, content := range []string{"a", "b"} {
					before := s.cache.Stats().Stores
					r := s.Do(method, "/x", content).Is(200, method+"|||"+content)
					if r.CacheStatus()["stored"] != "" {
						c.Eventually("it is stored", func() bool { return s.cache.Stats().Stores > before })
					}
				}
			}
		}
		want := 6 // each once
		if name == "in front" {
			want = 18
		}
		if got := s.Calls("/x"); got != want {
			c.Errorf("with the policy %s the handler ran %d times, want %d", name, got, want)
		}
	}
}

// answer reads one response from conn.
func (s *site) answer(conn net.Conn, method string) (*response, error) {
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	r := &response{c: s.c, site: s, What: method + " on a connection of its own"}
	return r, r.read(res)
}
