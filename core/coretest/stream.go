package coretest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Responses that take their time: they are sent as they come, and stored all the same.
var streamCases = []testCase{
	{name: "sent as it comes", run: testSentAsItComes},
	{name: "sent as it comes to a client that has another one", run: testConditionalStream},
	{name: "sent as it comes, and others wait", run: testStreamFollowed},
	{name: "sent as it comes, for one client", run: testPrivateStream},
	{name: "sent as it comes, and too long", run: testStreamTooLong},
	{name: "sent as it comes, and a panic", run: testStreamPanics, breaks: true},
	{name: "sent as it comes, and the client leaves", run: testStreamLeft},
	{name: "sent as it comes, and filled without its client", run: testStreamFilled, breaks: true},
	{name: "sent as it comes, with an ETag and tags", run: testStreamDescribed},
	{name: "sent as it comes, with what is added in front", run: testStreamLate},
	{name: "a part that is sent as it comes", run: testPartStreamed},
	{name: "captures of many bodies", run: testManyCaptures},
}

// live is the type of a stream that is never captured.
func (c *run) live() string {
	if c.fw.Streams {
		return "text/event-stream"
	}
	return plain // where it is flushed
}

// pieces sends a 200 that f writes piece by piece, without a flush.
func (c *run) pieces(x Ctx, f func(io.Writer) error) error { return c.piecesOf(x, 200, f) }

// piecesOf is pieces with another status.
func (c *run) piecesOf(x Ctx, status int, f func(io.Writer) error) error {
	if c.fw.Streams {
		return x.Stream(status, plain, func(s Stream) error { return f(s) })
	}
	x.SetHeader("Content-Type", plain)
	x.Status(status)
	return f(x)
}

// began is an answer of which the client has the beginning.
type began struct {
	*response
	res  *http.Response
	read []byte
}

// Begin asks, and returns when n bytes of the body have come: from a server that holds
// them back it fails.
func (s *site) Begin(ctx context.Context, n int, target string, fields ...string) *began {
	s.c.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+target, nil)
	if err != nil {
		s.c.Fatal(err)
	}
	req.Host = defaultHost
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	res, err := s.Client.Do(req)
	if err != nil {
		s.c.Fatalf("GET %s: no header while the handler writes: %v", target, err)
	}
	b := &began{&response{c: s.c, site: s, What: "GET " + target}, res, make([]byte, n)}
	if _, err := io.ReadFull(res.Body, b.read); err != nil {
		s.c.Fatalf("GET %s: nothing comes while the handler writes: %v", target, err)
	}
	return b
}

// End reads the rest.
func (b *began) End() *response {
	b.c.Helper()
	if err := b.response.read(b.res); err != nil {
		b.c.Fatal(err)
	}
	_ = b.res.Body.Close()
	b.Body = string(b.read) + b.Body
	return b.response
}

// interrupted writes more than is held back of body, and the rest when it may proceed.
func interrupted(body []byte, proceed <-chan struct{}) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := w.Write(body[:300<<10]); err != nil {
			return err
		}
		waitFor(proceed)
		_, err := w.Write(body[300<<10:])
		return err
	}
}

// stored waits until a number of responses is in the store.
func (c *run) stored(cache *cacheaside.Cache, n int) {
	c.Helper()
	c.Eventually("it is stored", func() bool { return cache.Stats().Stores == uint64(n) })
	c.flush(cache)
	c.Eventually("its memory is given back", func() bool { return cache.Stats().CaptureBytes == 0 })
}

// filler is n bytes that tell where they are.
func filler(n int) []byte {
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = fmt.Appendf(b, "%d,", len(b))
	}
	return b[:n]
}

// testSentAsItComes: the handler goes on when the client has what was written first.
func testSentAsItComes(c *run) {
	const size = 1 << 20
	whole := filler(size)
	for _, first := range []int{16 << 10, 128 << 10, 300 << 10} {
		for _, declared := range []bool{false, true} {
			if declared && c.fw.Streams { // it has no length then
				continue
			}
			cache := c.Cache(func(p *cacheaside.Config) { p.Namespace += strconv.Itoa(first) + strconv.FormatBool(declared) })
			proceed := make(chan struct{})
			s := c.Site(one(cache, func(x Ctx) error {
				if declared {
					x.SetHeader("Content-Length", strconv.Itoa(size))
				}
				x.SetHeader("X-H", "1")
				return c.pieces(x, func(w io.Writer) error {
					if _, err := w.Write(whole[:first]); err != nil {
						return err
					}
					waitFor(proceed)
					_, err := io.Copy(struct{ io.Writer }{w}, bytes.NewReader(whole[first:]))
					return err
				})
			}))
			b := s.Begin(c.context(), 1, "/x")
			close(proceed)
			r := b.End().Miss().NotStored().Is(200, string(whole)).Has("X-H", "1")
			if d := r.CacheStatus()["detail"]; d != "" {
				c.Errorf("detail=%s", d)
			}
			c.stored(cache, 1)
			s.Get("/x").Hit().Is(200, string(whole)).Has("X-H", "1").Has("Transfer-Encoding")
			s.Handled("/x", 1)
		}
	}
}

// testConditionalStream: a client that has another response gets this one as it comes;
// one that has it is told so, when it is there.
func testConditionalStream(c *run) {
	whole := filler(600 << 10)
	for _, has := range []bool{false, true} {
		cache := c.Cache(func(p *cacheaside.Config) { p.Namespace += strconv.FormatBool(has) })
		proceed := make(chan struct{})
		s := c.Site(one(cache, func(x Ctx) error {
			x.SetHeader("Etag", `"new"`)
			return c.pieces(x, func(w io.Writer) error {
				if _, err := w.Write(whole[:300<<10]); err != nil {
					return err
				}
				if !has {
					waitFor(proceed)
				}
				_, err := w.Write(whole[300<<10:])
				return err
			})
		}))
		if has {
			s.Get("/x", `If-None-Match: "new"`).Is(304, "").Has("Etag", `"new"`)
		} else {
			b := s.Begin(c.context(), 1, "/x", `If-None-Match: "old"`)
			close(proceed)
			b.End().Miss().Is(200, string(whole))
		}
		c.stored(cache, 1)
		s.Get("/x").Hit().Is(200, string(whole))
		s.Handled("/x", 1)
	}
}

// testStreamFollowed: who asks meanwhile waits for the end, and the handler runs once.
func testStreamFollowed(c *run) {
	whole := filler(600 << 10)
	cache := c.Cache(patient)
	proceed := make(chan struct{})
	s := c.Site(one(cache, func(x Ctx) error {
		return c.pieces(x, interrupted(whole, proceed))
	}))
	b := s.Begin(c.context(), 1, "/x")
	followed := make(chan error, 3)
	for range cap(followed) {
		go func() {
			r, err := s.Try(c.context(), "GET", "/x", "")
			if err == nil && (r.Status != 200 || r.Body != string(whole)) {
				err = fmt.Errorf("%d, %d bytes", r.Status, len(r.Body))
			}
			followed <- err
		}()
	}
	c.Eventually("the others wait", func() bool { return cache.Stats().Waiting == uint64(cap(followed)) })
	close(proceed)
	b.End().Miss().Is(200, string(whole))
	for range cap(followed) {
		if err := await(c, "an answer", followed); err != nil {
			c.Errorf("one who has waited: %v", err)
		}
	}
	s.Handled("/x", 1)
}

// testPrivateStream: nobody waits for what is not for others.
func testPrivateStream(c *run) {
	whole := filler(600 << 10)
	released(c, c.Cache(waitsLong), "private", whole, 300<<10, func(r *response) {
		r.Miss().NotStored().Detail("private").Is(200, string(whole))
	})
}

// testStreamTooLong: nor for what turns out to be too long.
func testStreamTooLong(c *run) {
	whole := filler(600 << 10)
	limit := func(p *cacheaside.Config) { p.Policy.Storing.MaxBytes = 200 << 10 }
	if !c.fw.Streams { // else nothing is held back
		limit = func(p *cacheaside.Config) {
			p.Policy.Storing.MaxBytes, p.Policy.Storing.HoldBytes = 200<<10, 50<<10
		}
	}
	cache := c.Cache(waitsLong, limit)
	released(c, cache, "", whole, 300<<10, func(r *response) {
		r.Miss().NotStored().Is(200, string(whole))
	})
	c.Eventually("its memory is given back", func() bool { return cache.Stats().CaptureBytes == 0 })
}

func waitsLong(p *cacheaside.Config) { p.Policy.Coalescing.Wait = time.Hour }

// released has a handler write n bytes of whole, and asks once more when the client has
// them: that must not wait for the rest.
func released(c *run, cache *cacheaside.Cache, control string, whole []byte, n int, check func(*response)) {
	proceed := make(chan struct{})
	var calls atomic.Int64
	s := c.Site(one(cache, func(x Ctx) error {
		x.SetHeader("Cache-Control", control)
		if calls.Add(1) > 1 {
			x.SetHeader("Cache-Control", "no-store")
			return x.Send(200, plain, []byte("another"))
		}
		return c.pieces(x, func(w io.Writer) error {
			for rest := whole[:n]; len(rest) > 0; { // so that some of it is held back first
				part := rest[:min(len(rest), 32<<10)]
				if _, err := w.Write(part); err != nil {
					return err
				}
				rest = rest[len(part):]
			}
			waitFor(proceed)
			_, err := w.Write(whole[n:])
			return err
		})
	}))
	b := s.Begin(c.context(), n-(16<<10), "/x") // the servers have buffers
	s.Get("/x").NotHit().Is(200, "another")
	close(proceed)
	check(b.End())
	s.Handled("/x", 2)
	if n := cache.Stats().Stores; n != 0 {
		c.Errorf("%d responses were stored", n)
	}
}

// testStreamPanics: the client sees that something is missing, and the next one gets it.
func testStreamPanics(c *run) {
	whole := filler(600 << 10)
	cache := c.Cache()
	proceed := make(chan struct{})
	var calls atomic.Int64
	s := c.Site(one(cache, func(x Ctx) error {
		return c.pieces(x, func(w io.Writer) error {
			_, err := w.Write(whole[:300<<10])
			if calls.Add(1) == 1 {
				waitFor(proceed)
				panic(http.ErrAbortHandler)
			}
			if err == nil {
				_, err = w.Write(whole[300<<10:])
			}
			return err
		})
	}))
	b := s.Begin(c.context(), 1, "/x")
	close(proceed)
	if err := b.response.read(b.res); err == nil {
		c.Errorf("the client takes %d bytes for all", len(b.Body)+1)
	}
	_ = b.res.Body.Close()
	s.Get("/x").NotHit().Is(200, string(whole))
	c.stored(cache, 1)
	s.Get("/x").Hit().Is(200, string(whole))
	s.Handled("/x", 2)
}

// leaving has a handler at /x write a response of which the client takes the beginning,
// and returns when the handler has; it writes on when then is over.
func leaving(c *run, cache *cacheaside.Cache, whole []byte, then func(ctx context.Context, left <-chan struct{})) *site {
	left, ended := make(chan struct{}), make(chan struct{}, 2)
	var calls atomic.Int64
	s := c.Site(one(cache, func(x Ctx) error {
		ctx := x.Context()
		first := calls.Add(1) == 1
		return c.pieces(x, func(w io.Writer) error {
			defer func() { ended <- struct{}{} }()
			_, err := w.Write(whole[:300<<10])
			if first {
				then(ctx, left)
			}
			for rest := whole[300<<10:]; err == nil && len(rest) > 0; {
				part := rest[:min(len(rest), 32<<10)]
				_, err = w.Write(part)
				rest = rest[len(part):]
			}
			return err
		})
	}))
	ctx, cancel := context.WithCancel(c.context())
	b := s.Begin(ctx, 1, "/x")
	cancel()
	_ = b.res.Body.Close()
	close(left)
	await(c, "the end of the handler", ended)
	return s
}

// testStreamLeft: what is cut short because its client has left is no response.
func testStreamLeft(c *run) {
	whole := filler(8 << 20) // more than the connection takes
	cache := c.Cache()
	s := leaving(c, cache, whole, func(ctx context.Context, left <-chan struct{}) {
		if waitFor(left); c.fw.Streams {
			return // it does not notice
		}
		waitFor(ctx.Done())
	})
	s.Get("/x").NotHit().Is(200, string(whole))
	c.stored(cache, 1)
	s.Get("/x").Hit().Is(200, string(whole))
	s.Handled("/x", 2)
}

// testStreamFilled: with BackgroundFill the handler goes on, and nothing is lost.
func testStreamFilled(c *run) {
	whole := filler(8 << 20)
	cache := c.Cache(func(p *cacheaside.Config) { p.Policy.Requests.BackgroundFill = true })
	s := leaving(c, cache, whole, func(ctx context.Context, left <-chan struct{}) {
		waitFor(left)
		if err := ctx.Err(); err != nil {
			c.Errorf("the context has ended: %v", err)
		}
	})
	c.stored(cache, 1)
	s.Get("/x").Hit().Is(200, string(whole))
	s.Handled("/x", 1)
}

// testStreamDescribed: what is known at the end only is stored.
func testStreamDescribed(c *run) {
	whole := filler(600 << 10)
	cache := c.Cache(func(p *cacheaside.Config) { p.Policy.Storing.GenerateETag = true })
	proceed := make(chan struct{})
	s := c.Site(one(cache, func(x Ctx) error {
		ctx := x.Context()
		return c.pieces(x, func(w io.Writer) error {
			if _, err := w.Write(whole[:300<<10]); err != nil {
				return err
			}
			waitFor(proceed)
			if !cacheaside.AddTags(ctx, "late") {
				c.Errorf("AddTags is not heard while the response is sent")
			}
			_, err := w.Write(whole[300<<10:])
			return err
		})
	}))
	b := s.Begin(c.context(), 1, "/x")
	close(proceed)
	b.End().Miss().Is(200, string(whole)).Has("Etag")
	c.stored(cache, 1)
	r := s.Get("/x").Hit().Is(200, string(whole))
	etag := r.Header.Get("Etag")
	if etag == "" {
		c.Errorf("it has no ETag")
	}
	s.Get("/x", "If-None-Match: "+etag).Is(304, "")
	c.purged(cache.PurgeTags(c.context(), "late"))
	s.Get("/x").NotHit().Is(200, string(whole))
	s.Handled("/x", 2)
}

// testManyCaptures: what finds no room among the captures of others is sent all the same.
func testManyCaptures(c *run) {
	const n, size, room = 40, 200 << 10, 1 << 20
	const most = size - 8<<10 // a server's buffers may keep the rest
	whole := filler(size)
	cache := c.Cache(func(p *cacheaside.Config) { p.MaxCaptureBytes = room })
	proceed := make(chan struct{})
	s := c.Site(App{Global: cache, Routes: []Route{{Path: "/u/*", Handler: func(x Ctx) error {
		return c.pieces(x, func(w io.Writer) error {
			if _, err := w.Write(whole[:size-1]); err != nil {
				return err
			}
			waitFor(proceed)
			_, err := w.Write(whole[size-1:])
			return err
		})
	}}}})
	// What clients have is captured, or has found no room. What handlers have written may
	// still be on its way there.
	var bodies [n]*began
	atOnce(n, func(i int) { bodies[i] = s.Begin(c.context(), most, "/u/"+strconv.Itoa(i)) })
	close(proceed)
	var full atomic.Int64
	atOnce(n, func(i int) {
		if bodies[i] == nil {
			return // Begin has said why
		}
		if r := bodies[i].End().Is(200, string(whole)); r.CacheStatus()["detail"] == adapter.ReasonCaptureFull {
			full.Add(1)
		}
	})
	c.Eventually("all memory is given back", func() bool { return cache.Stats().CaptureBytes == 0 })
	c.flush(cache)
	st := cache.Stats()
	if st.CapturePeak == 0 || st.CapturePeak > room {
		c.Errorf("the captures have taken %d bytes of %d", st.CapturePeak, room)
	}
	if st.Stores == 0 || st.Stores > room/most {
		c.Errorf("%d of %d are stored, there is room for %d at a time", st.Stores, n, room/most)
	}
	if !c.fw.Streams && full.Load() == 0 { // a stream's header leaves before its body comes
		c.Errorf("nothing says that there was no room")
	}
}

// testPartStreamed: a long part is sent as it comes, and kept.
func testPartStreamed(c *run) {
	const size = 600 << 10
	whole := filler(size + 1000)
	proceed := make(chan struct{}, 1)
	cache := c.Cache()
	s := c.Site(one(cache, func(x Ctx) error {
		x.SetHeader("Etag", `"v"`)
		x.SetHeader("Cache-Control", "max-age=60")
		x.SetHeader("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", size+999, size+1000))
		return c.piecesOf(x, 206, interrupted(whole[1000:], proceed))
	}))
	b := s.Begin(c.context(), 1, "/x", "Range: bytes=1000-")
	proceed <- struct{}{}
	b.End().Miss().Is(206, string(whole[1000:]))
	c.stored(cache, 1)
	s.Get("/x", "Range: bytes=2000-2009").Hit().Is(206, string(whole[2000:2010])).Has("Content-Range", fmt.Sprintf("bytes 2000-2009/%d", size+1000))
	s.Get("/x", "Range: bytes=-5").Hit().Is(206, string(whole[size+995:]))
}

// testStreamLate: what middleware in front adds as the header is written is in a response
// that is sent while the handler writes, or passed on for any other reason.
func testStreamLate(c *run) {
	whole := filler(600 << 10)
	for name, change := range map[string]func(*cacheaside.Config){
		"long": func(*cacheaside.Config) {}, "too long": func(p *cacheaside.Config) { p.Policy.Storing.MaxBytes = 1000 },
	} {
		app := one(c.Cache(change, func(p *cacheaside.Config) { p.Namespace += strings.ReplaceAll(name, " ", "") }), func(x Ctx) error {
			return c.pieces(x, func(w io.Writer) error {
				for part := range slices.Chunk(whole, 100<<10) {
					if _, err := w.Write(part); err != nil {
						return err
					}
				}
				return nil
			})
		})
		app.Outer = []Middleware{func(x Ctx, next func() error) error {
			x.Late("X-Late", "1")
			return next()
		}}
		s := c.Site(app)
		for range 2 {
			s.Get("/x").Is(200, string(whole)).Has("X-Late", "1")
		}
	}
}
