package transparency

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	chicors "github.com/go-chi/cors"
	"github.com/go-chi/httprate"
	"github.com/go-chi/jwtauth/v5"
	"github.com/gorilla/csrf"
	"github.com/gorilla/handlers"
	"github.com/justinas/nosurf"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"

	"github.com/cacheaside/cacheaside/chiadapter"
)

func chiHouse() house {
	return house{
		name: "chi",
		uses: map[string]string{
			"recover": "`Recoverer`", "logger": "`RequestLogger`", "request id": "`RequestID`", "CORS": "go-chi/cors",
			"limiter": "go-chi/httprate", "static": "`http.FileServer`", "basic auth": "`BasicAuth`", "JWT": "go-chi/jwtauth", "API key": "your own",
			"session": "scs", "csrf": "gorilla/csrf", "compression": "`Compress`", "etag": "the policy", "timeout": "`Timeout`",
		},
		build: func(order []string, dir string) builder {
			return func(e *env) server {
				r := chi.NewRouter()
				r.Use(layersOf(order, func(name string) wrapper { return chiLayer(e, name, dir) }, onlyStd)...)
				r.Get("/me", me)
				chiRoutes(r)
				return std(r)
			}
		},
	}
}

func httpHouse() house {
	return house{
		name: "net/http",
		uses: map[string]string{
			"recover": "gorilla/handlers", "logger": "gorilla/handlers", "request id": "your own", "CORS": "rs/cors",
			"limiter": "go-chi/httprate", "static": "`http.FileServer`", "basic auth": "your own", "JWT": "go-chi/jwtauth", "API key": "your own",
			"session": "scs", "csrf": "gorilla/csrf", "compression": "gzhttp", "etag": "the policy", "timeout": "`http.TimeoutHandler`",
		},
		build: func(order []string, dir string) builder {
			return func(e *env) server {
				m := mux()
				m.HandleFunc("GET /me", me)
				var h http.Handler = m
				layers := layersOf(order, func(name string) wrapper { return stdLayer(e, name, dir) }, onlyStd)
				for i := range layers {
					h = layers[len(layers)-1-i](h)
				}
				return std(h)
			}
		},
	}
}

func onlyStd(path string, l wrapper) wrapper {
	return func(next http.Handler) http.Handler {
		there := l(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				there.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

func stdUser(r *http.Request) string {
	if _, claims, err := jwtauth.FromContext(r.Context()); err == nil && claims["sub"] != nil {
		return claims["sub"].(string)
	}
	name, _, _ := r.BasicAuth()
	return name
}

func me(w http.ResponseWriter, r *http.Request) {
	send(w, "hello "+stdUser(r), "Content-Type", plain)
}

// chiLayer is what is chi's own; all else is that of net/http.
func chiLayer(e *env, name, dir string) wrapper {
	switch name {
	case "recover":
		quietly := middleware.RequestLogger(chiLog{&env{log: new(journal)}}) // it prints the stack otherwise
		return func(next http.Handler) http.Handler { return quietly(middleware.Recoverer(next)) }
	case "logger":
		return middleware.RequestLogger(chiLog{e})
	case "request id":
		return func(next http.Handler) http.Handler {
			return middleware.RequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", middleware.GetReqID(r.Context())) // chi leaves that to the service
				next.ServeHTTP(w, r)
			}))
		}
	case "CORS":
		return chicors.Handler(chicors.Options{AllowedOrigins: origins, AllowCredentials: true})
	case "basic auth":
		return middleware.BasicAuth("house", map[string]string{"jack": "secret", "jill": "secret"})
	case "compression":
		return middleware.Compress(5)
	case "timeout":
		return shortIfSlow(middleware.Timeout)
	}
	return stdLayer(e, name, dir)
}

func shortIfSlow(mw func(time.Duration) func(http.Handler) http.Handler) wrapper {
	return func(next http.Handler) http.Handler {
		short, long := mw(shortest)(next), mw(time.Minute)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Slow") != "" {
				short.ServeHTTP(w, r)
			} else {
				long.ServeHTTP(w, r)
			}
		})
	}
}

func stdLayer(e *env, name, dir string) wrapper {
	switch name {
	case "cache":
		return e.nethttp()
	case "cache per user":
		return chiadapter.New(e.cache, chiadapter.WithPartition(stdUser))
	case "recover":
		return handlers.RecoveryHandler(handlers.RecoveryLogger(recoveryLog{&env{log: new(journal)}}))
	case "logger":
		return func(next http.Handler) http.Handler {
			return handlers.CustomLoggingHandler(e.log, next, func(w io.Writer, p handlers.LogFormatterParams) {
				e.log.printf("%s %s %d\n", p.Request.Method, p.URL.Path, p.StatusCode)
			})
		}
	case "request id":
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				id := r.Header.Get("X-Request-Id")
				if id == "" {
					id = freshID()
				}
				w.Header().Set("X-Request-Id", id)
				next.ServeHTTP(w, r)
			})
		}
	case "CORS":
		return cors.New(cors.Options{AllowedOrigins: origins, AllowCredentials: true}).Handler
	case "limiter":
		return rateLimit()
	case "static":
		return func(next http.Handler) http.Handler {
			files := http.FileServer(http.Dir(dir))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/files/") {
					files.ServeHTTP(w, r)
				} else {
					next.ServeHTTP(w, r)
				}
			})
		}
	case "basic auth":
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name, password, _ := r.BasicAuth(); name != "jack" && name != "jill" || password != "secret" {
					http.Error(w, "who are you?", http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	case "JWT":
		auth := jwtauth.New("HS256", []byte(signingKey), nil)
		return func(next http.Handler) http.Handler {
			return jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(next))
		}
	case "API key":
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Key") != "secret" {
					http.Error(w, "who are you?", http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	case "session":
		return func(next http.Handler) http.Handler {
			return scsManager.LoadAndSave(withBox(&box{session: func(_ http.ResponseWriter, r *http.Request) {
				scsManager.Put(r.Context(), "seen", true)
			}}, nil)(next))
		}
	case "rolling":
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				scsManager.Put(r.Context(), "rolled", true)
				next.ServeHTTP(w, r)
			})
		}
	case "csrf":
		return func(next http.Handler) http.Handler {
			h := csrf.Protect([]byte(strings.Repeat("k", 32)), csrf.Secure(false), csrf.Path("/"))(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, csrf.PlaintextHTTPRequest(r)) })
		}
	case "csrf by origin":
		return http.NewCrossOriginProtection().Handler
	case "compression":
		return func(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }
	case "timeout":
		return shortIfSlow(func(d time.Duration) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler { return http.TimeoutHandler(next, d, "too slow") }
		})
	}
	panic("no layer " + name)
}

// scsManager has the sessions of all services here.
var scsManager = scs.New()

func rateLimit() wrapper { return httprate.LimitAll(limit, time.Hour*1000) }

func nosurfed(next http.Handler) http.Handler {
	h := nosurf.New(next)
	h.SetIsTLSFunc(func(*http.Request) bool { return false })
	return h
}
