package cacheaside_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// gets are requests for URLs.
func gets(urls ...string) (all []*http.Request) {
	for _, u := range urls {
		r, err := http.NewRequest(http.MethodGet, u, nil)
		if err != nil {
			panic(err)
		}
		all = append(all, r)
	}
	return all
}

// TestWarm: of each request the report says what is true of the store.
func TestWarm(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/private":
			w.Header().Set("Cache-Control", "private")
		case "/claims": // a proxy's handler brings what another cache has said
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Cache-Status", "cacheaside; hit; ttl=60")
		case "/404":
			w.WriteHeader(404)
		case "/500":
			w.WriteHeader(500)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/panics":
			panic("in here")
		case "/aborts":
			panic(http.ErrAbortHandler)
		case "/ends":
			runtime.Goexit()
		case "/vary":
			w.Header().Set("Vary", "Accept-Language")
		}
		fmt.Fprint(w, r.Host, r.URL.Path, r.Header.Get("Accept-Language"))
	}, func(c *cacheaside.Config) {
		c.Policy.Skip = func(r *cacheaside.Request) bool { return r.Path == "/skipped" }
	})
	outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			fmt.Fprint(w, "not cached")
		case "/forbidden":
			w.WriteHeader(403)
		default:
			s.ServeHTTP(w, r)
		}
	})
	s.do("GET", "http://example.com/there")

	german := httptest.NewRequest("GET", "http://example.com/vary", nil)
	german.Header.Set("Accept-Language", "de")
	named := httptest.NewRequest("GET", "/named", nil)
	named.Host = "other.example"
	requests := append(gets("http://example.com/a", "http://example.com/there", "http://example.com/private", "http://example.com/claims",
		"http://example.com/404", "http://example.com/500", "http://example.com/moved", "http://example.com/panics", "http://example.com/aborts",
		"http://example.com/ends", "http://example.com/skipped", "http://example.com/out", "http://example.com/forbidden", "https://example.com/a",
		"http://example.com", "http://example.com/%41?b=c%20d#f"), german, named)
	var seen []cacheaside.WarmProgress
	report, err := cacheaside.Warmup{
		Entry: nethttp.Entry(outside), Progress: func(p cacheaside.WarmProgress) { seen = append(seen, p) },
	}.Run(t.Context(), s.cache, requests...)
	want := []string{
		"http://example.com/a stored 200 ", "http://example.com/there present 200 ", "http://example.com/private not-stored 200 private",
		"http://example.com/claims not-stored 200 no-store", "http://example.com/404 failed 404  status 404, and is not stored: no-freshness",
		"http://example.com/500 failed 500  status 500, and is not stored: status", "http://example.com/moved not-stored 302 no-freshness",
		"http://example.com/panics failed 0  the handler panicked: \"in here\"", "http://example.com/aborts failed 0  the handler has aborted the response",
		"http://example.com/ends failed 0  the handler has ended its goroutine", "http://example.com/skipped not-stored 200 skip",
		"http://example.com/out not-stored 200 the request did not come to the cache", "http://example.com/forbidden failed 403  status 403, without coming to the cache",
		"https://example.com/a stored 200 ", "http://example.com/ stored 200 ", "http://example.com/%41?b=c%20d stored 200 ",
		"http://example.com/vary stored 200 ", "http://other.example/named stored 200 ",
	}
	for i, r := range report.Results {
		got := fmt.Sprintf("%s %s %d %s", r.URL, r.Outcome, r.Status, r.Reason)
		if r.Err != nil {
			got += " " + r.Err.Error()
		}
		if got != want[i] {
			t.Errorf("request %d:\n got %s\nwant %s", i, got, want[i])
		}
		if (r.Err != nil) != (r.Outcome == cacheaside.WarmFailed) || r.Err != nil && !errors.Is(err, r.Err) || r.Err != nil && !strings.Contains(err.Error(), r.URL) {
			t.Errorf("%s: %v, of %v", r.URL, r.Err, err)
		}
	}
	if report.Stored != 6 || report.Present != 1 || report.NotStored != 5 || report.Failed != 6 || report.NotRun != 0 {
		t.Errorf("%+v", report)
	}
	if len(seen) != len(requests) {
		t.Fatalf("%d times of progress", len(seen))
	}
	for i, p := range seen {
		if p.Done != i+1 || p.Total != len(requests) || !slices.Contains(report.Results, p.Last) {
			t.Errorf("progress %d: %+v", i, p)
		}
	}

	for range 10 { // what a request has left behind is not the next one's
		s.do("GET", "http://example.com/skipped")
		if _, err := s.cache.Warm(t.Context(), nethttp.Entry(s), gets("http://example.com/500")...); err == nil || !strings.HasSuffix(err.Error(), "stored: status") {
			t.Errorf("after another one: %v", err)
		}
	}
	calls := s.calls.Load()
	for _, url := range []string{"http://example.com/a", "https://example.com/a", "http://example.com/", "http://example.com/%41?b=c%20d", "http://other.example/named"} {
		if got := s.do("GET", url).Header.Get("Cache-Status"); got != "cacheaside; hit; ttl=30" {
			t.Errorf("%s: %s", url, got)
		}
	}
	if got := s.do("GET", "http://example.com/vary", "Accept-Language", "de").Header.Get("Cache-Status"); got != "cacheaside; hit; ttl=30" {
		t.Errorf("/vary: %s", got)
	}
	report, err = s.cache.Warm(t.Context(), nethttp.Entry(outside), gets("http://example.com/a", "http://example.com/there")...)
	if err != nil || report.Present != 2 || s.calls.Load() != calls {
		t.Errorf("the second time: %+v, %v, %d calls of the handler", report, err, s.calls.Load()-calls)
	}
}

// TestWarmBadInput: nothing runs, and the error names all that is wrong.
func TestWarmBadInput(t *testing.T) {
	var sent atomic.Int64
	entry := func(context.Context, string, *url.URL, http.Header, *adapter.Rerun) (int, http.Header) {
		sent.Add(1)
		return 200, nil
	}
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{}))
	defer cache.Close(context.Background())
	with := func(change func(*http.Request)) *http.Request {
		r := httptest.NewRequest("GET", "http://example.com/a", nil)
		change(r)
		return r
	}
	for _, tt := range []struct {
		bad  *http.Request
		want string
	}{
		{nil, "it is nil"},
		{&http.Request{}, "it has no URL"},
		{with(func(r *http.Request) { r.Method = "HEAD" }), "HEAD http://example.com/a: use GET"},
		{with(func(r *http.Request) { r.Method = strings.Repeat("X", 1e6) }), "use GET"},
		{with(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) }), "has a body: leave it out"},
		{with(func(r *http.Request) { r.ContentLength = 1 }), "has a body: leave it out"},
		{with(func(r *http.Request) { r.URL.Scheme = "ftp" }), `"ftp://example.com/a" is no URL of a resource`},
		{with(func(r *http.Request) { r.URL, _ = url.Parse("http:opaque") }), "is no URL of a resource"},
		{with(func(r *http.Request) { r.URL.Path = "a" }), "is no URL of a resource"},
		{with(func(r *http.Request) { r.URL.User = url.UserPassword("me", "secret") }), "has a user"},
		{with(func(r *http.Request) { r.URL.Host, r.Host = "", "" }), "has no host"},
		{with(func(r *http.Request) { r.Host = "a b" }), `"a b" is no host`},
		{with(func(r *http.Request) { r.Host = "a\r\nX-Evil: 1" }), "is no host"},
		{with(func(r *http.Request) { r.Host = "me@example.com" }), "is no host"},
		{with(func(r *http.Request) { r.URL.RawQuery = "a b" }), "a space or a control character"},
		{with(func(r *http.Request) { r.URL.RawQuery = "\r\nX-Evil: 1" }), "a space or a control character"},
		{with(func(r *http.Request) { r.Header["X Y"] = []string{"1"} }), `the field "X Y" cannot be sent`},
		{with(func(r *http.Request) { r.Header.Set("X-Y", "1\r\nX-Evil: 1") }), `the field "X-Y" cannot be sent`},
	} {
		report, err := cache.Warm(t.Context(), entry, gets("http://example.com/good")[0], tt.bad)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "request 1:") || strings.Contains(err.Error(), "secret") || len(err.Error()) > 600 {
			t.Errorf("want %q: %v", tt.want, err)
		}
		if len(report.Results) != 0 {
			t.Errorf("%v: %+v", err, report)
		}
	}
	for want, w := range map[string]cacheaside.Warmup{
		"Warmup.Entry: nil":         {},
		"Warmup.Concurrency: -1":    {Entry: entry, Concurrency: -1},
		"Warmup.Concurrency: 1025":  {Entry: entry, Concurrency: 1025},
		"Warmup.Timeout: -1s":       {Entry: entry, Timeout: -time.Second},
		"Warmup.Timeout: 30ns is l": {Entry: entry, Timeout: 30},
	} {
		if _, err := w.Run(t.Context(), cache, gets("http://example.com/a")...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := (cacheaside.Warmup{Concurrency: -1}).Run(t.Context(), nil, nil, nil); err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("not all that is wrong: %v", err)
	}
	if _, err := cache.Warm(t.Context(), entry, make([]*http.Request, 100_000)...); err == nil || strings.Count(err.Error(), "\n") > 100 {
		t.Errorf("%d bytes of error", len(fmt.Sprint(err)))
	}
	if report, err := cache.Warm(t.Context(), entry); err != nil || len(report.Results) != 0 {
		t.Errorf("nothing to warm up: %+v, %v", report, err)
	}
	if err := cache.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Warm(t.Context(), entry, gets("http://example.com/a")...); err == nil || !strings.Contains(err.Error(), "the cache is closed") {
		t.Errorf("a closed cache: %v", err)
	}
	if sent.Load() != 0 {
		t.Errorf("%d requests were sent", sent.Load())
	}
}

// TestWarmIsBounded: no more requests are under way than may be, in the order given.
func TestWarmIsBounded(t *testing.T) {
	for concurrency, want := range map[int]int64{0: 4, 1: 1, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int64
			var mu sync.Mutex
			var order []string
			s := newService(t, func(w http.ResponseWriter, r *http.Request) {
				most.Store(max(most.Load(), now.Add(1)))
				mu.Lock()
				order = append(order, r.URL.Path)
				mu.Unlock()
				time.Sleep(time.Second)
				now.Add(-1)
				fmt.Fprint(w, "x")
			})
			defer s.cache.Close(t.Context())
			var urls []string
			for i := range 20 {
				urls = append(urls, fmt.Sprintf("http://example.com/%02d", i))
			}
			report, err := cacheaside.Warmup{Entry: nethttp.Entry(s), Concurrency: concurrency}.Run(t.Context(), s.cache, gets(urls...)...)
			if err != nil || report.Stored != 20 || most.Load() != want {
				t.Errorf("%d: %v, %d stored, %d at a time", concurrency, err, report.Stored, most.Load())
			}
			if concurrency == 1 && !slices.IsSorted(order) {
				t.Errorf("in the order %v", order)
			}
		})
	}
}

// TestWarmEnds: with its context. What was not run is said, and what was cut off.
func TestWarmEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
			fmt.Fprint(w, "x")
		})
		defer s.cache.Close(t.Context())
		urls := gets("http://example.com/a", "http://example.com/b", "http://example.com/c", "http://example.com/d")
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		report, err := cacheaside.Warmup{Entry: nethttp.Entry(s), Concurrency: 1}.Run(ctx, s.cache, urls...)
		if report.Stored != 1 || report.Failed != 1 || report.NotRun != 2 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 of 4 requests were not run") {
			t.Errorf("%+v, %v", report, err)
		}
		if r := report.Results[3]; r.Outcome != cacheaside.WarmNotRun || r.URL != "http://example.com/d" || r.Err == nil {
			t.Errorf("%+v", r)
		}
		cancel()
		calls := s.calls.Load()
		for range 50 {
			if report, err = s.cache.Warm(ctx, nethttp.Entry(s), urls...); report.NotRun != 4 || err == nil || s.calls.Load() != calls {
				t.Fatalf("after its end: %+v, %v", report, err)
			}
		}
	})
}

// TestWarmHangs: handlers that heed no context are bounded in time, and in number.
func TestWarmHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := newService(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/hang") {
				<-gate
			}
			fmt.Fprint(w, "x")
		}, func(c *cacheaside.Config) { c.Timeouts.Write = time.Second })
		defer s.cache.Close(t.Context())
		w := cacheaside.Warmup{Entry: nethttp.Entry(s), Concurrency: 2, Timeout: 5 * time.Second}
		began := time.Now()
		report, err := w.Run(t.Context(), s.cache, gets("http://example.com/hang/1", "http://example.com/hang/2", "http://example.com/a", "http://example.com/b")...)
		if report.Failed != 2 || report.Stored != 2 || err == nil || !strings.Contains(err.Error(), "has not returned") || time.Since(began) > 7*time.Second {
			t.Errorf("%+v, %v after %v", report, err, time.Since(began))
		}
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprintf("http://example.com/hang/%d", 10+i))
		}
		began, calls := time.Now(), s.calls.Load()
		report, err = w.Run(t.Context(), s.cache, gets(many...)...)
		if n := s.calls.Load() - calls; n > 4 || report.Failed != int(n) || report.NotRun != 1000-int(n) || time.Since(began) > 14*time.Second || !strings.Contains(err.Error(), "too many handlers go on") {
			t.Errorf("%d handlers in %v: %d failed, %d not run", n, time.Since(began), report.Failed, report.NotRun)
		}
		close(gate)
	})
}

// TestWarmWaitsForTheStore: what is called stored is there, and what the store has not
// taken is not called so, though the response says it.
func TestWarmWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, one := newAiling(t)
		a.slowWrites(100 * time.Millisecond)
		began := time.Now()
		report, err := one.Warm(t.Context(), nethttp.Entry(one.h), gets("http://example.com/a")...)
		if err != nil || report.Stored != 1 || time.Since(began) < 100*time.Millisecond {
			t.Errorf("%+v, %v after %v", report, err, time.Since(began))
		}
		one.want(t, "/a", "1", "hit")
		a.slowWrites(time.Minute)
		report, err = one.Warm(t.Context(), nethttp.Entry(one.h), gets("http://example.com/b")...)
		if report.Failed != 1 || err == nil || !strings.Contains(err.Error(), "the store has not taken it") {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// TestWarmBesideClients: a request that another one answers is looked for again, for the
// store may not have taken it.
func TestWarmBesideClients(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				fmt.Fprint(w, "x")
			})
			defer s.cache.Close(t.Context())
			if fails {
				s.store.set = func(context.Context) error { return errors.New("no room") }
			}
			go s.do("GET", "http://example.com/a")
			synctest.Wait()
			report, err := s.cache.Warm(t.Context(), nethttp.Entry(s), gets("http://example.com/a")...)
			want := cacheaside.WarmPresent
			if fails {
				want = cacheaside.WarmFailed
			}
			if report.Results[0].Outcome != want || (err != nil) != fails || fails && !strings.Contains(err.Error(), "no room") {
				t.Errorf("%+v, %v", report, err)
			}
			synctest.Wait()
		})
	}
}

// TestWarmStale: what is stale is renewed; where the handler fails, that is said.
func TestWarmStale(t *testing.T) {
	var broken atomic.Bool
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		switch {
		case broken.Load():
			w.WriteHeader(503)
		case r.Header.Get("If-None-Match") == `"1"`:
			w.WriteHeader(304)
		default:
			fmt.Fprint(w, "x")
		}
	}, func(c *cacheaside.Config) { c.Policy.Stale.IfError = time.Hour })
	for i, want := range []cacheaside.WarmOutcome{cacheaside.WarmStored, cacheaside.WarmStored, cacheaside.WarmFailed} {
		broken.Store(i == 2)
		report, err := s.cache.Warm(t.Context(), nethttp.Entry(s), gets("http://example.com/a")...)
		if r := report.Results[0]; r.Outcome != want || i == 2 && !strings.Contains(err.Error(), "the handler has failed (status 503); what is stored is stale") {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
		s.clock.Advance(31 * time.Second)
	}
}

// TestWarmNested: of several handles the one that deals with the request tells of it, and
// nothing is told of what a handler asks for itself.
func TestWarmNested(t *testing.T) {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	defer cache.Close(context.Background())
	other := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	defer other.Close(context.Background())
	inner := cacheaside.Must(cache.With(func(p *cacheaside.Policy) { p.TTL = time.Second }))
	part := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "part") }))
	h := nethttp.New(other)(nethttp.New(cache)(nethttp.New(inner)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/whole" {
			w.Header().Set("Cache-Control", "private")
			part.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(r.Context(), "GET", "http://example.com/part", nil))
		}
		fmt.Fprint(w, "x")
	}))))
	report, err := cache.Warm(t.Context(), nethttp.Entry(h), gets("http://example.com/a", "http://example.com/whole")...)
	if err != nil || report.Stored != 1 || report.NotStored != 1 || report.Results[1].Reason != "private" {
		t.Errorf("%+v, %v", report, err)
	}
	if n := other.Stats().Stores; n != 1 {
		t.Errorf("the other cache, to which they are requests like any other, has stored %d", n)
	}
	report, err = other.Warm(t.Context(), nethttp.Entry(h), gets("http://example.com/a")...)
	if err != nil || report.Present != 1 {
		t.Errorf("the other cache: %+v, %v", report, err)
	}
	w := httptest.NewRecorder()
	if part.ServeHTTP(w, httptest.NewRequest("GET", "http://example.com/part", nil)); !strings.Contains(w.Header().Get("Cache-Status"), "; hit") {
		t.Errorf("what a handler has asked for: %s", w.Header().Get("Cache-Status"))
	}
	none := cacheaside.Must(cacheaside.New(cacheaside.Config{}))
	defer none.Close(context.Background())
	h = nethttp.New(other)(nethttp.New(none)(saying("x")))
	report, err = none.Warm(t.Context(), nethttp.Entry(h), gets("http://example.com/b")...)
	if err != nil || report.Results[0].Reason != "no-freshness" || other.Stats().Stores != 2 {
		t.Errorf("what another cache stores is not stored here: %+v, %v", report, err)
	}
}

// TestWarmProgressPanics: the panic is the caller's, and nothing is left behind.
func TestWarmProgressPanics(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v", p)
		}
	}()
	_, _ = cacheaside.Warmup{Entry: nethttp.Entry(s), Progress: func(cacheaside.WarmProgress) { panic("mine") }}.
		Run(t.Context(), s.cache, gets("http://example.com/a", "http://example.com/b", "http://example.com/c")...)
}

// TestWarmFailuresAreBounded: the error has the first hundred, the report all.
func TestWarmFailuresAreBounded(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	var urls []string
	for i := range 150 {
		urls = append(urls, fmt.Sprintf("http://example.com/%d?%s", i, strings.Repeat("x", 1000)))
	}
	report, err := s.cache.Warm(t.Context(), nethttp.Entry(s), gets(urls...)...)
	if report.Failed != 150 || err == nil || strings.Count(err.Error(), "\n") != 100 || !strings.HasSuffix(err.Error(), "and 50 more have failed") || len(err.Error()) > 40_000 {
		t.Errorf("%d failed, %d bytes of error", report.Failed, len(fmt.Sprint(err)))
	}
}

// Before clients come, the cache has what they are going to want.
func ExampleCache_Warm() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(saying("news"))

	request, err := http.NewRequest(http.MethodGet, "https://example.com/news", nil)
	if err != nil {
		fmt.Println(err)
	}
	report, err := cache.Warm(context.Background(), nethttp.Entry(service), request)
	fmt.Println(report.Stored, "stored,", report.Failed, "failed,", err)
	visit(service, "/news")
	// Output:
	// 1 stored, 0 failed, <nil>
	// /news: news (hit)
}

// With bounds of its own, and progress.
func ExampleWarmup() {
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Minute}}))
	defer cache.Close(context.Background())
	service := nethttp.New(cache)(saying("news"))

	var requests []*http.Request
	for _, path := range []string{"/news", "/sport", "/news"} {
		request, err := http.NewRequest(http.MethodGet, "http://example.com"+path, nil)
		if err != nil {
			fmt.Println(err)
		}
		requests = append(requests, request)
	}
	_, err := cacheaside.Warmup{
		Entry: nethttp.Entry(service), Concurrency: 1, Timeout: 5 * time.Second,
		Progress: func(p cacheaside.WarmProgress) {
			fmt.Printf("%d of %d: %s %s\n", p.Done, p.Total, p.Last.URL, p.Last.Outcome)
		},
	}.Run(context.Background(), cache, requests...)
	fmt.Println(err)
	// Output:
	// 1 of 3: http://example.com/news stored
	// 2 of 3: http://example.com/sport stored
	// 3 of 3: http://example.com/news present
	// <nil>
}
