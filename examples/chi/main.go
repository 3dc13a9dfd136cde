// Command chi serves users and blogs with chi v5, cached.
package main

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/examples/internal/blog"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

func main() { blog.Main(run) }

func run(ctx context.Context, opt blog.Options) error {
	store, err := opt.OpenStore(ctx)
	if err != nil {
		return err
	}
	operating, err := opt.Operating()
	if err != nil {
		return err
	}
	cache, err := cacheaside.New(opt.Config(cacheaside.Config{
		Store:    store,
		Observer: operating.Observer(),
		Policy:   cacheaside.Policy{Requests: cacheaside.RequestPolicy{Cookies: cacheaside.None()}},
	}))
	if err != nil {
		return err
	}
	db, err := blog.Open(ctx, opt.DB, opt.Latency)
	if err != nil {
		return err
	}
	defer server.Close(cache, store, db)
	if err := operating.Serve(ctx, cache); err != nil {
		return err
	}

	chi.RegisterMethod("PURGE")
	r := chi.NewRouter()
	r.Use(middleware.Recoverer, middleware.GetHead)
	r.Group(func(r chi.Router) {
		r.Use(chiadapter.New(cache))
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { send(w, db.Page(r.Context())) })
		r.Get("/style.css", func(w http.ResponseWriter, _ *http.Request) { send(w, blog.Style()) })
		r.Get("/blogs", func(w http.ResponseWriter, r *http.Request) { send(w, db.Blogs(r.Context())) })
		r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
			send(w, db.User(r.Context(), chi.URLParam(r, "id")))
		})
		r.Get("/blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
			send(w, db.Blog(r.Context(), chi.URLParam(r, "id")))
		})
	})
	r.Put("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		send(w, db.PutUser(r.Context(), cache, chi.URLParam(r, "id"), blog.ReadBody(r.Body)))
	})
	r.Post("/blogs", func(w http.ResponseWriter, r *http.Request) {
		send(w, db.PostBlog(r.Context(), cache, blog.ReadBody(r.Body)))
	})
	if opt.PurgeToken != "" {
		purge, err := chiadapter.NewPurge(cache, cacheaside.PurgeAccess{Token: opt.PurgeToken})
		if err != nil {
			return err
		}
		r.Method(http.MethodPost, "/purge", purge)
		for _, path := range []string{"/", "/style.css", "/blogs", "/blogs/{id}", "/users/{id}"} {
			r.Method("PURGE", path, purge)
		}
	}
	r.Get("/stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		send(w, db.Stats(cache.Stats()))
	})
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	return opt.Serve(ctx, srv.Serve, srv.Shutdown, opt.WarmUp(cache, chiadapter.Entry(r)))
}

func send(w http.ResponseWriter, a blog.Answer) {
	for name, value := range a.Fields() {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client may have left
}
