package graphql_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/graphql"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

func Example() {
	cache, err := cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{
		TTL: time.Minute,
		Requests: cacheaside.RequestPolicy{
			Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
			Content: cacheaside.ContentPolicy{Normalize: graphql.Normalize},
		},
		Storing: cacheaside.StoringPolicy{
			Decide: func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
				return cacheaside.Decision{NoStore: graphql.HasErrors(r.Body)}
			},
		},
	}})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close(context.Background()) }()
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		if strings.Contains(string(content), "oops") {
			_, _ = io.WriteString(w, `{"errors":[{"message":"there is no oops"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"data":{"hello":"world"}}`)
	})
	handler := nethttp.New(cache)(server)
	for _, content := range []string{
		`{"query":"{ hello }"}`,
		`{"query":"{hello} # the same"}`,
		`{"query":"mutation { hello }"}`,
		`{"query":"{ oops }"}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(content))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		status, _, _ := strings.Cut(w.Header().Get("Cache-Status"), "; ttl=")
		fmt.Println(status)
	}
	// Output:
	// cacheaside; fwd=miss
	// cacheaside; hit
	// cacheaside; fwd=bypass; detail=content-refused
	// cacheaside; fwd=miss; detail=decided
}
