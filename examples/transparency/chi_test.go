package transparency

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	chicors "github.com/go-chi/cors"
	"github.com/go-chi/httprate"

	"github.com/cacheaside/cacheaside/chiadapter"
)

func (e *env) chi() func(http.Handler) http.Handler {
	if e.cache == nil {
		return func(next http.Handler) http.Handler { return next }
	}
	return chiadapter.New(e.cache)
}

func chiRoutes(r chi.Router) {
	for _, route := range stdRoutes() {
		for _, method := range strings.Fields(route.methods) {
			r.Method(method, route.path, route.handler)
		}
	}
	r.Method("GET", "/static/*", http.StripPrefix("/static/", http.FileServer(http.Dir(files))))
	r.Method("HEAD", "/static/*", http.StripPrefix("/static/", http.FileServer(http.Dir(files))))
	r.Method("GET", "/favicon.ico", http.FileServer(http.Dir(files)))
}

// chiRouter has all routes behind mws, and once more in a mounted router.
func chiRouter(mws ...func(http.Handler) http.Handler) *chi.Mux {
	r := chi.NewRouter()
	r.Use(mws...)
	chiRoutes(r)
	inner := chi.NewRouter()
	chiRoutes(inner)
	r.Mount("/mounted", inner)
	return r
}

func chiUse(mw func(*env) func(http.Handler) http.Handler) stack {
	return stack{
		front:  func(e *env) server { return std(chiRouter(mw(e), e.chi())) },
		behind: func(e *env) server { return std(chiRouter(e.chi(), mw(e))) },
	}
}

func chiStacks() []stack {
	named := func(name string, mw func(*env) func(http.Handler) http.Handler) stack {
		s := chiUse(mw)
		s.name = name
		return s
	}
	plainly := func(name string, mw func(http.Handler) http.Handler) stack {
		return named(name, func(*env) func(http.Handler) http.Handler { return mw })
	}
	common := slices.DeleteFunc(stdStacks(chiUse), func(s stack) bool { return s.name == "timeout-handler" })
	return append(common,
		// Around the router, which uses its contexts again while the handler goes on.
		stack{
			name:   "timeout-handler",
			front:  func(e *env) server { return std(byPath(chiRouter(e.chi()))) },
			behind: func(e *env) server { return std(e.chi()(byPath(chiRouter()))) },
		},
		named("recoverer", func(e *env) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return middleware.RequestLogger(chiLog{e})(middleware.Recoverer(next))
			}
		}),
		named("logger", func(e *env) func(http.Handler) http.Handler { return middleware.RequestLogger(chiLog{e}) }),
		plainly("request-id", func(next http.Handler) http.Handler {
			return middleware.RequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", middleware.GetReqID(r.Context()))
				next.ServeHTTP(w, r)
			}))
		}),
		plainly("chi-cors", chicors.Handler(chicors.Options{AllowedOrigins: []string{"https://a.example", "https://b.example"}, AllowCredentials: true})),
		plainly("compress", middleware.Compress(5)),
		plainly("compress-all", middleware.Compress(5, "text/*", "application/json")),
		plainly("timeout", func(next http.Handler) http.Handler {
			short, long := middleware.Timeout(shortest)(next), middleware.Timeout(time.Minute)(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				timeouts(func() string { return r.URL.Path }, func(d time.Duration) http.Handler {
					if d == shortest {
						return short
					}
					return long
				}).ServeHTTP(w, r)
			})
		}),
		plainly("throttle", middleware.Throttle(100)),
		named("httprate", func(*env) func(http.Handler) http.Handler { return httprate.LimitAll(1e6, time.Hour*1000) }),
		plainly("chi-basic-auth", middleware.BasicAuth("house", map[string]string{"jack": "secret"})).onlyFront().with("Authorization", credentials).policy(authorized),
		plainly("request-size", middleware.RequestSize(1<<10)),
		plainly("strip-slashes", middleware.StripSlashes),
		plainly("redirect-slashes", middleware.RedirectSlashes),
		plainly("clean-path", middleware.CleanPath),
		plainly("real-ip", middleware.RealIP),
		plainly("get-head", middleware.GetHead),
		plainly("no-cache", middleware.NoCache),
		plainly("set-header", middleware.SetHeader("X-Front", "middleware")),
		plainly("heartbeat", middleware.Heartbeat("/ping")),
		plainly("allow-content-type", middleware.AllowContentType("text/plain", "application/x-www-form-urlencoded")),
		plainly("path-rewrite", middleware.PathRewrite("/old/", "/")),
		plainly("url-format", middleware.URLFormat),
		plainly("sunset", middleware.Sunset(written.AddDate(100, 0, 0), "https://example.com/sunset")),
		plainly("route-headers", middleware.RouteHeaders().Route("Origin", "https://a.example", middleware.SetHeader("X-Origin", "a")).Handler),
		plainly("body-dump", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
				var dump strings.Builder
				ww.Tee(&dump)
				next.ServeHTTP(ww, r)
				if dump.Len() != ww.BytesWritten() {
					panic("the dump is not whole")
				}
			})
		}),
		stack{name: "popular", front: func(e *env) server {
			return std(chiRouter(middleware.RequestID, middleware.RealIP, middleware.RequestLogger(chiLog{e}), middleware.Recoverer,
				middleware.Compress(5), middleware.StripSlashes, middleware.GetHead, middleware.Heartbeat("/ping"), middleware.Timeout(time.Minute), e.chi()))
		}},
		stack{name: "group", front: func(e *env) server {
			r := chi.NewRouter()
			r.Use(middleware.RequestLogger(chiLog{e}))
			r.Group(func(r chi.Router) {
				r.Use(e.chi())
				chiRoutes(r)
			})
			r.Route("/mounted", func(r chi.Router) {
				r.With(e.chi()).Group(chiRoutes)
			})
			return std(r)
		}},
		stack{name: "mount", differ: true, front: func(e *env) server { // the cache in the outer router alone
			outer := chi.NewRouter()
			outer.Use(e.chi())
			outer.Mount("/", chiRouter())
			return std(outer)
		}, behind: func(e *env) server { // and in the inner one alone
			outer := chi.NewRouter()
			outer.Use(middleware.RequestLogger(chiLog{e}))
			outer.Mount("/", chiRouter(e.chi()))
			return std(outer)
		}},
	)
}

// chiLog logs what does not change from run to run, and the route.
type chiLog struct{ e *env }

func (l chiLog) NewLogEntry(r *http.Request) middleware.LogEntry { return chiEntry{l.e, r} }

type chiEntry struct {
	e *env
	r *http.Request
}

func (l chiEntry) Write(status, bytes int, _ http.Header, _ time.Duration, _ any) {
	l.e.log.printf("%s %s %d %d route=%s\n", l.r.Method, l.r.URL.Path, max(status, 200), bytes, chi.RouteContext(l.r.Context()).RoutePattern())
}
func (l chiEntry) Panic(v any, _ []byte) { l.e.log.printf("panic %v\n", v) }
