package fiberadapter

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/valyala/fasthttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
)

// TestStreamField: fasthttp has the stream where the adapter looks for it.
func TestStreamField(t *testing.T) {
	if streamAt == 0 {
		t.Fatal("streams are not captured: fasthttp keeps them elsewhere")
	}
	res := new(fasthttp.Response)
	first := &source{Reader: strings.NewReader("body")}
	res.SetBodyStream(first, 4)
	setStream(res, io.MultiReader(res.BodyStream()))
	if body := string(res.Body()); body != "body" || first.closed.Load() != 0 {
		t.Errorf("%q, closed %d times", body, first.closed.Load())
	}
}

// source is a stream that counts how often it is closed.
type source struct {
	io.Reader
	closed atomic.Int64
}

func (s *source) Close() error {
	s.closed.Add(1)
	return nil
}

// try asks app, which may break off.
func try(t *testing.T, app *fiber.App, fields ...string) (*http.Response, string, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	coretest.SetFields(r.Header, fields)
	res, err := app.Test(r, -1)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func withStream(cache *cacheaside.Cache, front fiber.Handler, h fiber.Handler) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	if front != nil {
		app.Use(front)
	}
	app.Use(New(cache))
	app.Get("/x", h)
	return app
}

// TestStreams: a stream is stored when it was read to its end, and closed once whatever
// becomes of it.
func TestStreams(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("0123456789"), errReader{})
	tests := []struct {
		name   string
		stream func() io.Reader
		size   int
		stored bool
		detail string
	}{
		{"without a size", func() io.Reader { return strings.NewReader("0123456789") }, -1, true, ""},
		{"with a size", func() io.Reader { return strings.NewReader("0123456789") }, 10, true, ""},
		{"empty", func() io.Reader { return strings.NewReader("") }, 0, true, ""},
		{"limited", func() io.Reader { return io.LimitReader(strings.NewReader("0123456789more"), 10) }, -1, true, ""},
		{"too short", func() io.Reader { return strings.NewReader("0123456789") }, 20, false, ""},
		{"too long", func() io.Reader { return strings.NewReader("0123456789") }, 5, false, ""},
		{"broken", func() io.Reader { return broken }, -1, false, ""},
		{"broken, with a size", func() io.Reader { return broken }, 20, false, ""},
		{"over the limit", func() io.Reader { return strings.NewReader(strings.Repeat("0123456789", 11)) }, -1, false, ""},
		{"declared over the limit", func() io.Reader { return strings.NewReader(strings.Repeat("0123456789", 11)) }, 110, false, "too-large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := coretest.NewCache(t, func(c *cacheaside.Config) { c.Policy.Storing.MaxBytes = 100 })
			var sources []*source
			bare := fiber.New()
			h := func(c *fiber.Ctx) error {
				r := tt.stream()
				if _, limited := r.(*io.LimitedReader); !limited {
					s := &source{Reader: r}
					sources = append(sources, s)
					r = s
				}
				c.Context().SetBodyStream(r, tt.size)
				return nil
			}
			bare.Get("/x", h)
			want, body, failed := try(t, bare)
			app := withStream(cache, nil, h)
			for i := range 2 {
				res, got, err := try(t, app)
				if (err != nil) != (failed != nil) || got != body {
					t.Errorf("%q, %v; want %q, %v", got, err, body, failed)
				}
				if res == nil {
					continue
				}
				if i == 0 && (res.ContentLength != want.ContentLength || len(res.TransferEncoding) != len(want.TransferEncoding)) {
					t.Errorf("%d, %v; want %d, %v", res.ContentLength, res.TransferEncoding, want.ContentLength, want.TransferEncoding)
				}
				if hit := coretest.IsHit(res); hit != (tt.stored && i > 0) {
					t.Errorf("Cache-Status %q", res.Header.Get("Cache-Status"))
				}
				if d := "detail=" + tt.detail; tt.detail != "" && !strings.Contains(res.Header.Get("Cache-Status"), d) {
					t.Errorf("Cache-Status %q, want %s", res.Header.Get("Cache-Status"), d)
				}
			}
			for _, s := range sources {
				if n := s.closed.Load(); n != 1 {
					t.Errorf("a stream was closed %d times", n)
				}
			}
			if st := cache.Stats(); st.CaptureBytes != 0 || st.Stores > 0 != tt.stored {
				t.Errorf("%d bytes in use, %d stored", st.CaptureBytes, st.Stores)
			}
		})
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestStreamElsewhere: in a fasthttp that keeps its stream otherwise, it passes.
func TestStreamElsewhere(t *testing.T) {
	at := streamAt
	streamAt = 0
	defer func() { streamAt = at }()
	app := withStream(coretest.NewCache(t), nil, func(c *fiber.Ctx) error { return c.SendStream(strings.NewReader("body")) })
	for range 2 {
		res, body, err := try(t, app)
		if err != nil || body != "body" || res.Header.Get("Cache-Status") != "cacheaside; fwd=miss; detail=stream" {
			t.Errorf("%q, %v, %q", body, err, res.Header.Get("Cache-Status"))
		}
	}
}

// TestStreamInFront: middleware in front takes the stream for its own, and what is stored
// is the handler's.
func TestStreamInFront(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	fronts := map[string]fiber.Handler{
		"compress": compress.New(),
		"etag":     etag.New(),
		"reads":    func(c *fiber.Ctx) error { err := c.Next(); _ = c.Response().Body(); return err },
	}
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			app := withStream(coretest.NewCache(t), front, func(c *fiber.Ctx) error {
				c.Type("txt")
				c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { _, _ = w.WriteString(text) })
				return nil
			})
			for i := range 2 {
				res, body, err := try(t, app)
				if err != nil || body != text || coretest.IsHit(res) != (i > 0) {
					t.Errorf("%d bytes, %v, %v", len(body), err, res.Header)
				}
				if name == "etag" && res.Header.Get("Etag") == "" {
					t.Errorf("no ETag: %v", res.Header)
				}
			}
		})
	}
	// Another response in its place: nothing is stored.
	var s *source
	cache := coretest.NewCache(t)
	app := withStream(cache, func(c *fiber.Ctx) error {
		err := c.Next()
		c.Response().Reset()
		_ = c.SendString("another")
		return err
	}, func(c *fiber.Ctx) error {
		s = &source{Reader: strings.NewReader(text)}
		return c.SendStream(s)
	})
	for range 2 {
		if res, body, err := try(t, app); err != nil || body != "another" {
			t.Errorf("%q, %v, %v", body, err, res.Header)
		}
		if n := s.closed.Load(); n != 1 {
			t.Errorf("the stream was closed %d times", n)
		}
	}
	if st := cache.Stats(); st.Stores != 0 || st.CaptureBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// TestStreamIsRefreshed: a run in the background reads the stream, also behind middleware
// that wraps it.
func TestStreamIsRefreshed(t *testing.T) {
	for name, front := range map[string]fiber.Handler{"plain": nil, "compress": compress.New()} {
		t.Run(name, func(t *testing.T) {
			var now, calls atomic.Int64
			now.Store(time.Now().UnixNano())
			cache := coretest.NewCache(t, func(c *cacheaside.Config) {
				c.Now = func() time.Time { return time.Unix(0, now.Load()) }
				c.Policy.Stale.WhileRevalidate = time.Hour
			})
			app := withStream(cache, front, func(c *fiber.Ctx) error {
				c.Type("txt")
				n := calls.Add(1)
				c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { _, _ = w.WriteString(strings.Repeat(strconv.FormatInt(n, 10), 1000)) })
				return nil
			})
			ask := func(want string) {
				t.Helper()
				if res, body, err := try(t, app, "Accept-Encoding: gzip"); err != nil {
					t.Errorf("%v", err)
				} else if name == "plain" && body != strings.Repeat(want, 1000) {
					t.Errorf("%.10q, want %s: %v", body, want, res.Header)
				}
			}
			ask("1")
			now.Add(int64(61 * time.Second))
			ask("1")
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(10 * time.Second); cache.Stats().Refreshed == 0; <-tick.C {
				if time.Now().After(end) {
					t.Fatalf("it is not renewed: %+v", cache.Stats())
				}
			}
			ask("2")
			if n := calls.Load(); n != 2 {
				t.Errorf("the handler ran %d times", n)
			}
		})
	}
}

// TestStreamVaries: what the response depends on is that of the request, whose memory the
// next one has by the time when the stream is read.
func TestStreamVaries(t *testing.T) {
	app := withStream(coretest.NewCache(t), nil, func(c *fiber.Ctx) error {
		kind := strings.Clone(c.Get("X-Kind"))
		c.Set("Vary", "X-Kind, Cookie")
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { _, _ = w.WriteString(kind) })
		return nil
	})
	for _, hit := range []bool{false, true} {
		for _, kind := range []string{"aaaa", "bbbb", "cccc"} {
			res, body, err := try(t, app, "X-Kind: "+kind, "Cookie: k="+kind)
			if err != nil || body != kind || coretest.IsHit(res) != hit {
				t.Errorf("%q for %s, %v, %v", body, kind, err, res.Header)
			}
		}
	}
}
