package coretest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// defaultHost is the Host of requests that name none, so that servers on
// different ports share entries.
const defaultHost = "example.test"

// giveUp ends what hangs. A case that works never waits for it, and takes seconds on a busy machine.
const giveUp = 30 * time.Second

// site is a running server with a client of its own.
type site struct {
	c     *run
	addr  string
	base  string
	cache *cacheaside.Cache
	calls map[string]*atomic.Int64
	// caches is how many of them a request passes, each of which reports
	caches int

	Client *http.Client
}

// Site starts app.
func (c *run) Site(app App) *site { c.Helper(); return c.site(app, nil) }

// TLSSite starts app behind TLS.
func (c *run) TLSSite(app App) *site { c.Helper(); return c.site(app, serverTLS()) }

func (c *run) site(app App, secure *tls.Config) *site {
	c.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.Fatal(err)
	}
	s := &site{c: c, addr: ln.Addr().String(), cache: app.Global, calls: make(map[string]*atomic.Int64), caches: 1}
	s.base = "http://" + s.addr
	app.Routes = slices.Clone(app.Routes) // the caller may start it twice
	if secure != nil {
		ln = tls.NewListener(ln, secure)
		s.base = "https://" + s.addr
	}
	if s.cache == nil {
		s.cache = app.Group
	}
	for i := range app.Routes {
		r := &app.Routes[i]
		if s.cache == nil {
			s.cache = r.Cache
		}
		if s.calls[r.Path] == nil {
			s.calls[r.Path] = new(atomic.Int64)
		}
		n, h := s.calls[r.Path], r.Handler
		r.Handler = func(c Ctx) error { n.Add(1); return h(c) }
	}
	tr := &http.Transport{
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // made above for this test
	}
	s.Client = &http.Client{
		Transport:     tr,
		Timeout:       giveUp,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.fw.Serve(c, app, ln)
	c.Cleanup(tr.CloseIdleConnections)
	return s
}

// Plain starts app's routes and middlewares without any cache, to compare.
func (c *run) Plain(app App) *site {
	c.Helper()
	app.Global, app.Group = nil, nil
	app.Routes = slices.Clone(app.Routes)
	for i := range app.Routes {
		app.Routes[i].Cache = nil
	}
	return c.Site(app)
}

// Calls is how often the handler of the route with this path has run.
func (s *site) Calls(path string) int { return int(s.calls[path].Load()) }

// Handled checks how often the handler of a route has run.
func (s *site) Handled(path string, want int) {
	s.c.Helper()
	if got := s.Calls(path); got != want {
		s.c.Errorf("the handler of %s ran %d times, want %d", path, got, want)
	}
}

// response is what a client got.
type response struct {
	c      *run
	site   *site
	before uint64 // the cache's Stores when the request was sent

	What    string
	Status  int
	Proto   string
	Header  http.Header
	Trailer http.Header
	Body    string
	Hints   []http.Header // of 103s
}

// Get sends a GET. Fields are "Name: value".
func (s *site) Get(target string, fields ...string) *response {
	s.c.Helper()
	return s.Do(http.MethodGet, target, "", fields...)
}

// Head sends a HEAD.
func (s *site) Head(target string, fields ...string) *response {
	s.c.Helper()
	return s.Do(http.MethodHead, target, "", fields...)
}

// Do sends a request and reads the answer, which must be whole.
func (s *site) Do(method, target, body string, fields ...string) *response {
	s.c.Helper()
	r, err := s.Try(context.Background(), method, target, body, fields...)
	if err != nil {
		s.c.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

// Try is Do for requests that may fail.
func (s *site) Try(ctx context.Context, method, target, body string, fields ...string) (*response, error) {
	r := &response{c: s.c, site: s, What: strings.Join(append([]string{method + " " + target}, fields...), " | ")}
	if s.cache != nil {
		r.before = s.cache.Stats().Stores
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				r.Hints = append(r.Hints, maps.Clone(http.Header(h)))
			}
			return nil
		},
	})
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+target, in)
	if err != nil {
		return nil, err
	}
	req.Host = defaultHost
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	res, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return r, r.read(res)
}

func (r *response) read(res *http.Response) error {
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	r.Status, r.Proto, r.Header, r.Trailer, r.Body = res.StatusCode, res.Proto, res.Header, res.Trailer, string(b)
	for _, name := range []string{"Content-Type", "Content-Length", "Date", "Age", "Etag", "Location"} {
		if n := len(r.Header.Values(name)); n > 1 {
			r.c.Errorf("%s: %d lines of %s: %q", r.What, n, name, r.Header.Values(name))
		}
	}
	if n := len(r.Header.Values("Cache-Status")); n > r.site.caches {
		r.c.Errorf("%s: %d lines of Cache-Status: %q", r.What, n, r.Header.Values("Cache-Status"))
	}
	return nil
}

// Raw sends text as it is on a connection of its own and reads one response.
// A failure of the server's is a nil response.
func (s *site) Raw(request string) *response {
	s.c.Helper()
	conn := s.Dial()
	defer func() { _ = conn.Close() }()
	line, _, _ := strings.Cut(request, "\r\n")
	if _, err := io.WriteString(conn, request); err != nil {
		s.c.Fatalf("%q: %v", line, err)
	}
	method, _, _ := strings.Cut(line, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	r := &response{c: s.c, site: s, What: line}
	if err := r.read(res); err != nil {
		return nil
	}
	return r
}

// Dial connects to the server.
func (s *site) Dial() net.Conn {
	s.c.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, giveUp)
	if err != nil {
		s.c.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(giveUp))
	return conn
}

// CacheStatus parses the response's Cache-Status, which must be one member of
// ours and a correct structured field; nil if there is none.
func (r *response) CacheStatus() map[string]string {
	r.c.Helper()
	lines := r.Header.Values("Cache-Status")
	if len(lines) == 0 {
		return nil
	}
	params, err := parseCacheStatus(strings.Join(lines, ", "))
	if err != nil {
		r.c.Fatalf("%s: Cache-Status %q: %v", r.What, lines, err)
	}
	return params
}

// parseCacheStatus reads a list of exactly one token with parameters, by RFC
// 9651. A parameter without value is "?1".
func parseCacheStatus(s string) (map[string]string, error) {
	name, rest, _ := strings.Cut(s, ";")
	if strings.TrimSpace(name) != "cacheaside" {
		return nil, fmt.Errorf("the member is %q", name)
	}
	params := make(map[string]string)
	for rest != "" {
		rest = strings.TrimLeft(rest, " ")
		n := 0
		for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || n > 0 && (rest[n] == '-' || rest[n] == '_' || rest[n] >= '0' && rest[n] <= '9')) {
			n++
		}
		key := rest[:n]
		if key == "" {
			return nil, fmt.Errorf("no key at %q", rest)
		}
		rest = rest[n:]
		value := "?1"
		if v, ok := strings.CutPrefix(rest, "="); ok {
			if strings.HasPrefix(v, `"`) {
				end := strings.IndexByte(v[1:], '"')
				if end < 0 {
					return nil, fmt.Errorf("an open string at %q", v)
				}
				value, rest = v[1:1+end], v[end+2:]
			} else {
				end := strings.IndexAny(v, "; ,")
				if end < 0 {
					end = len(v)
				}
				value, rest = v[:end], v[end:]
			}
			if value == "" {
				return nil, fmt.Errorf("%s has an empty value", key)
			}
		}
		params[key] = value
		if rest == "" {
			break
		}
		if rest[0] != ';' {
			return nil, fmt.Errorf("unexpected %q", rest)
		}
		rest = rest[1:]
	}
	_, hit := params["hit"]
	_, fwd := params["fwd"]
	if hit == fwd {
		return nil, fmt.Errorf("needs one of hit and fwd")
	}
	return params, nil
}

// Hit checks that the response came from the cache.
func (r *response) Hit() *response {
	r.c.Helper()
	if p := r.CacheStatus(); p["hit"] != "?1" {
		r.c.Errorf("%s: no hit: Cache-Status %q", r.What, r.Header.Get("Cache-Status"))
	} else if _, err := strconv.Atoi(p["ttl"]); err != nil {
		r.c.Errorf("%s: a hit without ttl: %q", r.What, r.Header.Get("Cache-Status"))
	}
	if age, err := strconv.Atoi(r.Header.Get("Age")); err != nil || age < 0 {
		r.c.Errorf("%s: a hit with Age %q", r.What, r.Header.Get("Age"))
	}
	if r.Header.Get("Date") == "" {
		r.c.Errorf("%s: a hit without Date", r.What)
	}
	return r
}

// NotHit checks that the handler was asked, for whatever reason.
func (r *response) NotHit() *response {
	r.c.Helper()
	if p := r.CacheStatus(); p == nil || p["hit"] != "" {
		r.c.Errorf("%s: Cache-Status %q: want no hit", r.What, r.Header.Get("Cache-Status"))
	}
	return r
}

// Fwd checks why the handler was asked.
func (r *response) Fwd(why string) *response {
	r.c.Helper()
	if p := r.CacheStatus(); p["fwd"] != why {
		r.c.Errorf("%s: want fwd=%s: Cache-Status %q", r.What, why, r.Header.Get("Cache-Status"))
	}
	return r
}

// Miss checks that nothing was stored for the request: fwd is miss or
// vary-miss.
func (r *response) Miss() *response {
	r.c.Helper()
	if p := r.CacheStatus(); p["fwd"] != "miss" && p["fwd"] != "uri-miss" && p["fwd"] != "vary-miss" {
		r.c.Errorf("%s: no miss: Cache-Status %q", r.What, r.Header.Get("Cache-Status"))
	}
	return r
}

// Stored checks that the response says so, and waits until it is.
func (r *response) Stored() *response {
	r.c.Helper()
	if r.CacheStatus()["stored"] != "?1" {
		r.c.Errorf("%s: not stored: Cache-Status %q", r.What, r.Header.Get("Cache-Status"))
		return r
	}
	r.c.Eventually("the response is stored", func() bool { return r.site.cache.Stats().Stores > r.before })
	return r
}

// NotStored checks that the response does not claim to be stored. Whether it
// is shows in the next request.
func (r *response) NotStored() *response {
	r.c.Helper()
	if p := r.CacheStatus(); p == nil || p["stored"] != "" && p["stored"] != "?0" {
		r.c.Errorf("%s: want a response that is not stored: Cache-Status %q", r.What, r.Header.Get("Cache-Status"))
	}
	return r
}

// Detail checks the detail of Cache-Status.
func (r *response) Detail(want string) *response {
	r.c.Helper()
	if p := r.CacheStatus(); p["detail"] != want {
		r.c.Errorf("%s: want detail=%s: Cache-Status %q", r.What, want, r.Header.Get("Cache-Status"))
	}
	return r
}

// TTL checks the ttl of Cache-Status.
func (r *response) TTL(want int) *response {
	r.c.Helper()
	if p := r.CacheStatus(); p["ttl"] != strconv.Itoa(want) {
		r.c.Errorf("%s: want ttl=%d: Cache-Status %q", r.What, want, r.Header.Get("Cache-Status"))
	}
	return r
}

// Is checks status and body.
func (r *response) Is(status int, body string) *response {
	r.c.Helper()
	if r.Status != status {
		r.c.Errorf("%s: status %d, want %d", r.What, r.Status, status)
	}
	if r.Body != body {
		r.c.Errorf("%s: body %s, want %s", r.What, brief(r.Body), brief(body))
	}
	return r
}

// Has checks all values of a field; none means that it must be absent.
func (r *response) Has(name string, values ...string) *response {
	r.c.Helper()
	got := r.Header.Values(name)
	if strings.Join(got, "\x00") != strings.Join(values, "\x00") || len(got) != len(values) {
		r.c.Errorf("%s: %s is %q, want %q", r.What, name, got, values)
	}
	return r
}

// Same checks that two responses are the same but for what caching may change.
func (r *response) Same(want *response) *response {
	r.c.Helper()
	r.Is(want.Status, want.Body)
	got, exp := withoutMoving(r.Header), withoutMoving(want.Header)
	a, b := r.Header.Get("Content-Length"), want.Header.Get("Content-Length")
	if a != "" && b != "" && a != b { // a streamed answer has none
		r.c.Errorf("%s: Content-Length is %s, want %s", r.What, a, b)
	}
	for name, values := range exp {
		if strings.Join(got[name], "\x00") != strings.Join(values, "\x00") {
			r.c.Errorf("%s: %s is %q, want %q", r.What, name, got[name], values)
		}
	}
	for name, values := range got {
		if _, ok := exp[name]; !ok {
			r.c.Errorf("%s: an additional %s: %q", r.What, name, values)
		}
	}
	return r
}

func withoutMoving(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range []string{"Date", "Age", "Cache-Status", "Content-Length"} {
		h.Del(name)
	}
	return h
}

func brief(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%q... (%d bytes)", s[:200], len(s))
	}
	return strconv.Quote(s)
}

// Eventually waits for something that another goroutine brings about.
func (c *run) Eventually(what string, f func() bool) {
	c.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(giveUp); ; <-tick.C {
		if f() {
			return
		}
		if time.Now().After(end) {
			c.Fatalf("waited in vain: %s", what)
		}
	}
}

// await waits for a channel to be closed or to give something.
func await[T any](c *run, what string, ch <-chan T) T {
	c.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(giveUp):
		c.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// atOnce runs f in n goroutines and waits for them.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

var serverTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: defaultHost},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
})

var _ testing.TB = (*run)(nil)
