package coretest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// ServeHTTP serves h on ln until tb ends, for frameworks on net/http.
func ServeHTTP(tb testing.TB, h http.Handler, ln net.Listener) {
	tb.Helper()
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           h,
		ErrorLog:          log.New(io.Discard, "", 0), // cases panic
		ReadHeaderTimeout: giveUp,
		Protocols:         &p,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		<-done
	})
}

// Get asks h without a connection, for tests of one framework's own ways.
// Fields are "Name: value".
func Get(h http.Handler, target string, fields ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	SetFields(r.Header, fields)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// SetFields adds fields of the form "Name: value" to h.
func SetFields(h http.Header, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
}

// IsHit reports whether the cache says that it has answered.
func IsHit(res *http.Response) bool {
	params, err := parseCacheStatus(res.Header.Get("Cache-Status"))
	return err == nil && params["hit"] != ""
}

// Want checks a response and closes it.
func Want(tb testing.TB, res *http.Response, status int, body string, hit bool) {
	tb.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Error(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != status || string(b) != body || IsHit(res) != hit {
		tb.Errorf("got %d %q with Cache-Status %q, want %d %q, from the cache: %t",
			res.StatusCode, b, res.Header.Get("Cache-Status"), status, body, hit)
	}
}

// NewCache makes a cache in memory with a TTL of a minute, changed by the
// functions.
func NewCache(tb testing.TB, change ...func(*cacheaside.Config)) *cacheaside.Cache {
	tb.Helper()
	cfg := cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}
	for _, f := range change {
		f(&cfg)
	}
	cache, err := cacheaside.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cache.Close(context.Background()) })
	return cache
}

// Panics runs f and gives the text that it panics with.
func Panics(tb testing.TB, f func()) (text string) {
	tb.Helper()
	defer func() {
		v := recover()
		if v == nil {
			tb.Error("no panic")
		}
		text = fmt.Sprint(v)
	}()
	f()
	return ""
}

// HTTP is a [Ctx] by means of net/http. Adapters of frameworks on net/http
// embed it and replace what the framework does in its own way.
type HTTP struct {
	W http.ResponseWriter
	R *http.Request
}

// Outcome is that of [nethttp.Outcome].
func (c HTTP) Outcome() (cacheaside.Outcome, bool) { return nethttp.Outcome(c.R) }

// HTTP turns h into a handler of net/http.
func (h Handler) HTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = h(HTTP{w, r}) })
}

// HTTP turns m into a middleware of net/http, whose writer has nothing but
// Unwrap: what is behind must not count on more.
func (m Middleware) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = nethttp.TrackOutcome(r)
		late := &LateWriter{ResponseWriter: w}
		c := &counting{HTTP: HTTP{W: w, R: r}, late: late}
		_ = m(c, func() error {
			next.ServeHTTP(&countingWriter{late, c}, r)
			return nil
		})
	})
}

type counting struct {
	HTTP
	status, size int
	late         *LateWriter
}

func (c *counting) Written() (int, int)     { return c.status, c.size }
func (c *counting) Late(name, value string) { c.late.Add(name, value) }

// LateWriter adds fields as the header is written.
type LateWriter struct {
	http.ResponseWriter
	fields []string
}

// Add names one of the fields.
func (w *LateWriter) Add(name, value string) { w.fields = append(w.fields, name, value) }

// Any reports whether there are any.
func (w *LateWriter) Any() bool { return len(w.fields) > 0 }

// Now is called before the header is written.
func (w *LateWriter) Now() {
	for pair := range slices.Chunk(w.fields, 2) {
		w.Header().Add(pair[0], pair[1])
	}
	w.fields = nil
}

// Unwrap is for http.ResponseController.
func (w *LateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *LateWriter) WriteHeader(status int) {
	if status >= 200 {
		w.Now()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *LateWriter) Write(p []byte) (int, error) {
	w.Now()
	return w.ResponseWriter.Write(p)
}

type countingWriter struct {
	http.ResponseWriter
	c *counting
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	if w.c.status == 0 && status >= 200 {
		w.c.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.c.status == 0 {
		w.c.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.c.size += n
	return n, err
}

// Late is for middleware alone.
func (c HTTP) Late(string, string) { panic("coretest: a handler has nothing behind it") }

// Context implements [Ctx].
func (c HTTP) Context() context.Context { return c.R.Context() }

// Contexts are that of R.
func (c HTTP) Contexts() []context.Context { return []context.Context{c.R.Context()} }

// Method implements [Ctx].
func (c HTTP) Method() string { return c.R.Method }

// Path implements [Ctx].
func (c HTTP) Path() string { return c.R.URL.Path + " " + c.R.URL.EscapedPath() }

// Query implements [Ctx].
func (c HTTP) Query(name string) string { return c.R.URL.Query().Get(name) }

// Header implements [Ctx].
func (c HTTP) Header(name string) string { return c.R.Header.Get(name) }

// Body implements [Ctx].
func (c HTTP) Body() ([]byte, error) { return io.ReadAll(c.R.Body) }

// BodyReader implements [Ctx].
func (c HTTP) BodyReader() io.Reader { return c.R.Body }

// SetRequestHeader implements [Ctx].
func (c HTTP) SetRequestHeader(name, value string) {
	if value == "" {
		c.R.Header.Del(name)
	} else {
		c.R.Header.Set(name, value)
	}
}

// SetHeader implements [Ctx].
func (c HTTP) SetHeader(name, value string) { c.W.Header().Set(name, value) }

// AddHeader implements [Ctx].
func (c HTTP) AddHeader(name, value string) { c.W.Header().Add(name, value) }

// Cookie is the value of a cookie.
func (c HTTP) Cookie(name string) string {
	if cookie, err := c.R.Cookie(name); err == nil {
		return cookie.Value
	}
	return ""
}

// SpellHeader adds a field under a name as it is.
func (c HTTP) SpellHeader(name, value string) {
	c.W.Header()[name] = append(c.W.Header()[name], value)
}

// DelHeader implements [Ctx].
func (c HTTP) DelHeader(name string) { c.W.Header().Del(name) }

// Send implements [Ctx].
func (c HTTP) Send(status int, contentType string, body []byte) error {
	if contentType != "" {
		c.W.Header().Set("Content-Type", contentType)
	}
	c.W.WriteHeader(status)
	_, err := c.W.Write(body)
	return err
}

// JSON implements [Ctx].
func (c HTTP) JSON(status int, v any) error {
	c.W.Header().Set("Content-Type", "application/json")
	c.W.WriteHeader(status)
	return json.NewEncoder(c.W).Encode(v)
}

// NoContent implements [Ctx].
func (c HTTP) NoContent(status int) error {
	c.W.WriteHeader(status)
	return nil
}

// Redirect implements [Ctx].
func (c HTTP) Redirect(status int, location string) error {
	http.Redirect(c.W, c.R, location, status)
	return nil
}

// Error implements [Ctx].
func (c HTTP) Error(status int, text string) error {
	http.Error(c.W, text, status)
	return nil
}

// Status implements [Ctx].
func (c HTTP) Status(code int) { c.W.WriteHeader(code) }

// Write implements [Ctx].
func (c HTTP) Write(p []byte) (int, error) { return c.W.Write(p) }

// Stream implements [Ctx].
func (c HTTP) Stream(status int, contentType string, f func(Stream) error) error {
	c.W.Header().Set("Content-Type", contentType)
	c.W.WriteHeader(status)
	return f(c)
}

// Flush implements [Stream].
func (c HTTP) Flush() error { return http.NewResponseController(c.W).Flush() }

// EarlyHints implements [Ctx].
func (c HTTP) EarlyHints() error {
	c.W.WriteHeader(http.StatusEarlyHints)
	return nil
}

// Trailer implements [Ctx].
func (c HTTP) Trailer(body []byte, name, value string, announced bool) error {
	if announced {
		c.W.Header().Set("Trailer", name)
	} else {
		name = http.TrailerPrefix + name
	}
	c.W.WriteHeader(http.StatusOK)
	_, err := c.W.Write(body)
	c.W.Header().Set(name, value)
	return err
}

// Hijack implements [Ctx].
func (c HTTP) Hijack(f func(net.Conn)) error {
	conn, rw, err := http.NewResponseController(c.W).Hijack()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	f(bufferedConn{conn, rw.Reader})
	return nil
}

// Route implements [Routed].
func (c HTTP) Route() string { return c.R.Pattern }

// Written implements [Ctx].
func (c HTTP) Written() (int, int) { return 0, 0 }

// bufferedConn reads what the server had read already.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
