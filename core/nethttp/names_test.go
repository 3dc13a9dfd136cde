package nethttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestRequestNames: middleware in front may put names into the map as it likes. They
// count, and the cache's own conditions replace them.
func TestRequestNames(t *testing.T) {
	cache := coretest.NewCache(t, func(c *cacheaside.Config) { c.Policy.Key.Headers = []string{"X-Tenant"} })
	var got []string
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = slices.Concat(r.Header["if-none-match"], r.Header["If-None-Match"]) //nolint:staticcheck // middleware has put it there
		w.Header()["etag"] = []string{`"1"`}
		w.Header()["cache-control"] = []string{r.URL.Query().Get("control")}
		if len(got) > 0 && got[0] == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = fmt.Fprint(w, r.Header["x-tenant"], r.Header["X-Tenant"]) //nolint:staticcheck // middleware has put it there
	}))
	ask := func(control string, fields http.Header) *http.Response {
		r := httptest.NewRequest(http.MethodGet, "/?control="+control, nil)
		r.Header = fields
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	for round := range 2 {
		for _, want := range []struct {
			fields http.Header
			body   string
		}{
			{http.Header{"x-tenant": {"a"}}, "[a] []"},
			{http.Header{"x-tenant": {"b"}}, "[b] []"},
			{http.Header{"X-Tenant": {"a"}}, "[] [a]"},
			{http.Header{"x-tenant": {"a"}, "X-Tenant": {"b"}}, "[a] [b]"},
			{http.Header{"x-tenant": {"b"}, "X-Tenant": {"a"}}, "[b] [a]"},
			{http.Header{}, "[] []"},
		} {
			coretest.Want(t, ask("max-age=60", want.fields), http.StatusOK, want.body, round == 1)
		}
	}
	for range 2 {
		coretest.Want(t, ask("max-age=60", http.Header{"authorization": {"alice"}, "x-tenant": {"c"}}), http.StatusOK, "[c] []", false)
	}
	// One that the client already has is validated by what the cache has.
	_, _ = io.Copy(io.Discard, ask("max-age=0", http.Header{}).Body)
	res := ask("max-age=0", http.Header{"if-none-match": {"*"}})
	if len(got) != 1 || got[0] != `"1"` || res.StatusCode != http.StatusNotModified {
		t.Errorf("the handler was asked with %q, the client got %d", got, res.StatusCode)
	}
}
