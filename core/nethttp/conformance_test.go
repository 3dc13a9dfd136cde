package nethttp_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	coretest.Run(t, coretest.Framework{
		Name: "nethttp",
		New:  func(c *cacheaside.Cache) { nethttp.New(c) },
		NewPurge: func(c *cacheaside.Cache, a cacheaside.PurgeAccess) error {
			_, err := nethttp.NewPurge(c, a)
			return err
		},
		NewInspect: func(c *cacheaside.Cache, r *inspect.Recorder, a inspect.Access) error {
			_, err := nethttp.NewInspect(c, r, a)
			return err
		},
		Serve: serve,
	})
}

func serve(tb testing.TB, app coretest.App, ln net.Listener) {
	var options []nethttp.Option
	if app.Outcome {
		options = append(options, nethttp.WithOutcome(), nethttp.WithXCache(""))
	}
	mux := http.NewServeMux()
	for _, route := range app.Routes {
		h := route.HTTP()
		if route.Cache != nil {
			h = nethttp.New(route.Cache, options...)(h)
		}
		if _, ok := route.InGroup(); ok && app.Group != nil {
			h = nethttp.New(app.Group, options...)(h)
		}
		path := strings.TrimSuffix(route.Path, "*")
		for _, method := range route.AllMethods() {
			if method != http.MethodHead || !slices.Contains(route.AllMethods(), http.MethodGet) {
				mux.Handle(method+" "+path, h) // GET serves HEAD as well
			}
		}
	}
	if app.Purge != nil {
		purge := cacheaside.Must(nethttp.NewPurge(app.Global, *app.Purge))
		mux.Handle(coretest.PurgePath, purge)
		mux.Handle("PURGE /a", purge)
	}
	if app.Inspect != nil {
		mux.Handle(coretest.InspectPath, cacheaside.Must(nethttp.NewInspect(app.Global, app.Inspect.Recorder, app.Inspect.Access)))
	}
	var h http.Handler = mux
	for _, m := range slices.Backward(app.Inner) {
		h = m.HTTP(h)
	}
	if app.Global != nil {
		h = nethttp.New(app.Global, options...)(h)
	}
	for _, m := range slices.Backward(app.Outer) {
		h = m.HTTP(h)
	}
	if app.Entry != nil {
		app.Entry(nethttp.Entry(h))
	}
	coretest.ServeHTTP(tb, h, ln)
}

func TestNilHandler(t *testing.T) {
	text := coretest.Panics(t, func() { nethttp.New(coretest.NewCache(t))(nil) })
	if !strings.Contains(text, "nethttp.New") {
		t.Errorf("the panic says %q", text)
	}
}

func TestFileServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page.html"), []byte("<p>0123456789</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := nethttp.New(coretest.NewCache(t))(http.FileServer(http.Dir(dir)))
	coretest.Want(t, coretest.Get(h, "/page.html", "Range: bytes=3-6"), 206, "0123", false)
	first := coretest.Get(h, "/page.html")
	coretest.Want(t, first, 200, "<p>0123456789</p>", false)
	coretest.Want(t, coretest.Get(h, "/page.html"), 200, "<p>0123456789</p>", true)
	coretest.Want(t, coretest.Get(h, "/page.html", "If-Modified-Since: "+first.Header.Get("Last-Modified")), 304, "", true)
	for range 2 {
		coretest.Want(t, coretest.Get(h, "/none.html"), 404, "404 page not found\n", false)
	}
}

// TestTimeoutHandler: a writer in front that can do nothing but write.
func TestTimeoutHandler(t *testing.T) {
	h := http.TimeoutHandler(nethttp.New(coretest.NewCache(t))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Hijacker); ok {
			t.Error("the writer offers to hijack what cannot be hijacked")
		}
		_, _ = io.WriteString(w, "in time")
	})), time.Minute, "late")
	coretest.Want(t, coretest.Get(h, "/"), 200, "in time", false)
	coretest.Want(t, coretest.Get(h, "/"), 200, "in time", true)
}

// TestDeadlines: handlers reach the connection's deadlines through the writer.
func TestDeadlines(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	coretest.ServeHTTP(t, nethttp.New(coretest.NewCache(t))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "a")
	})), ln)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, hit := range []bool{false, true} {
		res, err := client.Get("http://" + ln.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		coretest.Want(t, res, 200, "a", hit)
	}
}

// TestLateWrites: a handler that keeps the writer changes nothing of what was
// stored or sent.
func TestLateWrites(t *testing.T) {
	var kept http.ResponseWriter
	h := nethttp.New(coretest.NewCache(t))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		kept = w
		_, _ = io.WriteString(w, "body")
	}))
	res := coretest.Get(h, "/")
	_, _ = io.WriteString(kept, "more")
	kept.Header().Set("X-Late", "1")
	coretest.Want(t, res, 200, "body", false)
	second := coretest.Get(h, "/")
	if second.Header.Get("X-Late") != "" {
		t.Error("a field set after the handler's end was stored")
	}
	coretest.Want(t, second, 200, "body", true)
}

// TestNestedBehindAnotherWriter: a handle knows that it is behind another one also
// where a layer in between has a writer that leads nowhere. Otherwise it would wait
// for what the outer one fetches, which is what it gives itself.
func TestNestedBehindAnotherWriter(t *testing.T) {
	cache := coretest.NewCache(t)
	inner := nethttp.New(cacheaside.Must(cache.With(func(c *cacheaside.Policy) { c.TTL = time.Hour })))
	calls := 0
	var h http.Handler
	h = nethttp.New(cache)(http.TimeoutHandler(inner(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.URL.Path == "/page" { // one with a part, which is a request of its own
			part := httptest.NewRequest(http.MethodGet, "/part", nil).WithContext(r.Context())
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, part)
			_, _ = io.WriteString(w, "page with "+rec.Body.String())
			return
		}
		_, _ = io.WriteString(w, "part")
	})), 5*time.Second, "it waits for itself"))
	for i := range 2 {
		coretest.Want(t, coretest.Get(h, "/page"), 200, "page with part", i > 0)
		coretest.Want(t, coretest.Get(h, "/part"), 200, "part", true)
	}
	if calls != 2 {
		t.Errorf("the handler ran %d times, want 2", calls)
	}
}

// TestPartOfAPage: a request that a handler makes of its own, in its own context,
// does not keep its response out of the cache.
func TestPartOfAPage(t *testing.T) {
	var h http.Handler
	h = nethttp.New(coretest.NewCache(t))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/part" {
			_, _ = io.WriteString(w, "part")
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/part", nil).WithContext(r.Context()))
		_, _ = io.WriteString(w, "page with "+rec.Body.String())
	}))
	coretest.Want(t, coretest.Get(h, "/page"), 200, "page with part", false)
	coretest.Want(t, coretest.Get(h, "/page"), 200, "page with part", true)
	coretest.Want(t, coretest.Get(h, "/part"), 200, "part", true)
}
