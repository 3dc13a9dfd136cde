// Command graphql serves users and blogs by GraphQL, cached.
package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	graphql "github.com/graph-gophers/graphql-go"

	cacheaside "github.com/cacheaside/cacheaside/core"
	cachegraphql "github.com/cacheaside/cacheaside/core/graphql"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

func main() {
	var o server.Options
	server.Main(o.Flags(30*time.Second), func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o server.Options) error {
	store, err := o.OpenStore(ctx)
	if err != nil {
		return err
	}
	operating, err := o.Operating()
	if err != nil {
		return err
	}
	cache, err := cacheaside.New(o.Config(cacheaside.Config{Store: store, Observer: operating.Observer(), Policy: policy()}))
	if err != nil {
		return err
	}
	defer server.Close(cache, store)
	if err := operating.Serve(ctx, cache); err != nil {
		return err
	}
	h, err := routes(cache, newDatabase())
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return o.Serve(ctx, srv.Serve, srv.Shutdown)
}

// policy answers POST and QUERY from the cache, with what their content asks for in the key.
func policy() cacheaside.Policy {
	return cacheaside.Policy{
		Requests: cacheaside.RequestPolicy{
			Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost, "QUERY"},
			Cookies: cacheaside.None(),
			Content: cacheaside.ContentPolicy{
				// Mutations are refused, and so they purge what is stored for the URL.
				Normalize: cachegraphql.Normalizer(cachegraphql.Options{Batches: true}),
			},
		},
		Storing: cacheaside.StoringPolicy{
			// Their errors come with status 200.
			Decide: func(_ *cacheaside.Request, r *cacheaside.Response) cacheaside.Decision {
				return cacheaside.Decision{NoStore: cachegraphql.HasErrors(r.Body)}
			},
		},
	}
}

func routes(cache *cacheaside.Cache, db *database) (http.Handler, error) {
	schema, err := graphql.ParseSchema(schemaText, &resolver{db, cache}, graphql.MaxDepth(8), graphql.MaxQueryLength(maxContent))
	if err != nil {
		return nil, err
	}
	cached := nethttp.New(cache)
	mux := http.NewServeMux()
	mux.Handle("POST /graphql", cached(handler{schema}))
	mux.Handle("QUERY /graphql", cached(handler{schema}))
	// What a mutation changes is seen at once by any other URL as well: they have the same tags.
	mux.Handle("GET /users/{id}", cached(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := number(graphql.ID(r.PathValue("id")))
		cacheaside.AddTags(r.Context(), userTag(id))
		u, ok := db.user(id)
		if !ok {
			http.Error(w, errNoUser.Error(), http.StatusNotFound)
			return
		}
		send(w, u)
	})))
	mux.HandleFunc("GET /reads", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(strconv.FormatInt(db.reads.Load(), 10) + "\n"))
	})
	return mux, nil
}
