package transparency

import (
	"net/http"
	"strings"

	"github.com/cacheaside/cacheaside/core/nethttp"
)

func (e *env) nethttp() wrapper {
	if e.cache == nil {
		return func(next http.Handler) http.Handler { return next }
	}
	return nethttp.New(e.cache)
}

func mux() *http.ServeMux {
	m := muxWith(func(h http.Handler) http.Handler { return h })
	m.Handle("/mounted/", http.StripPrefix("/mounted", muxWith(func(h http.Handler) http.Handler { return h })))
	return m
}

// muxWith wraps every handler.
func muxWith(each wrapper) *http.ServeMux {
	m := http.NewServeMux()
	for _, r := range stdRoutes() {
		for _, method := range strings.Fields(r.methods) {
			if method != http.MethodHead { // GET brings it
				m.Handle(method+" "+r.path, each(r.handler))
			}
		}
	}
	m.Handle("GET /static/", each(http.StripPrefix("/static/", http.FileServer(http.Dir(files)))))
	m.Handle("GET /favicon.ico", each(http.FileServer(http.Dir(files))))
	return m
}

func httpUse(mw func(*env) wrapper) stack {
	return stack{
		front:  func(e *env) server { return std(mw(e)(e.nethttp()(mux()))) },
		behind: func(e *env) server { return std(e.nethttp()(mw(e)(mux()))) },
	}
}

func httpStacks() []stack {
	return append(stdStacks(httpUse),
		stack{
			name:  "per-route",
			front: func(e *env) server { return std(muxWith(e.nethttp())) },
		},
		stack{
			name: "mounted-cache", differ: true,
			front: func(e *env) server {
				m := mux()
				outer := http.NewServeMux()
				outer.Handle("/mounted/", http.StripPrefix("/mounted", e.nethttp()(m)))
				outer.Handle("/", m)
				return std(outer)
			},
			behind: func(e *env) server { // the mount is behind the cache
				outer := http.NewServeMux()
				outer.Handle("/mounted/", http.StripPrefix("/mounted", mux()))
				outer.Handle("/", mux())
				return std(e.nethttp()(outer))
			},
		},
		stack{
			name: "rewrite",
			front: func(e *env) server {
				h := e.nethttp()(mux())
				return std(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if rest, ok := strings.CutPrefix(r.URL.Path, "/old/"); ok {
						r = r.Clone(r.Context())
						r.URL.Path, r.URL.RawPath = "/"+rest, ""
					}
					h.ServeHTTP(w, r)
				}))
			},
		},
	)
}
