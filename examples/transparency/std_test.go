package transparency

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/alexedwards/scs/v2"
	"github.com/felixge/httpsnoop"
	"github.com/gorilla/csrf"
	"github.com/gorilla/handlers"
	"github.com/gorilla/sessions"
	"github.com/justinas/nosurf"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"
	"github.com/unrolled/secure"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// authorized is the policy of a service that asks for credentials in front of the cache.
func authorized(p *cacheaside.Policy) { p.Storing.Authorized = true }

type wrapper = func(http.Handler) http.Handler

// stdStacks are middleware of net/http, for use makes a builder of each place.
func stdStacks(use func(func(*env) wrapper) stack) []stack {
	named := func(name string, mw func(*env) wrapper) stack {
		s := use(mw)
		s.name = name
		return s
	}
	plainly := func(name string, mw wrapper) stack { return named(name, func(*env) wrapper { return mw }) }
	return []stack{
		plainly("nothing", func(next http.Handler) http.Handler { return next }),
		named("gorilla-recovery", func(e *env) wrapper {
			return handlers.RecoveryHandler(handlers.RecoveryLogger(recoveryLog{e}))
		}),
		named("gorilla-logging", func(e *env) wrapper {
			return func(next http.Handler) http.Handler {
				return handlers.CustomLoggingHandler(e.log, next, func(w io.Writer, p handlers.LogFormatterParams) {
					e.log.printf("%s %s %d\n", p.Request.Method, p.URL.Path, p.StatusCode) // its size leaves out what went by ReadFrom
				})
			}
		}),
		plainly("rs-cors", cors.New(cors.Options{AllowedOrigins: []string{"https://a.example", "https://b.example"}, AllowCredentials: true}).Handler),
		plainly("rs-cors-any", cors.Default().Handler),
		plainly("gorilla-cors", handlers.CORS(handlers.AllowedOrigins([]string{"https://a.example"}))),
		plainly("secure", secure.New(secure.Options{FrameDeny: true, ContentTypeNosniff: true, STSSeconds: 60, ForceSTSHeader: true, ReferrerPolicy: "no-referrer"}).Handler),
		plainly("gzhttp", func(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }),
		plainly("gorilla-compress", handlers.CompressHandler),
		plainly("timeout-handler", byPath),
		plainly("etag", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := &buffered{ResponseWriter: w}
				next.ServeHTTP(b, r)
				if tag := strconv.Quote(strconv.Itoa(b.body.Len())); b.body.Len() > 0 && b.status <= 200 && w.Header().Get("ETag") == "" {
					w.Header().Set("ETag", tag)
					if r.Header.Get("If-None-Match") == tag {
						b.status = http.StatusNotModified
						b.body.Reset()
						w.Header().Del("Content-Length")
					}
				}
				if b.status != 0 {
					w.WriteHeader(b.status)
				}
				_, _ = w.Write(b.body.Bytes())
			})
		}),
		plainly("max-bytes", func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 1<<10) }),
		plainly("gorilla-csrf", func(next http.Handler) http.Handler {
			h := csrf.Protect([]byte(strings.Repeat("k", 32)), csrf.Secure(false), csrf.Path("/"))(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, csrf.PlaintextHTTPRequest(r)) })
		}),
		plainly("nosurf", func(next http.Handler) http.Handler {
			h := nosurf.New(next)
			h.SetIsTLSFunc(func(*http.Request) bool { return false })
			return h
		}),
		plainly("cross-origin", http.NewCrossOriginProtection().Handler),
		named("scs", func(*env) wrapper {
			m := scs.New()
			return func(next http.Handler) http.Handler {
				return m.LoadAndSave(withBox(&box{session: func(_ http.ResponseWriter, r *http.Request) {
					m.Put(r.Context(), "seen", true)
				}}, nil)(next))
			}
		}),
		named("scs-in-front", func(*env) wrapper { // the session begins in middleware
			m := scs.New()
			return func(next http.Handler) http.Handler {
				return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/session" {
						m.Put(r.Context(), "seen", true)
					}
					next.ServeHTTP(w, r)
				}))
			}
		}),
		named("gorilla-sessions", func(*env) wrapper {
			store := sessions.NewCookieStore([]byte("secret"))
			return withBox(&box{session: func(w http.ResponseWriter, r *http.Request) {
				s, _ := store.Get(r, "store")
				s.Values["seen"] = true
				_ = s.Save(r, w)
			}}, nil)
		}),
		plainly("late-cookie", func(next http.Handler) http.Handler { // as the header is written
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				set := func() { w.Header().Add("Set-Cookie", "late=1") }
				done := false
				next.ServeHTTP(httpsnoop.Wrap(w, httpsnoop.Hooks{
					WriteHeader: func(f httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
						return func(code int) {
							if !done && code >= 200 {
								done = true
								set()
							}
							f(code)
						}
					},
					Write: func(f httpsnoop.WriteFunc) httpsnoop.WriteFunc {
						return func(b []byte) (int, error) {
							if !done {
								done = true
								set()
							}
							return f(b)
						}
					},
				}), r)
			})
		}).neverStored("each answer has a cookie"),
		plainly("basic-auth", basicAuth).onlyFront().with("Authorization", credentials).policy(authorized),
		plainly("basic-auth-behind", basicAuth).onlyBehind().with("Authorization", credentials).neverStored("all requests have Authorization"),
		plainly("method-override", handlers.HTTPMethodOverrideHandler),
		plainly("proxy-headers", handlers.ProxyHeaders),
		plainly("content-type", func(next http.Handler) http.Handler {
			return handlers.ContentTypeHandler(next, "text/plain", "application/x-www-form-urlencoded")
		}),
		plainly("otel", func(next http.Handler) http.Handler { return otelhttp.NewHandler(next, "server") }),
		named("observer", func(e *env) wrapper { // what tracing and metrics see
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					m := httpsnoop.CaptureMetrics(next, w, r)
					e.log.printf("%d %d route=%s\n", m.Code, m.Written, pattern(r))
				})
			}
		}),
		plainly("footer", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				typ := ""
				next.ServeHTTP(httpsnoop.Wrap(w, httpsnoop.Hooks{
					WriteHeader: func(f httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
						return func(code int) {
							if code >= 200 {
								typ = w.Header().Get("Content-Type")
								if code == 200 {
									w.Header().Del("Content-Length")
								}
							}
							f(code)
						}
					},
				}), r)
				if typ == "" || strings.HasPrefix(typ, "text/html") {
					_, _ = io.WriteString(w, "<!-- footer -->")
				}
			})
		}),
		plainly("banner", func(next http.Handler) http.Handler { // knows nothing of lengths
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/json" || r.URL.Path == "/untyped" || r.URL.Path == "/form" {
					w.Header().Set("Content-Type", plain)
					_, _ = io.WriteString(w, "banner ")
				}
				next.ServeHTTP(w, r)
				if r.URL.Path == "/page" {
					_, _ = io.WriteString(w, " footer")
				}
			})
		}),
		plainly("body-rewrite", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := &buffered{ResponseWriter: w}
				next.ServeHTTP(b, r)
				w.Header().Del("Content-Length")
				if b.status != 0 {
					w.WriteHeader(b.status)
				}
				_, _ = w.Write(bytes.ReplaceAll(b.body.Bytes(), []byte("Jack"), []byte("Wendy")))
			})
		}),
		plainly("renderer", withBox(&box{}, func(w http.ResponseWriter, _ *http.Request, b *box) {
			if b.data != "" {
				send(w, b.data, "Content-Type", plain)
			}
		})),
		plainly("error-mapping", withBox(&box{}, func(w http.ResponseWriter, _ *http.Request, b *box) {
			switch {
			case b.err == nil:
			case errors.Is(b.err, errNoRow):
				http.Error(w, "no such row", http.StatusNotFound)
			default:
				http.Error(w, "it failed", http.StatusInternalServerError)
			}
		})),
		plainly("same-fields", func(next http.Handler) http.Handler { // that handlers set as well
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", plain)
				w.Header().Set("ETag", etag)
				w.Header().Set("X-Frame-Options", "SAMEORIGIN")
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.Header().Add("X-Front", "middleware")
				w.Header().Add("Vary", "Origin")
				next.ServeHTTP(w, r)
			})
		}),
		plainly("no-store", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "no-store")
				next.ServeHTTP(w, r)
			})
		}),
		func() stack {
			s := plainly("h2c", func(next http.Handler) http.Handler { return next })
			s.h2c = true
			return s
		}(),
		plainly("h2c-handler", func(next http.Handler) http.Handler { return h2c.NewHandler(next, &http2.Server{}) }),
	}
}

type recoveryLog struct{ e *env }

func (l recoveryLog) Println(v ...any) { l.e.log.printf("recovered %v\n", v[0]) }

type buffered struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (b *buffered) WriteHeader(code int) {
	if b.status == 0 && code >= 200 {
		b.status = code
	}
}
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

func basicAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "jack" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="house"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
