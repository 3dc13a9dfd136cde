package nethttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
)

// outcomeOf sends a request for path through h, and asks.
func outcomeOf(t *testing.T, h http.Handler, path string) cacheaside.Outcome {
	t.Helper()
	r := nethttp.TrackOutcome(httptest.NewRequest(http.MethodGet, path, nil))
	if _, ok := nethttp.Outcome(r); ok {
		t.Error("there is an outcome of what was not sent")
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	o, ok := nethttp.Outcome(r)
	if !ok {
		t.Errorf("%s: no outcome", path)
	}
	return o
}

// TestOutcomeOfRequestsInside: what the handler asks for itself, with its own context, has
// an outcome of its own, and that of the handler's request is none of it.
func TestOutcomeOfRequestsInside(t *testing.T) {
	var h http.Handler
	var inside, early bool
	h = nethttp.New(coretest.NewCache(t), nethttp.WithOutcome())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			for range 2 {
				part := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/part", nil)
				h.ServeHTTP(httptest.NewRecorder(), part)
				if _, ok := nethttp.Outcome(part); ok {
					early = true
				}
				part = nethttp.TrackOutcome(part)
				h.ServeHTTP(httptest.NewRecorder(), part)
				o, ok := nethttp.Outcome(part)
				inside = ok && o.Hit
			}
		}
		_, _ = w.Write([]byte(r.URL.Path))
	}))
	if o := outcomeOf(t, h, "/page"); o.Result != observe.ResultMiss || !o.Stored {
		t.Errorf("the page: %+v", o)
	}
	if !inside || early {
		t.Errorf("its part: a hit, %v; the page has its outcome before it is there, %v", inside, early)
	}
	if o := outcomeOf(t, h, "/page"); !o.Hit {
		t.Errorf("the page: %+v", o)
	}
}

// TestOutcomeForSeveral: all who ask in front are told, and each time that a request is sent.
func TestOutcomeForSeveral(t *testing.T) {
	h := nethttp.New(coretest.NewCache(t), nethttp.WithOutcome())(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("x"))
	}))
	outer := nethttp.TrackOutcome(httptest.NewRequest(http.MethodGet, "/", nil))
	inner := nethttp.TrackOutcome(outer.WithContext(outer.Context()))
	for i := range 2 {
		h.ServeHTTP(httptest.NewRecorder(), inner)
		for who, r := range map[string]*http.Request{"outer": outer, "inner": inner} {
			if o, ok := nethttp.Outcome(r); !ok || o.Hit != (i == 1) {
				t.Errorf("%s, %d: %v %+v", who, i, ok, o)
			}
		}
	}
	if _, ok := nethttp.Outcome(httptest.NewRequest(http.MethodGet, "/", nil)); ok {
		t.Error("an outcome that nobody has asked for")
	}
}

func TestXCacheNames(t *testing.T) {
	for _, name := range []string{"", "x-cache", "Cache-Result", "X-Proxy-Cache"} {
		want := http.CanonicalHeaderKey(name)
		if name == "" {
			want = "X-Cache"
		}
		h := nethttp.New(coretest.NewCache(t), nethttp.WithXCache(name))(http.NotFoundHandler())
		if got := coretest.Get(h, "/").Header.Values(want); len(got) != 1 || got[0] != "MISS" {
			t.Errorf("%q: %s is %q", name, want, got)
		}
	}
	for _, name := range []string{"X Cache", "X-Cache:", "ä", "Cache-Status", "age", "content-type", "Transfer-Encoding", "Set-Cookie", "Access-Control-Allow-Origin"} {
		if text := coretest.Panics(t, func() { nethttp.WithXCache(name) }); len(text) < len(name)+20 {
			t.Errorf("%q: the panic says %q", name, text)
		}
	}
}

// TestOutcomeOfInnerHandle: the handle behind needs no option of its own to tell for the
// one in front.
func TestOutcomeOfInnerHandle(t *testing.T) {
	cache := coretest.NewCache(t)
	inner, err := cache.With(func(p *cacheaside.Policy) { p.Name = "inner" })
	if err != nil {
		t.Fatal(err)
	}
	var asked *http.Request
	h := nethttp.New(cache, nethttp.WithOutcome(), nethttp.WithXCache(""))(nethttp.New(inner)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := nethttp.Outcome(asked); ok {
			t.Error("the outcome of the last time is taken for that of this one")
		}
		if r.URL.RawQuery == "panic" {
			panic("no")
		}
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("x"))
	})))
	asked = nethttp.TrackOutcome(httptest.NewRequest(http.MethodGet, "/", nil))
	for range 2 { // the same request again, as middleware that retries does
		w := httptest.NewRecorder()
		h.ServeHTTP(w, asked)
		if o, ok := nethttp.Outcome(asked); !ok || o.Policy != "inner" || o.NotStored != observe.ReasonNoStore || w.Header().Get("X-Cache") != "MISS" {
			t.Errorf("%v %+v, X-Cache %q", ok, o, w.Header()["X-Cache"])
		}
	}
	asked = nethttp.TrackOutcome(httptest.NewRequest(http.MethodGet, "/?panic", nil))
	coretest.Panics(t, func() { h.ServeHTTP(httptest.NewRecorder(), asked) })
	if o, ok := nethttp.Outcome(asked); !ok || o.Policy != "inner" || o.Result != observe.ResultError {
		t.Errorf("after a panic: %v %+v", ok, o)
	}
}
